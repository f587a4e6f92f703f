"""What the hostile tenants do: each class with its example and siblings, and what must be true of each afterwards.

The classes T14 (network policy) and T17 (workflows) are no objects: ``tests/chart`` has them.
"""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.tenants import nested, with_raw
from tests.hostile.world import Evidence, HostileWorld
from tests.real.manifests import analysis, policy_document, service_document

__all__ = ["CASES", "Case", "apply_all", "prepare"]

Apply = Callable[[HostileWorld, str], None]
Check = Callable[[HostileWorld, Evidence], None]

_SECRET, _EVIL = "hunter2-do-not-show", "evil.example/pod"
_SECOND = "00002"


@dataclass(frozen=True)
class Case:
    """``apply`` at each moment; ``check`` on what was seen at its end. ``services`` have rollouts at 10 %.

    ``alone``: it is about the process and not an object, so it has a part of the moment for itself.
    """

    name: str
    apply: Apply
    check: Check
    services: Sequence[tuple[str, str]] = ()

    @property
    def kind(self) -> str:
        return self.name.partition(" ")[0]


CASES: list[Case] = []


def case(name: str, check: Check, *services: tuple[str, str]) -> Callable[[Apply], Apply]:
    def add(apply: Apply) -> Apply:
        CASES.append(Case(name, apply, check, services))
        return apply

    return add


def once(apply: Callable[[HostileWorld], None]) -> Apply:
    """At the first moment only: the object stays."""

    def at(world: HostileWorld, moment: str) -> None:
        if moment == "running":
            apply(world)

    return at


# --- checks ----------------------------------------------------------------------------------------------


def invalid(policy: str) -> Check:
    """The policy's author is notified, and shortly."""

    def check(_: HostileWorld, evidence: Evidence) -> None:
        assert evidence.valid(policy) == "False", evidence.policies.get(policy, {}).get("status")
        assert len(json.dumps(evidence.policies[policy]["status"])) < 20_000

    return check


def skipped(kind: str, place: str) -> Check:
    """The object is left out, named in the log and counted; the watch goes on."""

    def check(_: HostileWorld, evidence: Evidence) -> None:
        assert place in evidence.named("object_skipped"), sorted(evidence.named("object_skipped"))
        assert evidence.metrics[f'autocanary_objects_skipped{{kind="{kind}"}}'] >= 1
        assert evidence.metrics[f'autocanary_watch_healthy{{kind="{kind}"}}'] == 1

    return check


def set_aside(service: str, namespace: str) -> Check:
    """A record that cannot be used: replaced by a leader that knows better, else left alone and named."""

    def check(_: HostileWorld, evidence: Evidence) -> None:
        place = f"{namespace}/{service}-{evidence.moment}-{_SECOND}"
        events = ("record_replaced",) if evidence.moment == "running" else ("rollout_set_aside", "rollout_unreadable")
        assert place in evidence.named(*events), sorted(evidence.named(*events))
        assert set(evidence.weights_written(namespace, f"{service}-{evidence.moment}")) <= {0, 10}

    return check


def weights_within(namespace: str, *services: str) -> Check:
    """Nothing but the first step, and the way back, was written: 0, or stable's own spec."""

    def check(_: HostileWorld, evidence: Evidence) -> None:
        for service in services:
            name = service.replace("MOMENT", evidence.moment)
            written = evidence.weights_written(namespace, name)
            back = evidence.specs_written(namespace, name)
            assert set(written) <= {0, 10, *([None] if back else [])}, f"{name}: {written}"
            assert all(uri.endswith("/v1") for uri in back), f"{name}: {back}"

    return check


def nothing_evil_written(_: HostileWorld, evidence: Evidence) -> None:
    assert _EVIL not in json.dumps([each.get("requestObject") for each in evidence.writes])


def no_secret_shown(world: HostileWorld, evidence: Evidence) -> None:
    """Of a receiver's or Prometheus' answer nothing secret, and nothing that a terminal would act on."""
    for text in (evidence.texts, evidence.log_text, evidence.status_output):
        for escape in ("\x1b", "\\u001b"):
            assert escape not in text, text[max(0, text.index(escape) - 300) :][:400]
    assert _SECRET not in evidence.texts
    assert world.receivers.inner.requests == []
    assert world.receivers.private_connections == []


def victims_only(_: HostileWorld, __: Evidence) -> None:
    """The victim, readiness, metrics and memory are checked for every moment as a whole."""


# --- T1: queries that end the parser ------------------------------------------------------------------------


