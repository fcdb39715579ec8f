"""Web Push by the example of RFC 8291, appendix A, and what subscriptions may hold."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gochat.domain import webpush

SENDER_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH, SALT = "BTBZMqHH6r4Tts7J_aSIgg", "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_rfc_8291_is_encrypted_as_there() -> None:
    keys = {"key": webpush.decode(SENDER_KEY), "salt": webpush.decode(SALT)}
    payload = b"When I grow up, I want to be a watermelon"
    body = webpush.encrypt(payload, webpush.decode(RECEIVER), webpush.decode(AUTH), **keys)
    assert webpush.encode(body) == BODY


def test_no_two_messages_are_encrypted_alike() -> None:
    keys = webpush.decode(RECEIVER), webpush.decode(AUTH)
    assert webpush.encrypt(b"x", *keys) != webpush.encrypt(b"x", *keys)


def test_a_payload_that_push_services_do_not_take_is_refused() -> None:
    keys = webpush.decode(RECEIVER), webpush.decode(AUTH)
    assert len(webpush.encrypt(b"x" * webpush.MAX_PAYLOAD, *keys)) == 4096
    with pytest.raises(ValueError, match="more than 3993 bytes"):
        webpush.encrypt(b"x" * (webpush.MAX_PAYLOAD + 1), *keys)


@pytest.mark.parametrize("contact", ["", "mailto:chat@example.com"])
def test_a_server_names_itself_to_the_push_service_alone(contact: str) -> None:
    key = webpush.new_key()
    header = webpush.authorization(key, "https://push.example.com:8443/one?x=1", contact, 1_000_000)
    scheme, token, name = header.replace(",", "").split(" ")
    assert (scheme, name) == ("vapid", f"k={webpush.public_key(key)}")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), webpush.decode(webpush.public_key(key)))
    options = {"verify_exp": False}
    claims = jwt.decode(
        token.removeprefix("t="), public, ["ES256"], audience="https://push.example.com:8443", options=options
    )
    assert claims["exp"] == 1_000_000 + webpush.MAX_VALID <= 1_000_000 + 24 * 3600
    assert claims.get("sub", "") == contact


@pytest.mark.parametrize(
    ("url", "secure", "insecure"),
    [
        ("https://push.example.com/a", True, True),
        ("http://push.example.com/a", False, True),
        ("ftp://push.example.com/a", False, False),
        ("https:///a", False, False),
        ("https://user@push.example.com/a", False, False),
        ("https://push.example.com:99999/a", False, False),
        ("https://push.example.com/a\r\nx: y", False, False),
        ("https://[::1/a", False, False),
    ],
)
def test_an_endpoint_is_an_https_url(url: str, secure: bool, insecure: bool) -> None:
    assert (webpush.is_endpoint(url), webpush.is_endpoint(url, insecure=True)) == (secure, insecure)


def test_keys_of_a_subscription_are_a_point_and_a_secret() -> None:
    assert webpush.is_public_key(RECEIVER)
    assert webpush.is_auth_secret(AUTH)
    off_curve = webpush.encode(b"\x04" + b"\x01" * 64)
    assert not any(map(webpush.is_public_key, ("", AUTH, "?", off_curve, RECEIVER[:-4])))
    assert not any(map(webpush.is_auth_secret, ("", RECEIVER, "?" * 22)))
