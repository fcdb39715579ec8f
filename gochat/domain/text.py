"""Names as people write them, and the keys by which they are compared."""

import unicodedata


def normal_name(name: str) -> str:
    """A username as it is stored: NFKC, so that different encodings of the same characters are one name."""
    return unicodedata.normalize("NFKC", name)


def casefold_key(name: str) -> str:
    """By which names are compared and searched, without regard to case (Unicode's compatibility caseless match)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


DIRECTION_CONTROLS = frozenset(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
"""Embeddings, overrides and isolates (Unicode Standard Annex 9): with them a name can be made to show as another."""

# Letters that pass for Latin ones in most fonts (from the data of Unicode Technical Standard 39), each after the other.
_LOOK_ALIKES = (
    "АAВBСCЕEНHІIЈJКKМMОOРPЅSТTУYХXӀIаaсcԁdеeһhіiјjоoрpԛqѕsуyхxѵvԝwӏl"  # Cyrillic
    "ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXαaγyιiνvοoρpυu"  # Greek
    "օoոnսuհhզqցg"  # Armenian
    "ıiɑaɡg"  # Latin itself
)
_PLAIN = str.maketrans(_LOOK_ALIKES[::2], _LOOK_ALIKES[1::2])
# Letters, marks and symbols that have no visible form: joiners, fillers, variation selectors, blank Braille.
_INVISIBLE = frozenset(
    map(chr, [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE10)])
) | frozenset(map(chr, [0xFFA0, *range(0xE0100, 0xE01F0)]))
_MAX_MARKS = 3  # combining marks on one letter; living scripts need no more


def skeleton(name: str) -> str:
    """The same for names that look the same (Unicode Technical Standard 39): "alice" with a Cyrillic a is not another
    name than "alice"."""
    return casefold_key(normal_name(name).translate(_PLAIN))


def hides_letters(name: str) -> bool:
    return not _INVISIBLE.isdisjoint(name)


def excessive_marks(name: str) -> bool:
    """Does it begin with a combining mark, or have more than _MAX_MARKS on one letter?"""
    marks = 0
    for position, character in enumerate(name):
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks > (_MAX_MARKS if position >= marks else 0):
            return True
    return False


def masked_email(email: str) -> str:
    """alice@example.com -> a***@example.com; nothing stays nothing."""
    name, at, host = email.rpartition("@")
    return f"{name[:1]}***{at}{host}" if email else ""
