"""gochat chat: what two people do with messages, conversations and groups, and both see."""

import re

import pytest

from tests.commands.terminals import Terminal, chatting
from tests.conftest import Own
from tests.conversations import group
from tests.harness import PASSWORD, Deployment, as_service
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module()


def opened(name: str, *terminals: Terminal) -> None:
    for each in terminals:
        each.enter(f"/open {name}").until(f"— {name} —")


def squeezed(text: str) -> str:
    """Without spaces, some of which are moves of the cursor."""
    return "".join(text.split())


def test_messages(server: Deployment) -> None:
    ann, ben = server.person(password=PASSWORD, nickname="Ann1"), server.person(password=PASSWORD, nickname="Ben Lee")
    group(ann, ben, name="Readers1")
    with chatting(server, ann) as anns, chatting(server, ben) as bens:
        opened("Readers1", anns, bens)
        anns.enter("hello @Ben Lee, you")
        bens.until("#1 Ann1  hello @Ben Lee, you")
        assert re.search(r"\x1b\[[\d;]*43[\d;]*m  hello @Ben Lee", bens.raw), "it is highlighted"
        bens.enter("/reply #1 what?")
        anns.until("> #1 Ann1: hello @Ben Lee, you", "#2 Ben Lee  what?")
        anns.enter("/edit 1 hello")
        bens.until("Ann1 edited #1", "#1 Ann1  hello  (edited)")
        anns.enter("/versions #1").until("was  hello @Ben Lee, you")
        bens.enter("/react #1 👍")
        anns.until("Ben Lee reacted 👍 to #1").enter("/reactions #1").until("Ben Lee  👍")
        bens.enter("/unreact #1 👍")
        anns.until("Ben Lee took 👍 off #1")
        bens.enter("/react #1 :ship-it:")
        anns.until("reacted :ship-it: to #1").enter("/pin #1")
        bens.until("Ann1 pinned #1: hello").enter("/pinned").until("(edited, pinned, :ship-it: 1)")
        anns.enter("/receipts #1").until("Ben Lee  has read it", "1 of 1 have read it")
        anns.enter("/unpin #1")
        bens.until("Ann1 unpinned #1: hello").enter("/recall #2")
        anns.until("Ben Lee took back #2").enter("/delete #1").until("#1 is deleted")
        bens.enter("/recall #1").until("only the sender")
        assert "#1 is deleted" not in bens.text
        bens.enter("/reply").until("/reply #N TEXT").enter("/react #99 👍").until("message not found")
        bens.enter("/open Readers1").until("Ann1  hello  (edited, :ship-it: 1)", "Ben Lee  (taken back)")


def test_a_message_that_is_sent_on(server: Deployment) -> None:
    ann, ben, cem = (server.person(password=PASSWORD, nickname=name) for name in ("Ann2", "Ben2", "Cem2"))
    room = group(ann, ben, name="Readers2")
    ann.send(room, "news")
    with chatting(server, ben) as bens, chatting(server, cem) as cems:
        opened("Readers2", bens)
        bens.enter(f"/forward #1 {cem.username}").until(f"#1 goes to {cem.username}")
        cems.until("[to you] Ben2  (forwarded from Ann2)  news")


def test_how_one_keeps_conversations(server: Deployment) -> None:
    ann, ben = server.person(password=PASSWORD, nickname="Ann3"), server.person(password=PASSWORD, nickname="Ben3")
    room = group(ann, ben, name="Readers3")
    ann.send(ben.id, "hello")
    with chatting(server, ben) as bens:
        opened("Readers3", bens)
        bens.enter("/mute 8h").until("Readers3 is muted until").enter("/top").until("Readers3 is at the top")
        opened("Ann3", bens)
        ann.SendMessage(conversation_id=room, content="quietly", metadata={"mentions": ben.id})
        ann.send(ben.id, "aloud")
        bens.until("Ann3  aloud")
        assert "quietly" not in bens.text
        bens.enter("/list").until("1 Readers3 (1, @1) [top, muted]  quietly", "2 Ann3")
        bens.enter("/list mentions").until(lambda text: text.count("1 Readers3 (1, @1) [top, muted]") == 2)
        opened("Readers3", bens)
        bens.enter("/mute off").until("Readers3 is not muted").enter("/archive").until("Readers3 is archived")
        bens.enter("/unread").until("Readers3 is marked as unread").enter("/top off").until("is not at the top")
        bens.enter("/list archived").until("1 Readers3 (unread) [archived]")
        bens.enter("/archive off").until("Readers3 is not archived").enter("/list archived").until("none")


