"""What the environment may hold, and what the program says of itself."""

from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from tests.commands.program import gochat, sentence
from tests.harness import Deployment


@pytest.mark.parametrize("variable", ["GOCHAT_SERVR_LISTEN", "GOCHAT_LISTEN", "GOCHAT_", "GOCHAT_TSL_CERT"])
@pytest.mark.parametrize("command", [("serve",), ("token", "--role", "admin"), ("check",)])
def test_an_unknown_section_in_the_environment_stops_every_command(
    tmp_path: Path, command: tuple[str, ...], variable: str
) -> None:
    run = gochat(*command, "--data", str(tmp_path / "data"), env={variable: "x"}, cwd=tmp_path)
    assert sentence(run).startswith(f"{variable}: no such setting")
    assert list(tmp_path.iterdir()) == []


def test_variables_that_are_no_settings_stop_nothing(tmp_path: Path) -> None:
    env = {"GOCHAT_COPY_FROM": "x", "GOCHAT_COPY_TO": "y", "GOCHAT_TEST_DATA": "z", "GOCHAT_TEST_DATABASE_URL": "u"}
    assert "signing.key is missing" in sentence(gochat("user", "list", env=env, cwd=tmp_path))


def test_the_version_is_an_option_too() -> None:
    run = gochat("--version")
    assert (run.returncode, run.stdout) == (0, f"gochat {version('gochat')}\n")


def test_a_metric_says_what_was_built(app: Deployment) -> None:
    for process in app.processes:
        assert process.metrics()("gochat_build_info", version=version("gochat"), grpcio=grpc.__version__) == 1
