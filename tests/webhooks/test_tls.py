"""Webhooks over TLS: delivered to who has a certificate of an authority that the server trusts, and to nobody else."""

import ssl
from collections.abc import Callable
from pathlib import Path

from tests.attacks.certificates import Authority, Pair
from tests.conftest import Own
from tests.conversations import group
from tests.waiting import eventually
from tests.webhooks.conftest import Hooked
from tests.webhooks.receiver import LOOPBACK, receiving

NAME = "localhost"  # an address of this machine, and the name in the certificate
BAD: dict[str, tuple[Callable[[Authority, Authority], Pair], str]] = {
    "another authority's": (lambda _, other: other.issue(NAME), "unable to get local issuer certificate"),
    "its own": (lambda _, other: other.own, "signed certificate"),
    "another host's": (lambda trusted, _: trusted.issue("other.example"), "Hostname mismatch"),
    "expired": (lambda trusted, _: trusted.issue(NAME, days=-1), "certificate has expired"),
}


def context(pair: Pair) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.cert, pair.key)
    return made


def test_a_webhook_is_delivered_by_tls_and_only_to_who_has_the_right_certificate(own: Own, tmp_path: Path) -> None:
    trusted, other = Authority(tmp_path, "trusted"), Authority(tmp_path, "other")
    hooked = Hooked(own(env=LOOPBACK | {"SSL_CERT_FILE": str(trusted.cert)}))
    ann = hooked.app.person()
    for issued, reason in BAD.values():
        room = group(ann)
        with receiving(tls=context(issued(trusted, other))) as receiver:
            hook = hooked.add(receiver.url.replace("127.0.0.1", NAME), room)
            ann.send(room, "secret")
            (failed,) = eventually(lambda hook=hook: hooked.deliveries(hook.id))
            assert "its certificate does not hold" in failed.last_error, failed.last_error
            assert reason in failed.last_error
            assert receiver.got == []
            hooked.hook.DeleteWebhook(webhook_id=hook.id)
    room = group(ann)
    with receiving(tls=context(trusted.issue(NAME))) as receiver:
        assert receiver.url.startswith("https://")
        hooked.add(receiver.url.replace("127.0.0.1", NAME), room)
        ann.send(room, "hello")
        eventually(lambda: receiver.contents == ["hello"])
