"""One's own settings of conversations, and the list that they make, in browsers."""

from collections.abc import Callable
from typing import Any

from tests.harness import PASSWORD, Deployment, fresh
from tests.waiting import eventually
from tests.web.page.pages import Visitor, grouped

Visit = Callable[..., Visitor]


def busy(site: Deployment, visit: Visit) -> tuple[Visitor, Any, list[Any]]:
    """Ann in her browser, herself, and three people who have written to her, the latest first."""
    ann = visit(site)
    me = site.signed_in(site.create_user(name := fresh("ann")), name)
    others = site.people(3, PASSWORD)
    for other in others:
        other.SendMessage(to_user_id=me.id, content=f"from {other.username}")
    ann.sign_in(name)
    others.reverse()
    eventually(lambda: ann.listed() == [other.username for other in others])
    return ann, me, others


def test_pinned_conversations_come_first_in_all_tabs(site: Deployment, visit: Visit) -> None:
    ann, _, (first, second, third) = busy(site, visit)
    tab = ann.new_page()
    tab.get_by_role("list", name="Conversations").get_by_role("link", name=third.username).wait_for()
    ann.row(third.username).hover()
    ann.row(third.username).get_by_role("button", name=f"Options for {third.username}").click()
    ann.page.get_by_role("menuitem", name="Pin chat").click()
    wanted = [third.username, first.username, second.username]
    eventually(lambda: ann.listed() == wanted)
    links = tab.get_by_role("list", name="Conversations").get_by_role("link")
    eventually(lambda: links.all_inner_texts() == wanted)
    ann.row(third.username).get_by_role("img", name="Pinned").wait_for()
    ann.page.reload()
    eventually(lambda: ann.listed() == wanted)
    ann.open(third.username)
    ann.chat_act("Unpin chat")
    eventually(lambda: ann.listed() == [first.username, second.username, third.username])


def test_archived_conversations_are_apart(site: Deployment, visit: Visit) -> None:
    ann, me, (first, second, third) = busy(site, visit)
    shown = ann.page.get_by_role("group", name="Show")
    assert shown.get_by_role("button").all_inner_texts() == ["All", "Unread", "Groups", "Mentions"]
    ann.row(second.username).locator("a").press("ContextMenu")
    ann.row(second.username).locator("a").dispatch_event("contextmenu", {"clientX": 100, "clientY": 200})
    ann.page.get_by_role("menuitem", name="Archive").click()
    eventually(lambda: ann.listed() == [first.username, third.username])
    second.SendMessage(to_user_id=me.id, content="are you there?")
    shown.get_by_role("button", name="Archived").click()
    ann.unread(second.username, 2).wait_for()
    assert ann.listed() == [second.username]
    ann.open(second.username)
    ann.chat_act("Unarchive")
    eventually(lambda: ann.listed() == [second.username, first.username, third.username])


def test_muting_and_marking_as_unread(site: Deployment, visit: Visit) -> None:
    ann, _me, (first, second, _) = busy(site, visit)
    ann.open(first.username)
    ann.chat_act("Mute for 8 hours")
    ann.row(first.username).get_by_role("img", name="Muted").wait_for()
    ann.chat_act("Unmute")
    ann.row(first.username).get_by_role("img", name="Muted").wait_for(state="detached")
    ann.chat_act("Mark as unread")
    marked = ann.row(first.username).get_by_role("img", name="Marked as unread")
    marked.wait_for()
    ann.page.get_by_role("group", name="Show").get_by_role("button", name="Unread").click()
    assert first.username in ann.listed()
    ann.open(second.username)
    ann.open(first.username)
    marked.wait_for(state="detached")


def test_groups_alone(site: Deployment, visit: Visit) -> None:
    ann, _, people, _ = grouped(site, visit, "Only groups")
    people[1].SendMessage(to_user_id=people[0].id, content="between us")
    ann.row(people[1].username).wait_for()
    ann.page.get_by_role("group", name="Show").get_by_role("button", name="Groups").click()
    eventually(lambda: ann.listed() == ["Only groups"])
