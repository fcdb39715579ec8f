"""Somebody who uses the web client, by the names and roles that a screen reader has."""

import re
from collections.abc import Callable
from typing import Any

from tests.harness import PASSWORD, Deployment, Person, fresh
from tests.waiting import eventually, polled

OFFLINE = re.compile(
    r"ERR_(CONNECTION_REFUSED|INTERNET_DISCONNECTED|CONNECTION_RESET|EMPTY_RESPONSE|NETWORK_CHANGED)|"
    r"ERR_(INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED|FAILED|CONNECTION_CLOSED|ABORTED)"
)
"""What Chromium writes on the console of a page whose server is away."""
REFUSED = re.compile(r"the server responded with a status of 4\d\d")
"""The same of an answer that is an error, such as a wrong password."""


class Visitor:
    """A browser with a profile of its own. problems: what its pages reported."""

    def __init__(self, context: Any, url: str) -> None:
        self.context, self.url = context, url
        self.problems: list[str] = []
        context.on("page", self._watch)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        # A violation of the policy is also an event; as a console message it comes too late for some pages.
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective}`))"
        )
        self.page = self.new_page()

    def new_page(self) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(60_000)  # a machine may be busy with other tests
        page.goto(self.url)
        return page

    def _watch(self, page: Any) -> None:
        def note(message: Any) -> None:
            known = OFFLINE.search(message.text) or REFUSED.search(message.text)
            is_ours = message.location["url"].startswith(self.url) or not message.location["url"]
            if message.type in ("error", "warning") and is_ours and not known:
                self.problems.append(message.text)

        page.on("console", note)

    def sign_in(self, username: str, password: str = PASSWORD) -> None:
        name = self.page.get_by_label("Username")
        assert polled(name.count, seconds=60), f"no form to sign in: {self.problems}\n{self.page.content()}"
        name.fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.get_by_role("navigation", name="Chats").wait_for()

    def start_chat(self, name: str) -> None:
        self.page.get_by_role("button", name="New chat").first.click()
        self.page.get_by_role("searchbox", name="Search people").fill(name)
        self.page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
        self.page.get_by_role("heading", name=name, level=1).wait_for()  # else it is still that of the chat before
        self.message_box().wait_for()

    def open(self, name: str) -> None:
        self.conversation(name).click()
        self.message_box().wait_for()

    def conversation(self, name: str) -> Any:
        return self.page.get_by_role("list", name="Conversations").get_by_role("link", name=name)

    def unread(self, name: str, count: int) -> Any:
        conversations = self.page.get_by_role("list", name="Conversations").get_by_role("listitem")
        return conversations.filter(has_text=name).get_by_role("img", name=f"{count} unread")

    def message_box(self) -> Any:
        return self.page.get_by_role("textbox", name="Message")

    def say(self, text: str) -> None:
        self.message_box().fill(text)
        self.page.get_by_role("button", name="Send").click()

    def said(self, page: Any = None) -> list[str]:
        """The texts of the messages in sight."""
        texts: list[str] = (page or self.page).get_by_role("log").locator(".content").all_inner_texts()
        return texts

    def sees(self, *texts: str, page: Any = None) -> None:
        """Returns once these, and no others, are in sight, in this order."""
        eventually(lambda: self.said(page) == list(texts) or _sleepless(page or self.page))

    def message(self, text: str) -> Any:
        """The article of the message that says this."""
        content = self.page.locator(".content", has_text=re.compile(f"^{re.escape(text)}$"))
        return self.page.get_by_role("log").get_by_role("article").filter(has=content)

    def act(self, text: str, action: str) -> None:
        """Chooses in the menu of a message."""
        self.message(text).get_by_role("button", name="Message actions").click()
        self.page.get_by_role("menu").get_by_role("menuitem", name=action, exact=True).click()

    def chat_act(self, action: str) -> None:
        """Chooses in the menu of the conversation that is open."""
        self.page.get_by_role("button", name="Chat menu").click()
        self.page.get_by_role("menu").get_by_role("menuitem", name=action, exact=True).click()

    def row(self, name: str) -> Any:
        """A conversation in the list of them."""
        conversations = self.page.get_by_role("list", name="Conversations").get_by_role("listitem")
        return conversations.filter(has=self.page.get_by_role("link", name=name, exact=True))

    def listed(self) -> list[str]:
        names: list[str] = self.page.get_by_role("list", name="Conversations").get_by_role("link").all_inner_texts()
        return names

    def details(self) -> Any:
        self.page.get_by_role("button", name="Details").click()
        return self.page.get_by_role("dialog", name="Details")

    def member(self, name: str) -> Any:
        members = self.page.get_by_role("list", name="Members").get_by_role("listitem")
        return members.filter(has_text=name)

    def member_act(self, name: str, action: str) -> None:
        """Chooses in the menu of a member, in the details of a group."""
        self.member(name).get_by_role("button", name="Actions for").click()
        self.page.get_by_role("menu").get_by_role("menuitem", name=action, exact=True).click()

    def close(self) -> None:
        self.page.get_by_role("button", name="Close").last.click()

    def states(self) -> list[str]:
        """Of one's own messages, as a screen reader says them."""
        marks = self.page.get_by_role("log").get_by_role("img")
        return [marks.nth(index).get_attribute("aria-label") for index in range(marks.count())]


def _sleepless(page: Any) -> None:
    page.wait_for_timeout(20)  # Playwright's own events are handled while it waits


def pair(site: Deployment, visit: "Callable[..., Visitor]", **options: Any) -> tuple[Visitor, Visitor, str, str]:
    """Two people who are signed in, and their names."""
    names = fresh("ann"), fresh("ben")
    visitors = visit(site, **options), visit(site, **options)
    for name, visitor in zip(names, visitors, strict=True):
        site.create_user(name)
        visitor.sign_in(name)
    return *visitors, *names


def grouped(
    site: Deployment, visit: "Callable[..., Visitor]", name: str, **options: Any
) -> tuple[Visitor, Visitor, list[Person], str]:
    """Ann, who owns a group, and Ben in their browsers with the group open; Cem, and the id of the group."""
    names = [fresh("ann"), fresh("ben"), fresh("cem")]
    people = [site.signed_in(site.create_user(each), each) for each in names]
    group = people[0].CreateGroup(name=name, member_ids=[person.id for person in people[1:]]).group.group_id
    people[0].SendMessage(conversation_id=group, content="welcome")
    visitors = visit(site, **options), visit(site, **options)
    for visitor, person in zip(visitors, people, strict=False):
        visitor.sign_in(person.username)
        visitor.open(name)
        visitor.sees("welcome")
    return *visitors, people, group
