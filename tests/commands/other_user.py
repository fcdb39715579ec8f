"""`python -m tests.commands.other_user COMMAND...` as root: the program `gochat` as the user `nobody`.

Nobody may not be able to read the Python that the tests run on, so everything is imported before root becomes them.
"""

import encodings.idna
import os
import sys
from importlib import import_module
from pwd import getpwnam

import gochat.app
import gochat.cli
import gochat.workers

NAME = "nobody"


def main() -> int:
    account = getpwnam(NAME)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    return gochat.cli.main()


if __name__ == "__main__":
    for module in gochat.cli.COMMANDS.values():
        import_module(f"gochat.commands.{module}")
    "".encode(encodings.idna.__name__.rpartition(".")[2])
    sys.exit(main())
