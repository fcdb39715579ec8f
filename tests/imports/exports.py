"""Small exports, as each program writes them: the same two people in the same conversations."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gochat.imports import read
from gochat.imports.records import Channel, Member, Message, NotTaken, Record, User
from gochat.imports.spool import Report, Spool

AT = 1_500_000_000_000  # milliseconds, of the first message
LATER = 4_000_000_000_000


def zipped(path: Path, files: Mapping[str, Any]) -> Path:
    """Values that are neither text nor bytes are written as JSON."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, str | bytes) else json.dumps(content))
    return path


def tarred(path: Path, files: Mapping[str, Any]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def lines_of(path: Path, *entries: Any) -> Path:
    """Each is JSON, or bytes as they are."""
    path.write_bytes(
        b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in entries)
    )
    return path


def records(source: str, path: Path) -> list[Record]:
    return list(read(source, path))


def of(kind: type[Any], found: list[Record]) -> list[Any]:
    return [each for each in found if isinstance(each, kind)]


def not_taken(found: list[Record]) -> dict[str, int]:
    reasons = [each.reason for each in of(NotTaken, found)]
    return {reason: reasons.count(reason) for reason in reasons}


def spooled(*found: Record) -> tuple[dict[str, list[Message]], list[str]]:
    """The messages by channel as they would be loaded, and the lines of the report."""
    report = Report()
    with Spool(report, LATER) as spool:
        spool.fill(found)
        messages = {channel.id: list(spool.messages(channel.id)) for channel, _ in spool.channels()}
    return messages, list(report.lines())


PEOPLE: tuple[Record, ...] = (
    User("a", "ann"),
    User("b", "ben"),
    Channel("c", "public", "General"),
    Member("c", "a"),
    Member("c", "b"),
)


def mattermost(tag: str = "") -> list[dict[str, Any]]:
    """The lines of an export. tag: behind names, so that they are no other test's."""
    ann, ben, eve = f"ann{tag}", f"ben{tag}", f"eve{tag}"
    team, channel = f"team{tag}", "general"

    def user(name: str, roles: str = "channel_user", **fields: Any) -> dict[str, Any]:
        teams = [{"name": team, "channels": [{"name": channel, "roles": roles}]}]
        email = f"{name}@example.com"
        return {"type": "user", "user": {"username": name, "email": email, "teams": teams, **fields}}

    def post(sender: str, number: int, **fields: Any) -> dict[str, Any]:
        given = {"user": sender, "message": f"m{number}", "create_at": AT + number}
        return {"type": "post", "post": {"team": team, "channel": channel, **given, **fields}}

    smile = {"user": ben, "emoji_name": "smile", "create_at": AT + 9}
    replies = [{"user": ben, "message": "reply", "create_at": AT + 5, "reactions": None, "edit_at": AT + 6}]
    direct = {"channel_members": [ann, ben], "user": ben, "message": "psst", "create_at": AT + 20}
    three = {"channel_members": [ann, ben, eve], "user": eve, "message": "all", "create_at": AT + 21}
    return [
        {"type": "version", "version": 1},
        {"type": "team", "team": {"name": team, "display_name": "Team", "type": "O"}},
        {
            "type": "channel",
            "channel": {"team": team, "name": channel, "display_name": "General", "type": "P", "purpose": "All"},
        },
        user(ann, "channel_user channel_admin", nickname="Ann"),
        user(ben, first_name="Ben", last_name="B."),
        user(eve, delete_at=AT),
        post(ann, 3, reactions=[smile], replies=replies),
        post(ben, 1, attachments=[{"path": "data/x/plan.pdf"}]),
        post(ben, 2, type="system_join_channel"),
        post(eve, 4, message=""),
        {"type": "direct_channel", "direct_channel": {"members": [ann, ben]}},
        {"type": "direct_post", "direct_post": direct},
        {"type": "direct_post", "direct_post": three},
        {"type": "direct_post", "direct_post": {**direct, "channel_members": [ann], "user": ann}},
        {"type": "emoji", "emoji": {"name": "x"}},
    ]


