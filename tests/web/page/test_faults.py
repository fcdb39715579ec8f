"""Servers that die, networks that go, tabs that close: nothing is lost, nothing comes twice."""

import time
from collections.abc import Callable

from tests.harness import PASSWORD, Deployment, fresh
from tests.waiting import eventually
from tests.web.page.pages import Visitor, grouped, pair

Visit = Callable[..., Visitor]


def streams(app: Deployment) -> float:
    return app.processes[0].metrics()("gochat_streams_open")


def test_what_is_written_while_the_server_is_away_arrives_once(fragile: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(fragile, visit)
    ann.start_chat(ben_name)
    ann.say("0")
    ben.open(ann_name)
    ben.sees("0")
    expected = ["0"]
    for round_number in range(2):
        for number in range(3):
            ann.say(text := f"{round_number}.{number} before")
            expected.append(text)
        fragile.kill()
        for number in range(3):
            ann.say(text := f"{round_number}.{number} while it is away")
            expected.append(text)
        ann.page.get_by_text("No connection.").wait_for()
        ann.page.reload()  # what is not sent survives it, and so does the page itself
        ann.message_box().wait_for()
        fragile.start()
        ann.say(text := f"{round_number} after")
        expected.append(text)
        ann.sees(*expected)
        ben.sees(*expected)
    ann.page.get_by_text("No connection.").wait_for(state="detached")
    history = fragile.signed_in("", ben_name, PASSWORD)
    (conversation,) = history.GetConversations().conversations
    messages = history.GetMessageHistory(conversation_id=conversation.conversation_id).messages
    assert [message.content for message in reversed(messages)] == expected


def test_eight_tabs_share_one_stream(fragile: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(fragile, visit)
    ann.start_chat(ben_name)
    ann.say("first")
    eventually(lambda: streams(fragile) == 2)
    tabs = [ann.page]
    for _ in range(7):
        ann.page = ann.new_page()
        ann.open(ben_name)
        tabs.append(ann.page)
    ben.open(ann_name)
    ben.say("to all tabs")
    for tab in tabs:
        ann.sees("first", "to all tabs", page=tab)
    eventually(lambda: streams(fragile) == 2)
    for text in ("the leader is gone", "and the next one"):
        tabs.pop(0).close()
        ben.say(text)
        for tab in tabs:
            eventually(lambda tab=tab, text=text: ann.said(tab)[-1:] == [text])
    ann.page = tabs[-1]
    ann.say("from the last tab")
    eventually(lambda: ben.said()[-1:] == ["from the last tab"])
    for tab in tabs:
        ann.sees(*ben.said(), page=tab)
    eventually(lambda: streams(fragile) == 2)


def test_offline_and_back(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    ann.start_chat(ben_name)
    ann.say("online")
    ben.open(ann_name)
    ann.page.get_by_text("Online", exact=True).wait_for()
    ann.context.set_offline(True)
    ann.page.get_by_text("No connection.").wait_for()
    assert ann.page.get_by_text("Online", exact=True).count() == 0, "nobody knows"
    ann.say("written offline")
    eventually(lambda: "Waiting to be sent" in ann.states())
    ben.say("said meanwhile")
    eventually(lambda: ben.states() == ["Sent"])  # else the other might be before it
    ann.context.set_offline(False)
    ann.page.get_by_text("No connection.").wait_for(state="detached")
    ann.sees("online", "said meanwhile", "written offline")
    ben.sees("online", "said meanwhile", "written offline")


def test_the_page_opens_without_a_server_and_recovers(fragile: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(fragile, visit)
    ann.start_chat(ben_name)
    ann.say("kept here")
    ann.page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    fragile.kill()
    ann.page.reload()
    ann.sees("kept here")
    ann.page.get_by_text("No connection.").wait_for()
    fragile.start()
    ann.page.get_by_text("No connection.").wait_for(state="detached", timeout=35_000)
    ben.open(ann_name)
    ben.say("welcome back")
    ann.sees("kept here", "welcome back")


def test_a_browser_that_can_store_nothing_is_served(site: Deployment, visit: Visit) -> None:
    """As on a disk that is full: it showed neither the form to sign in nor an error."""
    full = "IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    visitor = visit(site)
    visitor.context.add_init_script(full)
    visitor.page.goto("about:blank")
    visitor.page.goto(visitor.url)
    site.create_user(name := fresh("ann"))
    visitor.sign_in(name)
    visitor.page.get_by_role("heading", name="No conversations yet").wait_for()


def test_names_are_known_without_a_server(fragile: Deployment, visit: Visit) -> None:
    """Of members, also of those who have a name of their own in the group, and what happened in it."""
    ann, ben, people, group = grouped(fragile, visit, "Names")
    people[1].SetMemberNickname(group_id=group, nickname="Benny")
    people[2].SendMessage(conversation_id=group, content="from cem")
    people[1].SendMessage(conversation_id=group, content="from ben")
    people[0].RemoveGroupMember(group_id=group, user_id=people[2].id)
    said = f"You removed {people[2].username}"
    for visitor, who in ((ann, said), (ben, said.replace("You", people[0].username))):
        visitor.page.get_by_text(who).wait_for()
        visitor.message("from cem").get_by_text(people[2].username).wait_for()
    ann.message("from ben").get_by_text("Benny").wait_for()
    ann.page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    fragile.kill()
    ann.page = ann.new_page()  # another tab knows them too
    ann.open("Names")
    ann.message("from cem").get_by_text(people[2].username).wait_for()
    ann.message("from ben").get_by_text("Benny").wait_for()
    ann.page.get_by_text(said).wait_for()
    ann.page.get_by_role("status").get_by_text("2 members").wait_for()


def test_a_page_without_a_server_asks_seldom(fragile: Deployment, visit: Visit) -> None:
    """For names that it does not know, and for older messages: each was asked for again as soon as it had failed."""
    visitor, name = visit(fragile), fresh("ann")
    ann, ben = fragile.signed_in(fragile.create_user(name), name), fragile.person("ben", password=PASSWORD)
    room = ann.CreateGroup(name="The room", member_ids=[ben.id]).group_id
    ben.SendMessages(messages=[{"conversation_id": room, "content": f"number {number}"} for number in range(80)])
    visitor.sign_in(name)
    visitor.open("The room")
    eventually(lambda: visitor.said()[-1:] == ["number 79"])
    visitor.page.evaluate("navigator.serviceWorker.ready.then(() => 0)")

    def asked() -> int:
        """In two seconds."""
        urls: list[str] = []
        visitor.page.on("request", lambda request: urls.append(request.url))
        visitor.page.wait_for_timeout(2000)
        return len(urls)

    fragile.kill()
    visitor.page.get_by_role("log").evaluate("(log) => (log.scrollTop = 0)")
    assert asked() < 20
    visitor.page.reload()
    eventually(lambda: visitor.said())
    assert asked() < 20
    fragile.start()
    visitor.page.get_by_role("article", name=f"{ben.username}, ").first.wait_for(timeout=35_000)


def test_a_send_that_is_refused_is_shown_and_can_be_discarded(site: Deployment, visit: Visit) -> None:
    ann, ben, ann_name, ben_name = pair(site, visit)
    ann.start_chat(ben_name)
    ann.say("fine")
    eventually(lambda: ann.states() == ["Delivered"])
    answer = {"status": 400, "content_type": "application/json", "json": {"code": "invalid_argument", "message": "no"}}
    ann.page.route("**/SendMessage", lambda route: route.fulfill(**answer))
    ann.say("refused")
    ann.page.get_by_role("button", name="Retry").wait_for()
    assert ann.states() == ["Delivered", "Not sent"]
    ann.page.unroute("**/SendMessage")
    ann.page.get_by_role("button", name="Retry").click()
    ben.open(ann_name)
    ben.sees("fine", "refused")


def test_long_lists_are_shown_in_part(fragile: Deployment, visit: Visit) -> None:
    """A fifth of what the page is for, to spare the machine; what is in the document does not grow with it."""
    visitor, name = visit(fragile), fresh("ann")
    ann, ben = fragile.signed_in(fragile.create_user(name), name), fragile.person("ben", password=PASSWORD)
    for number in range(1000):
        ann.CreateGroup(name=f"Group {number}", member_ids=[ben.id])
    room = ann.CreateGroup(name="The long one", member_ids=[ben.id]).group_id
    for start in range(0, 20_000, 1000):
        texts = [f"number {number}" for number in range(start, start + 1000)]
        ben.SendMessages(messages=[{"conversation_id": room, "content": text} for text in texts])

    began = time.monotonic()
    visitor.sign_in(name)
    visitor.open("The long one")
    eventually(lambda: visitor.said()[-1:] == ["number 19999"])
    assert time.monotonic() - began < 8
    links = visitor.page.get_by_role("list", name="Conversations").get_by_role("listitem")
    eventually(lambda: (links.first.get_attribute("aria-setsize"), links.count() < 60) == ("1001", True))
    visitor.page.get_by_role("searchbox", name="Filter by name").fill("group 777")
    eventually(lambda: links.count() == 1)

    log = visitor.page.get_by_role("log")

    def oldest_after_going_up() -> int:
        log.evaluate("(element) => (element.scrollTop = 0)")
        return int(visitor.said()[0].split()[1])

    eventually(lambda: oldest_after_going_up() < 19_500)
    assert log.get_by_role("article").count() < 120
    visitor.page.get_by_role("button", name="To the newest message").click()
    eventually(lambda: visitor.said()[-1:] == ["number 19999"])
