"""The words of `gochat chat`: what can be typed, and how it is read, completed and made harmless."""

import re
import time
import unicodedata
from collections.abc import Iterable, Iterator

from gochat.client import FOREVER

COMMANDS = {
    "list": ("[unread|mentions|archived|all]", "your conversations, with what is unread"),
    "open": ("NUMBER|NAME", "talk in a conversation, or with a person"),
    "history": ("[COUNT]", "earlier messages"),
    "search": ("WORDS", "find conversations, and messages in this one"),
    "people": ("NAME", "find people"),
    "groups": ("[NAME]", "find groups that let themselves be found"),
    "reply": ("#N TEXT", "answer a message; its number stands before it"),
    "forward": ("#N NUMBER|NAME", "send a message on to another conversation, or a person"),
    "edit": ("#N TEXT", "change what you wrote"),
    "versions": ("#N", "what a message said before it was edited"),
    "recall": ("#N", "take a message back, from everybody"),
    "delete": ("#N", "remove a message, for you alone"),
    "react": ("#N EMOJI", "react to a message, with an emoji or a code such as :ship-it:"),
    "unreact": ("#N EMOJI", "take your reaction back"),
    "reactions": ("#N", "who reacted to a message"),
    "receipts": ("#N", "who has read a message"),
    "pin": ("#N", "pin a message, for everybody here"),
    "unpin": ("#N", "the opposite"),
    "pinned": ("", "the pinned messages"),
    "mute": ("[TIME|off]", "show nothing of this conversation while another is open; TIME such as 8h or 2d"),
    "top": ("[off]", "keep this conversation at the top of your list"),
    "archive": ("[off]", "take this conversation out of your list"),
    "unread": ("", "mark this conversation as unread"),
    "hide": ("", "hide this conversation until there is a newer message"),
    "group": ("WHAT ...", "groups:"),
    "invite": ("[TIME] [USES] | list | revoke TOKEN", "invite to this group whoever is given the token"),
    "join": ("TOKEN|NUMBER|GROUP [NOTE]", "join a group, or ask its managers to"),
    "requests": ("[accept|decline PERSON] | cancel NUMBER|GROUP", "who asks to join this group"),
    "help": ("", "this"),
    "quit": ("", "leave, as Ctrl-D does"),
}
"""(arguments, what it does)"""
GROUP = {
    "new": ("NAME [PERSON...]", "make a group"),
    "members": ("[NAME]", "who is in it"),
    "add": ("PERSON...", "add people"),
    "remove": ("PERSON...", "remove people"),
    "leave": ("", "leave it"),
    "nick": ("[NAME]", "your name in it"),
    "title": ("PERSON [WORDS]", "what stands beside a name"),
    "role": ("PERSON admin|member", "make somebody an admin, or a plain member again"),
    "mute": ("PERSON [TIME]", "let somebody send nothing, for a time"),
    "unmute": ("PERSON", "let them again"),
    "ban": ("PERSON [TIME] [WHY]", "remove somebody, and keep them out"),
    "unban": ("PERSON", "let them join again"),
    "bans": ("", "who is kept out"),
    "settings": ("[SETTING VALUE]", "who may do what, how people join, slow mode"),
    "rename": ("NAME", "give it another name"),
    "transfer": ("PERSON", "make somebody else the owner"),
    "dissolve": ("NAME", "end it, for everybody"),
}
"""What follows /group, as of COMMANDS."""
SETTINGS = ("posting", "adding", "editing", "joining", "slow", "search")
OFF, FOR_GOOD = "off", "for good"
_UNITS = {"m": 60, "h": 3600, "d": 86400}  # seconds
_TIME = re.compile(r"([1-9]\d{0,4})([mhd])")


class UsageError(Exception):
    """What was typed lacks something: the usage is shown."""


def clean(text: str) -> str:
    """Without what would move the cursor, change colours or turn the direction of a terminal."""
    return "".join(
        each
        if each == "\n" or each in "\u200c\u200d" or unicodedata.category(each) not in {"Cc", "Cf", "Cs"}
        else "\ufffd"
        for each in text
    )


def until(text: str) -> int:
    """Unix milliseconds: 8h from now; empty: for good. Raises UsageError."""
    if not text:
        return FOREVER
    if not is_time(text):
        raise UsageError
    number, unit = text[:-1], text[-1]
    return int((time.time() + int(number) * _UNITS[unit]) * 1000)


def is_time(text: str) -> bool:
    return bool(_TIME.fullmatch(text))


def shown(until: int) -> str:
    """When that is, for people."""
    if until in {0, FOREVER}:
        return FOR_GOOD
    return time.strftime("until %d %b %H:%M", time.localtime(until / 1000))


def usage_of(command: str, act: str) -> list[tuple[str, str]]:
    """As usages(): of a command, or of one act of /group."""
    acts = [each for each in usages() if each[0].split()[:2] == [f"/{command}", act] and command == "group"]
    return acts or [each for each in usages() if each[0].split()[0] == f"/{command}"]


def usages() -> Iterator[tuple[str, str]]:
    """(what can be typed, what it does)"""
    for name, (arguments, text) in COMMANDS.items():
        yield f"/{name} {arguments}".strip(), text
        if name == "group":
            for act, (of_act, does) in GROUP.items():
                yield f"  /group {act} {of_act}".rstrip(), does


def completions(line: str, names: Iterable[str], places: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """(word, how many characters before the cursor it replaces, what it does) of each word that may stand at the end of
    this line. names: of the people here. places: of conversations."""
    *before, last = line.split(" ")
    for word, text in _options(before, last, names, places).items():
        if word.casefold().startswith(last.casefold()):
            yield word, len(last), text


def _options(before: list[str], last: str, names: Iterable[str], places: Iterable[str]) -> dict[str, str]:
    command = before[0].removeprefix("/") if before else ""
    if not before and last.startswith("/"):
        return {f"/{name}": text for name, (_, text) in COMMANDS.items()}
    if last.startswith("@"):
        return {f"@{name}": "" for name in names}
    if command == "open" or (command == "forward" and len(before) == 2):
        return dict.fromkeys(places, "")
    if before == ["/group", "settings"]:
        return dict.fromkeys(SETTINGS, "")
    if before == ["/group"]:
        return {act: text for act, (_, text) in GROUP.items()}
    if command == "group":
        return dict.fromkeys(names, "")
    if command in COMMANDS and len(before) == 1:
        return dict.fromkeys(re.findall(r"\b[a-z]+\b", COMMANDS[command][0]), "")
    return {}
