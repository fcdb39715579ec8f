"""A real OpenID provider, oidc-provider on Node.js, and somebody who signs in there without a browser."""

import http.cookiejar
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from tests.npm import installed
from tests.processes import free_address

SECRET = "the secret of the client at the provider"
MAX_STEPS = 20


@dataclass(frozen=True)
class OpenId:
    issuer: str

    def settings(self, **more: str) -> dict[str, str]:
        """Of a GoChat whose users sign in there."""
        named = {
            "ISSUER": self.issuer,
            "CLIENT_ID": "chat",
            "CLIENT_SECRET": SECRET,
            "NICKNAME_CLAIM": "name",
            "LABEL": "Example",
        } | more
        return {f"GOCHAT_AUTH_ISSUERS_EXAMPLE_{key}": value for key, value in named.items()}


@contextmanager
def provider(folder: Path, *redirect_uris: str, address: str = "") -> Iterator[OpenId]:
    """folder: of installed_provider()."""
    address = address or free_address()
    command = ["node", "provider.mjs", address.rpartition(":")[2], SECRET, *redirect_uris]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            assert any(line == "ready\n" for line in process.stdout)
            yield OpenId(f"http://{address}")
        finally:
            process.kill()


def installed_provider(folder: Path) -> Path:
    return installed(Path(__file__).parent / "logins/npm", folder, "run an OpenID provider")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def signed_in_at(authorization_url: str, name: str) -> dict[str, str]:
    """Signs in as a browser would, and returns the query with which the provider sends it back."""
    opener = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()), _NoRedirect)
    at, form = authorization_url, None
    provider = urlsplit(authorization_url).netloc
    for _ in range(MAX_STEPS):
        try:
            with opener.open(Request(at, form and urlencode(form).encode()), timeout=30) as page:
                text = page.read().decode()
            prompt = re.search(r'name="prompt" value="(\w+)"', text)
            action = re.search(r'action="([^"]+)"', text)
            assert prompt, text
            assert action, text
            at, form = urljoin(at, action[1]), {"prompt": prompt[1], "login": name, "password": "any"}
        except HTTPError as redirect:
            assert redirect.code in (302, 303), redirect.read().decode()
            at, form = urljoin(at, redirect.headers["location"]), None
        if urlsplit(at).netloc != provider:
            return {key: value for key, (value,) in parse_qs(urlsplit(at).query).items()}
    raise AssertionError(f"no end: {at}")
