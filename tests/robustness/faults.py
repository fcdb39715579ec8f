"""What is done to a running cluster while clients act. Each fault strikes when its block begins, and is over, with
everything well again, when it ends."""

import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.processes import children, frozen
from tests.robustness import network
from tests.robustness.cluster import CLOCK_FILE, Cluster
from tests.robustness.hosts import Hosts
from tests.waiting import eventually

CLOCKS = Path(__file__).with_name("clocks.c")
Strike = Callable[[Cluster, random.Random], AbstractContextManager[None]]


@contextmanager
def kill(cluster: Cluster, dice: random.Random) -> Iterator[None]:
    """SIGKILL of a server process, any one; where it has workers, of it or of one of them, which it starts again."""
    node = dice.choice(cluster.nodes)
    workers = [pid for pid in children(node.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if workers and dice.random() < 0.5:
        os.kill(dice.choice(workers), signal.SIGKILL)
    else:
        node.kill()
    yield
    cluster.start()


@contextmanager
def database(cluster: Cluster, dice: random.Random) -> Iterator[None]:
    """The PostgreSQL server dies: by an immediate shutdown, or as its first process is killed."""
    postgres = cluster.postgres
    assert postgres is not None
    if dice.random() < 0.5:
        postgres.stop("immediate")
    else:
        os.kill(postgres.pid, signal.SIGKILL)
    yield
    eventually(postgres.starts)  # orphans of a killed server hold its memory until they notice


@contextmanager
def failover(cluster: Cluster, _: random.Random) -> Iterator[None]:
    """The PostgreSQL server and its host are gone, its standby is promoted, and gets a standby of its own."""
    assert cluster.pair is not None
    cluster.pair.primary.kill()
    yield
    cluster.pair.standby.promote()
    cluster.pair.pair_again()
    cluster.pair.synchronous()


@contextmanager
def pooler(cluster: Cluster, _: random.Random) -> Iterator[None]:
    """PgBouncer is killed."""
    assert cluster.pooler is not None
    cluster.pooler.kill()
    yield
    cluster.pooler.start()


@contextmanager
def disk(cluster: Cluster, _: random.Random) -> Iterator[None]:
    """The servers' files may not grow (RLIMIT_FSIZE), as on a full disk; some have room left and some have none."""
    size = (cluster.data / "gochat.db-wal").stat().st_size
    limits = resource.prlimit(cluster.nodes[0].pid, resource.RLIMIT_FSIZE)
    resource.prlimit(cluster.nodes[0].pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    yield
    resource.prlimit(cluster.nodes[0].pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def full(cluster: Cluster, dice: random.Random) -> Iterator[None]:
    """The file system with the database is full: a small one in memory, whose rest something else takes."""
    place = cluster.postgres.data if cluster.postgres else cluster.data
    filler = place.parent / "filler" if cluster.postgres else place / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(65536)):
                pass
        file.truncate(max(0, file.tell() - dice.choice([0, 4096, 65536])))
    yield
    filler.unlink()
    if cluster.postgres:  # it ends itself when it cannot write its log
        try:
            os.kill(cluster.postgres.pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            cluster.postgres.start()


@contextmanager
def small_disk(folder: Path, size: str = "160m") -> Iterator[None]:
    """Makes the folder, and where temporary files go, a file system of that size."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", folder], check=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def clock(cluster: Cluster, dice: random.Random) -> Iterator[None]:
    """The clock of all server processes jumps, or that of one host of several, and jumps back."""
    clocks = [node.clock for node in cluster.nodes]
    for one in clocks if dice.random() < 0.5 else [dice.choice(clocks)]:
        one.write_text(f"{dice.choice(JUMPS):+d}")
    yield
    for one in clocks:
        one.write_text("+0")


def moving_clocks(folder: Path) -> dict[str, str]:
    """The environment of processes whose clocks can jump; Node.start() names the file of each. Not libfaketime: with it
    time.sleep() fails where the monotonic clock is left alone."""
    library = folder / "clocks.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, CLOCKS], check=True)
    return {"LD_PRELOAD": str(library), CLOCK_FILE: ""}


_DAY = 86_400
JUMPS = (-4000 * _DAY, -40 * _DAY, -2 * _DAY, -600, -30, -2, 2, 30, 600, 2 * _DAY, 40 * _DAY, 4000 * _DAY)
"""Seconds, beyond every lifetime: access tokens last a day here, refresh tokens and sessions 30, ended sessions are
kept for two."""


@contextmanager
def cut(cluster: Cluster, _: random.Random) -> Iterator[None]:
    """What Logic and Repo send each other is lost without a word."""
    assert cluster.seam is not None
    cluster.seam.cut_seam()
    yield
    cluster.seam.mend_seam()
    cluster.settle()  # what lay in buffers has arrived before the calls that are answered then


@contextmanager
def unwritable(cluster: Cluster, _: random.Random) -> Iterator[None]:
    """The files of the database can no longer be written (chattr +i), not even by who has them open. Not SQLite's
    -shm: it is memory of the process, which the kernel ends (SIGBUS) when it writes there."""
    files = [cluster.data / "gochat.db", cluster.data / "gochat.db-wal"]
    subprocess.run(["chattr", "+i", *files], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


@contextmanager
def freeze(cluster: Cluster, dice: random.Random) -> Iterator[None]:
    """A server process neither answers nor dies (SIGSTOP: a host that swaps, a disk that hangs); or PostgreSQL does."""
    pids = [node.pid for node in cluster.nodes] + ([cluster.postgres.pid] if cluster.postgres else [])
    with frozen(dice.choice(pids)):
        yield
    cluster.settle()  # what lay in buffers is done before the calls that are answered then


@contextmanager
def any_host(cluster: Cluster, dice: random.Random) -> Iterator[None]:
    """Any one host of mode "hosts" is killed, cut off or frozen."""
    assert isinstance(cluster, Hosts)
    host, how = dice.choice(cluster.hosts), dice.choice(("killed", "cut off", "frozen"))
    cluster.struck[f"{host.name} {how}"] += 1
    if how == "killed":
        cluster.kill(host)
        yield
        host.start()
    elif how == "cut off":
        cluster.net.cut_off(host.name)
        yield
        cluster.net.mend(host.name)
    else:
        cluster.net.signal(host.name, signal.SIGSTOP)
        yield
        cluster.net.signal(host.name, signal.SIGCONT)


@dataclass(frozen=True)
class Fault:
    """needs() -> what is missing here for it; "" if nothing. may_fail: status codes that calls may end with. resyncs:
    devices have to read everything again, and what they were pushed is not looked at."""

    strike: Strike
    modes: tuple[str, ...]
    needs: Callable[[], str] = lambda: ""
    may_fail: frozenset[str] = frozenset({"UNAVAILABLE"})
    outage: float = 0.5  # seconds at most
    resyncs: bool = False


def _root() -> str:
    return "" if os.geteuid() == 0 else "root"


FAULTS = {
    "kill": Fault(
        kill,
        ("sqlite", "postgres", "pgbouncer", "split"),
        may_fail=frozenset({"UNAVAILABLE", "CANCELLED"}),  # grpc's word for it when workers drain, whose parent is dead
    ),
    "database": Fault(database, ("postgres", "split")),
    "failover": Fault(failover, ("postgres", "split"), resyncs=True),
    # PgBouncer has calls wait for it.
    "backend": Fault(database, ("pgbouncer",), may_fail=frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})),
    "pooler": Fault(pooler, ("pgbouncer",)),
    "any": Fault(
        any_host,
        ("hosts",),
        lambda: "" if network.permitted() else "root, for network namespaces",
        frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}),
        15.0,
    ),
    "disk": Fault(disk, ("sqlite",)),
    "full": Fault(full, ("sqlite", "postgres"), _root),
    "clock": Fault(
        clock,
        ("sqlite", "postgres", "split"),
        lambda: "" if shutil.which("cc") else "a C compiler",
        # A token that was issued in the future; a call that came in at the moment of the jump: grpc hands its deadline
        # over as a time of day.
        frozenset({"UNAUTHENTICATED", "DEADLINE_EXCEEDED"}),
        1.0,
    ),
    "cut": Fault(
        cut,
        ("split",),
        lambda: "" if network.permitted() else "root, for network namespaces",
        frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"}),
        5.0,
    ),
    "frozen": Fault(
        freeze,
        ("sqlite", "postgres", "pgbouncer", "split"),
        may_fail=frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"}),
        outage=5.0,
    ),
    "unwritable": Fault(unwritable, ("sqlite",), _root),
}
