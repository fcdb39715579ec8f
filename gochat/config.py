"""Settings: their names, defaults and bounds; read from gochat.toml and overridden by the environment.

Each key `[section] key` is overridden by GOCHAT_<SECTION>_<KEY>. An unknown section or key, or a bad value, stops the
start.
"""

import ipaddress
import os
import re
import tomllib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gochat.issuers import Issuer
from gochat.issuers import check as check_issuers

DEFAULT_FILE = Path("gochat.toml")
MAX_ACCESS_TTL = 24 * 3600  # seconds
MAX_SESSIONS = 1000  # of a user
MAX_TTL = 366 * 24 * 3600  # seconds that any token may be valid
PREFIX = "GOCHAT_"
ISSUERS = "GOCHAT_AUTH_ISSUERS_"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}  # seconds
COPY_FROM, COPY_TO = "GOCHAT_COPY_FROM", "GOCHAT_COPY_TO"
_NOT_SETTINGS = {COPY_FROM, COPY_TO, "GOCHAT_TEST_BINARY", "GOCHAT_TEST_DATA", "GOCHAT_TEST_DATABASE_URL"}
"""Variables that only `gochat copy` and the tests read."""


_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list of texts"}


class ConfigError(Exception):
    """A setting that stops the start; the message names the key and what is wrong with it."""


def _setting(
    default: Any,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    is_duration: bool = False,
) -> Any:
    """is_duration: seconds, or text such as "7d"."""
    bounds = {"minimum": minimum, "maximum": maximum, "choices": choices, "is_duration": is_duration}
    return field(default=default, metadata=bounds)


@dataclass(frozen=True)
class Server:
    listen: str = "127.0.0.1:50051"
    data: str = "data"
    workers: int = _setting(1, minimum=1, maximum=100)
    threads: int = _setting(64, minimum=1, maximum=1000)
    grace: float = _setting(10.0, minimum=0, maximum=600)
    reflection: bool = False
    error_mode: str = _setting("status", choices=("status", "body"))
    fast: bool = True


@dataclass(frozen=True)
class Database:
    url: str = field(default="", repr=False)
    pool_min: int = _setting(10, minimum=1, maximum=1000)
    pool_max: int = _setting(100, minimum=1, maximum=1000)
    replica_url: str = field(default="", repr=False)
    max_lag: int = _setting(5, minimum=1, maximum=3600, is_duration=True)

    @property
    def is_postgres(self) -> bool:
        """If not, it is SQLite."""
        return self.url.startswith("postgres")


@dataclass(frozen=True)
class Repo:
    address: str = ""


@dataclass(frozen=True)
class Tls:
    cert: str = ""
    key: str = ""
    client_ca: str = ""
    ca: str = ""
    name: str = ""

    @property
    def used(self) -> bool:
        """Are the connections that this program makes encrypted?"""
        return bool(self.cert or self.ca)


@dataclass(frozen=True)
class Auth:
    secret: str = field(default="", repr=False)
    previous_secret: str = field(default="", repr=False)
    access_ttl: int = _setting(15 * 60, minimum=1, maximum=MAX_ACCESS_TTL, is_duration=True)
    refresh_ttl: int = _setting(30 * 24 * 3600, minimum=1, maximum=MAX_TTL, is_duration=True)
    sessions_per_user: int = _setting(50, minimum=1, maximum=MAX_SESSIONS)
    registration: str = _setting("closed", choices=("closed", "open"))
    passwords: bool = True
    guests: str = _setting("off", choices=("off", "on"))
    guest_ttl: int = _setting(30 * 24 * 3600, minimum=60, maximum=MAX_TTL, is_duration=True)
    issuers: dict[str, Issuer] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    calls_per_second: float = _setting(100.0, minimum=0)
    sends_per_second: float = _setting(20.0, minimum=0)
    failed_sign_ins_per_minute: float = _setting(30.0, minimum=0)
    guests_per_address_per_hour: float = _setting(20.0, minimum=0)
    trusted_proxies: str = ""
    connections: int = _setting(10_000, minimum=1)
    streams_per_connection: int = _setting(1000, minimum=1, maximum=10_000)
    connection_idle: int = _setting(900, minimum=1, is_duration=True)
    connection_age: int = _setting(3600, minimum=1, is_duration=True)


