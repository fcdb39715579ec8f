"""The servers that are broken: GoChat on SQLite, on PostgreSQL, or as two Logic and two Repo processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from operator import not_
from pathlib import Path

import grpc

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from tests.harness import PASSWORD, UNLIMITED, bearer, fresh
from tests.pgbouncer import PgBouncer, running_pgbouncer
from tests.postgres import Pair, Postgres, running_postgres
from tests.processes import Process, free_address, gochat
from tests.robustness import network
from tests.robustness.ledger import Ledger
from tests.robustness.people import Person, Stubs
from tests.waiting import polled

MODES = ("sqlite", "postgres", "pgbouncer", "split")
CLOCK_FILE = "TEST_CLOCK"  # of clocks.c; each node has one of its own
HOSTS = ("l1", "l2", "r1", "r2")  # two of Logic, two of Repo
SETTINGS = UNLIMITED | {
    "GOCHAT_AUTH_REGISTRATION": "open",
    "GOCHAT_AUTH_ACCESS_TTL": "86400",
    "GOCHAT_DATABASE_POOL_MIN": "2",
    "GOCHAT_LOG_LEVEL": "warning",
}


@dataclass
class Node:
    """One server process, with an address that it keeps when it is started again. within: words that have it run on
    its host. program: words that make it another version (tests/storage/test_rolling.py)."""

    target: str
    address: str
    data: Path
    env: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    process: Process | None = None

    @property
    def clock(self) -> Path:
        """The file that says what time this host sees, as a difference in seconds."""
        return self.data.parent / f"clock-{self.address.replace(':', '-')}"

    def start(self) -> None:
        host, _, port = self.address.rpartition(":")
        env = SETTINGS | self.env
        if CLOCK_FILE in env:
            if not self.clock.exists():
                self.clock.write_text("+0")
            env[CLOCK_FILE] = str(self.clock)
        # On a host of its own it is reached from two sides.
        listen = f"0.0.0.0:{port}" if self.within else f"{host}:{port}"
        arguments = ("serve", "--target", self.target, "--data", str(self.data), "--listen", listen, "--insecure")
        log = self.data.parent / f"{self.target}{port}{'-'.join(self.within[-1:])}.log"
        self.process = Process(*arguments, env=env, log=log, within=(*self.within, *self.program))

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


class Cluster:
    """nodes: every server process. logic, repo: gRPC targets. user: one that there is."""

    def __init__(
        self,
        folder: Path,
        nodes: list[Node],
        postgres: Postgres | None,
        pair: Pair | None,
        seam: network.Network | None,
        pooler: PgBouncer | None = None,
    ) -> None:
        self.folder, self.nodes, self.postgres, self.pair, self.seam = folder, nodes, postgres, pair, seam
        self.pooler = pooler
        self.data = nodes[0].data
        self.logic_addresses = [node.address for node in nodes if node.target != "repo"]
        self.logic = _targets([node for node in nodes if node.target != "repo"])
        self.repo = _targets([node for node in nodes if node.target != "logic"])
        self.service, self.user = "", ""

    def start(self) -> None:
        for node in reversed(self.nodes):  # Logic waits for Repo
            if node.process is None:
                node.start()
        if not self.service:
            self.service = self.run("token", "--role", "service", "--ttl", "48h").stdout.strip()

    def run(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A gochat command on the same data."""
        env = self.nodes[-1].env
        return gochat(*arguments, "--data", self.data, env=env, program=sys.executable, check=check, timeout=300)

    def stubs(self) -> Stubs:
        return Stubs(self.logic, self.repo)

    def people(self, ledger: Ledger, clients: int, listeners: int, others: int) -> list[Person]:
        """Those who act, signed in; then those who are signed in and only listen. And groups of those who act."""
        stubs, service = self.stubs(), bearer(self.service)
        people = []
        for number in range(clients + listeners + others):
            name = fresh("person")
            user = repo_pb2.CreateUserRequest(username=name, password=PASSWORD)
            user_id = stubs.repo.CreateUser(user, metadata=service).user_id
            ledger.users.append(user_id)
            if number < clients:
                ledger.clients.append(user_id)
            if number < clients + listeners:
                signed_in = stubs.logic.Authenticate(logic_pb2.AuthRequest(username=name, password=PASSWORD))
                people.append(Person(user_id, name, signed_in.access_token, self.stubs()))
        owner, *rest = ledger.clients
        self.user = owner
        for number in range(4):
            group = logic_pb2.CreateGroupRequest(name=f"Group {number}", owner_id=owner, member_ids=rest)
            group_id = stubs.logic.CreateGroup(group, metadata=service).group_id
            ledger.add_group(group_id, owner, tuple(rest))
        stubs.close()
        return people

    def settle(self) -> None:
        """Returns when every process answers, whichever other it asks: many calls in a row succeed."""
        stubs, service = self.stubs(), bearer(self.service)
        profile = logic_pb2.GetUserProfileRequest(user_id=self.user)
        record = repo_pb2.GetUserRequest(user_id=self.user)

        def failure() -> str:
            try:
                for _ in range(4 * len(self.nodes)):
                    stubs.logic.GetUserProfile(profile, metadata=service, timeout=5)
                    stubs.repo.GetUser(record, metadata=service, timeout=5)
            except grpc.RpcError as error:
                return str(error)
            return ""

        if failed := polled(failure, not_, 60):
            logs = "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
            raise AssertionError(f"it did not come back: {failed}\n{logs}")
        stubs.close()


