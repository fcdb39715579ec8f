"""JSON that others wrote. Nothing in it raises but ValueError, and no number costs what is beside it."""

import json
from typing import Any


def whole(digits: str) -> int | float:
    """A whole number as json reads it; with more digits than Python takes it is infinite, as 1e999 is. So what takes
    numbers refuses it by its own rule, and what does not look at it does not notice."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


DECODER = json.JSONDecoder(parse_int=whole)


def loads(text: str | bytes) -> Any:
    """Raises ValueError."""
    try:
        return DECODER.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
