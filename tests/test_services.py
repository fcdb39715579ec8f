"""The registry of services against what lies beside it: the contract, the rules of access, the guide to the API."""

import re
from pathlib import Path

import pytest

from gochat.domain.access import RULES
from gochat.services import SERVICES, rpcs

ROOT = Path(__file__).parent.parent
NAMES = [service.descriptor.full_name for service in SERVICES]


def test_every_service_of_the_contract_is_served() -> None:
    defined = [
        f"{re.findall(r'^package (.+);', text, re.MULTILINE)[0]}.{name}"
        for text in (file.read_text() for file in (ROOT / "proto").rglob("*.proto"))
        for name in re.findall(r"^service (\w+)", text, re.MULTILINE)
    ]
    assert sorted(NAMES) == sorted(defined)


def test_the_rules_of_access_are_of_these_rpcs() -> None:
    assert RULES.keys() == rpcs().keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_names_every_service(name: str) -> None:
    assert f"{name.removeprefix('gochat.')}`" in (ROOT / "proto" / "README.md").read_text()
