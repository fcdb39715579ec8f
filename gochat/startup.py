"""What a start checks before it serves, and what it leaves for the operator: one line in the log that says what serves
where, and where commands find it."""

import logging
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from shlex import quote

from gochat import logs, running
from gochat.config import Config, ConfigError, is_loopback, parse_address
from gochat.repo import users
from gochat.rpc.tls import certificate_name
from gochat.services import LOGIC, REPO
from gochat.storage.database import Database
from gochat.storage.engine import place
from gochat.storage.postgres import PostgresDatabase

log = logging.getLogger(__name__)

OTHER_FILES = 100  # open files of a process beside its connections: libraries, the log, the listener, the key


TARGETS = ("all", LOGIC, REPO)


def halves(target: str) -> tuple[str, ...]:
    """target: all, logic or repo."""
    return (LOGIC, REPO) if target == "all" else (target,)


@contextmanager
def announced(config: Config, target: str, address: str, web: str, metrics: str) -> Iterator[None]:
    """Logs what serves, and lets commands find it while the block lasts. web, metrics: URLs, or "".

    Called before the ready line goes to stdout: a program that has read that line finds all of this.
    """
    log.info("%s", _summary(config, target, address, web, metrics))
    _warn_of_open_files(config, target, web)
    logs.flush()
    with running.findable(config, halves(target), address, certificate_name(config.tls), metrics):
        yield


def log_first_user(config: Config, database: Database) -> None:
    """Names the command that makes the first user, where there is none."""
    if users.are_none(database):
        folder = quote(str(Path(config.server.data).absolute()))
        log.info("there are no users yet; this makes the first: gochat user create NAME --data %s", folder)


def warn_of_failover(database: Database) -> None:
    """Says what the operator may not know of the servers that they named."""
    if isinstance(database, PostgresDatabase) and database.may_lose_commits:
        log.warning(
            "database.url names several servers, and synchronous_standby_names is empty: after a failover the last"
            " commits may be missing"
        )


def _summary(config: Config, target: str, address: str, web: str, metrics: str) -> str:
    data = f"repo half at {config.repo.address}" if target == LOGIC else place(config)
    tls = "with TLS" if config.tls.cert else "without TLS"
    if config.tls.client_ca:
        tls += " and client certificates"
    counted = f"metrics on {metrics}" if metrics else "no metrics"
    by_http = f"; web on {web}" if web else ""
    serves = f"gochat {version('gochat')} ({', '.join(halves(target))}) listens on {address} {tls}{by_http}"
    return f"{serves}; {data}; {counted}"


def _warn_of_open_files(config: Config, target: str, web: str) -> None:
    """Each connection is an open file; beyond the limit, new ones are not accepted."""
    connections = config.limits.connections * (2 if web else 1)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    database = config.database.pool_max if config.database.is_postgres and target != LOGIC else 0
    if limit != resource.RLIM_INFINITY and connections + database + OTHER_FILES > limit:
        log.warning(
            "limits.connections: %d connections and what else is open need more than the %d files that this process may"
            " open: raise that limit (ulimit -Hn, LimitNOFILE) or lower the setting",
            *(connections, limit),
        )


def checked(config: Config, target: str | None, *, insecure: bool) -> str:
    """The target to serve. Raises ConfigError for settings that do not go together."""
    target = target_of(config, target)
    if not insecure:
        _check_private(config, target)
    _check_workers(config, target)
    return target


def target_of(config: Config, target: str | None) -> str:
    """What is served, where None says: by the configuration. Raises ConfigError."""
    if target is None:
        return "logic" if config.repo.address else "all"
    if (target == "logic") != bool(config.repo.address) and target != "repo":
        raise ConfigError("repo.address: goes with --target logic, and --target logic with it")
    return target


def is_local(key: str, listen: str) -> bool:
    """Is this HOST:PORT, the value of a setting, on a loopback address? Raises ConfigError."""
    host, _ = parse_address(key, listen)
    return is_loopback(host)


def _check_workers(config: Config, target: str) -> None:
    """Workers are several processes on one database, which SQLite does not allow here."""
    if config.server.workers > 1 and target != "logic" and not config.database.is_postgres:
        raise ConfigError(
            "server.workers: must be 1 on SQLite, whose file only one process may write; for more set database.url to"
            " a PostgreSQL database"
        )


def _check_private(config: Config, target: str) -> None:
    """Tokens, passwords and messages cross a network unencrypted only if the operator says --insecure."""
    web = config.http.listen if target != REPO else ""
    for key, listen in (("server.listen", config.server.listen), ("http.listen", web)):
        if listen and not (config.tls.cert or is_local(key, listen)):
            raise ConfigError(
                f"{key}: other hosts can reach {listen}, in the clear: set tls.cert and tls.key, or say --insecure if"
                " what lies between is yours"
            )
    # A gRPC target: host:port, scheme:///host:port, or scheme:host:port,host:port.
    named = re.fullmatch(r"(?:(?:dns|ipv4|ipv6):(?:///)?)?([^/]*)", config.repo.address)
    hosts = named[1].split(",") if named else [""]
    if config.repo.address and not (config.tls.used or all(is_loopback(host.rpartition(":")[0]) for host in hosts)):
        raise ConfigError(
            f"repo.address: {config.repo.address} is another host, called in the clear: set tls.ca, or say"
            " --insecure if what lies between is yours"
        )