@dataclass(frozen=True)
class Messages:
    edit_within: int = _setting(24 * 3600, minimum=0, maximum=MAX_TTL, is_duration=True)


@dataclass(frozen=True)
class Events:
    notify: bool = True
    broker: str = field(default="", repr=False)
    poll: float = _setting(0.25, minimum=0.05, maximum=60)
    streams: int = _setting(20_000, minimum=1, maximum=1_000_000)
    streams_per_user: int = _setting(10, minimum=1, maximum=1000)
    keep: int = _setting(7 * 24 * 3600, minimum=60, maximum=MAX_TTL, is_duration=True)


@dataclass(frozen=True)
class Webhooks:
    allow: str = ""
    retry_for: int = _setting(3 * 24 * 3600, minimum=1, maximum=MAX_TTL, is_duration=True)
    before_send: str = ""
    before_send_secret: str = field(default="", repr=False)
    before_send_timeout: float = _setting(1.0, minimum=0.01, maximum=10)
    before_send_failure: str = _setting("open", choices=("open", "closed"))


@dataclass(frozen=True)
class Push:
    delay: float = _setting(2.0, minimum=0, maximum=600)
    interval: float = _setting(60.0, minimum=0, maximum=86400)
    recipients: str = _setting("registered", choices=("registered", "all"))
    ttl: int = _setting(24 * 3600, minimum=1, maximum=28 * 24 * 3600, is_duration=True)
    content: bool = False
    contact: str = ""
    private_endpoints: bool = False


@dataclass(frozen=True)
class Http:
    listen: str = "127.0.0.1:8080"
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metrics:
    listen: str = "127.0.0.1:9464"


@dataclass(frozen=True)
class Log:
    level: str = _setting("info", choices=("debug", "info", "warning", "error"))
    format: str = _setting("text", choices=("text", "json"))
    calls: bool = True
    slow_query_ms: int = _setting(200, minimum=0)


@dataclass(frozen=True)
class Config:
    server: Server = field(default_factory=Server)
    database: Database = field(default_factory=Database)
    repo: Repo = field(default_factory=Repo)
    tls: Tls = field(default_factory=Tls)
    auth: Auth = field(default_factory=Auth)
    limits: Limits = field(default_factory=Limits)
    messages: Messages = field(default_factory=Messages)
    events: Events = field(default_factory=Events)
    webhooks: Webhooks = field(default_factory=Webhooks)
    push: Push = field(default_factory=Push)
    http: Http = field(default_factory=Http)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)

    def with_settings(self, section: str, **settings: Any) -> "Config":
        """A copy with other values, such as from the command line; None leaves a key as it is."""
        given = {key: value for key, value in settings.items() if value is not None}
        return replace(self, **{section: replace(getattr(self, section), **given)})


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Config:
    """Reads the file (by default gochat.toml in the current folder, if there is one) and the environment.

    Raises ConfigError.
    """
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    tables = _read_file(file) if file else {}
    sections = {section.name: _section(section.default_factory) for section in fields(Config)}
    for name in tables:
        if name not in sections:
            raise ConfigError(f"[{name}]: no such section in {file}; known: {', '.join(sections)}")
    prefixes = tuple(f"{PREFIX}{name.upper()}_" for name in sections)
    for variable in sorted(environment.keys() - _NOT_SETTINGS):
        if variable.startswith(PREFIX) and not variable.startswith(prefixes):
            raise ConfigError(f"{variable}: no such setting; {PREFIX}<SECTION>_<KEY> has {', '.join(sections)}")
    issuers = _read_issuers(tables, environment)
    environment = {variable: value for variable, value in environment.items() if not variable.startswith(ISSUERS)}
    built = {name: _read_section(name, cls, tables.get(name, {}), environment) for name, cls in sections.items()}
    config = Config(**built).with_settings("auth", issuers=issuers)
    _check_together(config)
    return config


