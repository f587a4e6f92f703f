"""The benchmarks of the tick and the fleet: their figures are what they say they are."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.accounts import CpuTimes, TimedPort
from benchmarks.answering import QueryKind, read, rows
from benchmarks.audit import AuditLog, count_by_kind
from benchmarks.figures import PEERS, BenchmarkRun, RollbackDelays, SteadyLoad, markdown, quantile
from benchmarks.holding import megabytes_held
from benchmarks.tick import Bench
from benchmarks.workload import METRICS, policy_document

INTERVAL = 10.0


@pytest.mark.parametrize("metrics", sorted(METRICS))
def test_a_tiny_run_has_consistent_figures(metrics: str) -> None:
    """Five rollouts, three looks each: every part is counted, and the sums are those of the parts."""
    bench = Bench(5, INTERVAL, metrics, "grouped")
    cost = bench.cost(looks=3)
    assert (cost.rollouts, cost.looks) == (5, 3)
    assert min(cost.controller, cost.adapter, cost.store, cost.cluster, cost.cores) > 0
    assert cost.ours == cost.controller + cost.adapter
    assert cost.cores == pytest.approx(cost.ours / 1000 * 5 / INTERVAL)
    assert 1 <= cost.queries_per_tick <= 4 + 5
    assert 0 < cost.writes_per_rollout <= 1.01
    assert 0 < cost.longest_tick < 10
    assert min(cost.bare_memory, cost.world_memory, cost.memory) > 10  # resident: the system may take some back
    assert cost.service_memory == cost.bare_memory + cost.own_memory
    assert 0 < cost.own_memory < 5


def test_cpu_time_is_attributed_to_each_port() -> None:
    """By name, with the number of calls; whatever it raises is charged as well."""

    class Port:
        def add(self, one: int, *, other: int) -> int:
            return one + other

        def fail(self) -> None:
            raise OSError("no")

    account = CpuTimes()
    port = TimedPort(Port(), "port", account)
    assert port.add(1, other=2) == 3
    with pytest.raises(OSError, match="no"):
        port.fail()
    assert account.calls == {"port": 2}
    assert account.seconds["port"] >= 0
    account.reset()
    assert account.calls == account.seconds == {}


def test_memory_is_counted_once_and_without_what_is_left_out() -> None:
    """Shared objects are shared, and code counts for none."""
    big = bytearray(1_000_000)
    assert 1.0 <= megabytes_held([[big], {"again": big}]) < 1.01
    assert megabytes_held([[big]], without=[big]) < 0.01
    assert megabytes_held([Path, json, len, test_memory_is_counted_once_and_without_what_is_left_out]) == 0


def test_quantile_returns_a_sample_value() -> None:
    """Nearest rank: p99 of twenty is the largest."""
    assert quantile([], 0.5) != quantile([], 0.5)
    assert quantile([3.0], 0.99) == 3.0
    twenty = [float(number) for number in range(20, 0, -1)]
    assert quantile(twenty, 0.5) == 10.0
    assert quantile(twenty, 0.99) == 20.0
    assert quantile(twenty, 0.0) == 1.0


def test_the_peers_rows_are_consistent() -> None:
    """What was copied from the measurement agrees with itself."""
    for peer in PEERS:
        load, violation = peer.load, peer.violation
        assert load is not None
        assert violation is not None
        assert load.gap_p50 <= load.gap_p99 <= load.gap_max
        assert load.rss_mean <= load.rss_max
        assert load.api == pytest.approx(load.reads + load.writes, rel=0.01)
        assert load.cpu_ms_per_tick == pytest.approx(load.cores * 120 / load.ticks * 1000, rel=0.02)
        assert violation.p50 <= violation.p99 <= violation.max
        assert violation.done <= violation.count


def test_a_run_becomes_a_row_of_each_table() -> None:
    """With its note, and no row for what was not measured."""
    load = SteadyLoad(600, 600, 10.0, 10.1, 10.2, 0.05, 1.0, 80, 81, 6, 0.01, 54, 0.36, 0, 54, 40.0)
    whole = BenchmarkRun("autocanary", 50, 10.0, load, RollbackDelays(20, 20, 5.0, 10.0, 10.0), "a note")
    notified = markdown([whole, BenchmarkRun("autocanary", 200, 10.0)])
    assert notified.count("autocanary 50 / 10 s, a note") == 2
    assert "200" not in notified.replace("| 20 |", "")
    widths = {line.count("|") for line in notified.splitlines() if line}
    assert widths == {11, 8}


def test_every_metric_of_the_workload_is_answered() -> None:
    """Both revisions get good values, and bad ones where they must be bad."""
    query = (
        'label_replace(sum by (namespace_name, revision_name) (increase(x{namespace_name="bench",'
        'revision_name=~"a-1|a-2"}[1m])), "autocanary", "count0", "", "")'
    )
    question = read(query)
    assert (question.kind, question.revisions) == (QueryKind.TRAFFIC, ("a-1", "a-2"))
    values = {
        (labels["revision_name"], labels["autocanary"], "autocanary_failed" in labels): value
        for labels, value in rows(question, {"a-2"})
    }
    assert values["a-1", "count0", True] < values["a-2", "count0", True]
    with pytest.raises(ValueError, match="unknown form"):
        read("up")
    document = policy_document("mixed", INTERVAL)
    assert len(document["spec"]["analysis"]["metrics"]) == len(METRICS["presets"]) == 4


def test_the_audit_log_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    """Of one user only; a line that is not whole yet is read when it is."""

    def event(user: str, verb: str, *, weight: int | None = None, stage: str = "ResponseComplete") -> str:
        spec = {"spec": {"predictor": {"canaryTrafficPercent": weight}}}
        return json.dumps(
            {
                "verb": verb,
                "stage": stage,
                "user": {"username": user},
                "objectRef": {"resource": "inferenceservices", "name": "mnist"},
                "responseStatus": {"code": 200},
                "requestObject": spec if weight is not None else {},
                "stageTimestamp": "2026-11-22T10:00:00.500000Z",
            }
        )

    path = tmp_path / "audit.log"
    log = AuditLog(path, "autocanary")
    assert log.read() == []
    last = event("autocanary", "patch", weight=0)
    path.write_text(
        "\n".join([event("autocanary", "list"), event("kube", "get"), event("autocanary", "patch", weight=10)])
        + "\n"
        + last[:30]
    )
    assert [(call.verb, call.weight) for call in log.read()] == [("list", None), ("patch", 10)]
    path.write_text(path.read_text() + last[30:] + "\n")
    assert [call.weight for call in log.read()] == [None, 10, 0]
    assert count_by_kind(log.calls) == {"list inferenceservices": 1, "patch inferenceservices": 2}
    assert [call.reads for call in log.calls] == [True, False, False]
    assert math.isclose(log.calls[0].at % 60, 0.5)
