"""Servers and receivers that die: nothing is lost, and once in effect by webhook-id."""

from tests.conftest import Own
from tests.conversations import group
from tests.harness import Deployment, as_service
from tests.waiting import eventually, polled
from tests.webhooks.conftest import Hooked
from tests.webhooks.receiver import LOOPBACK, Received, receiving


def test_a_killed_server_loses_nothing_and_sends_what_it_was_sending_again(own: Own) -> None:
    hooked = Hooked(own(env=LOOPBACK))
    ann = hooked.app.person()
    room = group(ann)
    stuck = {"now": True}

    def behave(received: Received) -> int:
        if stuck["now"] and received.content == "2":
            eventually(lambda: not stuck["now"], 60)
            return 500
        return 200

    with receiving(behave) as receiver:
        hooked.add(receiver.url, room)
        for number in range(3):
            ann.send(room, str(number))
        eventually(lambda: receiver.contents == ["0", "1"])
        hooked.app.kill()
        stuck["now"] = False
        hooked.app.start()
        ann.metadata = hooked.app.signed_in(ann.id, ann.username).metadata
        ann.send(room, "3")
        eventually(lambda: receiver.contents[-2:] == ["2", "3"], 60)
    once = {each.id: each.content for each in receiver.taken}
    assert list(once.values()) == ["0", "1", "2", "3"]


def test_a_receiver_that_is_down_is_not_hammered_and_gets_all_when_it_is_back(own: Own) -> None:
    hooked = Hooked(own(env=LOOPBACK))
    ann = hooked.app.person()
    rooms = [group(ann) for _ in range(12)]
    with receiving() as receiver:
        hook = hooked.add(receiver.url, *rooms)
        port = int(receiver.url.split(":")[2].split("/")[0])
        ann.send(rooms[0], "before")
        eventually(lambda: receiver.contents == ["before"])
    for number in range(3):
        for room in rooms:
            ann.send(room, str(number))
    waiting = eventually(lambda: len(found := hooked.deliveries(hook.id)) == 36 and found)
    assert waiting[0].last_error == "connection refused"
    failed = hooked.app.processes[0].metrics()("gochat_webhook_attempts_total", outcome="failed")
    assert 8 <= failed <= 20, "of 36 that wait few were tried"
    with receiving(port=port) as receiver:
        eventually(lambda: len(receiver.taken) == 36, 60)
        for room in rooms:
            found = [each.content for each in receiver.taken if each.body["data"]["conversationId"] == room]
            assert found == ["0", "1", "2"]
    eventually(lambda: hooked.deliveries(hook.id) == [])


def test_what_is_tried_for_long_enough_is_parked_and_can_be_replayed(own: Own) -> None:
    hooked = Hooked(own(env=LOOPBACK | {"GOCHAT_WEBHOOKS_RETRY_FOR": "1s"}))
    ann = hooked.app.person()
    room = group(ann)
    with receiving(lambda _: 500) as receiver:
        hook = hooked.add(receiver.url, room)
        sent = [ann.send(room, content).message_id for content in ("first", "second", "third")]
        eventually(lambda: [each.state for each in hooked.deliveries(hook.id)] == ["parked"] * 3, 60)
        assert hooked.shown(hook.id).parked == 3
        receiver.behave = lambda _: 200
        ann.send(room, "later")
        eventually(lambda: receiver.contents == ["later"]), "what is parked holds up nothing"
        first, second, _ = hooked.deliveries(hook.id)
        as_service(hooked.app).repo.DeleteMessage(message_id=sent[1], user_id=ann.id)
        assert hooked.hook.ReplayDeliveries(webhook_id=hook.id, delivery_ids=[first.delivery_id]).replayed == 1
        eventually(lambda: receiver.contents == ["later", "first"])
        assert hooked.hook.ReplayDeliveries(webhook_id=hook.id).replayed == 2
        eventually(lambda: receiver.contents == ["later", "first", "third"])
        eventually(lambda: hooked.deliveries(hook.id) == []), "what is gone is given up"
        assert second.delivery_id not in {each.id for each in receiver.taken}
    actions = [each.action for each in hooked.app.events(action="webhook.")]
    assert actions == ["webhook.create", "webhook.replay", "webhook.replay"]
    ann.send(room, "to nobody")
    eventually(lambda: hooked.deliveries(hook.id))
    hooked.app.stop()
    assert "clean" in hooked.app.run("check").stdout


def test_of_two_processes_one_delivers_and_the_other_takes_over(own: Own) -> None:
    env = LOOPBACK | {"GOCHAT_AUTH_SECRET": "s" * 32}
    one = own("postgres", env=env)
    other = own("postgres", env=env, url=one.url)
    hooked, ann = Hooked(one), one.person()
    room = group(ann)
    with receiving() as receiver:
        hooked.add(receiver.url, room)
        for number in range(10):
            ann.send(room, str(number))
        eventually(lambda: len(receiver.taken) >= 10)
        assert not polled(lambda: len(receiver.got) > 10, seconds=2), "not both"
        survivor = other if _is_holder(one) else one
        (one if survivor is other else other).kill()
        ann = survivor.signed_in(ann.id, ann.username)
        for number in range(10, 20):
            ann.send(room, str(number))
        eventually(lambda: len(receiver.taken) >= 20, 60)
    assert list(dict.fromkeys(receiver.contents)) == [str(number) for number in range(20)]


def _is_holder(app: Deployment) -> bool:
    """It has delivered."""
    return bool(app.processes[0].metrics()("gochat_webhook_attempts_total", outcome="delivered"))


def test_a_server_that_stops_gives_the_work_back_at_once(own: Own) -> None:
    hooked = Hooked(own(env=LOOPBACK))
    ann = hooked.app.person()
    room = group(ann)
    with receiving() as receiver:
        hooked.add(receiver.url, room)
        ann.send(room, "first")
        eventually(lambda: receiver.contents == ["first"])
        assert hooked.app.stop() == [0]
        hooked.app.start()
        hooked.app.signed_in(ann.id, ann.username).send(room, "second")
        eventually(lambda: receiver.contents == ["first", "second"], 12), "sooner than a lease ends"
