"""What commands show on a terminal while they work."""

import shutil
import sys


def show_line(text: str) -> None:
    """Shows a line, in place of one of progress."""
    show_progress("", 0)
    print(text, file=sys.stderr, flush=True)


def show_progress(text: str, share: float) -> None:
    """Shows a line of progress on a terminal, in place of the last one. A {} in the text becomes the bar."""
    if sys.stderr.isatty():
        width = min(40, shutil.get_terminal_size().columns - len(text) - 1)
        filled = round(width * share)
        print(f"\r\x1b[K{text.format('#' * filled + '-' * (width - filled))}", end="", file=sys.stderr, flush=True)