def _section(factory: Any) -> type:
    assert isinstance(factory, type)
    return factory


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None


def _read_section(name: str, cls: type, table: Any, environment: Mapping[str, str]) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{name}: must be a section, [{name}]")
    prefix = f"{PREFIX}{name.upper()}_"
    given = {f"{name}.{key}": (key, value) for key, value in table.items()}
    given |= {
        variable: (variable.removeprefix(prefix).lower(), value)
        for variable, value in environment.items()
        if variable.startswith(prefix)
    }
    return _settings(name, cls, given)


def _read_issuers(tables: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Issuer]:
    """Takes [auth.issuers.NAME] out of the tables."""
    auth = tables.get("auth")
    named = auth.pop("issuers", {}) if isinstance(auth, dict) else {}
    if not (isinstance(named, dict) and all(isinstance(table, dict) for table in named.values())):
        raise ConfigError("auth.issuers: must be sections, [auth.issuers.NAME]")
    given = {
        name: {f"auth.issuers.{name}.{key}": (key, value) for key, value in table.items()}
        for name, table in named.items()
    }
    keys = sorted((key.name for key in fields(Issuer)), key=len, reverse=True)  # of two that fit the longer is meant
    for variable in sorted(environment):
        if variable.startswith(ISSUERS):
            rest = variable.removeprefix(ISSUERS).lower()
            key = next((key for key in keys if rest.endswith(f"_{key}")), "")
            if not key:
                raise ConfigError(f"{variable}: no such setting; {ISSUERS}<NAME>_<KEY> has {', '.join(keys)}")
            given.setdefault(rest.removesuffix(f"_{key}"), {})[variable] = key, environment[variable]
    return {name: _settings(f"auth.issuers.{name}", Issuer, settings) for name, settings in given.items()}


def _settings(name: str, cls: type, given: Mapping[str, tuple[str, Any]]) -> Any:
    """given: (key, value) by where it is from; what comes later counts."""
    known = {key.name: key for key in fields(cls) if key.default is not MISSING}
    settings = {}
    for source, (key, value) in given.items():
        if key not in known:
            raise ConfigError(f"{source}: no such setting; [{name}] has {', '.join(known)}")
        settings[key] = _coerce(source, value, known[key])
    return cls(**settings)


def _coerce(source: str, value: Any, key: "Field[Any]") -> Any:
    """Converts the value to the type of the default: from the environment every value comes as text. Raises
    ConfigError."""
    kind, bounds = type(key.default), key.metadata
    expected = _EXPECTED[kind]
    if bounds.get("is_duration"):
        expected = "seconds, or text like 30s, 15m, 1h or 7d"
        value = seconds_of(value) if isinstance(value, str) and seconds_of(value) else value
    wrong = ConfigError(f"{source}: must be {expected}" + (f", not {value!r}" if key.repr else ""))
    if isinstance(value, str) and kind is bool:
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    elif isinstance(value, str) and kind in (int, float):
        try:
            value = kind(value)
        except ValueError:
            raise wrong from None
    elif kind is tuple and isinstance(value, str):
        value = tuple(item.strip() for item in value.split(",") if item.strip())
    elif kind is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = tuple(value)
    elif kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise wrong
    minimum, maximum, choices = bounds.get("minimum"), bounds.get("maximum"), bounds.get("choices")
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum) or value != value:
        at_most = f" and at most {maximum:g}" if maximum else ""
        raise ConfigError(f"{source}: must be at least {minimum:g}{at_most}, not {value:g}")
    if choices and value not in choices:
        raise ConfigError(f"{source}: must be {' or '.join(choices)}, not {value!r}")
    return value


