"""Signing in on the page without a password: at a provider of OpenID Connect, and as a guest."""

from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest

from gochat.api.session.v1.session_pb2 import BeginSignInRequest
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, fresh
from tests.openid import OpenId, installed_provider, provider, signed_in_at
from tests.processes import free_address
from tests.waiting import eventually
from tests.web.page.conftest import url_of, web
from tests.web.page.pages import Visitor

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def example(own_of_module: Own, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, OpenId]]:
    """A GoChat with a web client, whose users sign in at a provider or come as guests."""
    folder = installed_provider(tmp_path_factory.mktemp("openid") / "npm")
    address = free_address()
    app = web(own_of_module, GOCHAT_AUTH_GUESTS="on", **OpenId(f"http://{address}").settings())
    with provider(folder, f"{url_of(app)}/", address=address) as started:
        yield app, started


def sign_in_at_the_provider(visitor: Visitor, name: str) -> None:
    page = visitor.page
    page.get_by_role("button", name="Sign in with Example").click()
    page.get_by_placeholder("Enter any login").fill(name)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def own_name(visitor: Visitor) -> str:
    visitor.page.get_by_role("button", name="Settings").click()
    return str(visitor.page.get_by_label("Display name", exact=True).input_value())


def test_who_signs_in_at_the_provider_is_in(example: tuple[Deployment, OpenId], visit: Visit) -> None:
    app, openid = example
    visitor, name = visit(app), fresh("ann")
    sign_in_at_the_provider(visitor, name)
    visitor.page.get_by_role("navigation", name="Chats").wait_for()
    assert visitor.page.url == f"{url_of(app)}/"
    eventually(lambda: visitor.page.evaluate("sessionStorage.length") == 0)
    assert own_name(visitor) == f"{name} of the provider"
    visitor.page.reload()
    visitor.page.get_by_role("navigation", name="Chats").wait_for()
    kept = "caches.open('page').then((it) => it.keys()).then((all) => all.map((each) => each.url))"
    assert not [url for url in visitor.page.evaluate(kept) if "code=" in url or openid.issuer in url]


def test_who_turns_back_at_the_provider_is_not(example: tuple[Deployment, OpenId], visit: Visit) -> None:
    app, openid = example
    visitor = visit(app)
    visitor.page.get_by_role("button", name="Sign in with Example").click()
    visitor.page.wait_for_url(f"{openid.issuer}/**")
    visitor.page.get_by_text("Cancel").click()
    visitor.page.get_by_text("You were not signed in.").wait_for()
    assert visitor.page.url == f"{url_of(app)}/"
    sign_in_at_the_provider(visitor, fresh("ben"))
    visitor.page.get_by_role("navigation", name="Chats").wait_for()


def test_an_answer_that_this_tab_has_not_asked_for_signs_nobody_in(
    example: tuple[Deployment, OpenId], visit: Visit
) -> None:
    """Else a link could sign people in as somebody else, who then reads what they write (login CSRF)."""
    app, _ = example
    visitor, home = visit(app), f"{url_of(app)}/"
    begun = app.session.BeginSignIn(BeginSignInRequest(issuer="example", redirect_uri=home))
    answer = signed_in_at(begun.authorization_url, fresh("thief"))
    visitor.page.goto(f"{home}?{urlencode(answer)}")
    visitor.page.get_by_role("button", name="Sign in with Example").wait_for()
    assert visitor.page.url == f"{url_of(app)}/"
    assert visitor.page.get_by_role("navigation", name="Chats").count() == 0


def test_a_guest_talks_and_keeps_the_account(example: tuple[Deployment, OpenId], visit: Visit) -> None:
    app, _ = example
    ann = app.person("ann", password=PASSWORD)
    visitor, name = visit(app), fresh("gus")
    visitor.page.get_by_role("button", name="Continue as a guest").click()
    visitor.page.get_by_role("navigation", name="Chats").wait_for()
    visitor.start_chat(ann.username)
    visitor.say("hello")
    visitor.sees("hello")
    visitor.page.reload()
    visitor.page.get_by_role("button", name="Settings").click()
    form = visitor.page.get_by_role("form", name="Keep this account")
    form.get_by_label("Username").fill(name)
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Keep this account").click()
    visitor.page.get_by_role("button", name="Change password").wait_for()
    visitor.page.get_by_text(f"@{name}").wait_for()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.sign_in(name)
    visitor.open(ann.username)
    visitor.sees("hello")


def test_without_passwords_the_provider_is_what_is_offered(own: Own, visit: Visit) -> None:
    app = web(own, GOCHAT_AUTH_PASSWORDS="false", **OpenId("http://127.0.0.1:9").settings())
    visitor = visit(app)
    button = visitor.page.get_by_role("button", name="Sign in with Example")
    button.wait_for()
    visitor.page.get_by_label("Password").wait_for(state="detached")
    button.click()
    visitor.page.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    visitor.problems.clear()  # the browser writes down that it cannot be reached