def query_policy(namespace: str, name: str, query: str, *services: str) -> Apply:
    metric = {"name": "own", "query": query, "thresholdRange": {"max": 1}}
    rules = {**analysis(warmup="1s", metrics=[metric]), "interval": "5s"}
    return once(lambda world: world.tenant.policy(namespace, name, names=list(services) or ["none"], analysis=rules))


case("T1 8,000 operands in upper case", invalid("t01/upper"))(query_policy("t01", "upper", "a" + " OR a" * 1_900))
case("T1 parentheses within parentheses", invalid("t01/deep"))(
    query_policy("t01", "deep", "(" * 4_000 + "a" + ")" * 4_000)
)
case("T1 operators that look like names", invalid("t01/names"))(query_policy("t01", "names", "a" + " uNlEsS b" * 1_500))


@case(
    "T1 the query in a record",
    weights_within("t01", "snap-MOMENT"),
    *(("t01", f"snap-{m}") for m in ("running", "start", "takeover")),
)
def query_in_record(world: HostileWorld, moment: str) -> None:
    metric = {"name": "own", "query": "a" + " OR a" * 8_000, "thresholdRange": {"max": 1}}
    change = {"spec": {"policy": {"snapshot": {"analysis": {"metrics": [metric]}}}}}
    assert world.tenant.patch("canaryrollouts", "t01", f"snap-{moment}-{_SECOND}", change) == 200


# --- T2: queries that fail at the evaluation ----------------------------------------------------------------

case("T2 999 operators", invalid("t02/many"))(query_policy("t02", "many", "a" + " or a" * 999))
case("T2 as many operators as are allowed", weights_within("t02", "most"), ("t02", "most"))(
    query_policy("t02", "most", "vector(0)" + " or a" * 95, "most")
)
case("T2 all series of Prometheus", weights_within("t02", "all"), ("t02", "all"))(
    query_policy("t02", "all", 'count by (__name__, le, revision_name) ({__name__=~".+"})', "all")
)
case("T2 a query that Prometheus refuses", weights_within("t02", "refused"), ("t02", "refused"))(
    query_policy("t02", "refused", "sum(rate(a[5m])) + on(x) group_left(y) rate({__name__=~'.+'}[5m])", "refused")
)


@case("T2 40 queries that take nine seconds each", weights_within("t02", "slow"), ("t02", "slow"))
@once
def slow_queries(world: HostileWorld) -> None:
    metrics = [
        {"name": f"m{number}", "query": f"rate(slow_query[{number + 1}m])", "thresholdRange": {"max": 1}}
        for number in range(40)
    ]
    world.tenant.policy(
        "t02", "slow", names=["slow"], analysis={**analysis(warmup="1s", metrics=metrics), "interval": "5s"}
    )


# --- T3: objects that cannot be decoded ---------------------------------------------------------------------


@case("T3 a service nested 1,000 levels", skipped("InferenceService", "t03/odd-deep"))
@once
def deep_service(world: HostileWorld) -> None:
    document = service_document("t03", "odd-deep", "v1")
    document["spec"]["predictor"]["model"]["x"] = "__raw__"
    status, answer = world.tenant.create("inferenceservices", "t03", with_raw(document, nested(1000)))
    assert status in (201, 409), answer


@case("T3 a policy nested 1,000 levels", skipped("RolloutPolicy", "t03/deep"))
@once
def deep_policy(world: HostileWorld) -> None:
    document = policy_document("deep", namespace="t03", x="__raw__")
    status, answer = world.tenant.create("rolloutpolicies", "t03", with_raw(document, nested(1000, "[")))
    assert status in (201, 409), answer


@case("T3 a record nested 1,000 levels", skipped("CanaryRollout", "t03/deep"))
@once
def deep_record(world: HostileWorld) -> None:
    status, answer = world.tenant.create(
        "canaryrollouts", "t03", with_raw(record("t03", "deep", x="__raw__"), nested(1000))
    )
    assert status in (201, 409), answer


@case(
    "T3 a status of a running rollout nested 1,000 levels",
    weights_within("t03", "status-MOMENT"),
    *(("t03", f"status-{m}") for m in ("running", "start", "takeover")),
)
def deep_status(world: HostileWorld, moment: str) -> None:
    change = with_raw({"status": {"progress": {"evidence": {"x": "__raw__"}}}}, nested(1000))
    name = f"status-{moment}-{_SECOND}"
    assert world.tenant.patch("canaryrollouts", "t03", name, change, subresource="status") == 200


