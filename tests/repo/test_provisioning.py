"""What `provision` does, on both databases without a server: who is named, what is set, what it writes."""

from typing import Any

import pytest

from gochat.api.user.v1.user_pb2 import OUTCOME_CREATED, OUTCOME_UNCHANGED, OUTCOME_UPDATED
from gochat.domain.changes import Kind
from gochat.errors import ChatError
from gochat.repo.provisioning import Wanted, provision, provision_all
from gochat.repo.users import get_user
from gochat.storage.database import Tx
from gochat.storage.models import User
from tests.harness import fresh


def one(database: Any, **fields: str) -> tuple[str, int]:
    done: tuple[str, int] = database.write(lambda tx: provision(tx, Wanted(**fields)))
    return done


def stored(database: Any, user_id: str) -> User:
    user: User = database.read(lambda tx: get_user(tx, user_id))
    return user


def test_a_user_is_made_changed_and_left_alone(database: Any) -> None:
    external_id, name = fresh("id-"), fresh("Anna")
    wanted = {"external_id": external_id, "username": name, "nickname": "Anna", "email": "anna@example.com"}
    user_id, outcome = one(database, **wanted)
    assert outcome == OUTCOME_CREATED
    assert one(database, **wanted) == (user_id, OUTCOME_UNCHANGED)
    assert one(database, external_id=external_id, nickname="Ann", avatar="https://a") == (user_id, OUTCOME_UPDATED)
    user = stored(database, user_id)
    assert (user.username, user.nickname, user.nickname_key, user.avatar) == (name, "Ann", "ann", "https://a")
    assert (user.email, user.external_id, user.password_hash) == ("anna@example.com", external_id, "")


def test_the_first_id_that_is_given_names_the_user(database: Any) -> None:
    name = fresh("bob")
    user_id, _ = one(database, username=name)
    assert one(database, username=name.upper(), bio="by name") == (user_id, OUTCOME_UPDATED)
    assert stored(database, user_id).username == name  # which names them, and renames nobody
    external_id = fresh("id-")
    with pytest.raises(ChatError, match="taken"):  # not Bob: whoever chooses a username would be given an account
        one(database, external_id=external_id, username=name)
    assert one(database, user_id=user_id, external_id=external_id) == (user_id, OUTCOME_UPDATED)
    other = fresh("rob")
    assert one(database, external_id=external_id, username=other) == (user_id, OUTCOME_UPDATED)
    assert stored(database, user_id).username == other
    with pytest.raises(ChatError) as caught:
        one(database, user_id="nobody", nickname="x")
    assert caught.value.reason == "USER_NOT_FOUND"
    with pytest.raises(ChatError) as caught:
        one(database, nickname="x")
    assert caught.value.reason == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("external_id", "username"), [("anna smith", "anna-smith"), ("Ünï", "Ünï"), ("x" * 90, "x" * 90)]
)
def test_a_username_is_made_of_the_external_id(database: Any, external_id: str, username: str) -> None:
    unique = fresh("u")
    user_id, _ = one(database, external_id=unique + external_id)
    made = stored(database, user_id).username
    assert made == (unique + username)[:64]
    other, _ = one(database, external_id=(unique + external_id).upper())  # another id, and the same name
    assert stored(database, other).username.startswith(made[:55].upper() + "-")


def test_an_external_id_of_which_no_username_can_be_made(database: Any) -> None:
    user_id, _ = one(database, external_id=fresh("\u200b"))
    assert stored(database, user_id).username.startswith("user-")


def test_each_of_a_batch_has_a_verdict_of_its_own(database: Any) -> None:
    ann, bob, cat = fresh("id-"), fresh("id-"), fresh("id-")
    batch = [
        Wanted(external_id=ann, username=fresh("ann")),
        Wanted(user_id="nobody", nickname="x"),
        Wanted(external_id=ann, nickname="Ann"),
        Wanted(external_id=bob, username=fresh("bob")),
        Wanted(external_id=ann, nickname="Ann"),
    ]
    verdicts = database.write(lambda tx: provision_all(tx, batch))
    assert [each.reason if isinstance(each, ChatError) else each[1] for each in verdicts] == [
        *(OUTCOME_CREATED, "USER_NOT_FOUND", OUTCOME_UPDATED, OUTCOME_CREATED, OUTCOME_UNCHANGED)
    ]
    (ann_id, _), (bob_id, _) = verdicts[0], verdicts[3]
    assert stored(database, ann_id).nickname == "Ann"
    # What one gives up in a batch is nobody's in it: rows are written in no order.
    ann_name, bob_name = stored(database, ann_id).username, stored(database, bob_id).username
    swap = [
        Wanted(user_id=ann_id, username=fresh("new")),
        Wanted(user_id=bob_id, username=ann_name),
        Wanted(user_id=ann_id, external_id=cat),
        Wanted(external_id=ann, nickname="who?"),
    ]
    verdicts = database.write(lambda tx: provision_all(tx, swap))
    assert [each.reason if isinstance(each, ChatError) else each[1] for each in verdicts] == [
        *(OUTCOME_UPDATED, "USERNAME_TAKEN", OUTCOME_UPDATED, "EXTERNAL_ID_TAKEN")
    ]
    assert stored(database, bob_id).username == bob_name
    assert one(database, user_id=bob_id, username=ann_name) == (bob_id, OUTCOME_UPDATED)  # in the next it is free


def test_a_thousand_users_are_few_statements(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    execute = Tx._execute

    def counted(self: Tx, text: str, parameters: tuple[Any, ...]) -> Any:
        statements.append(text)
        return execute(self, text, parameters)

    prefix = fresh("many")
    monkeypatch.setattr(Tx, "_execute", counted)
    for nickname, outcome in (("", OUTCOME_CREATED), ("", OUTCOME_UNCHANGED), ("New", OUTCOME_UPDATED)):
        batch = [Wanted(external_id=f"{prefix}-{number}", nickname=nickname) for number in range(1000)]
        statements.clear()
        verdicts = database.write(lambda tx, batch=batch: provision_all(tx, batch))
        assert {each[1] for each in verdicts} == {outcome}
        assert len(statements) <= 12, statements
    assert one(database, external_id=f"{prefix}-999") == (verdicts[999][0], OUTCOME_UNCHANGED)
    number = database.read(
        lambda tx: tx.fetch_one("SELECT count(*) FROM changes WHERE kind = ?", int(Kind.PROFILE_UPDATED))
    )
    assert number == (1000,)
    assert _matching(database, "new") == 1000
    assert _matching(database, prefix) == 1000


def _matching(database: Any, text: str) -> int:
    """By the index that the search has."""
    where = "name_grams(username_key, nickname_key) @> ARRAY[?]"
    in_sqlite = "rowid IN (SELECT rowid FROM user_search WHERE user_search MATCH '\"' || ? || '\"')"

    def count(tx: Tx) -> int:
        row = tx.fetch_one(f"SELECT count(*) FROM users WHERE {where if tx.postgres else in_sqlite}", text[:3])
        assert row
        return int(row[0])

    return int(database.read(count))
