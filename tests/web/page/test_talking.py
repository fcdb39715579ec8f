"""What people do with the web client, in browsers of their own."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, fresh
from tests.waiting import eventually, polled
from tests.web.page.conftest import web
from tests.web.page.pages import Visitor, pair

Visit = Callable[..., Visitor]
KIB = 1024

HOSTILE = {
    "HTML": "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script><b>bold</b>",
    "a template": "${document.title='owned'} {{7*7}} &lt;b&gt; &#x41;",
    "right to left": "\u202eevil\u202c \u202b\u2067 שלום עולם مرحبا",
    "16 KiB without a space": "W" * 16 * KIB,
    "100 combining marks": "Z" + "\u0335\u0348\u0353" * 34,
    "a link that is none": "javascript:document.title='owned' data:text/html,<script>1</script>",
}


def test_two_people_talk_live(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    ann.start_chat(ben_name)
    ann.say("hello")
    ben.open(ann_name)
    ben.sees("hello")
    eventually(lambda: ann.states() == ["Read"])
    ben.message_box().press_sequentially("hm")
    typing = ann.page.get_by_role("status").filter(has_text="typing…")
    typing.wait_for()
    heading = ann.page.get_by_role("heading", name=ben_name)
    assert typing.bounding_box()["x"] == heading.bounding_box()["x"], "it is below the name"
    ben.say("hello to you")
    ann.sees("hello", "hello to you")
    ann.page.get_by_text("Online").first.wait_for()
    assert ann.page.title() == "GoChat"


def test_what_is_not_sent_yet_is_kept_for_who_wrote_it(site: Deployment, visit: Visit) -> None:
    ann, _, ann_name, ben_name = pair(site, visit)
    ann.start_chat(ben_name)
    ann.say("hello")
    ann.message_box().fill("not sent yet")
    ann.page.reload()
    ann.message_box().wait_for()
    eventually(lambda: ann.message_box().input_value() == "not sent yet")
    ann.page.get_by_role("button", name="Settings").click()
    ann.page.get_by_role("button", name="Sign out").click()
    ann.sign_in(ben_name)
    ann.open(ann_name)
    eventually(lambda: ann.message_box().input_value() == "")
    eventually(lambda: ann.page.evaluate("sessionStorage.length") == 0)


def test_unread_messages_are_counted_until_they_are_seen(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    ann.start_chat(ben_name)
    ann.say("one")
    ann.say("two")
    eventually(lambda: ann.states() == ["Delivered", "Delivered"])
    ben.unread(ann_name, 2).wait_for()
    ben.open(ann_name)
    ben.unread(ann_name, 2).wait_for(state="detached")
    eventually(lambda: ann.states() == ["Read", "Read"])


def test_a_group_from_its_beginning_to_its_end(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    page = ann.page
    page.get_by_role("button", name="New group").click()
    page.get_by_role("textbox", name="Group name").fill("Walkers")
    page.get_by_role("searchbox", name="Search people").fill(ben_name)
    page.get_by_role("button", name=f"Add {ben_name}").click()
    eventually(lambda: page.get_by_role("button", name=f"Remove {ben_name}").is_visible())
    search = page.get_by_role("searchbox", name="Search people")
    eventually(lambda: search.input_value() == "")
    eventually(lambda: search.evaluate("(box) => box === document.activeElement"))
    page.get_by_role("button", name="Create group").click()
    ann.message_box().wait_for()
    ann.say("welcome")
    ben.open("Walkers")
    ben.sees("welcome")

    page.get_by_role("button", name="Details").click()
    members = page.get_by_role("list", name="Members").get_by_role("listitem")
    eventually(lambda: members.count() == 2)
    assert sorted(text.split()[-1] for text in members.all_inner_texts()) == ["Member", "Owner"]
    ann.member_act(ben_name, "Remove")
    eventually(lambda: members.count() == 1)
    ben.conversation("Walkers").wait_for(state="detached")

    page.get_by_text("Add members").click()
    page.get_by_role("searchbox", name="Search people").fill(ben_name)
    page.get_by_role("button", name=f"Add {ben_name}").click()
    eventually(lambda: members.count() == 2)
    ben.open("Walkers")
    ben.page.get_by_role("button", name="Details").click()
    ben.page.get_by_role("button", name="Leave group").click()
    ben.page.get_by_role("group", name="Leave this group?").get_by_role("button", name="Leave group").click()
    ben.conversation("Walkers").wait_for(state="detached")
    eventually(lambda: members.count() == 1)
    eventually(lambda: ann_name in members.first.inner_text())


def test_an_account_is_made_where_registration_is_open(site: Deployment, visit: Visit) -> None:
    visitor = visit(site)
    visitor.page.get_by_role("button", name="Create account").click()
    visitor.page.get_by_label("Username").fill(name := fresh("new"))
    visitor.page.get_by_label("Display name (optional)").fill("Nora New")
    visitor.page.get_by_label("Password").fill(PASSWORD)
    visitor.page.get_by_role("button", name="Create account").first.click()
    visitor.page.get_by_role("heading", name="No conversations yet").wait_for()
    visitor.page.get_by_role("button", name="Settings").click()
    eventually(lambda: visitor.page.get_by_label("Display name", exact=True).input_value() == "Nora New")
    eventually(lambda: visitor.page.get_by_text(f"@{name}").is_visible())
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.sign_in(name)


def test_no_account_is_offered_where_registration_is_closed(own: Own, visit: Visit) -> None:
    visitor = visit(web(own, GOCHAT_AUTH_REGISTRATION="closed"))
    visitor.page.get_by_role("button", name="Sign in").wait_for()
    offered = visitor.page.get_by_role("button", name="Create account")
    assert not polled(offered.count, seconds=1)


def test_a_wrong_password_is_said(site: Deployment, visit: Visit) -> None:
    visitor = visit(site)
    visitor.page.get_by_label("Username").fill(fresh("nobody"))
    visitor.page.get_by_label("Password").fill("not this one")
    visitor.page.get_by_role("button", name="Sign in").click()
    eventually(lambda: visitor.page.get_by_role("alert").inner_text() == "The username or the password is wrong.")


def test_a_session_that_is_revoked_elsewhere_is_signed_out_at_once(site: Deployment, visit: Visit) -> None:
    lost, kept = visit(site), visit(site)
    site.create_user(name := fresh("ann"))
    lost.sign_in(name)
    kept.sign_in(name)
    kept.page.get_by_role("button", name="Settings").click()
    kept.page.get_by_role("list", name="Sessions").get_by_role("button", name="Revoke").click()
    lost.page.get_by_text("Your session has ended").wait_for(timeout=8000)
    eventually(lambda: lost.page.get_by_role("button", name="Sign in").is_visible())
    eventually(lambda: lost.page.evaluate("indexedDB.databases().then((all) => all.length)") == 1)
    eventually(lambda: kept.page.get_by_role("dialog").is_visible())


def test_a_changed_password_keeps_this_device_signed_in(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    page = ann.page
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Current password").fill("not this one")
    page.get_by_label("New password").fill("no matter which")
    page.get_by_role("button", name="Change password").click()
    page.get_by_text("The current password is wrong.").wait_for()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(other := PASSWORD[::-1])
    page.get_by_role("button", name="Change password").click()
    page.get_by_text("The password is changed.").wait_for()
    page.get_by_role("button", name="Close").click()
    ann.start_chat(ben_name)
    ann.say("still here")
    ben.open(ann_name)
    ben.say("so am I")
    ann.sees("still here", "so am I")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    ann.sign_in(ann_name, other)


def test_hostile_content_is_text_inside_its_box(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit, viewport={"width": 360, "height": 740})
    ann.start_chat(ben_name)
    ann.say("hello")
    ben.open(ann_name)
    for text in HOSTILE.values():
        ann.say(text)
        eventually(lambda text=text: ben.said()[-1:] == [text])
        assert ben.page.evaluate(OUTSIDE) == []
    assert ben.page.title() == "GoChat"
    assert ben.page.get_by_role("log").locator("b, img, script, a").count() == 0


OUTSIDE = """() => {
  const log = document.querySelector("[role=log]");
  const box = log.getBoundingClientRect();
  const wide = log.scrollWidth > log.clientWidth || document.documentElement.scrollWidth > innerWidth;
  const bubbles = [...log.querySelectorAll(".bubble")];
  const out = bubbles.filter((bubble) => {
    const { left, right } = bubble.getBoundingClientRect();
    return left < box.left || right > box.right || !["clip", "hidden"].includes(getComputedStyle(bubble).overflowY);
  });
  return [...(wide ? ["wide"] : []), ...out.map((bubble) => bubble.textContent.slice(0, 20))];
}"""


def test_a_name_is_text_too(site: Deployment, visit: Visit) -> None:
    ann, ben, *_ = pair(site, visit, viewport={"width": 360, "height": 740})
    nasty = "<b>x</b>" + "M" * 56
    ben.page.get_by_role("button", name="Settings").click()
    ben.page.get_by_label("Display name", exact=True).fill(nasty)
    ben.page.get_by_role("button", name="Save").first.click()
    ben.page.get_by_text("Saved").wait_for()
    ann.start_chat(nasty)
    eventually(lambda: ann.page.get_by_role("heading", name=nasty).is_visible())
    eventually(lambda: ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_what_one_says_of_oneself_can_be_emptied(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, _ = pair(site, visit)
    page = ann.page

    def save(nickname: str, bio: str) -> list[str]:
        """Returns what is there when one looks again."""
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Display name", exact=True).fill(nickname)
        page.get_by_label("About you").fill(bio)
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Saved").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Settings").click()
        shown = [page.get_by_label(label, exact=True).input_value() for label in ("Display name", "About you")]
        page.keyboard.press("Escape")
        return shown

    assert save("Ann of the hills", "I like hills.") == ["Ann of the hills", "I like hills."]
    # What ben has made is not made again of the list, which comes later.
    ben.page.route("**/GetConversations", lambda route: (time.sleep(0.5), route.continue_()))
    ben.start_chat("Ann of the hills")
    assert save("", "") == [ann_name, ""]
    ben.page.get_by_role("heading", name=ann_name).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, site: Deployment, visit: Visit, npm: Path) -> None:
    axe = (npm / "axe-core/axe.min.js").read_text()
    visitor = visit(site, color_scheme=scheme, reduced_motion="reduce")
    page = visitor.page

    def check(where: str) -> None:
        page.evaluate(axe + ";0")  # not as a script of the page, which its policy forbids
        found = page.evaluate(
            "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => "
            "`${id}: ${nodes.map(({ html }) => html.slice(0, 120))}`))"
        )
        assert found == [], where

    page.get_by_label("Username").wait_for()
    check("signing in")
    names = [fresh("ann"), fresh("ben"), fresh("cem")]
    people = [site.signed_in(site.create_user(name), name) for name in names]
    visitor.sign_in(names[0])
    page.get_by_role("heading", name="No conversations yet").wait_for()
    check("without conversations")
    for person in people[1:]:
        person.SendMessage(to_user_id=people[0].id, content="hello https://example.com")
    visitor.open(names[1])
    visitor.say("and hello to you")
    eventually(lambda: visitor.states() == ["Sent"])
    check("a conversation")
    for button in ("Details", "New chat", "New group", "Settings"):
        page.get_by_role("button", name=button).click()
        page.get_by_role("dialog").wait_for()
        check(button)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")


def test_everything_can_be_done_by_keyboard(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    ben.start_chat(ann_name)
    ben.say("can you reach me?")
    ann.conversation(ben_name).wait_for()
    for _ in range(20):
        ann.page.keyboard.press("Tab")
        if ann.conversation(ben_name).evaluate("(link) => link === document.activeElement"):
            break
    ann.page.keyboard.press("Enter")
    ann.sees("can you reach me?")
    eventually(lambda: ann.message_box().evaluate("(box) => box === document.activeElement"))
    ann.page.keyboard.type("yes")
    ann.page.keyboard.press("Enter")
    ben.sees("can you reach me?", "yes")


def test_the_first_look_takes_less_than_150_kb(site: Deployment, visit: Visit) -> None:
    visitor = visit(site)
    page = visitor.context.new_page()
    network = visitor.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[int] = []
    network.on("Network.loadingFinished", lambda loaded: sizes.append(loaded["encodedDataLength"]))
    page.goto(visitor.url)
    page.get_by_label("Username").wait_for()
    assert len(sizes) > 20
    assert sum(sizes) < 150_000


def test_the_page_speaks_chinese_to_who_does(site: Deployment, visit: Visit) -> None:
    visitor = visit(site, locale="zh-CN")
    visitor.page.get_by_role("button", name="登录").wait_for()
    eventually(lambda: visitor.page.evaluate("document.documentElement.lang") == "zh")
