"""Names as people write them, the keys by which they are compared, and passwords as they are typed."""

import re
import unicodedata
from collections.abc import Callable

DIRECTION_CONTROLS = frozenset(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
"""Embeddings, overrides and isolates (Unicode Standard Annex 9): with them a name can be made to show as another."""


def _ranges(*bounds: tuple[int, int]) -> frozenset[str]:
    return frozenset(chr(code) for first, last in bounds for code in range(first, last + 1))


# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt: joiners, fillers, variation selectors, tags.
_IGNORABLE = _ranges(
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
_WITHOUT_IGNORABLE = dict.fromkeys(map(ord, _IGNORABLE))
_BLANK = _IGNORABLE | {"\u2800"}  # Braille without dots
_SHOWS_NOTHING = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"}  # general categories


def normal_name(name: str) -> str:
    """A username as it is stored and shown: as typed, in NFC, so that one encoding of the same characters is kept."""
    return unicodedata.normalize("NFC", name)


def full_casefold(name: str) -> str:
    """Unicode's compatibility caseless match (D146). Keys of names were this up to schema version 10."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def casefold_key(name: str) -> str:
    """By which names are compared and searched, without regard to case, width, and what shows nothing (Unicode's
    NFKC_Casefold). The small form of the Turkish \u0130 loses its dot, which nobody types when they search."""
    visible = full_casefold(name).translate(_WITHOUT_IGNORABLE)
    return unicodedata.normalize("NFKC", visible.replace("i\u0307", "i"))


# Letters that pass for Latin ones in most fonts (from the data of Unicode Technical Standard 39), each after the other.
_LOOK_ALIKES = (
    "АAВBСCЕEНHІIЈJКKМMОOРPЅSТTУYХXӀIаaсcԁdеeһhіiјjоoрpԛqѕsуyхxѵvԝwӏl"  # Cyrillic
    "ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXαaγyιiνvοoρpυu"  # Greek
    "օoոnսuհhզqցg"  # Armenian
    "ıiɑaɡg"  # Latin itself
    "يیىیكک"  # of the Arabic and the Persian keyboard
)
_PLAIN = str.maketrans(_LOOK_ALIKES[::2], _LOOK_ALIKES[1::2]) | {
    # Malayalam chillus, which older keyboards write with virama and joiner.
    **{ord(chillu): base + "\u0d4d" for chillu, base in zip("ൺൻർൽൾൿ", "ണനരലളക", strict=True)},
}
# What Thai and Lao have two spellings of that look the same: a tone mark before or after the circle of SARA AM, and
# SARA AE as one letter or as two.
_SAME_SPELLINGS = (
    (re.compile("(\u0e4d)([\u0e48-\u0e4b])|(\u0ecd)([\u0ec8-\u0ecb])"), r"\2\4\1\3"),
    (re.compile("\u0e40\u0e40"), "\u0e41"),
    (re.compile("\u0ec0\u0ec0"), "\u0ec1"),
)


def skeleton(name: str) -> str:
    """The same for names that look the same (Unicode Technical Standard 39): "alice" with a Cyrillic a is not another
    name than "alice"."""
    plain = casefold_key(unicodedata.normalize("NFKC", name).translate(_PLAIN))
    for spelling, other in _SAME_SPELLINGS:
        plain = spelling.sub(other, plain)
    return plain


def shows_something(text: str) -> bool:
    return any(character not in _BLANK and unicodedata.category(character) not in _SHOWS_NOTHING for character in text)


_Context = Callable[[str, str], bool]
"""(the character before, the one after; "" at an end) -> does the script need the character that shows nothing here?"""
_CURSIVE = {"ARABIC", "SYRIAC", "NKO", "MANDAIC", "MONGOLIAN", "PHAGS-PA", "MANICHAEAN", "ADLAM", "HANIFI", "SOGDIAN"}
_VIRAMA = 9  # the combining class
_JOINERS, _ZWJ = frozenset("\u200c\u200d"), frozenset("\u200d")


def _script(character: str) -> str:
    """The first word of its name."""
    return unicodedata.name(character, "").partition(" ")[0] if character else ""


def _is_symbol(character: str) -> bool:
    return character == "\ufe0f" or (character != "" and unicodedata.category(character) in {"So", "Sk"})


def _is_virama(character: str) -> bool:
    return character != "" and unicodedata.combining(character) == _VIRAMA


_NEEDED: tuple[tuple[frozenset[str], _Context], ...] = (
    # Conjuncts and half forms of Indic scripts: RFC 5892, A.1 and A.2; in Bengali and Kannada also before the virama.
    (_JOINERS, lambda before, after: _is_virama(before) or _is_virama(after)),
    # Persian, Kurdish, Urdu: letters that do not join (RFC 5892, A.1), without looking at their forms.
    (_JOINERS, lambda before, after: _script(before) in _CURSIVE and _script(after) in _CURSIVE),
    (_ZWJ, lambda before, after: _is_symbol(before) and _is_symbol(after)),  # emoji of several
    (_ranges((0xFE0E, 0xFE0F)), lambda before, _: _is_symbol(before)),  # as text, as emoji
    (_ranges((0x180B, 0x180F)), lambda before, _: _script(before) == "MONGOLIAN"),  # forms of letters
    # Of ideographs, as in Japanese family names.
    (_ranges((0xFE00, 0xFE02), (0xE0100, 0xE01EF)), lambda before, _: _script(before) == "CJK"),
)
"""Characters that show nothing, and where they are part of how people write. As names are compared without them, they
do not make two names of one."""


def hides_letters(name: str) -> bool:
    """Has it characters that show nothing, where no script needs them?"""
    for at, character in enumerate(name):
        if character in _BLANK:
            before, after = name[at - 1 : at] if at else "", name[at + 1 : at + 2]
            if not any(character in characters and needed(before, after) for characters, needed in _NEEDED):
                return True
    return False


def has_spaces_or_controls(name: str) -> bool:
    """Also by compatibility, such as U+00B4. Those that show nothing are not meant: see hides_letters."""
    characters = {*name, *unicodedata.normalize("NFKC", name)} - _BLANK
    return any(unicodedata.category(character)[0] in "ZC" for character in characters)


_MAX_NONSPACING = 4
_MAX_MARKS = 8  # spacing ones too; Burmese and Javanese need five


def excessive_marks(name: str) -> bool:
    """Does it begin with a combining mark, or heap them on a letter? No living script has more than four nonspacing
    marks in a row, or the same one twice (Unicode Technical Standard 39, 5.4)."""
    marks, nonspacing = "", ""  # on the letter at hand; those in a row
    has_letter = False
    for character in unicodedata.normalize("NFD", name):
        category = unicodedata.category(character)
        if category[0] != "M":
            if character not in _BLANK:
                marks, nonspacing, has_letter = "", "", True
            continue
        is_repeated = category != "Mc" and nonspacing.endswith(character)
        marks, nonspacing = marks + character, "" if category == "Mc" else nonspacing + character
        if not has_letter or is_repeated or len(nonspacing) > _MAX_NONSPACING or len(marks) > _MAX_MARKS:
            return True
    return False


_SPACES = dict.fromkeys(
    [0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "
)  # of category Zs, but for the space itself


def opaque(password: str) -> str:
    """A password as it is hashed (RFC 8265, 4.2, OpaqueString): any space is the space, and NFC, since keyboards differ
    in both. Case and width stay."""
    return unicodedata.normalize("NFC", password.translate(_SPACES))


def masked_email(email: str) -> str:
    """alice@example.com -> a***@example.com; nothing stays nothing."""
    name, at, host = email.rpartition("@")
    return f"{name[:1]}***{at}{host}" if email else ""
