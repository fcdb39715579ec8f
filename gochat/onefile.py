"""What is different where the program is one file, dist/gochat, made by tests/onefile.py.

Its outer process unpacks it into a temporary folder, runs it as a child, passes signals on, and removes the folder.
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

YOUNG = 60.0  # seconds in which a folder may still be being unpacked
LOCKED = "base_library.zip"  # a file in each of these folders
_PR_SET_PDEATHSIG = 1


def settle() -> None:
    """Call it first. Returns in the process that is to be the program, and no other."""
    freeze_support()
    folder = Path(sys._MEIPASS)  # type: ignore[attr-defined]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # who kills the outer process means this one
    if "serve" in sys.argv:
        os.setpgid(0, 0)  # Ctrl-C reaches it from the outer process alone: twice means at once
    fcntl.flock(os.open(folder / LOCKED, os.O_RDONLY), fcntl.LOCK_SH)
    for other in folder.parent.glob("_MEI*"):
        if (other / "gochat").is_dir():
            with suppress(OSError):
                _sweep(other)
    if sys.argv[1:2] == ["-m"] and sys.argv[2:]:  # sys.executable is us, where a module is to be run
        del sys.argv[1]
        module = sys.argv.pop(1)
        if module != "gochat":
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit()


def _sweep(folder: Path) -> None:
    """Removes what an outer process that was killed has left behind. Raises OSError where it is in use."""
    if time.time() - folder.stat().st_mtime > YOUNG:
        with (folder / LOCKED).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
