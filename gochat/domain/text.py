"""Names as people write them and as they are compared."""

import unicodedata


def normal_name(name: str) -> str:
    """A username as it is kept: NFKC, so that look-alike spellings of one name are one name."""
    return unicodedata.normalize("NFKC", name)


def folded(name: str) -> str:
    """What names are compared and searched by: without regard to case (Unicode's compatibility caseless match)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def masked_email(email: str) -> str:
    """alice@example.com -> a***@example.com; nothing stays nothing."""
    name, at, host = email.rpartition("@")
    return f"{name[:1]}***{at}{host}" if email else ""