def _targets(nodes: list[Node]) -> str:
    return "ipv4:" + ",".join(node.address for node in nodes)


@contextmanager
def cluster(
    mode: str, folder: Path, env: dict[str, str] | None = None, *, with_standby: bool = False
) -> Iterator[Cluster]:
    """A running one. In split mode each process is on a host of its own where that is permitted.

    env: settings for all processes. with_standby: PostgreSQL has a synchronous one.
    """
    with ExitStack() as resources:
        hosts = resources.enter_context(network.network(HOSTS)) if mode == "split" and network.permitted() else None
        postgres, pair, pooler, env = None, None, None, dict(env or {})
        if mode != "sqlite":
            postgres = resources.enter_context(running_postgres(hosts.host if hosts else "127.0.0.1"))
            pair = resources.enter_context(Pair(postgres)) if with_standby else None
            url = pair.url if pair else postgres.create_database()
            if pair:
                pair.synchronous()
            if mode == "pgbouncer":
                pooler = resources.enter_context(running_pgbouncer(postgres))
                url = pooler.prepared(url)
            env["GOCHAT_DATABASE_URL"] = url
        nodes = _split(folder / "data", env, hosts) if mode == "split" else [_node("all", folder / "data", env)]
        made = Cluster(folder, nodes, postgres, pair, hosts, pooler)
        resources.callback(lambda: [node.kill() for node in nodes])
        made.start()
        yield made


def _node(target: str, data: Path, env: dict[str, str]) -> Node:
    return Node(target, free_address(), data, env)


def _split(data: Path, env: dict[str, str], hosts: network.Network | None) -> list[Node]:
    env = env | {"GOCHAT_AUTH_SECRET": "one secret for all the processes"}
    targets = {name: {"l": "logic", "r": "repo"}[name[0]] for name in HOSTS}
    if hosts is None:
        nodes = [_node(target, data, env) for target in targets.values()]
        seam = [node.address for node in nodes if node.target == "repo"]
    else:
        nodes = [
            Node(target, f"{hosts.address(name)}:{network.PORT}", data, env, hosts.within(name))
            for name, target in targets.items()
        ]
        seam = [f"{hosts.seam_address(name)}:{network.PORT}" for name in ("r1", "r2")]
    for node in nodes[:2]:
        node.env = env | {"GOCHAT_REPO_ADDRESS": "ipv4:" + ",".join(seam)}
    return nodes
