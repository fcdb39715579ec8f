"""What does not fit together stops the start."""

from collections.abc import Iterable, Iterator

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.app import repo_handlers
from gochat.config import Messages
from gochat.domain import forms
from gochat.domain.access import RULES
from gochat.domain.forms import rules
from gochat.events.relay import Relay
from gochat.internal.store.v1 import store_pb2
from gochat.repo.inboxes import Inboxes
from gochat.services import LOGIC, REPO, Audience, Service, served_by
from gochat.serving.binding import BindError, Handlers, bind
from gochat.storage.database import Database

DESCRIPTOR = logic_pb2.DESCRIPTOR.services_by_name["LogicService"]
REPO_SERVICE, STORE_SERVICE = "gochat.api.repo.v1.RepoService", "gochat.internal.store.v1.StoreService"
OURS = Service(DESCRIPTOR, LOGIC, Audience.APPS)


class HandlesAll:
    """A handler of these RPCs."""

    def __init__(self, rpcs: Iterable[str]) -> None:
        for rpc in rpcs:
            setattr(self, rpc, self.handle)

    def handle(self, _: object) -> None:
        pass


ALL = HandlesAll(DESCRIPTOR.methods_by_name)


NAME = DESCRIPTOR.name


def test_every_rpc_is_bound_by_its_path() -> None:
    assert list(bind([OURS], {NAME: [ALL]})) == [
        f"/{DESCRIPTOR.full_name}/{name}" for name in DESCRIPTOR.methods_by_name
    ]


@pytest.mark.parametrize(
    ("handlers", "why"),
    [
        ({}, "Authenticate: 0 handlers"),
        ({NAME: [ALL, HandlesAll(["SendMessage"])]}, "SendMessage: 2 handlers"),
        ({NAME: [ALL, HandlesAll(["SendMail"])]}, "without an RPC: SendMail"),
        ({NAME: [ALL, HandlesAll(["batch_SendMail"])]}, "without an RPC: SendMail"),
        ({NAME: [ALL], "MailService": [HandlesAll([])]}, "without an RPC: MailService"),
    ],
)
def test_every_rpc_has_one_handler_and_every_handler_an_rpc(handlers: Handlers, why: str) -> None:
    with pytest.raises(BindError, match=why):
        bind([OURS], handlers)


def test_services_may_have_rpcs_of_the_same_name(database: Database) -> None:
    methods = bind(served_by(REPO), repo_handlers(database, Relay(), Messages(), Inboxes(database)))
    repo_group, store_group = (methods[f"/{path}/CreateGroup"] for path in (REPO_SERVICE, STORE_SERVICE))
    assert repo_group.request_class is repo_pb2.CreateGroupRequest
    assert store_group.request_class is store_pb2.CreateGroupRequest


def test_an_rpc_needs_a_rule_of_access(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, f"/{DESCRIPTOR.full_name}/SendMessage")
    with pytest.raises(BindError, match="SendMessage: no rule says"):
        bind([OURS], {NAME: [ALL]})


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
        bind([OURS], {NAME: [ALL]})


@pytest.mark.usefixtures("_forms_of_now")
def test_a_field_needs_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(rules.FIELDS, "to_user_id")
    with pytest.raises(BindError, match="SendMessage: no rule for the form of 'to_user_id'"):
        bind([OURS], {NAME: [ALL]})


def test_a_rule_must_not_let_in_more_than_the_audience() -> None:
    with pytest.raises(BindError, match="lets in more"):
        bind([Service(DESCRIPTOR, LOGIC, Audience.SERVICES)], {NAME: [ALL]})
