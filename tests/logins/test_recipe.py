"""The recipe of proto/README.md: an app that has users and a login."""

import tomllib
from pathlib import Path

from tests.conftest import Own
from tests.test_readme import blocks, newcomer, pasted

GUIDE = "proto/README.md"


def test_users_of_two_backends_are_those_of_the_recipe(own: Own, tmp_path: Path) -> None:
    issuers = tomllib.loads(blocks("login settings", GUIDE))["auth"]["issuers"]
    env = {f"GOCHAT_AUTH_ISSUERS_{name}_{key}".upper(): v for name, keys in issuers.items() for key, v in keys.items()}
    app = own(folder=tmp_path, env=env)
    printed = pasted(blocks("login", GUIDE), app, tmp_path, newcomer(app, tmp_path))
    assert printed == blocks("login output", GUIDE)
