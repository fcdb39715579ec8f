"""Who is to be notified, step by step, on both databases without a server."""

import threading
from typing import Any

import pytest

from gochat.domain.changes import PUSH_READER, Kind
from gochat.storage.database import Database
from tests.repo.changelog import Repo

INTERVAL = 60_000


class Pushing:
    """A conversation of ann and ben, who has a push token."""

    def __init__(self, database: Database) -> None:
        self.database, self.repo = database, Repo(database)
        self.ann, self.ben = self.repo.users(2)
        self.room = self.repo.group(self.ann, self.ben)
        self.register(self.ben)
        self.repo.reader.Claim(name=PUSH_READER, holder="here", seconds=60)

    def register(self, user_id: str) -> None:
        self.repo.push.RegisterPushToken(user_id=user_id, request={"platform": "fcm", "token": f"of-{user_id}"})

    def send(self) -> str:
        return str(self.repo.send(self.ann, self.room))

    def collect(self) -> list[str]:
        return list(self.repo.push.CollectPending(delay=0, interval=INTERVAL).due_user_ids)

    def decide(self, *connected: str, user_ids: Any = None) -> int:
        """How many were notified, of all who are due."""
        due = self.collect() if user_ids is None else user_ids
        wanted = {"user_ids": due, "connected_user_ids": connected, "interval": INTERVAL, "ttl": 60}
        return int(self.repo.push.DecidePending(**wanted).notified)

    def later(self) -> None:
        """The time of all that waits has come."""
        self.database.write(lambda tx: tx.sql("UPDATE push_pending SET due_at = 0 WHERE seq > 0"))

    def logged(self) -> list[tuple[int, int]]:
        """The messages of which the log says that somebody is to be notified."""
        self.database.collect()
        text = "SELECT first_seq, seq FROM changes WHERE kind = ? ORDER BY position"
        return list(self.database.read(lambda tx: tx.fetch_all(text, int(Kind.RECIPIENTS_OFFLINE))))


@pytest.fixture
def pushing(database: Database) -> Pushing:
    return Pushing(database)


def test_a_message_is_collected_once_and_logged_once(pushing: Pushing) -> None:
    pushing.send()
    assert pushing.collect() == pushing.collect() == [pushing.ben]
    assert [pushing.decide(), pushing.decide(), pushing.decide(user_ids=[pushing.ben])] == [1, 0, 0]
    assert pushing.logged() == [(1, 1)]


def test_within_the_interval_messages_wait_until_it_is_over(pushing: Pushing) -> None:
    pushing.send()
    assert pushing.decide() == 1
    for _ in range(3):
        pushing.send()
        assert pushing.collect() == []
    pushing.later()
    assert pushing.decide() == 1
    assert pushing.logged() == [(1, 1), (2, 4)]


def test_who_had_a_stream_is_looked_at_again_and_then_forgotten(pushing: Pushing) -> None:
    pushing.send()
    assert pushing.decide(pushing.ben) == 0
    assert pushing.collect() == []
    pushing.later()
    assert pushing.decide(pushing.ben) == 0
    pushing.later()
    assert (pushing.collect(), pushing.logged()) == ([], [])


def test_who_had_a_stream_that_was_dead_is_notified_then(pushing: Pushing) -> None:
    pushing.send()
    assert pushing.decide(pushing.ben) == 0
    pushing.later()
    assert pushing.decide() == 1


def test_what_comes_after_the_stream_has_ended_is_not_delayed(pushing: Pushing) -> None:
    pushing.send()
    assert pushing.decide(pushing.ben) == 0
    pushing.send()
    assert pushing.decide() == 1
    assert pushing.logged() == [(1, 2)]


def test_whose_device_has_acknowledged_before_it_went_is_not_notified(pushing: Pushing) -> None:
    message_id = pushing.send()
    assert pushing.decide(pushing.ben) == 0
    pushing.repo.change.Acknowledge(user_id=pushing.ben, message_ids=[message_id])
    pushing.later()
    assert pushing.decide() == 0


def test_nobody_is_notified_twice_by_several_at_once(pushing: Pushing) -> None:
    users = pushing.repo.users(20)
    for user_id in users:
        pushing.register(user_id)
    pushing.repo.store.AddMembers(group_id=pushing.room, operator_id=pushing.ann, user_ids=users)
    pushing.send()
    due = pushing.collect()
    assert len(due) == 21
    counts = list[int]()
    threads = [threading.Thread(target=lambda: counts.append(pushing.decide(user_ids=due))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 21
    assert pushing.logged() == [(1, 1)]


def test_with_the_setting_those_without_a_token_are_named_too(pushing: Pushing) -> None:
    cem = pushing.repo.user()
    pushing.repo.store.AddMembers(group_id=pushing.room, operator_id=pushing.ann, user_ids=[cem])
    pushing.send()
    due = pushing.repo.push.CollectPending(delay=0, interval=INTERVAL, all_recipients=True).due_user_ids
    assert sorted(due) == sorted([pushing.ben, cem])


def test_what_was_sent_before_the_first_token_notifies_nobody(database: Database) -> None:
    pushing = Pushing(database)
    pushing.repo.push.UnregisterPushToken(
        user_id=pushing.ben, request={"platform": "fcm", "token": f"of-{pushing.ben}"}
    )
    pushing.send()
    assert pushing.collect() == []
    pushing.register(pushing.ben)
    assert pushing.collect() == []


def test_what_waits_to_be_sent_is_handed_out_once(pushing: Pushing) -> None:
    keys = {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    }
    endpoint = "https://push.example.com/x"
    pushing.repo.push.RegisterPushToken(user_id=pushing.ben, request={"platform": "webpush", "token": endpoint, **keys})
    sent = pushing.send()
    pushing.decide()
    (delivery,) = pushing.repo.push.ClaimDeliveries(most=10, content=True).deliveries
    assert (delivery.endpoint, delivery.unread_total, delivery.attempts) == (endpoint, 1, 0)
    assert not pushing.repo.push.ClaimDeliveries(most=10).deliveries
    again = {
        "token_id": delivery.token_id,
        "conversation_id": delivery.conversation_id,
        "seq": delivery.seq,
        "attempts": 1,
        "expires_at": delivery.expires_at,
    }
    pushing.repo.push.FinishDeliveries(retries=[again])
    assert [each.attempts for each in pushing.repo.push.ClaimDeliveries(most=10).deliveries] == [1]
    pushing.repo.push.FinishDeliveries(retries=[again])
    pushing.repo.store.MarkRead(conversation_id=pushing.room, user_id=pushing.ben, message_id=sent)
    assert not pushing.repo.push.ClaimDeliveries(most=10).deliveries, "it is read"
