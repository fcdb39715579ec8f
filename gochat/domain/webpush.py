"""Web Push without I/O: how a notification is encrypted for a browser (RFC 8291, in the coding of RFC 8188), and how a
server says who it is (VAPID, RFC 8292)."""

import os
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_PAYLOAD = 3993  # bytes: with header and tag 4,096, which every push service takes (RFC 8030, 7.2)
MAX_VALID = 12 * 3600  # seconds that a VAPID token is valid; at most a day (RFC 8292, 2)
_RECORD_SIZE = 4096
_SCALAR_BYTES = 32
_URL = re.compile(r"[!-~]+")
_CURVE = ec.SECP256R1()


def encode(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", text):
        raise ValueError("no base64url")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def is_public_key(text: str) -> bool:
    """Is it the p256dh of a subscription: an uncompressed point of P-256?"""
    try:
        data = decode(text)
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data)
    except ValueError:
        return False
    return len(data) == 65


def is_auth_secret(text: str) -> bool:
    try:
        return len(decode(text)) == 16
    except ValueError:
        return False


def is_endpoint(url: str, *, insecure: bool = False) -> bool:
    """Is it a URL that a subscription may have? insecure: http too."""
    try:
        parts = urlsplit(url)
        return (
            _URL.fullmatch(url) is not None
            and parts.scheme in (("https", "http") if insecure else ("https",))
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
        )
    except ValueError:
        return False


def new_key() -> bytes:
    """A private key: a scalar of 32 bytes."""
    return ec.generate_private_key(_CURVE).private_numbers().private_value.to_bytes(_SCALAR_BYTES, "big")


def _private(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(scalar, "big"), _CURVE)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_key(scalar: bytes) -> str:
    """As pages subscribe with it."""
    return encode(_point(_private(scalar).public_key()))


def authorization(scalar: bytes, endpoint: str, contact: str, now: float) -> str:
    """The Authorization header of a request to the endpoint. contact: mailto: or https: for the push service's
    operators, who may insist on one, or "". now: Unix seconds."""
    parts = urlsplit(endpoint)
    claims: dict[str, str | int] = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int(now) + MAX_VALID}
    if contact:
        claims["sub"] = contact
    key = _private(scalar)
    return f"vapid t={jwt.encode(claims, key, 'ES256')}, k={encode(_point(key.public_key()))}"


def encrypt(payload: bytes, p256dh: bytes, auth: bytes, *, key: bytes = b"", salt: bytes = b"") -> bytes:
    """The body of a request with content-encoding aes128gcm. p256dh, auth: of the subscription. key, salt: of this
    message; random ones unless a test gives them. Raises ValueError for a p256dh that is none."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"the payload has more than {MAX_PAYLOAD} bytes")
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, p256dh)
    sender = _private(key or new_key())
    salt = salt or os.urandom(16)
    own = _point(sender.public_key())
    secret = sender.exchange(ec.ECDH(), receiver)
    content_key, nonce = message_keys(secret, auth, salt, p256dh, own)
    header = salt + struct.pack("!IB", _RECORD_SIZE, len(own)) + own
    return header + AESGCM(content_key).encrypt(nonce, payload + b"\x02", None)  # 2: this is the last record


def message_keys(secret: bytes, auth: bytes, salt: bytes, receiver: bytes, sender: bytes) -> tuple[bytes, bytes]:
    """(key of AES-GCM, nonce), as both sides derive them (RFC 8291, 3.4). secret: of ECDH. receiver, sender: points."""
    seed = _derived(secret, auth, b"WebPush: info\0" + receiver + sender, 32)
    key = _derived(seed, salt, b"Content-Encoding: aes128gcm\0", 16)
    return key, _derived(seed, salt, b"Content-Encoding: nonce\0", 12)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
