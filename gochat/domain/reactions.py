"""Reactions to a message: what is one, and the sum of them that the message carries."""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain.limits import MAX_REACTIONS
from gochat.errors import denied

FIRST = 10  # users that the sum names of each kind

# The property Emoji of Unicode's emoji-data.txt, but for digits, # and *, which are emoji as keycaps alone; of blocks
# that grow with each version the whole.
_EMOJI = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa"
    "\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2604\u260e\u2611\u2614\u2615\u2618\u261d\u2620\u2622\u2623"
    "\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660\u2663\u2665\u2666\u2668\u267b\u267e"
    "\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7\u26aa\u26ab\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8"
    "\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9\u26ea\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712"
    "\u2714\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797"
    "\u27a1\u27b0\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f004\U0001f0cf\U0001f170\U0001f171\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f201\U0001f202"
    "\U0001f21a\U0001f22f\U0001f232-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f321\U0001f324-\U0001f393"
    "\U0001f396\U0001f397\U0001f399-\U0001f39b\U0001f39e-\U0001f3f0\U0001f3f3-\U0001f3f5\U0001f3f7-\U0001f4fd"
    "\U0001f4ff-\U0001f53d\U0001f549-\U0001f54e\U0001f550-\U0001f567\U0001f56f\U0001f570\U0001f573-\U0001f57a"
    "\U0001f587\U0001f58a-\U0001f58d\U0001f590\U0001f595\U0001f596\U0001f5a4\U0001f5a5\U0001f5a8\U0001f5b1\U0001f5b2"
    "\U0001f5bc\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de\U0001f5e1\U0001f5e3\U0001f5e8"
    "\U0001f5ef\U0001f5f3\U0001f5fa-\U0001f64f\U0001f680-\U0001f6c5\U0001f6cb-\U0001f6d2\U0001f6d5-\U0001f6d8"
    "\U0001f6dc-\U0001f6e5\U0001f6e9\U0001f6eb\U0001f6ec\U0001f6f0\U0001f6f3-\U0001f6fc\U0001f7e0-\U0001f7eb"
    "\U0001f7f0\U0001f90c-\U0001f93a\U0001f93c-\U0001f945\U0001f947-\U0001f9ff\U0001fa70-\U0001faff"
)
_TONE, _SHOWN_AS_EMOJI, _JOINER, _KEYCAP = "[\U0001f3fb-\U0001f3ff]", "\ufe0f", "\u200d", "\u20e3"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_TAGS = "[\U000e0020-\U000e007e]{1,8}\U000e007f"  # of flags of regions, such as that of Scotland
_PART = f"[{_EMOJI}](?:{_TONE}|{_SHOWN_AS_EMOJI})?(?:{_TAGS})?"
# As "possible emoji" in Unicode Technical Standard 51, 1.4.9: one of them is one grapheme.
_SEQUENCE = re.compile(f"{_FLAG}|[0-9#*]{_SHOWN_AS_EMOJI}?{_KEYCAP}|{_PART}(?:{_JOINER}{_PART}){{0,6}}")
_CODE = re.compile(":[a-z0-9_+-]{1,32}:")


def is_reaction(text: str) -> bool:
    """One emoji, or a short code."""
    return bool(_SEQUENCE.fullmatch(text) or _CODE.fullmatch(text))


def loads(column: str) -> pb.MessageDetail:
    """A detail that has the reactions alone."""
    return pb.MessageDetail.FromString(a2b_base64(column))


def dumps(summed: pb.MessageDetail) -> str:
    return b2a_base64(summed.SerializeToString(), newline=False).decode()


def spelling(summed: pb.MessageDetail, reaction: str) -> str:
    """How the reaction is written on this message: an emoji with and without its variation selector is the same."""
    plain = reaction.replace(_SHOWN_AS_EMOJI, "")
    kinds = (one.reaction for one in summed.reactions)
    return next((kind for kind in kinds if kind.replace(_SHOWN_AS_EMOJI, "") == plain), reaction)


def add(summed: pb.MessageDetail, reaction: str, user_id: str) -> None:
    """Raises PERMISSION_DENIED for one kind too many."""
    one = next((each for each in summed.reactions if each.reaction == reaction), None)
    if one is None:
        if len(summed.reactions) >= MAX_REACTIONS:
            raise denied(f"a message has at most {MAX_REACTIONS} kinds of reactions", "TOO_MANY_REACTIONS")
        one = summed.reactions.add(reaction=reaction)
    one.count += 1
    if len(one.user_ids) < FIRST:
        one.user_ids.append(user_id)


def remove(summed: pb.MessageDetail, reaction: str, first: Sequence[str]) -> None:
    """first: the first users of the reaction after that; none: it was the last one."""
    (at,) = (number for number, each in enumerate(summed.reactions) if each.reaction == reaction)
    if first:
        summed.reactions[at].count -= 1
        summed.reactions[at].user_ids[:] = first
    else:
        del summed.reactions[at]
