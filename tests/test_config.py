"""Settings: file, environment, and what stops the start."""

from pathlib import Path

import pytest

from gochat.config import ConfigError, load, networks, parse_address


def write(folder: Path, text: str) -> Path:
    file = folder / "gochat.toml"
    file.write_text(text)
    return file


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nlisten = "127.0.0.1:1"\nthreads = 7\ngrace = 3\n')
    config = load(file, {"GOCHAT_SERVER_LISTEN": "127.0.0.1:2", "GOCHAT_SERVER_REFLECTION": "TRUE", "OTHER": "x"})
    assert (config.server.listen, config.server.threads, config.server.grace) == ("127.0.0.1:2", 7, 3.0)
    assert config.server.reflection is True


def test_the_file_of_the_current_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[server]\nthreads = 9\n")
    monkeypatch.chdir(tmp_path)
    assert load(environment={}).server.threads == 9


@pytest.mark.parametrize(("value", "seconds"), [('"7d"', 604800), ('"90m"', 5400), ('"3600"', 3600), ("3600", 3600)])
def test_a_duration_has_a_unit_or_is_in_seconds(tmp_path: Path, value: str, seconds: int) -> None:
    assert load(write(tmp_path, f"[events]\nkeep = {value}\n"), {}).events.keep == seconds
    assert load(environment={"GOCHAT_EVENTS_KEEP": value.strip('"')}).events.keep == seconds


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[serving]\n", "[serving]"),
        ("server = 1\n", "server"),
        ("[server]\nport = 1\n", "server.port"),
        ('[server]\nthreads = "many"\n', "server.threads"),
        ("[server]\nthreads = 0\n", "server.threads"),
        ("[server]\nthreads = true\n", "server.threads"),
        ("[server]\ngrace = nan\n", "server.grace"),
        ('[server]\nlisten = "here"\n', "server.listen"),
        ('[server]\nlisten = "127.0.0.1:70000"\n', "server.listen"),
        ('[server]\nerror_mode = "loud"\n', "server.error_mode"),
        ('[database]\nurl = "mysql://x"\n', "database.url"),
        ("[database]\npool_min = 5\npool_max = 4\n", "database.pool_min"),
        ('[auth]\nsecret = "short"\n', "auth.secret"),
        ('[auth]\nsecret = ""\nprevious_secret = "tttttttttttttttttttttttttttttttttt"\n', "auth.previous_secret"),
        ('[auth]\nregistration = "ajar"\n', "auth.registration"),
        ('[tls]\ncert = "cert.pem"\n', "tls.cert"),
        ('[tls]\nclient_ca = "ca.pem"\n', "tls.client_ca"),
        ("[limits]\ncalls_per_second = -5\n", "limits.calls_per_second"),
        ('[events]\nbroker = "amqp://x"\n', "events.broker"),
        ("[events]\npoll = 0\n", "events.poll"),
        ('[events]\nkeep = "7 days"\n', "events.keep: must be seconds, or text like"),
        ('[events]\nkeep = "5s"\n', "events.keep: must be at least 60"),
        ('[metrics]\nlisten = "9464"\n', "metrics.listen"),
        ('[limits]\ntrusted_proxies = "10.0.0.0/8, gateway"\n', "limits.trusted_proxies"),
        ("[server\n", "gochat.toml"),
    ],
)
def test_a_bad_setting_stops_with_its_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "variable", [("GOCHAT_SERVER_PORT", "1"), ("GOCHAT_SERVER_THREADS", "x"), ("GOCHAT_SERVER_REFLECTION", "maybe")]
)
def test_a_bad_variable_stops_with_its_name(variable: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=variable[0]):
        load(None, dict([variable]))


def test_secrets_are_not_shown() -> None:
    config = load(
        None,
        {
            "GOCHAT_AUTH_SECRET": "s" * 32,
            "GOCHAT_DATABASE_URL": "postgresql://u:hush@h/d",
            "GOCHAT_EVENTS_BROKER": "redis://:hush@h/0",
        },
    )
    assert "sss" not in repr(config)
    assert "hush" not in repr(config)


def test_an_address_is_a_host_and_a_port() -> None:
    assert parse_address("x", "[::1]:50051") == ("[::1]", 50051)
    for bad in ("", ":1", "host", "host:", "host:x", "host:-1", "host:65536"):
        with pytest.raises(ConfigError):
            parse_address("x", bad)


def test_networks_are_separated_by_commas() -> None:
    assert networks("x", "") == ()
    assert [str(network) for network in networks("x", "10.0.0.0/8, ::1")] == ["10.0.0.0/8", "::1/128"]


def test_an_issuer_comes_from_the_file_and_the_environment(tmp_path: Path) -> None:
    file = write(tmp_path, '[auth.issuers.main]\nissuer = "https://a.example.com"\naudience = "chat"\nprefix = "a:"\n')
    secrets = {"GOCHAT_AUTH_ISSUERS_MAIN_SECRET": "s" * 32, "GOCHAT_AUTH_ISSUERS_MAIN_CREATE": "false"}
    other = {"ISSUER": "https://b.example.com", "CLIENT_ID": "c", "CLIENT_SECRET": "x", "PREFIX": "b:"}
    more = {f"GOCHAT_AUTH_ISSUERS_MY_OTHER_{key}": value for key, value in other.items()}
    config = load(file, secrets | more)
    main, another = config.auth.issuers["main"], config.auth.issuers["my_other"]
    assert (main.audience, main.secret, main.create) == ("chat", "s" * 32, False)
    assert (another.client_id, another.client_secret, another.secret) == ("c", "x", "")
    assert "s" * 32 not in repr(config)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[auth]\nissuers = 1\n", "auth.issuers"),
        ("[auth.issuers]\nmain = 1\n", "auth.issuers"),
        ('[auth.issuers.main]\nissuers = "x"\n', "auth.issuers.main.issuers"),
        ("[auth.issuers.main]\ncreate = 1\n", "auth.issuers.main.create"),
        ('[auth.issuers.Main]\nissuer = "x"\n', "auth.issuers.Main"),
    ],
)
def test_an_issuer_that_is_none_stops_the_start(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        load(write(tmp_path, text), {})


def test_the_own_secret_signs_for_no_issuer() -> None:
    settings = {"ISSUER": "https://a.example.com", "AUDIENCE": "chat", "SECRET": "s" * 32}
    named = {f"GOCHAT_AUTH_ISSUERS_MAIN_{key}": value for key, value in settings.items()}
    with pytest.raises(ConfigError, match="must not be the one that signs"):
        load(environment=named | {"GOCHAT_AUTH_SECRET": "s" * 32})
    with pytest.raises(ConfigError, match="no such setting"):
        load(environment={"GOCHAT_AUTH_ISSUERS_MAIN_WRONG": "1"})
