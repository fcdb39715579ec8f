"""What is typed of groups."""

import time
from typing import Any

from gochat.api.group.v1 import group_types_pb2 as pb
from gochat.client import ChatError
from gochat.commands.talk.base import MAX_PAGE, pages
from gochat.commands.talk.conversations import OfConversations
from gochat.commands.talk.words import GROUP, SETTINGS, UsageError, clean, is_time, shown, until

_WHO = {"everyone": pb.WHO_EVERYONE, "managers": pb.WHO_MANAGERS}
_JOINING = {
    "open": pb.JOINING_OPEN,
    "approval": pb.JOINING_APPROVAL,
    "invitation": pb.JOINING_INVITATION,
    "closed": pb.JOINING_CLOSED,
}
_ON = {"on": True, "off": False}


class OfGroups(OfConversations):
    async def _group(self, rest: str) -> None:
        act, _, more = rest.partition(" ")
        if act not in GROUP:
            raise UsageError
        await getattr(self, f"_group_{act}")(more.strip())

    async def _group_new(self, rest: str) -> None:
        name, *people = rest.split() or [""]
        if not name:
            raise UsageError
        made = await self._client.create_group(name, await self._user_ids(people))
        await self._enter(made.group_id, clean(made.name))

    async def _group_members(self, rest: str) -> None:
        self._listed, group_id = [], self._group_id
        async for page in pages(lambda token: self._client.list_members(group_id, rest, token, limit=MAX_PAGE)):
            for detail in page.members:
                user_id, more = detail.member.user_id, [detail.member.role]
                more += [detail.title] if detail.title else []
                more += ["muted"] if detail.muted_until > time.time() * 1000 else []
                self._number(clean(detail.group_nickname or detail.member.nickname), "", ", ".join(more), "", user_id)

    async def _group_add(self, rest: str) -> None:
        added = await self._client.add_members(self._group_id, await self._user_ids(_people(rest)))
        self._note(f"{len(added)} added")

    async def _group_remove(self, rest: str) -> None:
        for user_id in await self._user_ids(_people(rest)):
            await self._client.remove_member(self._group_id, user_id)

    async def _group_leave(self, _: str) -> None:
        await self._client.leave_group(self._group_id)
        self._leave()

    async def _group_nick(self, rest: str) -> None:
        await self._client.set_group_nickname(self._group_id, rest)

    async def _group_title(self, rest: str) -> None:
        user_id, title = await self._person(rest)
        await self._client.set_title(self._group_id, user_id, title)

    async def _group_role(self, rest: str) -> None:
        user_id, role = await self._person(rest)
        if role not in {"admin", "member"}:
            raise UsageError
        await self._client.set_role(self._group_id, user_id, role)

    async def _group_mute(self, rest: str) -> None:
        user_id, lasts = await self._person(rest)
        await self._client.mute_member(self._group_id, user_id, until(lasts))

    async def _group_unmute(self, rest: str) -> None:
        user_id, _ = await self._person(rest)
        await self._client.mute_member(self._group_id, user_id, 0)

    async def _group_ban(self, rest: str) -> None:
        user_id, more = await self._person(rest)
        first, _, reason = more.partition(" ")
        ends = until(first) if is_time(first) else 0
        await self._client.ban_member(self._group_id, user_id, ends, reason if ends else more)
        self._note(f"{await self.name(user_id)} is kept out {shown(ends)}")

    async def _group_unban(self, rest: str) -> None:
        user_id, _ = await self._person(rest)
        await self._client.unban_member(self._group_id, user_id)
        self._note(f"{await self.name(user_id)} may join again")

    async def _group_bans(self, _: str) -> None:
        self._listed, group_id = [], self._group_id
        async for page in pages(lambda token: self._client.bans(group_id, token)):
            for ban in page.bans:
                more = "  ".join(part for part in (shown(ban.until), ban.reason) if part)
                self._number(clean(ban.nickname), "", more, "", ban.user_id)
        if not self._listed:
            self._note("nobody is kept out")

    async def _group_settings(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        try:
            changed = self._setting(name, value.strip()) if rest else {}
        except (KeyError, ValueError):
            self._note("posting, adding, editing: everyone or managers; slow: seconds; search: on or off")
            self._note(f"joining: {', '.join(_JOINING)}")
            return
        if changed:
            settings = await self._client.update_group_settings(self._group_id, **changed)
        else:
            settings = await self._client.group_settings(self._group_id)
        for setting, word in _as_words(settings).items():
            self._show([("class:where", setting), ("", f"  {word}")])

    def _setting(self, name: str, value: str) -> dict[str, Any]:
        """Raises KeyError, ValueError."""
        if name == "slow":
            return {"slow_mode_seconds": 0 if value == "off" else int(value)}
        if name == "search":
            return {"searchable": _ON[value]}
        if name not in SETTINGS:
            raise KeyError(name)
        return {name: (_JOINING if name == "joining" else _WHO)[value]}

    async def _group_rename(self, rest: str) -> None:
        if not rest:
            raise UsageError
        await self._client.update_group(self._group_id, name=rest)

    async def _group_transfer(self, rest: str) -> None:
        user_id, _ = await self._person(rest)
        await self._client.transfer_group(self._group_id, user_id)

    async def _group_dissolve(self, rest: str) -> None:
        group_id = self._group_id
        if rest != self.label:
            self._note(f"this ends the group for everybody: /group dissolve {self.label}")
            return
        await self._client.dissolve_group(group_id)

    async def _person(self, rest: str) -> tuple[str, str]:
        """(user_id, what follows the name)"""
        name, _, more = rest.partition(" ")
        if not name:
            raise UsageError
        return await self._user_id(name), more.strip()

    # How people come in.

    async def _groups(self, rest: str) -> None:
        found = await self._client.search_groups(rest)
        self._listed = []
        for group in found.groups:
            joining = next((word for word, value in _JOINING.items() if value == group.joining), "")
            more = f"{group.member_count} members, {joining}  {group.description}".rstrip()
            self._number(clean(group.name), "", more, group.group_id)
        self._note("/join NUMBER joins one of them" if found.groups else "none found")

    async def _invite(self, rest: str) -> None:
        words = rest.split()
        if words[:1] == ["list"]:
            for each in await self._client.invitations(self._group_id):
                uses = f"{each.uses} of {each.max_uses} used" if each.max_uses else f"{each.uses} used"
                lasts = f", {shown(each.expires_at)}" if each.expires_at else ""
                self._show([("class:where", each.token), ("", f"  {uses}{lasts}")])
        elif words[:1] == ["revoke"] and len(words) == 2:
            await self._client.revoke_invitation(self._group_id, words[1])
            self._note("nobody can join with it any more")
        elif len(words) <= 2 and all(is_time(word) or word.isdecimal() for word in words):
            times, numbers = [word for word in words if is_time(word)], [word for word in words if word.isdecimal()]
            expires_at = until(times[0]) if times else 0
            max_uses = int(numbers[0]) if numbers else 0
            made = await self._client.create_invitation(self._group_id, expires_at, max_uses)
            self._show([("", "to join, type "), ("class:where", f"/join {made.token}")])
        else:
            raise UsageError

    async def _join(self, rest: str) -> None:
        word, _, note = rest.partition(" ")
        if not word:
            raise UsageError
        group_id = await self._joined(word, note.strip())
        if group_id:
            await self._enter(group_id, clean((await self._client.group(group_id)).name))
            await self._history("")

    async def _joined(self, word: str, note: str) -> str:
        """The group; "" where its managers are asked. word: a number of the list, a token or a group id."""
        if word.isdecimal() and 0 < int(word) <= len(self._listed):
            word = self._listed[int(word) - 1][0]
        else:
            try:
                return await self._client.join_by_invitation(word)
            except ChatError as error:
                if error.code not in {"NOT_FOUND", "INVALID_ARGUMENT"}:
                    raise
        try:
            await self._client.join_group(word)
        except ChatError as error:
            if error.fields.get("joining") != "approval":
                raise
            await self._client.request_to_join(word, note)
            self._note("its managers are asked")
            return ""
        return word

    async def _requests(self, rest: str) -> None:
        act, _, who = rest.partition(" ")
        if act == "cancel" and who:
            is_number = who.isdecimal() and 0 < int(who) <= len(self._listed)
            await self._client.cancel_request(self._listed[int(who) - 1][0] if is_number else who)
        elif act in {"accept", "decline"} and who:
            await self._client.decide_request(self._group_id, await self._user_id(who), act == "accept")
        elif rest:
            raise UsageError
        else:
            self._listed, group_id = [], self._group_id
            async for page in pages(lambda token: self._client.join_requests(group_id, token)):
                for each in page.requests:
                    self._number(clean(each.nickname), "", each.note, "", each.user_id)
            self._note("/requests accept NUMBER lets one in" if self._listed else "nobody asks to join")


def _people(rest: str) -> list[str]:
    if not rest:
        raise UsageError
    return rest.split()


def _as_words(settings: pb.GroupSettings) -> dict[str, str]:
    who, joining = ({value: word for word, value in table.items()} for table in (_WHO, _JOINING))
    return {
        "posting": who.get(settings.posting, ""),
        "adding": who.get(settings.adding, ""),
        "editing": who.get(settings.editing, ""),
        "joining": joining.get(settings.joining, ""),
        "slow": f"{settings.slow_mode_seconds} seconds" if settings.slow_mode_seconds else "off",
        "search": "on" if settings.searchable else "off",
    }
