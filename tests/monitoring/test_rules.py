"""The dashboard and the alert rules ask for what the server exports: every metric, label and value in them is real."""

import json
import re
from itertools import count
from pathlib import Path

import pytest
import yaml

from gochat.api.common.v1 import common_pb2
from gochat.domain.webhooks import PARKED, PENDING
from gochat.monitoring.exporter import CODE
from gochat.push.delivery import FAILED, GONE, REFUSED, SENT
from gochat.services import LOGIC, SERVICES, rpcs, served_by
from tests.conftest import Own
from tests.harness import refused
from tests.processes import Metrics, gochat
from tests.streams import listening
from tests.waiting import polled

FOLDER = Path(__file__).parents[2] / "gochat" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in ALERTS)]
OF_PROMETHEUS = {"up"}  # made by Prometheus for each target
ADDED = {"job", "instance"}  # to every sample, by Prometheus
SPEC = {
    "GochatSimpleQueriesSlow": 0.05,
    "GochatComplexQueriesSlow": 0.2,
    "GochatWritesSlow": 0.1,
    "GochatBatchesSlow": 1,
}

STRING, RANGE = re.compile(r'"(?:[^"\\]|\\.)*"'), re.compile(r"\[[^\]]*\]")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
OPERATORS = {"and", "or", "unless", "bool", "offset"}


@pytest.fixture(scope="module")
def used(own_of_module: Own) -> Metrics:
    """A scrape of a server that did a little of everything: sends, batches, refusals, a stream."""
    app = own_of_module()
    person, friend = app.people(2)
    with listening(app, friend.metadata) as listener:
        person.send(friend.id)
        listener.until(lambda each: each.contents)
    person.SendMessages(messages=[{"to_user_id": friend.id, "content": "of many"}])
    with refused("NOT_FOUND"):
        person.GetUserProfile(user_id="u404")
    wanted = {name for expression in EXPRESSIONS for name, _ in selectors(expression)} - OF_PROMETHEUS
    counted: Metrics = polled(  # a client has its answer a moment before the call is counted
        app.processes[0].metrics, lambda found: wanted <= {sample.name for sample in found.samples}
    )
    return counted


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """(metric, [(label, operator, value), ...]) of each selector in a PromQL expression."""
    found, strings = [], STRING.findall(expression)
    numbers = count()
    text = STRING.sub(lambda _: f"§{next(numbers)}§", expression)  # what is quoted may look like anything
    text = GROUPING.sub(" ", RANGE.sub(" ", text))
    for name, inside in re.findall(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?", text):
        if inside == "(" or name in OPERATORS:
            continue
        pairs = re.findall(r"(\w+)\s*(=~|!~|!=|=)\s*§(\d+)§", inside)
        found.append((name, [(label, operator, strings[int(at)][1:-1]) for label, operator, at in pairs]))
    return found


def grouped_by(expression: str) -> set[str]:
    return {label.strip() for labels in GROUPING.findall(STRING.sub("", expression)) for label in labels.split(",")}


def test_selectors_are_found() -> None:
    text = 'sum by (le, job) (rate(a_bucket{x=~"b{c}|d", y!="e"}[5m])) / f > 0.1 and on (job) time() - g{} > 3'
    assert selectors(text) == [("a_bucket", [("x", "=~", "b{c}|d"), ("y", "!=", "e")]), ("f", []), ("g", [])]
    assert grouped_by(text) == {"le", "job"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_name_is_exported(expression: str, used: Metrics) -> None:
    found = selectors(expression)
    assert found
    known: set[str] = set(ADDED)
    for name, matchers in found:
        labels = {label for sample in used.samples if sample.name == name for label in sample.labels}
        assert name in OF_PROMETHEUS or any(sample.name == name for sample in used.samples), name
        assert {label for label, _, _ in matchers} <= labels | ADDED, name
        known |= labels
    assert grouped_by(expression) <= known


def possible(label: str) -> set[str]:
    """Every value that a label can have."""
    return {
        "grpc_code": set(CODE.values()),
        "code": set(common_pb2.ErrorCode.keys()),
        "grpc_method": {rpc.name for rpc in rpcs().values()},
        "state": {PENDING, PARKED},
        "where": {"replica", "primary"},
        "outcome": {SENT, GONE, FAILED, REFUSED},
        "grpc_service": {service.descriptor.full_name for service in SERVICES},
    }[label]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_value_can_occur(expression: str) -> None:
    for _, matchers in selectors(expression):
        for label, operator, value in matchers:
            if label in ADDED:
                continue
            alternatives = value.split("|") if label == "grpc_method" else [value]
            for pattern in alternatives if "~" in operator else [re.escape(value)]:
                assert any(re.fullmatch(pattern, real) for real in possible(label)), (label, pattern)


def test_each_rpc_for_apps_has_one_limit() -> None:
    """The classes of the specification: queries simple and complex, writes, batches."""
    latencies = [rule for rule in ALERTS if rule["alert"] in SPEC]
    assert {rule["alert"]: float(rule["expr"].rpartition(">")[2]) for rule in latencies} == SPEC
    for rpc in rpcs(served_by(LOGIC)).values():
        real = {"grpc_service": rpc.containing_service.full_name, "grpc_method": rpc.name}
        holding = [rule["alert"] for rule in latencies if _selects(selectors(rule["expr"])[0][1], real)]
        assert len(holding) == 1, (rpc.full_name, holding)


def _selects(matchers: list[tuple[str, str, str]], real: dict[str, str]) -> bool:
    return all(bool(re.fullmatch(value, real[label])) == (operator == "=~") for label, operator, value in matchers)


def test_limits_are_bounds_of_the_histogram(used: Metrics) -> None:
    bounds = {s.labels["le"] for s in used.samples if s.name == "grpc_server_handling_seconds_bucket"}
    assert {"0.05", "0.1", "0.2", "1.0", "30.0"} <= bounds, "else the quantile is a guess just where it matters"
    assert min(float(bound) for bound in bounds) < 0.001


NEEDED = {
    "gochat_webhook_lag_seconds",
    "gochat_webhook_deliveries",
    "gochat_web_pushes_total",
    "gochat_recipients_notified_total",
}


@pytest.mark.parametrize("expressions", [QUERIES, [rule["expr"] for rule in ALERTS]], ids=["dashboard", "alerts"])
def test_what_goes_out_is_watched(expressions: list[str]) -> None:
    """Webhooks that are behind, notifications that are not taken: nobody else notices."""
    assert {name for expression in expressions for name, _ in selectors(expression)} >= NEEDED


def test_alert_rules_have_a_severity_and_a_summary() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_the_dashboard_has_no_overlaps_and_no_unknown_variables() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not covered & cells, panel["title"]
        covered |= cells
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - variables <= {"__rate_interval", "__all"}


@pytest.mark.parametrize(("what", "file"), [("dashboard", "dashboard.json"), ("alerts", "alerts.yml")])
def test_dashboard_and_alerts_are_printed(what: str, file: str, tmp_path: Path) -> None:
    run = gochat("metrics", what, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (0, (FOLDER / file).read_text())
