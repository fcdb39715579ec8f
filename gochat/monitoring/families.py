"""The metrics of a process other than those of its RPCs: one table of their names, in the code and in Prometheus."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gochat.events.counters import LAGS
from gochat.webhooks.counters import OUTCOMES

GAUGE, COUNTER = GaugeMetricFamily, CounterMetricFamily
ALWAYS, LOGIC, REPO, SQLITE, COUNTED = "always", "logic", "repo", "sqlite", "counted"
"""When a family is exported: always; by a process with the logic half; by one with the repo half; by one with SQLite;
once the rows were counted."""


@dataclass(frozen=True)
class Family:
    """A metric family. label: the name of its label, "" if it has one value only. names: value of the label -> name in
    the code."""

    name: str
    help: str
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily]
    where: str
    names: Mapping[str, str]
    label: str = ""


FAMILIES = (
    Family(
        "gochat_pool_waiting_calls",
        "Calls whose request has come and that wait for a thread",
        GAUGE,
        ALWAYS,
        {
            "call": "calls_waiting",
            "hash": "hashes_waiting",
            "search": "searches_waiting",
            "opening": "openings_waiting",
            "fetch": "fetches_waiting",
            "ask": "asks_waiting",
        },
        "pool",
    ),
    Family(
        "gochat_pool_busy_threads",
        "Threads that answer a call now",
        GAUGE,
        ALWAYS,
        {
            "call": "calls_on_threads",
            "hash": "hashes_on_threads",
            "search": "searches_on_threads",
            "opening": "openings_on_threads",
            "fetch": "fetches_on_threads",
            "ask": "asks_on_threads",
        },
        "pool",
    ),
    Family(
        "gochat_pool_threads",
        "Threads that answer calls, at most",
        GAUGE,
        ALWAYS,
        {
            "call": "call_threads",
            "hash": "hash_threads",
            "search": "search_threads",
            "opening": "opening_threads",
            "fetch": "fetch_threads",
            "ask": "ask_threads",
        },
        "pool",
    ),
    Family(
        "gochat_server_fast",
        "1 where the serving loop serves, 0 where grpcio's own server does",
        GAUGE,
        ALWAYS,
        {"": "fast"},
    ),
    Family(
        "gochat_streams_open",
        "Streams of events that are open",
        GAUGE,
        LOGIC,
        {"": "streams_open"},
    ),
    Family(
        "gochat_events_delivered_total",
        "Events that were handed to the connections of streams, one for each stream",
        COUNTER,
        LOGIC,
        {"": "events_delivered"},
    ),
    Family(
        "gochat_streams_resumed_total",
        "Streams that went on from a cursor, without a gap",
        COUNTER,
        LOGIC,
        {"": "streams_resumed"},
    ),
    Family(
        "gochat_stream_resyncs_total",
        "Times that a stream could not go on from where its client was",
        COUNTER,
        LOGIC,
        {
            "too_old": "resyncs_too_old",
            "other_database": "resyncs_other_database",
            "too_much": "resyncs_too_much",
        },
        "reason",
    ),
    Family(
        "gochat_stream_queues_dropped_total",
        "Times that a stream did not keep up: what it had queued was dropped, to be read from the log again",
        COUNTER,
        LOGIC,
        {"": "queues_dropped"},
    ),
    Family(
        "gochat_webhook_attempts_total",
        "Events of webhooks: delivered, failed (and tried again), parked, or gone before they were delivered",
        COUNTER,
        LOGIC,
        {outcome: f"webhook_{outcome}" for outcome in OUTCOMES},
        "outcome",
    ),
    Family(
        "gochat_webhook_lag_seconds",
        "Age of the oldest change that a webhook is being sent or has not come to: of the one that is furthest behind",
        GAUGE,
        LOGIC,
        {"": "webhook_lag"},
    ),
    Family(
        "gochat_recipients_notified_total",
        "Users who were offline and notified of messages in a conversation",
        COUNTER,
        LOGIC,
        {"": "recipients_notified"},
    ),
    Family(
        "gochat_web_pushes_total",
        "Notifications that were sent to browsers, by what came of it",
        COUNTER,
        LOGIC,
        {
            "sent": "web_pushes_sent",
            "gone": "web_pushes_gone",
            "failed": "web_pushes_failed",
            "refused": "web_pushes_refused",
        },
        "outcome",
    ),
    Family(
        "gochat_calls_dropped_total",
        "Calls that were ended because their request did not arrive or their answer was not taken",
        COUNTER,
        ALWAYS,
        {"": "calls_dropped"},
    ),
    Family(
        "gochat_serving_threads_replaced_total",
        "Times that another thread took over the serving, since a read waited for the disk",
        COUNTER,
        ALWAYS,
        {"": "serving_threads_replaced"},
    ),
    Family(
        "gochat_database_connections_used",
        "Connections that calls use now; on SQLite those that read",
        GAUGE,
        REPO,
        {"": "connections_used"},
    ),
    Family(
        "gochat_database_connections_max",
        "Connections at most; on SQLite those that read",
        GAUGE,
        REPO,
        {"": "connections_max"},
    ),
    Family(
        "gochat_database_replica_reads_total",
        "Reads that may be made on the replica, by where they were",
        COUNTER,
        REPO,
        {"replica": "replica_reads", "primary": "replica_reads_passed_on"},
        "where",
    ),
    Family(
        "gochat_database_replica_lag_seconds",
        "How long the primary has been where the replica is not yet; 0 where it is",
        GAUGE,
        REPO,
        {"": "replica_lag"},
    ),
    Family(
        "gochat_database_replica_lag_bytes",
        "How much of the primary's log the replica has not replayed",
        GAUGE,
        REPO,
        {"": "replica_lag_bytes"},
    ),
    Family(
        "gochat_database_waiting_writes",
        "Writes that wait for the transaction before theirs",
        GAUGE,
        SQLITE,
        {"": "writes_waiting"},
    ),
    Family(
        "gochat_log_lines_dropped_total",
        "Lines of the log that stderr did not take in time, or at all",
        COUNTER,
        ALWAYS,
        {"": "log_lines_dropped"},
    ),
    Family(
        "gochat_background_failures_total",
        "Failures of periodic background work; the log says which and why",
        COUNTER,
        ALWAYS,
        {"": "background_failures"},
    ),
    Family(
        "gochat_users",
        "Users, by status",
        GAUGE,
        COUNTED,
        {"active": "users_active", "disabled": "users_disabled", "deleted": "users_deleted"},
        "status",
    ),
    Family(
        "gochat_active_users",
        "Users who signed in or refreshed their session within the last 24 hours (day), 30 days (month)",
        GAUGE,
        COUNTED,
        {"day": "active_day", "month": "active_month"},
        "window",
    ),
    Family(
        "gochat_messages_sent_total",
        "Messages ever sent, including recalled and deleted ones",
        COUNTER,
        COUNTED,
        {"": "messages_sent"},
    ),
    Family(
        "gochat_conversations_created_total",
        "Conversations ever created, including dissolved groups",
        COUNTER,
        COUNTED,
        {"single": "singles_created", "group": "groups_created"},
        "type",
    ),
    Family(
        "gochat_conversations",
        "Conversations, without dissolved groups",
        GAUGE,
        COUNTED,
        {"single": "singles_created", "group": "groups"},
        "type",
    ),
    Family(
        "gochat_active_conversations",
        "Conversations with a message or a change within the last 24 hours",
        GAUGE,
        COUNTED,
        {"single": "singles_active", "group": "groups_active"},
        "type",
    ),
    Family("gochat_change_log_rows", "Rows of the log of changes, about", GAUGE, COUNTED, {"": "changes"}),
    Family(
        "gochat_change_log_oldest_timestamp_seconds",
        "When the oldest change in the log was made; 0 where there is none",
        GAUGE,
        COUNTED,
        {"": "changes_since"},
    ),
    Family(
        "gochat_change_log_held_back_seconds",
        "Age of the oldest transaction that writes: later changes are delivered once it ends (PostgreSQL)",
        GAUGE,
        COUNTED,
        {"": "changes_held_back"},
    ),
    Family(
        "gochat_webhook_deliveries",
        "Deliveries of webhooks that failed: pending ones are tried again, parked ones are not",
        GAUGE,
        COUNTED,
        {"pending": "webhooks_pending", "parked": "webhooks_parked"},
        "state",
    ),
    Family("gochat_group_members", "Members of all groups", GAUGE, COUNTED, {"": "group_members"}),
    Family(
        "gochat_database_counted_timestamp_seconds",
        "When users, messages and conversations were last counted",
        GAUGE,
        COUNTED,
        {"": "counted_at"},
    ),
)
OF_ONE_WORKER = ("replica_lag", "replica_lag_bytes")
"""Gauges of which one of several workers is enough, and their sum means nothing."""
BATCHES = (*(str(2**power) for power in range(11)), "more")
"""Upper bounds of the sizes of transactions, as gochat.storage.writer counts them."""
LAG_BUCKETS = tuple(f"delivery_lag_{index}" for index in range(len(LAGS) + 1))

NAMES = (
    *dict.fromkeys(name for family in FAMILIES for name in family.names.values()),
    *("writes_committed", *(f"batches_{size}" for size in BATCHES)),
    *("delivery_lag_ms", *LAG_BUCKETS),
)

MOMENTARY = tuple(
    name for family in FAMILIES if family.kind is GAUGE and family.where != COUNTED for name in family.names.values()
)
"""The gauges of a process, which are 0 when it has ended."""


def families(values: Mapping[str, int], target: str, *, sqlite: bool) -> Iterator[Metric]:
    """values: by NAMES. target: all, logic or repo, of the process."""
    has_repo = target != "logic"
    has_logic = target != "repo"
    exported = {
        ALWAYS: True,
        LOGIC: has_logic,
        REPO: has_repo,
        SQLITE: has_repo and sqlite,
        COUNTED: bool(values["counted_at"]),
    }
    for family in FAMILIES:
        if exported[family.where]:
            metric = family.kind(family.name, family.help, labels=[family.label] if family.label else [])
            for label_value, name in family.names.items():
                metric.add_metric([label_value] if family.label else [], values[name])
            yield metric
    if has_logic:
        bounds, counts = tuple(str(lag / 1000) for lag in LAGS), [values[name] for name in LAG_BUCKETS]
        yield histogram(
            "gochat_event_delivery_lag_seconds",
            "From the act until what it changed was handed to the connection of a stream, without replays",
            {(): (bounds, counts, values["delivery_lag_ms"] / 1000)},
        )
    if exported[SQLITE]:
        sizes = [values[f"batches_{size}"] for size in BATCHES]
        yield histogram(
            "gochat_database_commit_size",
            "Writes that one transaction of SQLite held",
            {(): (tuple(f"{size}.0" for size in BATCHES[:-1]), sizes, values["writes_committed"])},
        )


def histogram(
    name: str,
    text: str,
    values: "Mapping[tuple[str, ...], tuple[tuple[str, ...], list[int], float]]",
    labels: tuple[str, ...] = (),
) -> HistogramMetricFamily:
    """values: label values -> (upper bounds of the buckets, observations in each bucket and in the one above the last
    bound, sum of all observations)."""
    metric = HistogramMetricFamily(name, text, labels=labels)
    for label_values, (bounds, counts, total) in values.items():
        below, buckets = 0, []
        for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
            below += count
            buckets.append((bound, below))
        metric.add_metric(label_values, buckets, total)
    return metric
