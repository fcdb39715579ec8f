"""gochat bench: measures this machine, with what is in gochat/bench."""

from gochat import bench
from gochat.commands.arguments import Subparsers, add_command, between, number


def add_to(commands: Subparsers) -> None:
    measured = add_command(
        commands, "bench", bench.run, "measure on this machine (Linux), with servers and a database made for it"
    )
    measured.add_argument(
        "--database",
        default="sqlite",
        metavar="URL",
        help="an empty postgresql://user:password@host/NAME (default: sqlite); --growth makes NAME_small, NAME_large",
    )
    measured.add_argument(
        "--target", choices=("all", "split"), default="all", help="one process (default), or its two halves"
    )
    measured.add_argument(
        "--workers", type=number(100), default=1, metavar="N", help="of [server] workers, on PostgreSQL (default: 1)"
    )
    measured.add_argument(
        "--rpc", nargs="+", choices=bench.NAMES, metavar="NAME", help=f"only these of {', '.join(bench.NAMES)}"
    )
    measured.add_argument(
        "--concurrency", type=number(1000), default=16, metavar="N", help="calls in flight (default: 16)"
    )
    measured.add_argument(
        "--duration", type=between(0.1, 600), default=5.0, metavar="SECONDS", help="of each RPC (default: 5)"
    )
    for name, size in (("users", 10_000), ("messages", 200_000), ("conversations", 1_000), ("members", 100)):
        of_what = "of a group" if name == "members" else "in all"
        measured.add_argument(
            f"--{name}", type=number(10**8), default=size, metavar="N", help=f"{of_what} (default: {size:,})"
        )
    measured.add_argument(
        "--growth", action="store_true", help="instead: a small and a large database, one call at a time"
    )
    measured.add_argument(
        "--push", action="store_true", help="instead: streams of events; their delay, cost, memory, and return"
    )
    measured.add_argument(
        "--plan",
        nargs=2,
        type=number(10**9 - 1),
        metavar=("USERS", "MESSAGES_PER_DAY"),
        help="instead: measure for a minute, and say what so much takes: cores, memory, disk, and which step of growth",
    )
    measured.add_argument(
        "--scale",
        type=between(0.001, 1),
        default=1.0,
        help="of the large database of --growth, and of --push, 0.001 to 1",
    )
    measured.add_argument("--data", metavar="DIR", help="keep the database here and use it again (default: removed)")
    measured.add_argument("--seed-only", action="store_true", help="make the database and no more")
    measured.add_argument("--json", action="store_true", help="one JSON object")
