"""gochat metrics: prints what comes with the program for Prometheus and Grafana."""

from argparse import Namespace
from importlib.resources import files

FILES = {"dashboard": "dashboard.json", "alerts": "alerts.yml"}


def run(arguments: Namespace) -> int:
    print(files("gochat.monitoring").joinpath(FILES[arguments.what]).read_text(encoding="utf-8"), end="")
    return 0
