"""Mode "hosts": what a larger installation has, each part on a host of its own: nginx before two Logic, which call two
Repo, which have PostgreSQL by PgBouncer, read from a replica of it, and wake each other by Redis.

    l1, l2, r1, r2   Logic and Repo          d1, d2   PostgreSQL and its replica
    n1               nginx, for clients      b1       PgBouncer
                                             c1       Redis
"""

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pgbouncer import running_pgbouncer
from tests.postgres import Postgres
from tests.processes import missing
from tests.robustness import network
from tests.robustness.cluster import Cluster, Node
from tests.waiting import eventually

NAMES = ("l1", "l2", "r1", "r2", "n1", "d1", "d2", "b1", "c1")
_NGINX, _BOUNCER, _REDIS, _POSTGRES = 50051, 6432, 6379, 5432
_BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()"""
_CONF = """
daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream logic {{
        server {one} max_fails=0;
        server {two} max_fails=0;
        keepalive 16;
    }}
    server {{
        listen {port} http2;
        client_max_body_size 0;
        grpc_connect_timeout 1s;
        grpc_read_timeout 60s;
        grpc_send_timeout 60s;
        location / {{ grpc_pass grpc://logic; }}
    }}
}}
"""


@dataclass(frozen=True)
class Host:
    """start: what runs there, after it was killed."""

    name: str
    start: Callable[[], None]


class Hosts(Cluster):
    """A cluster whose clients come by nginx, and that has more hosts than those of GoChat."""

    def __init__(
        self, folder: Path, nodes: list[Node], seam: network.Network, hosts: list[Host], database: Postgres
    ) -> None:
        super().__init__(folder, nodes, None, None, seam)
        self.hosts, self.net, self.struck = hosts, seam, Counter[str]()
        self._database = database
        entrance = f"{seam.address('n1')}:{_NGINX}"
        self.logic_addresses, self.logic = [entrance], f"ipv4:{entrance}"

    def settle(self) -> None:
        """Also returns when nothing is left of calls that were given up: in buffers, which TCP may send half a minute
        after a network was mended, or in the database."""
        super().settle()
        eventually(lambda: all(map(self.net.is_quiet, NAMES)) and self._database.ask(_BUSY) == 0, 120)

    def kill(self, host: Host) -> None:
        for node in self.nodes:
            if node.within == self.net.within(host.name):
                node.kill()
        self.net.signal(host.name, signal.SIGKILL)


@contextmanager
def hosts(folder: Path, env: dict[str, str]) -> Iterator[Hosts]:
    """env: settings for all GoChat processes."""
    with ExitStack() as resources:
        net = resources.enter_context(network.network(NAMES))
        database = Postgres(net.address("d1"), port=_POSTGRES, within=net.within("d1"))
        resources.callback(database.remove)
        replica = Postgres(net.address("d2"), database, _POSTGRES, within=net.within("d2"))
        resources.callback(replica.remove)
        url = database.create_database()
        at = {"host": net.address("b1"), "port": _BOUNCER, "within": net.within("b1")}
        pooler = resources.enter_context(running_pgbouncer(database, **at))
        redis = _Program(net, "c1", folder / "redis", _redis(folder / "redis"))
        nginx = _Program(net, "n1", folder / "nginx", _nginx(net, folder / "nginx"))
        for program in (redis, nginx):
            resources.callback(program.stop)
            program.start()
        env = env | {
            "GOCHAT_AUTH_SECRET": "one secret for all the processes",
            "GOCHAT_DATABASE_URL": pooler.prepared(url),
            "GOCHAT_DATABASE_REPLICA_URL": url.replace(database.host, replica.host),
            "GOCHAT_DATABASE_POOL_MIN": "2",
            "GOCHAT_DATABASE_POOL_MAX": "9",
            "GOCHAT_EVENTS_BROKER": f"redis://{net.address('c1')}:{_REDIS}/0",
        }
        seam = ",".join(f"{net.seam_address(name)}:{network.PORT}" for name in ("r1", "r2"))
        of_logic = {name: value for name, value in env.items() if "DATABASE" not in name}
        of_logic["GOCHAT_REPO_ADDRESS"] = f"ipv4:{seam}"
        kinds = {"l1": ("logic", of_logic), "l2": ("logic", of_logic), "r1": ("repo", env), "r2": ("repo", env)}
        nodes = [
            Node(target, f"{net.address(name)}:{network.PORT}", folder / "data", settings, net.within(name))
            for name, (target, settings) in kinds.items()
        ]
        made = Hosts(
            *(folder, nodes, net),
            [
                *(Host(name, node.start) for name, node in zip(kinds, nodes, strict=True)),
                Host("d1", lambda: eventually(database.starts)),
                Host("d2", lambda: eventually(replica.starts)),
                Host("b1", pooler.start),
                Host("c1", redis.start),
                Host("n1", nginx.start),
            ],
            database,
        )
        resources.callback(lambda: [node.kill() for node in nodes])
        made.start()
        yield made


class _Program:
    """One that runs on a host, with a folder of its own."""

    def __init__(self, net: network.Network, name: str, folder: Path, command: list[str]) -> None:
        self._command, self._log = [*net.within(name), *command], folder / "log"

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _redis(folder: Path) -> list[str]:
    folder.mkdir()
    words = ("--port", str(_REDIS), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", str(folder))
    return [_found("redis-server"), *words]


def _nginx(net: network.Network, folder: Path) -> list[str]:
    folder.mkdir()
    one, two = (f"{net.address(name)}:{network.PORT}" for name in ("l1", "l2"))
    (folder / "nginx.conf").write_text(_CONF.format(folder=folder, one=one, two=two, port=_NGINX))
    return [_found("nginx"), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _found(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if not found:
        missing(f"no {program} on the PATH")
    return str(found)
