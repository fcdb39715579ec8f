"""Start-up of the program as one file, dist/gochat, made by tests/onefile.py.

The outer process of PyInstaller unpacks the program into a temporary folder, runs it as a child, passes signals on, and
removes the folder at the end.
"""

import ctypes
import fcntl
import os
import runpy
import shutil
import signal
import sys
import time
from contextlib import suppress
from multiprocessing import freeze_support
from pathlib import Path

UNPACKING_TIMEOUT = 60.0  # seconds: a folder that is younger may still be being unpacked
LOCK_FILE = "base_library.zip"  # a file that is in each of these folders
_PR_SET_PDEATHSIG = 1


def bootstrap() -> None:
    """To be called first. In processes that multiprocessing or `python -m` start it runs what they are for and
    exits."""
    freeze_support()
    folder = Path(sys._MEIPASS)  # type: ignore[attr-defined]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # this process ends when the outer one is killed
    if "serve" in sys.argv:
        os.setpgid(0, 0)  # otherwise Ctrl-C would come twice: from the terminal and the outer process
    fcntl.flock(os.open(folder / LOCK_FILE, os.O_RDONLY), fcntl.LOCK_SH)
    for other in folder.parent.glob("_MEI*"):
        if (other / "gochat").is_dir():
            with suppress(OSError):
                _remove_stale(other)
    if sys.argv[1:2] == ["-m"] and sys.argv[2:]:  # sys.executable is this program: runs a module with it
        del sys.argv[1]
        module = sys.argv.pop(1)
        if module != "gochat":
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit()


def _remove_stale(folder: Path) -> None:
    """Removes the folder of an outer process that was killed. Raises OSError if the folder is in use."""
    if time.time() - folder.stat().st_mtime > UNPACKING_TIMEOUT:
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