def record(namespace: str, name: str, **snapshot: Any) -> dict[str, Any]:
    """A CanaryRollout of a service that does not exist."""
    return {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "CanaryRollout",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "inferenceService": {"apiVersion": "serving.kserve.io/v1beta1", "name": name, "uid": "u"},
            "stable": f"{name}-predictor-00001",
            "candidate": f"{name}-predictor-00002",
            "policy": {"name": "p", "hash": "h", "snapshot": snapshot},
        },
    }


# --- T4: policies that the validation must survive ----------------------------------------------------------


def raw_policy(namespace: str, name: str, raw: str, **spec: Any) -> Apply:
    document = policy_document(name, namespace=namespace, **spec)

    def create(world: HostileWorld) -> None:
        status, answer = world.tenant.create("rolloutpolicies", namespace, with_raw(document, raw))
        assert status in (201, 409), answer

    return once(create)


case("T4 first in the order, nested 80 levels", invalid("t04/a-first"))(
    raw_policy("t04", "a-first", nested(80), x="__raw__")
)
case("T4 lists within lists", invalid("t04/lists"))(
    raw_policy("t04", "lists", nested(60, "["), selector={"x": "__raw__"})
)
case("T4 6,000 values", invalid("t04/many"))(raw_policy("t04", "many", json.dumps(list(range(6_000))), x="__raw__"))
case("T4 a number of 300 digits", invalid("t04/digits"))(raw_policy("t04", "digits", "1" * 300 + ".5", x="__raw__"))

# --- T5: texts that hold the interpreter --------------------------------------------------------------------

case("T5 a field whose name is 600 kB", invalid("t05/long"))(
    raw_policy("t05", "long", "{" + json.dumps("a." * 300_000) + ":1}", x="__raw__")
)
case("T5 thousands of unknown fields", invalid("t05/fields"))(
    raw_policy("t05", "fields", json.dumps({f"token=a.{'b.' * 40}{number}": 1 for number in range(3_000)}), x="__raw__")
)


@case("T5 a status of a service that is 800 kB", weights_within("t05", "talks"), ("t05", "talks"))
def long_status(world: HostileWorld, _: str) -> None:
    condition = {"type": "PredictorReady", "status": "False", "message": "Bearer a.a." + "a." * 400_000}
    change = {"status": {"conditions": [condition]}}
    assert world.tenant.patch("inferenceservices", "t05", "talks", change, subresource="status") == 200


# --- T6: records whose status is malformed ------------------------------------------------------------------


def malformed(name: str, progress: object) -> None:
    services = tuple(("t06", f"{name}-{moment}") for moment in ("running", "start", "takeover"))

    @case(f"T6 {name}", set_aside(name, "t06"), *services)
    def edit(world: HostileWorld, moment: str) -> None:
        place = f"{name}-{moment}-{_SECOND}"
        change = {"status": {"progress": progress}}
        assert world.tenant.patch("canaryrollouts", "t06", place, change, subresource="status") == 200


_ENTRY = {
    "id": "a",
    "event": "step_taken",
    "at": 1.0,
    "phase": "Progressing",
    "step": 1,
    "weight": 10,
    "reason": "StepTaken",
    "message": "",
    "delivered_channels": ["log", None, {}],
}
malformed("channels", {"pending_notifications": [_ENTRY]})
malformed("phase", {"phase": "Nonsense"})
malformed("counts", {"metrics": {"request-success-rate": {"violations": "2", "passes": []}}})
malformed("version", {"version": 99})

# --- T7: what users may patch, and what is written into services --------------------------------------------

_SPEC = {"hash": "x", "value": {"containers": [{"image": _EVIL, "securityContext": {"privileged": True}}]}}


def forged(name: str, spec: dict[str, Any], verb: str, check: Check, *, crash: bool = False) -> None:
    services = tuple(("t07", f"{name}-{moment}") for moment in ("running", "start", "takeover"))

    @case(f"T7 {name}", check, *services)
    def edit(world: HostileWorld, moment: str) -> None:
        service = f"{name}-{moment}"
        if crash:
            world.installation.kserve.do(lambda rules: _crash(rules, service))
        change = {"spec": {**spec, "request": {"id": f"r-{moment}", "verb": verb, "by": "tenant"}}}
        assert world.tenant.patch("canaryrollouts", "t07", f"{service}-{_SECOND}", change) == 200


def _crash(rules: Any, service: str) -> None:
    for child in rules.children(("t07", service)).values():
        child.pods_crash(child.revisions[f"{service}-predictor-{_SECOND}"])