def slack(tag: str = "") -> dict[str, Any]:
    """The files of an export."""

    def said(user: str, seconds: int, text: str, **fields: Any) -> dict[str, Any]:
        return {"type": "message", "user": user + tag, "ts": f"{AT // 1000 + seconds}.000200", "text": text, **fields}

    root = f"{AT // 1000 + 1}.000200"
    users = [
        {"id": f"UA{tag}", "name": f"ann{tag}", "profile": {"display_name": "Ann", "email": f"ann{tag}@example.com"}},
        {"id": f"UB{tag}", "name": f"ben{tag}", "deleted": True, "profile": {"real_name": "Ben"}},
        {"id": f"UE{tag}", "name": f"eve{tag}"},
    ]
    members = [f"UA{tag}", f"UB{tag}"]
    reply = said(
        *("UB", 2, "yes"),
        thread_ts=root,
        reactions=[{"name": "thumbsup::skin-tone-2", "users": members, "count": 2}],
        edited={"user": "UB", "ts": f"{AT // 1000 + 3}.000000"},
    )
    files = [{"title": "Plan", "permalink": "https://x/plan", "url_private": "https://x/p?t=xoxe-secret"}]
    return {
        "users.json": users,
        "channels.json": [
            {
                "id": f"CG{tag}",
                "name": "general",
                "creator": f"UA{tag}",
                "members": members,
                "purpose": {"value": "All"},
            }
        ],
        "groups.json": [{"id": f"GP{tag}", "name": "secret", "members": [f"UA{tag}"]}],
        "mpims.json": [{"id": f"GM{tag}", "name": "mpdm-a--b--e-1", "members": [*members, f"UE{tag}"]}],
        "dms.json": [{"id": f"D{tag}", "members": members}],
        "integration_logs.json": [],
        "general/2017-07-14.json": [
            said(
                "UA",
                1,
                "see <@UB" + tag + "> in <#CG|general> at <https://x/?a=1&amp;b|the page> &lt;3",
                thread_ts=root,
            ),
            reply,
            said("UA", 4, "joined", subtype="channel_join"),
        ],
        "general/2017-07-15.json": [
            said("UA", 90_000, "", files=files),
            {"type": "message", "subtype": "bot_message", "bot_id": f"BX{tag}", "username": "Deploys", "text": "done"}
            | {"ts": f"{AT // 1000 + 90_001}.000000"},
        ],
        "mpdm-a--b--e-1/2017-07-14.json": [said("UE", 5, "<!here> all three")],
        f"D{tag}/2017-07-14.json": [said("UA", 6, "psst")],
    }


def zulip(tag: int = 0) -> dict[str, Any]:
    """The files of an export. tag: added to the ids of users and recipients."""
    ann, ben, eve = tag + 1, tag + 2, tag + 3
    stream, private, pair, to_ann = tag + 11, tag + 12, tag + 13, tag + 14

    def sub(user: int, recipient: int, **fields: Any) -> dict[str, Any]:
        return {"user_profile": user, "recipient": recipient, "active": True, **fields}

    def said(number: int, sender: int, recipient: int, topic: str, text: str, **fields: Any) -> dict[str, Any]:
        given = {"id": tag + number, "sender": sender, "recipient": recipient, "subject": topic, "content": text}
        return {**given, "date_sent": AT / 1000 + number, **fields}

    realm = {
        "zerver_userprofile": [
            {"id": ann, "full_name": "Ann", "delivery_email": f"ann{tag}@example.com", "is_active": True},
            {"id": ben, "full_name": "Ben", "email": f"ben{tag}@example.com", "is_active": False},
            {"id": eve, "full_name": "Eve", "email": f"eve{tag}@example.com"},
        ],
        "zerver_stream": [
            {"id": 1, "name": "general", "description": "All", "invite_only": False},
            {"id": 2, "name": "secret", "invite_only": True},
        ],
        "zerver_recipient": [
            {"id": stream, "type": 2, "type_id": 1},
            {"id": private, "type": 2, "type_id": 2},
            {"id": pair, "type": 3, "type_id": 7},
            {"id": to_ann, "type": 1, "type_id": ann},
        ],
        "zerver_subscription": [
            sub(ann, stream),
            sub(ben, stream),
            sub(eve, stream, active=False),
            sub(ann, private),
            *(sub(user, pair) for user in (ann, ben, eve)),
            sub(ann, to_ann),
        ],
        "zerver_reaction": [{"user_profile": ben, "message": tag + 1, "emoji_name": "tada"}],
        "import_source": None,
        "sort_by_date": True,
        "version": 1.5,
        "realm": {"name": "x"},
    }
    messages = {
        "zerver_message": [
            said(1, ann, stream, "plans", "first"),
            said(2, ben, stream, "plans", "second", last_edit_time=AT / 1000 + 30),
            said(3, ann, stream, "", "see [x](/user_uploads/1/x.png)"),
            said(4, eve, pair, "", "all three"),
            said(5, ben, to_ann, "", "psst"),
            said(6, ann, to_ann, "", "to myself"),
        ],
        "zerver_usermessage": [{"id": tag + 1, "user_profile": ben, "message": tag + 1, "flags_mask": 1}],
    }
    return {"export/realm.json": realm, "export/messages-000001.json": messages, "export/uploads/x": b"x"}
