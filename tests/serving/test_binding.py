"""What does not fit together stops the start."""

from collections.abc import Iterable, Iterator

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.domain import forms
from gochat.domain.access import RULES
from gochat.domain.forms import rules
from gochat.services import LOGIC, Audience, Service
from gochat.serving.binding import BindError, bind

DESCRIPTOR = logic_pb2.DESCRIPTOR.services_by_name["LogicService"]
OURS = Service(DESCRIPTOR, LOGIC, Audience.APPS)


class HandlesAll:
    """A handler of these RPCs."""

    def __init__(self, rpcs: Iterable[str]) -> None:
        for rpc in rpcs:
            setattr(self, rpc, self.handle)

    def handle(self, _: object) -> None:
        pass


ALL = HandlesAll(DESCRIPTOR.methods_by_name)


def test_every_rpc_is_bound_by_its_path() -> None:
    assert list(bind([OURS], [ALL])) == [f"/{DESCRIPTOR.full_name}/{name}" for name in DESCRIPTOR.methods_by_name]


def test_an_rpc_needs_one_handler() -> None:
    with pytest.raises(BindError, match="Authenticate: 0 handlers"):
        bind([OURS], [])
    with pytest.raises(BindError, match="SendMessage: 2 handlers"):
        bind([OURS], [ALL, HandlesAll(["SendMessage"])])
    with pytest.raises(BindError, match="without an RPC: SendMail"):
        bind([OURS], [ALL, HandlesAll(["SendMail"])])


def test_an_rpc_needs_a_rule_of_access(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, f"/{DESCRIPTOR.full_name}/SendMessage")
    with pytest.raises(BindError, match="SendMessage: no rule says"):
        bind([OURS], [ALL])


@pytest.fixture
def _forms_of_now() -> Iterator[None]:
    """The forms are looked up again, before the test and after it."""
    forms.form_of.cache_clear()
    yield
    forms.form_of.cache_clear()


@pytest.mark.usefixtures("_forms_of_now")
def test_a_request_needs_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(forms.FORMS, "gochat.api.logic.v1.SendMessageRequest")
    with pytest.raises(BindError, match=r"SendMessage: no rule for the form of '\S+SendMessageRequest'"):
        bind([OURS], [ALL])


@pytest.mark.usefixtures("_forms_of_now")
def test_a_field_needs_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(rules.FIELDS, "to_user_id")
    with pytest.raises(BindError, match="SendMessage: no rule for the form of 'to_user_id'"):
        bind([OURS], [ALL])


def test_a_rule_must_not_let_in_more_than_the_audience() -> None:
    with pytest.raises(BindError, match="lets in more"):
        bind([Service(DESCRIPTOR, LOGIC, Audience.SERVICES)], [ALL])
