"""As test_check.py, of what groups let people do."""

from collections.abc import Iterator

import peewee
import pytest

from tests.conftest import Own
from tests.harness import Deployment
from tests.life import Life, lived
from tests.repo.test_check import harmed

NOWHERE, NOBODY = "gnowhere", "unobody"
IN_CLUB, IN_PAIR = (f"conversation_id = '{{{name}}}'" for name in ("club", "pair"))
BAN = "INSERT INTO bans (conversation_id, user_id, until, reason, banned_by, banned_at) VALUES"
REQUEST = "INSERT INTO join_requests (conversation_id, user_id, note, requested_at) VALUES"
INVITATION = (
    "INSERT INTO invitations (conversation_id, token, created_by, created_at, expires_at, max_uses, uses) VALUES"
)
HARMS = [
    *(
        (f"UPDATE conversations SET {change} WHERE {IN_CLUB}", "conversations {club}: a setting is none")
        for change in ("posting = 'x'", "adding = ''", "editing = 'x'", "joining = 'x'", "slow_mode_seconds = 86401")
    ),
    (
        f"UPDATE conversations SET search_key = 'x' WHERE {IN_CLUB}",
        "conversations {club}: search_key is not that of its name",
    ),
    (
        f"UPDATE conversations SET search_key = 'x', name = 'X' WHERE {IN_PAIR}",
        "conversations {pair}: is searchable and no living group",
    ),
    *(
        (
            f"UPDATE member_details SET {column} = -1 WHERE {IN_CLUB} AND user_id = '{{bob}}'",
            "member_details {club} {bob}: muted_until or last_sent_at is below 0",
        )
        for column in ("muted_until", "last_sent_at")
    ),
    (
        f"UPDATE member_details SET user_id = '{{zoe}}' WHERE {IN_CLUB}",
        "member_details {club} {zoe}: has a title or a name and is no member",
    ),
    (
        f"INSERT INTO member_details (conversation_id, user_id) VALUES ('{NOWHERE}', '{{ann}}')",
        f"member_details {NOWHERE} {{ann}}: conversation_id is not a living group",
    ),
    (
        f"UPDATE conversations SET muted_until = 5 WHERE {IN_CLUB}",
        "member_details {club} {bob}: is muted beyond muted_until of the conversation",
    ),
    (f"{BAN} ('{NOWHERE}', '{{ann}}', 0, '', '', 0)", f"bans {NOWHERE} {{ann}}: conversation_id is not a living group"),
    (f"{BAN} ('{{club}}', '{NOBODY}', 0, '', '', 0)", f"bans {{club}} {NOBODY}: user_id is not in users"),
    (f"{BAN} ('{{club}}', '{{bob}}', 0, '', '', 0)", "bans {club} {bob}: is a member nevertheless"),
    (
        f"{REQUEST} ('{NOWHERE}', '{{ann}}', '', 0)",
        f"join_requests {NOWHERE} {{ann}}: conversation_id is not a living group",
    ),
    (
        f"{REQUEST} ('{{club}}', '{NOBODY}', '', 0)",
        f"join_requests {{club}} {NOBODY}: user_id is not in users, or deleted",
    ),
    (f"{REQUEST} ('{{club}}', '{{bob}}', '', 0)", "join_requests {club} {bob}: is a member nevertheless"),
    (
        f"{INVITATION} ('{NOWHERE}', 't', '', 0, 0, 0, 0)",
        f"invitations {NOWHERE} t: conversation_id is not a living group",
    ),
    (f"{INVITATION} ('{{club}}', 't', '{{zoe}}', 0, 0, 0, 0)", "invitations {club} t: is not of a member"),
    (
        f"{INVITATION} ('{{club}}', 't', '', 0, 0, 1, 2)",
        "invitations {club} t: was used more often than it may be",
    ),
]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, own_of_module: Own) -> Iterator[tuple[Deployment, Life, peewee.Database]]:
    app = own_of_module(request.param)
    life = lived(app)
    app.stop()
    database = peewee.PostgresqlDatabase(app.url) if app.url else peewee.SqliteDatabase(app.data / "gochat.db")
    yield app, life, database
    database.close()


@pytest.mark.parametrize(("harm", "says"), HARMS)
def test_each_harm_is_found_and_nothing_else(
    home: tuple[Deployment, Life, peewee.Database], harm: str, says: str
) -> None:
    found, names = harmed(home, harm)
    assert found == [says.format(**names)]