forged("stable", {"stableSpec": _SPEC}, "abort", nothing_evil_written, crash=True)
forged("candidate", {"candidateSpec": _SPEC}, "abort", nothing_evil_written)
forged(
    "renamed",
    {"stable": "x-predictor-00009", "candidate": "x-predictor-00008"},
    "resume",
    weights_within("t07", "renamed-MOMENT"),
)


# --- T8, T9, T13: receivers ---------------------------------------------------------------------------------


def hooks(name: str, url: Callable[[HostileWorld], str], number: int, services: int, kind: str = "rollout") -> Apply:
    def create(world: HostileWorld) -> None:
        webhooks = [
            {"name": f"h{index}", "type": kind, "url": f"{url(world)}?{index}", "timeout": "100s", "retries": 2}
            for index in range(number)
        ]
        world.tenant.policy("t08", name, names=[f"{name}-*"], webhooks=webhooks)

    return once(create)


def some(namespace: str, name: str, number: int) -> list[tuple[str, str]]:
    return [(namespace, f"{name}-{index}") for index in range(number)]


case("T8 114 webhooks to a host that hangs", victims_only, *some("t08", "hangs", 6))(
    hooks("hangs", lambda world: world.receivers.hanging, 19, 6)
)
case("T8 webhooks whose answers trickle", victims_only, *some("t08", "trickles", 2))(
    hooks("trickles", lambda world: world.receivers.trickling, 19, 2)
)
case("T8 webhooks whose answers swell", victims_only, *some("t08", "swells", 2))(
    hooks("swells", lambda world: world.receivers.swelling, 19, 2, "rollback")
)


def routes(name: str, url: Callable[[HostileWorld], str]) -> None:
    @case(f"T9 20 routes to a receiver that {name}", victims_only, ("t09", f"{name}-1"), ("t09", f"{name}-2"))
    @once
    def create(world: HostileWorld) -> None:
        notifications = [{"webhook": {"url": f"{url(world)}?{index}"}} for index in range(20)]
        world.tenant.policy("t09", name, names=[f"{name}-*"], notifications=notifications)


routes("hangs", lambda world: world.receivers.hanging)
routes("trickles", lambda world: world.receivers.trickling)
routes("swells", lambda world: world.receivers.swelling)


def secrets(name: str, urls: Callable[[HostileWorld], list[str]], check: Check = no_secret_shown) -> None:
    @case(f"T13 {name}", check, ("t13", f"{name}-1"))
    @once
    def create(world: HostileWorld) -> None:
        webhooks = [
            {"name": f"w{index}", "type": "rollback", "url": each, "timeout": "5s"}
            for index, each in enumerate(urls(world))
        ]
        world.tenant.policy(
            "t13", name, names=[f"{name}-*"], webhooks=webhooks, notifications=[{"webhook": {"url": urls(world)[0]}}]
        )


secrets("answers", lambda world: [world.receivers.answering.url])
secrets("redirects", lambda world: [world.receivers.redirector.url])
_PRIVATE = ("127.0.0.2", "2130706434", "0x7f000002", "127.0.2", "[::1]", "[::ffff:127.0.0.2]", "0.0.0.0")
secrets("private", lambda world: [f"http://{host}:{world.receivers.private_port}/" for host in _PRIVATE])

# --- T10: the machine is sick for a moment ------------------------------------------------------------------


def limited(name: str, what: int, limit_of: Callable[[int], int], seconds: float) -> None:
    @case(f"T10 {name}", victims_only)
    def apply(world: HostileWorld, moment: str) -> None:
        if moment == "start" or world.process is None:
            return  # nothing runs that could be limited; the process that starts has a limit on its descriptors
        pid = world.process.process.pid
        before = resource.prlimit(pid, what)
        resource.prlimit(pid, what, (limit_of(pid), before[1]))

        def restore() -> None:
            time.sleep(seconds)
            resource.prlimit(pid, what, before)

        threading.Thread(target=restore, daemon=True).start()


