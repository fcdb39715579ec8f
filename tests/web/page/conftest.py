"""The web client in Debian's Chromium, by Playwright, and gochat.js in Node.js."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Own
from tests.harness import Deployment
from tests.npm import installed
from tests.processes import free_address, missing
from tests.web.page.pages import Visitor

HERE = Path(__file__).parent
# The sandbox needs what containers lack; the rest keeps Chromium from calling its maker.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")  # while Playwright runs, its thread counts as one that runs an asyncio loop
def chromium() -> Iterator[Any]:
    # The shell is Chromium without the user interface, whose own pages take six times the CPU of ours.
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if not program:
        missing("no Chromium (apt-get install chromium-headless-shell) to open the web client with")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder node_modules with what npm/package.json names."""
    folder = tmp_path_factory.mktemp("page") / "npm"
    return installed(HERE / "npm", folder, "check the web client") / "node_modules"


def web(own: Own, **env: str) -> Deployment:
    """A GoChat with a web client at app.url_of_page. Started again, it is on the same ports."""
    address = free_address()
    settings = {"GOCHAT_HTTP_LISTEN": address, "GOCHAT_AUTH_REGISTRATION": "open"} | env
    return own(listen=free_address(), env=settings)


def url_of(app: Deployment) -> str:
    return f"http://{app.env['GOCHAT_HTTP_LISTEN']}"


@pytest.fixture(scope="module")
def site(own_of_module: Own) -> Deployment:
    """A GoChat with a web client, which the tests of a file share."""
    return web(own_of_module)


@pytest.fixture
def fragile(own: Own) -> Deployment:
    """A GoChat with a web client, which the test may kill."""
    return web(own)


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """visit(app) -> somebody with a browser of their own. No page may report an error, nor break its own policy."""
    visitors: list[Visitor] = []

    def open_browser(app: Deployment, **options: Any) -> Visitor:
        visitors.append(Visitor(chromium.new_context(**options), url_of(app)))
        return visitors[-1]

    yield open_browser
    for visitor in visitors:
        visitor.context.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []
