"""`python -m tests.commands.other_user COMMAND...` as root: the program `gochat` as the user `nobody`.

Nobody may not be able to read the Python that the tests run on, so everything is imported before root becomes them.
"""

import encodings.idna
import os
import sys
from pwd import getpwnam

import gochat.cli

NAME = "nobody"


def main() -> int:
    account = getpwnam(NAME)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    return gochat.cli.main()


if __name__ == "__main__":
    "".encode(encodings.idna.__name__.rpartition(".")[2])
    sys.exit(main())