def _address_space(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize() + 4 * 1024 * 1024


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


limited("no memory for another thread", resource.RLIMIT_AS, _address_space, 2.0)
limited("no file descriptor", resource.RLIMIT_NOFILE, _descriptors, 2.0)

# --- T11: clocks --------------------------------------------------------------------------------------------


@case(
    "T11 recorded times of the future",
    weights_within("t11", "future-MOMENT"),
    *(("t11", f"future-{m}") for m in ("running", "start", "takeover")),
)
def future(world: HostileWorld, moment: str) -> None:
    later = time.time() + 10 * 365 * 86400
    times = ("started_at", "phase_since", "step_started_at", "verified_at", "last_evaluation_at", "no_data_since")
    change = {"status": {"progress": dict.fromkeys(times, later)}}
    name = f"future-{moment}-{_SECOND}"
    assert world.tenant.patch("canaryrollouts", "t11", name, change, subresource="status") == 200


@case("T11 clocks an hour ahead, an hour behind, a day ahead", victims_only)
def clocks(world: HostileWorld, moment: str) -> None:
    """Each process has another clock, and the first one's is stepped: ``HostileWorld.run``."""


# --- T12, T15: Prometheus' answers --------------------------------------------------------------------------


def bomb(kind: str, word: str, check: Check = victims_only, namespace: str = "") -> None:
    place, name = namespace or kind.lower(), word.replace("_", "-")
    query = f'sum(rate({word}{{n="x"}}[{{{{ window }}}}]))'
    case(f"{kind} {word}", check, (place, f"{name}-1"))(query_policy(place, name, query, f"{name}-*"))


bomb("T12", "bomb_zipped")
bomb("T12", "bomb_plain")
bomb("T12", "bomb_deep")
bomb("T15", "bomb_escape", no_secret_shown, "t15b")


@case("T15 escape sequences in labels, annotations and requests", no_secret_shown, ("t15", "paints"))
def paints(world: HostileWorld, moment: str) -> None:
    escape = "\x1b[2J\x1b]0;owned\x07\u202e\n\r"
    notes = {"metadata": {"annotations": {"autocanary.dev/note": escape, "x": escape * 100}}}
    assert world.tenant.patch("inferenceservices", "t15", "paints", notes) == 200
    request = {"spec": {"request": {"id": f"{escape}{moment}", "verb": "resume", "by": escape}}}
    assert world.tenant.patch("canaryrollouts", "t15", f"paints-{_SECOND}", request) == 200


case("T15 escape sequences in a policy", invalid("t15/paints"))(
    raw_policy("t15", "paints", json.dumps({"\x1b[2J\u202e": "\x1b]0;owned\x07"}), x="__raw__")
)

# --- T16: floods --------------------------------------------------------------------------------------------


def probes_answered(_: HostileWorld, evidence: Evidence) -> None:
    """80 clients hold half a request open during the whole moment."""
    assert evidence.slowest_probe < 5.0, evidence.slowest_probe
    assert len([each for each in evidence.log if each["event"] == "connections_closed"]) <= 20


@case("T16 half requests, and trickled headers", probes_answered)
def floods(world: HostileWorld, moment: str) -> None:
    """They are held by ``HostileWorld.observe``."""


def slack_is_notified(world: HostileWorld, evidence: Evidence) -> None:
    """Slack has asked for a day, once: the rollback is notified all the same."""
    deadline = time.monotonic() + 75
    while time.monotonic() < deadline:
        if any(
            f"bad-{evidence.moment}" in json.dumps(each) and "rolled back" in json.dumps(each)
            for each in world.installation.slack.messages
        ):
            return
        time.sleep(0.5)
    raise AssertionError("Slack was not notified within a minute")


@case("T16 Slack asks to wait a day", slack_is_notified)
def asks_to_wait(world: HostileWorld, moment: str) -> None:
    """``HostileWorld.run`` has it answer so."""


@case("T16 a policy whose Slack channel and mention are markup", invalid("t16/markup"))
@once
def markup(world: HostileWorld) -> None:
    channel = {"slack": {"channel": "#a> <!channel> <https://evil.example|click>", "mention": ["<!everyone>"]}}
    world.tenant.policy("t16", "markup", names=["none"], notifications=[channel])


# --- all together -------------------------------------------------------------------------------------------


def prepare(world: HostileWorld) -> None:
    """Namespaces, policies and services before the first process begins; then all rollouts to 10 %."""
    for namespace in sorted({f"t{number:02d}" for number in range(1, 17)} | {"t15b"}):
        world.tenant.namespace(namespace)
    plain = {namespace for each in CASES for namespace, _ in each.services}
    for namespace in sorted(plain - {"t02", "t08", "t09", "t12", "t13", "t15b"}):
        world.tenant.policy(namespace, "plain", names=["*"])
    world.victims()
    with_policies = ("T2", "T8", "T9", "T12", "T13", "T15 bomb")
    for each in CASES:
        if each.name.startswith(with_policies):
            each.apply(world, "running")
    world.process = world.begin()
    world.released([service for each in CASES for service in each.services])


def apply_all(world: HostileWorld, moment: str) -> None:
    for each in CASES:
        each.apply(world, moment)
