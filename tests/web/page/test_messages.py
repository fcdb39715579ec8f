"""What people do with messages, in browsers of their own: each sees at once what the other does."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, fresh
from tests.waiting import eventually
from tests.web.page.conftest import web
from tests.web.page.pages import Visitor, grouped, pair

Visit = Callable[..., Visitor]

TALK = ("shall we go?", "yes, at nine")


def talking(site: Deployment, visit: Visit, **options: Any) -> tuple[Visitor, Visitor, str, str]:
    """Two people who have said something to each other."""
    ann, ben, ann_name, ben_name = pair(site, visit, **options)
    ann.start_chat(ben_name)
    ann.say(TALK[0])
    ben.open(ann_name)
    ben.say(TALK[1])
    ann.sees(*TALK)
    return ann, ben, ann_name, ben_name


def test_an_answer_shows_what_it_answers_and_leads_there(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, _ben_name = talking(site, visit)
    ben.act(TALK[0], "Reply")
    ben.page.get_by_role("group", name=f"Reply to {ann_name}").wait_for()
    ben.say("gladly")
    quote = ann.message("gladly").get_by_role("button", name="In reply to")
    quote.wait_for()
    eventually(lambda: f"In reply to You: {TALK[0]}" in quote.inner_text())
    assert ben.page.get_by_role("group", name="Reply to").count() == 0
    quote.click()
    ann.page.locator("article.marked").wait_for()
    eventually(lambda: ann.page.locator("article.marked .content").inner_text() == TALK[0])
    ann.act(TALK[0], "Edit")
    eventually(lambda: ann.message_box().input_value() == TALK[0])
    ann.message_box().fill("shall we walk?")
    ann.page.get_by_role("button", name="Save").click()
    ben.page.get_by_role("button", name=f"In reply to {ann_name}: shall we walk?").wait_for()


def test_an_answer_leads_to_a_message_that_was_not_loaded(site: Deployment, visit: Visit) -> None:
    ann, ben = visit(site), site.person("ben", password=PASSWORD)
    name = fresh("ann")
    me = site.signed_in(site.create_user(name), name)
    old = ben.SendMessage(to_user_id=me.id, content="the first of all").message_id
    for number in range(120):
        ben.SendMessage(to_user_id=me.id, content=f"number {number}")
    ben.SendMessage(to_user_id=me.id, content="do you remember?", metadata={"reply_to": old})
    ann.sign_in(name)
    ann.open(ben.username)
    ann.message("do you remember?").get_by_role("button", name="In reply to").click()
    ann.page.locator("article.marked .content", has_text="the first of all").wait_for()


def test_reactions_are_counted_and_taken_back(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, _ben_name = talking(site, visit)
    ann.message(TALK[1]).get_by_role("button", name="Message actions").click()
    ann.page.get_by_role("menuitem", name="React with 👍").click()
    theirs = ben.message(TALK[1]).get_by_role("button", name="👍 1")
    theirs.wait_for()
    eventually(lambda: ann_name in theirs.get_attribute("title"))
    eventually(lambda: theirs.get_attribute("aria-pressed") == "false")
    theirs.click()
    both = ann.message(TALK[1]).get_by_role("button", name="👍 2")
    both.wait_for()
    eventually(lambda: both.get_attribute("aria-pressed") == "true")
    both.click()
    ben.message(TALK[1]).get_by_role("button", name="👍 1: You").wait_for()
    ann.message(TALK[1]).get_by_role("button", name="React", exact=True).click()
    picker = ann.page.get_by_role("dialog", name="Add reaction")
    picker.get_by_role("tab", name="Food").click()
    picker.get_by_role("button", name="🍕").click()
    ben.message(TALK[1]).get_by_role("button", name="🍕 1").wait_for()
    ben.act(TALK[1], "Who reacted")
    listed = ben.page.get_by_role("dialog", name="Reactions")
    eventually(lambda: ann_name in listed.get_by_role("list", name="🍕").inner_text())
    ann.message(TALK[1]).get_by_role("button", name="👍 1").click()
    listed.get_by_role("heading", name="👍 2").wait_for()  # what is open says what is so now
    eventually(lambda: ann_name in listed.get_by_role("list", name="👍").inner_text())
    ben.page.reload()
    ben.message(TALK[1]).get_by_role("button", name="🍕 1").wait_for()


def test_an_edit_is_marked_and_keeps_what_was(site: Deployment, visit: Visit) -> None:
    ann, ben, *_ = talking(site, visit)
    ann.message_box().press("ArrowUp")
    ann.page.get_by_role("group", name="Edit message").wait_for()
    ann.message_box().fill("shall we stay?")
    ann.message_box().press("Enter")
    ben.sees("shall we stay?", TALK[1])
    ben.message("shall we stay?").get_by_text("edited").wait_for()
    assert ben.message("shall we stay?").get_by_role("button", name="Edited").count() == 0
    ann.message("shall we stay?").get_by_role("button", name="Edited: show versions").click()
    versions = ann.page.get_by_role("dialog", name="Versions").locator(".content")
    eventually(lambda: versions.all_inner_texts() == ["shall we stay?", TALK[0]])
    ann.close()
    ann.act("shall we stay?", "Edit")
    ann.message_box().press("Escape")
    eventually(lambda: ann.message_box().input_value() == "")


def test_what_the_server_refuses_is_said(own: Own, visit: Visit) -> None:
    ann, *_ = talking(web(own, GOCHAT_MESSAGES_EDIT_WITHIN="1s"), visit)
    sent = time.monotonic()
    eventually(lambda: time.monotonic() > sent + 1)
    ann.act(TALK[0], "Edit")
    ann.message_box().fill("too late")
    ann.page.get_by_role("button", name="Save").click()
    ann.page.get_by_role("alert").get_by_text("It is too late to edit this message.").wait_for()
    eventually(lambda: ann.message_box().input_value() == "too late")


def test_a_recalled_message_goes_with_all_that_belongs_to_it(site: Deployment, visit: Visit) -> None:
    ann, ben, _ann_name, _ = talking(site, visit)
    ben.act(TALK[0], "Reply")
    ben.say("an answer")
    ben.message(TALK[0]).get_by_role("button", name="Message actions").click()
    ben.page.get_by_role("menuitem", name="React with 🎉").click()
    ann.message(TALK[0]).get_by_role("button", name="🎉 1").wait_for()
    ann.act(TALK[0], "Pin")
    ben.page.get_by_role("region", name="Pinned messages").wait_for()
    ann.act(TALK[0], "Recall for everyone")
    ann.page.get_by_role("dialog").get_by_role("button", name="Recall", exact=True).click()
    for visitor in (ann, ben):
        visitor.sees("This message was recalled", TALK[1], "an answer")
        assert visitor.page.get_by_role("button", name="🎉").count() == 0
        visitor.page.get_by_role("region", name="Pinned messages").wait_for(state="detached")
        assert TALK[0] not in visitor.page.locator("body").inner_text()
        assert TALK[0] not in visitor.page.evaluate("document.body.innerHTML")


def test_a_message_is_deleted_for_oneself_alone(site: Deployment, visit: Visit) -> None:
    ann, ben, _ann_name, ben_name = talking(site, visit)
    ann.act(TALK[1], "Delete for me")
    ann.page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    ann.sees(TALK[0])
    ben.sees(*TALK)
    eventually(lambda: TALK[0] in ann.row(ben_name).inner_text())
    ann.page.reload()
    ann.sees(TALK[0])


def test_a_pinned_message_is_above_the_conversation(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, _ = talking(site, visit)
    for text in TALK:
        ann.act(text, "Pin")
        ben.page.get_by_role("button", name=f"Pinned message: {text}").wait_for()
    ben.page.get_by_text(f"{ann_name} pinned a message").first.wait_for()
    ben.page.get_by_role("button", name="All (2)").click()
    dialog = ben.page.get_by_role("dialog", name="Pinned messages")
    assert dialog.locator(".content").all_inner_texts() == [TALK[1], TALK[0]]
    dialog.get_by_role("button", name="Unpin").first.click()
    ann.page.get_by_role("button", name="All (1)").wait_for()
    dialog.get_by_role("button", name="Show").click()
    ben.page.locator("article.marked .content", has_text=TALK[0]).wait_for()
    ben.act(TALK[0], "Unpin")
    ann.page.get_by_role("region", name="Pinned messages").wait_for(state="detached")


def test_a_forwarded_message_says_where_it_is_from(site: Deployment, visit: Visit) -> None:
    ann, _ben, _, ben_name = talking(site, visit)
    cem = visit(site)
    site.create_user(cem_name := fresh("cem"))
    cem.sign_in(cem_name)
    ann.start_chat(cem_name)
    ann.say("look at this")
    ann.open(ben_name)
    ann.act(TALK[1], "Forward")
    ann.page.get_by_role("dialog").get_by_role("button", name=f"Forward to {cem_name}").click()
    ann.page.get_by_role("dialog").get_by_text("Forwarded").wait_for()
    cem.page.get_by_role("list", name="Conversations").get_by_role("link").first.click()
    cem.sees("look at this", TALK[1])
    cem.message(TALK[1]).get_by_text(f"Forwarded from {ben_name}").wait_for()


def test_a_message_can_be_copied(site: Deployment, visit: Visit) -> None:
    ann, *_ = talking(site, visit, permissions=["clipboard-read", "clipboard-write"])
    ann.act(TALK[1], "Copy")
    ann.page.get_by_role("status").get_by_text("Copied").wait_for()
    eventually(lambda: ann.page.evaluate("navigator.clipboard.readText()") == TALK[1])


def test_who_has_read_a_message(site: Deployment, visit: Visit) -> None:
    ann, _ben, people, _ = grouped(site, visit, "Readers")
    ann.act("welcome", "Read by")
    dialog = ann.page.get_by_role("dialog", name="Read by")
    dialog.get_by_text("Read by 1 of 2").wait_for()
    eventually(lambda: people[1].username in dialog.get_by_role("list", name="Read", exact=True).inner_text())
    assert people[2].username not in dialog.get_by_role("list", name="Read", exact=True).inner_text()


def test_a_mention_is_completed_counted_and_marked(site: Deployment, visit: Visit) -> None:
    ann, ben, people, _group = grouped(site, visit, "Mentions")
    cem = visit(site)
    cem.sign_in(people[2].username)
    cem.row("Mentions").wait_for()
    ann.message_box().press_sequentially(f"hello @{people[2].username[:3]}")
    ann.page.get_by_role("listbox", name="Mention").get_by_role("option").first.wait_for()
    ann.message_box().press("Enter")
    eventually(lambda: ann.message_box().input_value() == f"hello @{people[2].username} ")
    ann.message_box().press("Enter")
    cem.row("Mentions").get_by_role("img", name="1 mention").wait_for()
    ben.page.locator(".mention", has_text=f"@{people[2].username}").wait_for()
    assert ben.page.locator(".mention.own").count() == 0
    cem.page.get_by_role("group", name="Show").get_by_role("button", name="Mentions").click()
    cem.open("Mentions")
    cem.page.locator(".mention.own", has_text=f"@{people[2].username}").wait_for()
    cem.row("Mentions").get_by_role("img", name="1 mention").wait_for(state="detached")
    ben.message_box().fill("and @all")
    ben.message_box().press("Escape")
    ben.message_box().press("Enter")
    ann.sees("welcome", f"hello @{people[2].username}", "and @all")
    assert ann.row("Mentions").get_by_role("img", name="mention").count() == 0


def test_a_message_is_acted_on_by_keyboard(site: Deployment, visit: Visit) -> None:
    ann, ben, *_ = talking(site, visit)
    page = ann.page
    page.get_by_role("log").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    eventually(lambda: page.evaluate("document.activeElement.querySelector('.content').textContent") == TALK[1])
    page.keyboard.press("Enter")
    page.get_by_role("menu", name="Message actions").wait_for()
    eventually(lambda: page.evaluate("document.activeElement.textContent.trim()") == "Reply")
    page.keyboard.press("Escape")
    page.get_by_role("menu").wait_for(state="detached")
    eventually(lambda: page.evaluate("document.activeElement.querySelector('.content').textContent") == TALK[1])
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    ben.message(TALK[1]).get_by_role("button", name="👍 1").wait_for()


def test_a_long_press_opens_the_menu(site: Deployment, visit: Visit) -> None:
    ann, *_ = talking(site, visit, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    ann.message(TALK[1]).locator(".bubble").dispatch_event("contextmenu", {"clientX": 50, "clientY": 200})
    menu = ann.page.get_by_role("menu", name="Message actions")
    menu.wait_for()
    # At the bottom, once it has risen.
    edges = "(menu) => [menu.getBoundingClientRect()].map(({ left, right, bottom }) => [left, right, bottom])[0]"
    eventually(lambda: menu.evaluate(edges) == [0, 360, 740])


def test_another_tab_and_another_device_see_it_too(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, _ben_name = talking(site, visit)
    second = ben.new_page()
    second.get_by_role("log").wait_for() if second.get_by_role("log").count() else second.get_by_role(
        "link", name=ann_name
    ).click()
    ann.act(TALK[0], "Edit")
    ann.message_box().fill("changed")
    ann.message_box().press("Enter")
    ben.sees("changed", TALK[1], page=second)
    ann.message("changed").get_by_role("button", name="Message actions").click()
    ann.page.get_by_role("menuitem", name="React with 👍").click()
    second.get_by_role("button", name="👍 1").wait_for()


HOSTILE = "<img src=x onerror=\"document.title='owned'\">" + "W" * 40


TOO_WIDE = """() => [...document.querySelectorAll("[role=log] *")]
  .filter((each) => each.getBoundingClientRect().right > innerWidth && !each.closest(".content, .quote"))
  .map((each) => `${each.tagName} ${each.className} ${each.getBoundingClientRect().right}`)"""


def test_what_others_write_is_text_in_all_new_places(site: Deployment, visit: Visit) -> None:
    ann, _ben, people, group = grouped(site, visit, "Hostile", viewport={"width": 360, "height": 740})
    first = people[1].SendMessage(conversation_id=group, content=HOSTILE).message_id
    people[1].SetMemberNickname(group_id=group, nickname=HOSTILE[:64])
    people[0].SetMemberTitle(group_id=group, user_id=people[1].id, title=HOSTILE[:32])
    people[0].PinMessage(message_id=first)
    people[1].AddReaction(message_id=first, reaction=":" + "w" * 32 + ":")
    metadata = {"reply_to": first, "mentions": people[0].id, "forwarded_from": first}
    people[1].SendMessage(conversation_id=group, content=f"@{people[0].username} " + HOSTILE, metadata=metadata)
    ann.page.get_by_role("button", name="In reply to").wait_for()
    for name in ("Pinned message:", "In reply to", ":www"):
        ann.page.get_by_role("button", name=name).first.wait_for()
    eventually(lambda: ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
    assert ann.page.evaluate(TOO_WIDE) == []
    ann.page.get_by_role("button", name="All (1)").click()
    ann.close()
    ann.details()
    ann.member(HOSTILE[:64]).wait_for()
    assert ann.page.title() == "GoChat"
    assert ann.page.locator("main img, dialog img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_opens(scheme: str, site: Deployment, visit: Visit, npm: Path) -> None:
    axe = (npm / "axe-core/axe.min.js").read_text()
    ann, _ben, people, group = grouped(site, visit, f"Axe {scheme}", color_scheme=scheme, reduced_motion="reduce")
    first = people[1].SendMessage(conversation_id=group, content="hello @all").message_id
    metadata = {"reply_to": first, "mentions": people[0].id, "forwarded_from": first}
    answer = people[1].SendMessage(
        conversation_id=group, content=f"an answer to @{people[0].username}", metadata=metadata
    )
    people[1].EditMessage(message_id=answer.message_id, content=f"an answer for @{people[0].username}")
    for person in people[:2]:
        person.AddReaction(message_id=first, reaction="👍")
    people[0].PinMessage(message_id=first)
    people[0].SetMemberTitle(group_id=group, user_id=people[1].id, title="Treasurer")
    page = ann.page

    def check(where: str) -> None:
        page.evaluate(axe + ";0")  # not as a script of the page, which its policy forbids
        found = page.evaluate(
            "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => "
            "`${id}: ${nodes.map(({ html }) => html.slice(0, 160))}`))"
        )
        assert found == [], where

    text = f"an answer for @{people[0].username}"
    ann.message(text).wait_for()
    page.get_by_role("button", name="Pinned message:").wait_for()
    check("messages")
    ann.message(text).get_by_role("button", name="Message actions").click()
    check("menu of a message")
    page.keyboard.press("Escape")
    ann.message(text).get_by_role("button", name="React", exact=True).click()
    check("picker")
    page.keyboard.press("Escape")
    for action in ("Read by", "Versions", "Forward", "Delete for me"):
        ann.act(text, action)
        page.get_by_role("dialog").wait_for()
        check(action)
        ann.close()
    ann.act(text, "Reply")
    ann.message_box().press_sequentially("@b")
    page.get_by_role("listbox").wait_for()
    check("composer")
    ann.message_box().press("Escape")
    page.get_by_role("button", name="All (1)").click()
    check("pinned messages")
    ann.close()
    page.get_by_role("button", name="Chat menu").click()
    check("menu of the conversation")
    page.keyboard.press("Escape")
    ann.details()
    ann.member(people[1].username).wait_for()
    for summary in ("Invitations", "Group settings", "Banned members", "Add members"):
        page.locator("summary", has_text=summary).click()
    check("details of a group")
    for action in ("Mute", "Ban", "Change title", "Make owner"):
        ann.member_act(people[1].username, action)
        check(action)
        ann.close()
