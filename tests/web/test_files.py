"""Files of the web client, their headers; pages of other origins (CORS)."""

import gzip
from pathlib import Path

import pytest

from gochat.web.cors import Cors
from gochat.web.files import Files
from gochat.web.messages import Request, Response
from tests.conftest import Own
from tests.web.client import ON, Web, path, web_of

PAGE = b"<!doctype html><script type=module src=/app.js></script>" + b" " * 2000
SHOWN = "https://chat.example.com"


def get(files: Files, url: str, **headers: str) -> tuple[Response, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = files.response(Request("GET", url, "", list(named.items()), named, b"", ""))
    return response, dict(response.headers)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "index.html").write_bytes(PAGE)
    (tmp_path / "app.js").write_bytes(b"export {}\n")
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "index.html").write_bytes(b"inner")
    (tmp_path / "icon.png").write_bytes(b"\0" * 3000)
    (tmp_path / ".hidden").write_bytes(b"x")
    return Files(tmp_path)


def test_a_page(files: Files) -> None:
    response, headers = get(files, "/")
    assert (response.status, response.body) == (200, PAGE)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "'unsafe-inline'" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


def test_what_has_not_changed_is_not_sent_again(files: Files) -> None:
    tag = get(files, "/app.js")[1]["etag"]
    for tags in (tag, f'W/{tag}, "x"', "*"):
        response, headers = get(files, "/app.js", if_none_match=tags)
        assert (response.status, response.body, headers["etag"]) == (304, b"", tag)
    assert get(files, "/app.js", if_none_match='"x"')[0].status == 200


def test_gzip_where_it_is_worth_it(files: Files) -> None:
    response, headers = get(files, "/", accept_encoding="gzip, br")
    assert (headers["content-encoding"], gzip.decompress(response.body)) == ("gzip", PAGE)
    assert headers["vary"] == "accept-encoding"
    for url in ("/app.js", "/icon.png"):
        assert "content-encoding" not in get(files, url, accept_encoding="gzip")[1]


def test_types_and_folders(files: Files) -> None:
    assert get(files, "/app.js")[1]["content-type"] == "text/javascript; charset=utf-8"
    assert get(files, "/icon.png")[1]["content-type"] == "image/png"
    assert get(files, "/vendor/")[0].body == b"inner"


@pytest.mark.parametrize("url", ["/index.htm", "/.hidden", "/../secret", "/vendor", "//", "/%2e%2e/x", ""])
def test_there_is_nothing_else(files: Files, url: str) -> None:
    assert get(files, url)[0].status == 404


def test_head_and_security_headers_of_everything(web: Web) -> None:
    answer = web.request("HEAD", "/healthz")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "8")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["date"]


@pytest.fixture(scope="module")
def shared(own_of_module: Own) -> Web:
    return web_of(own_of_module(env=ON | {"GOCHAT_HTTP_ORIGINS": f"{SHOWN}, http://localhost:3000"}))


def test_a_page_of_a_listed_origin_may_call(shared: Web) -> None:
    asked = {
        "origin": SHOWN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    allowed = shared.request("OPTIONS", path("GetUserProfile"), headers=asked)
    assert (allowed.status, allowed.body) == (204, b"")
    assert allowed.headers["access-control-allow-origin"] == SHOWN
    assert allowed.headers["access-control-allow-methods"] == "GET, POST"
    for name in ("authorization", "content-type", "x-gochat-act-as", "connect-timeout-ms", "x-grpc-web"):
        assert name in allowed.headers["access-control-allow-headers"].split(", ")
    answer = shared.call("GetUserProfile", {}, origin=SHOWN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, SHOWN)
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize("origin", ["https://chat.example.com.evil.org", "http://chat.example.com", "null", "*", ""])
def test_pages_of_other_origins_may_not(shared: Web, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    refused = shared.request("OPTIONS", path("GetUserProfile"), headers=asked)
    assert refused.status == 403
    for answer in (refused, shared.call("GetUserProfile", {}, origin=origin)):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "origin"


def test_without_origins_there_is_none_of_it(web: Web) -> None:
    answer = web.call("GetUserProfile", {}, origin=SHOWN)
    assert not {name for name in answer.headers if name.startswith("access-control")}
    assert not Cors(()).is_used
