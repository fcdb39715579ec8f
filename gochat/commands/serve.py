"""gochat serve: the server, in this process or in several workers."""

import resource
from argparse import Namespace
from functools import partial

from gochat import app, logs, startup, workers
from gochat.commands.arguments import LOCAL, Subparsers, add_command, config_of
from gochat.config import Config
from gochat.monitoring.shared import Memory


def add_to(commands: Subparsers) -> None:
    serve = add_command(commands, "serve", run, "run the server until SIGTERM", LOCAL)
    serve.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:50051; port 0 takes a free one")
    serve.add_argument(
        "--target",
        choices=startup.TARGETS,
        help="which half to serve (default: all, or logic if [repo] address is set)",
    )
    serve.add_argument(
        "--insecure", action="store_true", help="talk to other hosts without TLS: what lies between is yours"
    )


def run(arguments: Namespace) -> int:
    config = config_of(arguments).with_settings("server", listen=arguments.listen)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))  # each connection is an open file
    settings = config.server

    def ready(address: str, url: str) -> None:
        web = f"\ngochat web on {url}" if url else ""
        print(app.ready_line(config, arguments.target, address) + web, flush=True)

    if settings.workers == 1:
        work = partial(_work, config, arguments.target, arguments.insecure)
        work(settings.listen, None, lambda address, url, _: ready(address, url))
    else:
        logs.to_stderr(config.log)
        with app.worker_metrics(config, arguments.target, ready) as (config, metrics, all_serve):
            work = partial(_work, config, arguments.target, arguments.insecure)
            workers.run(settings.listen, settings.grace, work, metrics, app.STARTUP_ERRORS, all_serve)
    return 0


def _work(
    config: Config,
    target: str | None,
    insecure: bool,
    listen: str,
    memory: Memory | None,
    ready: workers.Ready,
) -> None:
    """Serves in this process."""
    logs.to_stderr(config.log)
    app.serve(config.with_settings("server", listen=listen), target, ready, insecure=insecure, memory=memory)
