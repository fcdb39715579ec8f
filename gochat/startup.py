"""What a start leaves for the operator: one line in the log that says what serves where, and where commands find it."""

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from shlex import quote

from gochat import logs, running
from gochat.config import Config
from gochat.repo import users
from gochat.rpc.tls import certificate_name
from gochat.services import LOGIC, REPO
from gochat.storage.database import Database
from gochat.storage.engine import place

log = logging.getLogger(__name__)

OTHER_FILES = 100  # open files of a process beside its connections: libraries, the log, the listener, the key


def halves(target: str) -> tuple[str, ...]:
    """target: all, logic or repo."""
    return (LOGIC, REPO) if target == "all" else (target,)


@contextmanager
def announced(config: Config, target: str, address: str, metrics: str) -> Iterator[None]:
    """Logs what serves, and lets commands find it while the block lasts. metrics: a URL, or "".

    Called before the ready line goes to stdout: a program that has read that line finds all of this.
    """
    log.info("%s", _summary(config, target, address, metrics))
    _warn_of_open_files(config, target)
    logs.flush()
    with running.findable(config, halves(target), address, certificate_name(config.tls), metrics):
        yield


def log_first_user(config: Config, database: Database) -> None:
    """Names the command that makes the first user, where there is none."""
    if users.are_none(database):
        folder = quote(str(Path(config.server.data).absolute()))
        log.info("there are no users yet; this makes the first: gochat user create NAME --data %s", folder)


def _summary(config: Config, target: str, address: str, metrics: str) -> str:
    data = f"repo half at {config.repo.address}" if target == LOGIC else place(config)
    tls = "with TLS" if config.tls.cert else "without TLS"
    if config.tls.client_ca:
        tls += " and client certificates"
    counted = f"metrics on {metrics}" if metrics else "no metrics"
    return f"gochat {version('gochat')} ({', '.join(halves(target))}) listens on {address} {tls}; {data}; {counted}"


def _warn_of_open_files(config: Config, target: str) -> None:
    """Each connection is an open file; beyond the limit, new ones are not accepted."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    database = config.database.pool_max if config.database.is_postgres and target != LOGIC else 0
    if limit != resource.RLIM_INFINITY and config.limits.connections + database + OTHER_FILES > limit:
        log.warning(
            "limits.connections: %d connections and what else is open need more than the %d files that this process may"
            " open: raise that limit (ulimit -Hn, LimitNOFILE) or lower the setting",
            *(config.limits.connections, limit),
        )
