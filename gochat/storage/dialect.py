"""Handwritten SQL is in SQLite's dialect; for PostgreSQL these words are replaced."""

from functools import lru_cache

_WORDS = {
    "json_group_array(": "json_agg(",
    "json_array(": "json_build_array(",
    " INDEXED BY messages_withdrawn": "",  # its planner chooses the index by itself
    " INDEXED BY members_unread": "",
    " INDEXED BY members_hiding": "",
    " INDEXED BY conversations_moved": "",
}


def for_postgres(text: str) -> str:
    for word, other in _WORDS.items():
        text = text.replace(word, other)
    return text


@lru_cache(maxsize=1000)
def for_driver(text: str) -> str:
    """For psycopg2: with %s for each ?."""
    return for_postgres(text).replace("?", "%s")
