"""gochat metrics: prints the dashboard for Grafana, or the alert rules for Prometheus."""

from argparse import Namespace
from importlib.resources import files

from gochat.commands.arguments import Subparsers, add_command

FILES = {"dashboard": "dashboard.json", "alerts": "alerts.yml"}


def add_to(commands: Subparsers) -> None:
    printed = add_command(commands, "metrics", run, "print a Grafana dashboard, or alert rules for Prometheus")
    printed.add_argument("what", choices=sorted(FILES))


def run(arguments: Namespace) -> int:
    print(files("gochat.monitoring").joinpath(FILES[arguments.what]).read_text(encoding="utf-8"), end="")
    return 0