def seconds_of(text: str) -> int:
    """A duration like 30s, 15m, 1h or 7d; 0 for other text."""
    match = re.fullmatch(r"([1-9]\d{0,8})([smhd])", text)
    return int(match[1]) * UNITS[match[2]] if match else 0


def _check_together(config: Config) -> None:
    """Checks rules about several keys. Raises ConfigError."""
    if config.database.pool_min > config.database.pool_max:
        raise ConfigError("database.pool_min: must not be over database.pool_max")
    url = config.database.url
    if url and not url.startswith(("postgresql://", "postgres://", "sqlite:///")):
        raise ConfigError("database.url: must begin with postgresql:// or sqlite:///")
    replica = config.database.replica_url
    if replica and not (config.database.is_postgres and replica.startswith(("postgresql://", "postgres://"))):
        raise ConfigError("database.replica_url: must begin with postgresql://, and goes with such a database.url")
    if config.events.broker and not config.events.broker.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError("events.broker: must begin with redis://, rediss:// or unix://")
    if config.push.contact and not config.push.contact.startswith(("mailto:", "https://")):
        raise ConfigError("push.contact: must begin with mailto: or https://")
    for key in ("secret", "previous_secret"):
        if 0 < len(getattr(config.auth, key).encode()) < 32:
            raise ConfigError(f"auth.{key}: must have at least 32 bytes")
    try:
        check_issuers(config.auth.issuers)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    own = {config.auth.secret, config.auth.previous_secret} - {""}
    for name, issuer in config.auth.issuers.items():
        if issuer.secret in own:
            raise ConfigError(f"auth.issuers.{name}.secret: must not be the one that signs this server's tokens")
    if config.auth.previous_secret and not config.auth.secret:
        raise ConfigError("auth.previous_secret: goes with auth.secret")
    if bool(config.tls.cert) != bool(config.tls.key):
        raise ConfigError("tls.cert, tls.key: go together")
    if config.tls.client_ca and not config.tls.cert:
        raise ConfigError("tls.client_ca: goes with tls.cert")
    parse_address("server.listen", config.server.listen)
    for key, listen in (("metrics.listen", config.metrics.listen), ("http.listen", config.http.listen)):
        if listen:
            parse_address(key, listen)
    for origin in config.http.origins:
        if not re.fullmatch(r"https?://[^/\s,*@]+", origin):
            raise ConfigError(f"http.origins: must be such as https://chat.example.com, not {origin!r}")
    networks("limits.trusted_proxies", config.limits.trusted_proxies)
    networks("webhooks.allow", config.webhooks.allow)
    if config.webhooks.before_send and not re.fullmatch(r"https?://[^/\s@]+(/[!-~]*)?", config.webhooks.before_send):
        raise ConfigError("webhooks.before_send: must be such as https://example.com/check")
    if bool(config.webhooks.before_send) != bool(config.webhooks.before_send_secret):
        raise ConfigError("webhooks.before_send, webhooks.before_send_secret: go together")
    if config.webhooks.before_send_secret and not is_webhook_secret(config.webhooks.before_send_secret):
        raise ConfigError("webhooks.before_send_secret: must be whsec_ and base64 of 24 to 64 bytes")


def parse_address(source: str, address: str) -> tuple[str, int]:
    """HOST:PORT -> (host, port); an IPv6 address is in brackets. Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{source}: must be HOST:PORT, not {address!r}")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Is this host, as in HOST:PORT, reachable only from this machine?"""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_webhook_secret(text: str) -> bool:
    """As the Standard Webhooks specification writes them."""
    try:
        return text.startswith("whsec_") and 24 <= len(b64decode(text.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False


def networks(source: str, text: str) -> "tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]":
    """Addresses or networks, separated by commas. Raises ConfigError."""
    try:
        return tuple(ipaddress.ip_network(item.strip()) for item in text.split(",") if item.strip())
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
