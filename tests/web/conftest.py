"""A server that listens for HTTP, shared by the tests of a file."""

import pytest

from tests.conftest import Own
from tests.harness import Deployment
from tests.web.client import ON, Web, web_of


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module(env=ON | {"GOCHAT_LIMITS_TRUSTED_PROXIES": "127.0.0.1", "GOCHAT_LOG_LEVEL": "debug"})


@pytest.fixture(scope="module")
def web(server: Deployment) -> Web:
    return web_of(server)
