"""Reactions by their short codes, as chat programs write them, as emoji where Unicode has one of that name."""

import re
import unicodedata

from gochat.domain.reactions import is_reaction

# The usual codes that are not the name of their emoji.
_BY_CODE = {
    **dict.fromkeys(("+1", "thumbsup", "thumbs_up"), "👍"),
    **dict.fromkeys(("-1", "thumbsdown", "thumbs_down"), "👎"),
    **dict.fromkeys(("heart", "red_heart"), "❤️"),
    **dict.fromkeys(("smile", "grinning_face_with_smiling_eyes"), "😄"),
    **dict.fromkeys(("laughing", "satisfied"), "😆"),
    **dict.fromkeys(("thinking", "thinking_face"), "🤔"),
    **dict.fromkeys(("tada", "party"), "🎉"),
    **dict.fromkeys(("clap", "clapping_hands"), "👏"),
    **dict.fromkeys(("pray", "folded_hands"), "🙏"),
    **dict.fromkeys(("raised_hands", "raising_hands"), "🙌"),
    **dict.fromkeys(("check", "white_check_mark"), "✅"),
    "heavy_check_mark": "✔️",
    "100": "💯",
    "joy": "😂",
    "rofl": "🤣",
    "grin": "😁",
    "smiley": "😃",
    "sweat_smile": "😅",
    "slightly_smiling_face": "🙂",
    "simple_smile": "🙂",
    "blush": "😊",
    "wink": "😉",
    "heart_eyes": "😍",
    "sunglasses": "😎",
    "cry": "😢",
    "sob": "😭",
    "scream": "😱",
    "open_mouth": "😮",
    "angry": "😠",
    "rage": "😡",
    "wave": "👋",
    "ok_hand": "👌",
    "muscle": "💪",
    "point_up": "☝️",
    "fire": "🔥",
    "bulb": "💡",
    "warning": "⚠️",
    "x": "❌",
    "question": "❓",
    "exclamation": "❗",
}


def reaction_of(code: str) -> str:
    """The emoji of a code without colons, or the code between colons; "" for what is neither. Without skin tones."""
    if is_reaction(code) and not code.startswith(":"):
        return code
    plain = re.sub(r"::skin-tone-\d$", "", code.strip(":")).lower()
    if found := _BY_CODE.get(plain):
        return found
    try:
        named = unicodedata.lookup(plain.replace("_", " ").upper())
    except KeyError:
        named = ""
    if is_reaction(named):
        return named
    written = f":{re.sub(r'[^a-z0-9_+-]', '_', plain)}:"
    return written if is_reaction(written) else ""
