"""The search for users: by any part of their names, through an index of the sequences of up to three characters.

What very many users match is not looked up but read in the order of the answer, as far as the page: to rank so many
takes longer than to walk past the others.
"""

from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.domain import limits
from gochat.domain.text import casefold_key
from gochat.internal.store.v1 import store_pb2
from gochat.repo.users import ACTIVE, COLUMNS, DELETED, as_user, of_row
from gochat.storage.database import Database, Tx, placeholders

MANY, PART = 10_000, 5
"""Very many are more than MANY, and more than one in PART of all."""

# As in sql/0005_search.sqlite.sql. In a query it finds too much in the index, of which nothing stands the check.
_SEPARATOR = "\1"

_WITHIN = "(position(username_key, ?) > 0 OR position(nickname_key, ?) > 0)"
_BEGINNING = "(position(username_key, ?) = 1 OR position(nickname_key, ?) = 1)"
# In this order, and in each rank by username_key. Every parameter is the key.
_RANKS = (
    "username_key = ?",  # the only one of its kind, so that a name is always found
    "nickname_key = ? AND username_key <> ?",
    f"{_BEGINNING} AND username_key <> ? AND nickname_key <> ?",
    f"{_WITHIN} AND NOT {_BEGINNING}",
)
_RANK = f"CASE {' '.join(f'WHEN {rank} THEN {number}' for number, rank in enumerate(_RANKS[:3]))} ELSE 3 END"


class Search:
    def __init__(self, database: Database) -> None:
        self._database = database

    def FindUsers(self, request: store_pb2.FindUsersRequest) -> store_pb2.FindUsersResponse:
        page, limit = limits.page_of(request.pagination)
        key, status = casefold_key(request.query), DELETED if request.include_inactive else ACTIVE

        def work(tx: Tx) -> tuple[int, list[common_pb2.User]]:
            if request.query and not key:  # of characters that show nothing
                return 0, []
            find = _walked if not key or _is_in_very_many(tx, key) else _looked_up
            total, user_ids = find(tx, key, status, (page - 1) * limit, limit)
            return total, _users(tx, user_ids)

        total, users = self._database.read(work, replica=True)
        return store_pb2.FindUsersResponse(
            users=users, pagination=common_pb2.PaginationResponse(total=total, page=page, limit=limit)
        )


def _is_in_very_many(tx: Tx, key: str) -> bool:
    """Is the key in the names of very many? On PostgreSQL judged by a sample, one page of the table in a hundred."""
    if tx.postgres:
        sample = f"SELECT count(*), count(*) FILTER (WHERE {_WITHIN}) FROM users TABLESAMPLE SYSTEM (1)"
        users, matching = tx.fetch_all(_sql(tx, sample), key, key)[0]
        return bool(matching > max(MANY // 100, users // PART))
    beyond = (
        "SELECT 1 FROM user_search WHERE user_search MATCH ?"
        " LIMIT 1 OFFSET (SELECT max(?, coalesce(max(rowid), 0) / ?) FROM users)"
    )
    return tx.fetch_one(beyond, _match(key), MANY, PART) is not None


def _looked_up(tx: Tx, key: str, status: int, start: int, limit: int) -> tuple[int, list[str]]:
    """How many users match, and the ids of a page of them."""
    source, wanted = users_named(tx, key, status)
    rows = tx.fetch_all(
        _sql(
            tx,
            f"""
            SELECT total, user_id
            FROM (SELECT count(*) AS total FROM {source}) AS counted
            LEFT JOIN (
                SELECT user_id, username_key, {_RANK} AS rank FROM {source}
                ORDER BY rank, username_key LIMIT ? OFFSET ?
            ) AS page ON TRUE
            ORDER BY rank, username_key""",
        ),
        *wanted,
        *[key] * _RANK.count("?"),
        *wanted,
        *(limit, start),
    )
    return rows[0][0], [user_id for _, user_id in rows if user_id is not None]


def users_named(tx: Tx, key: str, status: int = DELETED) -> tuple[str, tuple[Any, ...]]:
    """What comes after FROM, to find the users up to this status with the key in a name by index, and its
    parameters."""
    tokens, source = (
        (_grams(key), "users WHERE name_grams(username_key, nickname_key) @> ?")
        if tx.postgres
        else (_match(key), "user_search CROSS JOIN users ON users.rowid = user_search.rowid WHERE user_search MATCH ?")
    )
    return _sql(tx, f"{source} AND {_WITHIN} AND status <= ?"), (tokens, key, key, status)


def _walked(tx: Tx, key: str, status: int, start: int, limit: int) -> tuple[int, list[str]]:
    """The same without the index: rank by rank, in each along the index of usernames from its nearer end, so that the
    last page costs what the first does, and one in the middle that it skips entries of an index."""
    named, nicknamed = (f"(SELECT count(*) FROM users WHERE {rank} AND status <= ?)" for rank in _RANKS[:2])
    count = f"""
        SELECT {named}, {nicknamed}, count(*) FILTER (WHERE {_BEGINNING}), count(*)
        FROM users WHERE {_WITHIN} AND status <= ?"""
    keys = (key, status, key, key, status, key, key, key, key, status)
    usernames, nicknames, beginning, total = tx.fetch_all(_sql(tx, count), *keys)[0]
    user_ids: list[str] = []
    for rank, size in zip(
        _RANKS, (usernames, nicknames, beginning - usernames - nicknames, total - beginning), strict=True
    ):
        number = min(limit - len(user_ids), size - start)
        if number > 0:
            backward = start > size // 2
            # A SELECT hides the offset from PostgreSQL's planner: a large one has it read and sort the whole table.
            walk = (
                f"SELECT user_id FROM users WHERE {rank} AND status <= ?"
                f" ORDER BY username_key {'DESC' if backward else 'ASC'} LIMIT ? OFFSET (SELECT ?)"
            )
            skipped = size - start - number if backward else start
            rows = tx.fetch_all(_sql(tx, walk), *[key] * rank.count("?"), status, number, skipped)
            user_ids += [user_id for (user_id,) in (reversed(rows) if backward else rows)]
        start = max(0, start - size)
    return total, user_ids


def _users(tx: Tx, user_ids: list[str]) -> list[common_pb2.User]:
    if not user_ids:
        return []
    rows = tx.fetch_all(
        f"SELECT {', '.join(COLUMNS)} FROM users WHERE user_id IN ({placeholders(user_ids)})", *user_ids
    )
    by_id = {user.user_id: user for user in map(of_row, rows)}
    return [as_user(by_id[user_id]) for user_id in user_ids]


def _sql(tx: Tx, text: str) -> str:
    return text.replace("position(", "strpos(" if tx.postgres else "instr(")


def _grams(key: str) -> list[str]:
    """The longest of the sequences that stand in the index for every name with the key in it."""
    return [key[at : at + 3] for at in range(max(1, len(key) - 2))]


def _match(key: str) -> str:
    """The same as an FTS5 query."""
    spread = _SEPARATOR.join(key)
    grams = {1: [f"{_SEPARATOR}{spread}{_SEPARATOR}"], 2: [spread]}.get(len(key)) or _grams(key)
    return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in grams)
