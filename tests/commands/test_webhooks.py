"""`gochat webhook`, as an operator types it."""

from typing import Any

from tests.conftest import Own
from tests.conversations import group
from tests.waiting import eventually
from tests.webhooks.receiver import LOOPBACK, is_signed, receiving


def test_a_webhook_from_its_making_to_its_end(own: Own) -> None:
    app = own("sqlite-split", env=LOOPBACK | {"GOCHAT_WEBHOOKS_RETRY_FOR": "1s"})
    ann = app.person()
    room = group(ann)

    def webhook(*arguments: str) -> list[list[str]]:
        return [line.split("\t") for line in app.run("webhook", *arguments).stdout.splitlines()]

    with receiving() as receiver:
        ((hook, secret),) = webhook("add", receiver.url, "--events", "message_sent", "--conversations", room)
        ann.send(room, "one")
        eventually(lambda: receiver.contents == ["one"])
        assert is_signed(receiver.taken[0], secret)
        assert webhook("list") == [[hook, receiver.url, "enabled", "0 pending", "0 parked", "-"]]

        ((second,),) = webhook("rotate", hook, "--keep", "1h")

        sent = list[Any]()

        def is_signed_by_both() -> bool:
            sent.append(ann.send(room, "again"))
            return is_signed(receiver.taken[-1], second) and is_signed(receiver.taken[-1], secret)

        eventually(is_signed_by_both)
        eventually(lambda: len(receiver.contents) == 1 + len(sent))
        receiver.behave = lambda _: 500
        ann.send(room, "lost")
        line = eventually(lambda: webhook("deliveries", hook, "--state", "parked"), 60)[-1]
        assert (line[1:4], line[6]) == (["message_sent", room, "parked"], "status 500")
        receiver.behave = lambda _: 200
        assert webhook("replay", hook, line[0]) == [["1 are delivered after all"]]
        eventually(lambda: receiver.contents[-1] == "lost", 60)

        assert webhook("disable", hook) == [[f"{hook} delivers nothing until it is enabled"]]
        assert webhook("list")[0][2] == "disabled"
        assert webhook("enable", hook) == [[f"{hook} goes on where it was"]]
        assert webhook("remove", hook) == [[f"{hook} is deleted"]]
        assert webhook("list") == []
    refused = app.run("webhook", "remove", hook, check=False)
    assert (refused.returncode, refused.stderr) == (1, "gochat: webhook not found\n")
    refused = app.run("webhook", "add", "https://10.0.0.1/", check=False)
    assert (refused.returncode, "url cannot be called" in refused.stderr) == (1, True)