def test_what_the_owner_and_admins_of_a_group_do(server: Deployment) -> None:
    ann, ben, cem = (server.person(password=PASSWORD, nickname=name) for name in ("Ann4", "Ben4", "Cem4"))
    room = group(ann, ben, cem, name="Readers4")
    with chatting(server, ann) as anns, chatting(server, cem) as cems:
        opened("Readers4", anns, cems)
        anns.enter("/group role Ben4 admin")
        cems.until("Ben4 is admin now")
        anns.enter("/group title Cem4 Treasurer").until("Cem4 has the title Treasurer")
        cems.until("Cem4 has the title Treasurer").enter("/group nick Cemal")
        anns.until("Cem4 is called Cemal here")
        cems.enter("in figures")
        anns.until("Cemal (Treasurer)  in figures").enter("/group members").until(
            "2 Ben4  admin", "3 Cemal  member, Treas"
        )
        anns.enter("/group mute 3 1h")
        cems.until("Cemal may not write until").enter("but").until("not sent: but")
        anns.enter("/group unmute Cemal")
        cems.until("Cemal may write again")
        anns.enter("/group settings slow 30").until("slow  30 seconds")
        anns.enter("/group settings joining closed").until("joining  closed")
        cems.until("Ann4 changed the settings").enter("/group settings").until("slow  30 seconds", "joining  closed")
        anns.enter("/group settings slow soon").until("slow: seconds").enter("/group rename Writers4")
        cems.until("the group is called Writers4 now")
        anns.enter("/group ban Cemal 2d too loud").until("is kept out until", "Cemal is gone")
        cems.until("you are no longer in Writers4")
        anns.enter("/group bans").until("1 Cem4  until", "too loud").enter("/group unban 1").until(
            "Cem4 may join again"
        )
        anns.enter("/group transfer Ben4").until("Ben4 is owner now", "Ann4 is admin now")
        assert ben.GetGroupInfo(group_id=room).group.owner_id == ben.id


def test_how_people_come_into_a_group(server: Deployment) -> None:
    ann, ben, cem = (server.person(password=PASSWORD, nickname=name) for name in ("Ann5", "Ben5", "Cem5"))
    group(ann, name="Readers5")
    with chatting(server, ann) as anns, chatting(server, ben) as bens, chatting(server, cem) as cems:
        opened("Readers5", anns)
        anns.enter("/group settings joining approval").until("joining  approval")
        anns.enter("/group settings search on").until("search  on")
        bens.enter("/groups readers5").until("1 Readers5  1 members, approval").enter("/join 1 let me in")
        bens.until("its managers are asked")
        anns.until("[Readers5] Ben5 asks to join: /requests").enter("/requests").until("1 Ben5  let me in")
        anns.enter("/requests accept 1").until("Ben5 is here now")
        bens.until("you are let into Readers5")
        anns.enter("/invite 2h 1").until(lambda text: re.search(r"/join \S{20,}", text))
        (token,) = re.findall(r"to join, type /join (\S+)", anns.text)
        anns.enter("/invite list").until("0 of 1 used, until")
        cems.enter(f"/join {token}").until("— Readers5 —")
        anns.until("Cem5 is here now")
        anns.enter("/group dissolve").until("this ends the group for everybody: /group dissolve Readers5")
        anns.enter("/group dissolve Readers5").until("Readers5 is dissolved")
        cems.until("Readers5 is dissolved")


def test_commands_are_completed(server: Deployment) -> None:
    ann, ben = server.person(password=PASSWORD, nickname="Ann6"), server.person(password=PASSWORD, nickname="Ben6")
    room = group(ann, ben, name="Readers6")
    with chatting(server, ann) as anns:
        for typed, shown in (("/op", "/open"), (" Read", "/open Readers6"), ("hello @Be", "hello @Ben6")):
            anns.type(f"{typed}\t").until(lambda text, line=shown: squeezed(text).endswith(squeezed(line)))
            if shown != "/open":
                anns.type("\r").until(lambda text: squeezed(text).endswith(">"))
        message = eventually(lambda: as_service(server).logic.GetMessageHistory(conversation_id=room).messages)[0]
        assert message.metadata["mentions"] == ben.id
