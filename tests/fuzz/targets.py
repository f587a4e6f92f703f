"""What is thrown at what, and what must hold whatever comes: no exception, and no write that is forbidden."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import yaml

from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.detection import StableRevisionTracker, StartRollout, detect
from autocanary.decide.planner import plan
from autocanary.errors import MetricsError, MetricsUnreachable
from autocanary.kserve import dialect_for
from autocanary.model.decision import Action
from autocanary.model.measurement import Measurement, MetricQuery, Source
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import FINAL, Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import from_document, to_document
from autocanary.policy_files import load_text, validate
from autocanary.prometheus.query_answer import MalformedResponseError, QueryResponse, parse_response
from autocanary.simulator.world import World
from tests.decide.builders import CANDIDATE, NOW, STABLE, make_observation, policy, progress, rollout
from tests.fuzz.mutating import mutate, mutate_text
from tests.prometheus.scripted_prometheus import MetricsHarness

__all__ = ["TARGETS"]

_POLICIES = Path(__file__).parents[2] / "policies"
_TEXTS = [file.read_text() for file in sorted(_POLICIES.glob("*.yaml"))]
_DOCUMENTS = [document for text in _TEXTS for document in yaml.safe_load_all(text) if document]


def policy_documents(random: Random) -> str:
    """A custom resource as a user might apply it; valid or refused with reasons, and valid means usable."""
    document = mutate(random.choice(_DOCUMENTS), random)
    if not isinstance(document, Mapping):
        return "no mapping"
    found, problems = validate(document)
    assert (found is None) == bool(problems), problems
    if found is None:
        assert all(str(problem).strip() for problem in problems)
        return "refused"
    _is_usable(found)
    return "valid"


def hostile_policies(random: Random) -> str:
    """A custom resource whose depth, size or text is absurd at one place: refused in short sentences."""
    document = json.loads(json.dumps(random.choice(_DOCUMENTS)))
    spec = document["spec"]
    holder = random.choice([each for each in (spec, spec.get("analysis"), spec.get("selector")) if each is not None])
    key = random.choice([*holder, "unknown", "a." * random.choice((1, 100, 100_000)), "\u202e\x1b[2J"])
    size = random.choice((1, 30, 45, 500, 980, 20_000))
    shape = random.choice(("lists", "mappings", "text", "many", "digits", "query"))
    value: Any = random.choice(("a", "é\x00\n", "\U0001f480", "{{ name }}", "(", " OR a")) * size
    if shape in ("lists", "mappings"):
        value = 1
        for _ in range(min(size, 980)):
            value = [value] if shape == "lists" else {"a": value}
    elif shape == "many":
        value = [{"name": str(each)} for each in range(size)]
    elif shape == "digits":
        value = "1" * size
    holder[key] = [{"name": "own", "query": value, "thresholdRange": {"max": 1}}] if shape == "query" else value
    found, problems = validate(document)
    assert (found is None) == bool(problems), problems
    assert all(len(str(problem)) < 2000 and str(problem).isprintable() for problem in problems)
    return "valid" if found is not None else "refused"


def policy_texts(random: Random) -> str:
    """A file as an editor, a template or a bad disk might leave it."""
    text = mutate_text(random.choice(_TEXTS), random)
    load_result = load_text(text, "policy.yaml")
    for found in load_result.policies:
        _is_usable(found)
    for problem in load_result.problems:
        assert str(problem).startswith("policy.yaml"), problem
    return "refused" if load_result.problems else "valid"


def _is_usable(found: Policy) -> None:
    weights = [step.weight for step in found.steps]
    assert weights == sorted(set(weights)), weights
    assert weights[-1] == 100, weights
    assert weights[0] >= 1, weights
    assert all(0 <= step.hold < float("inf") for step in found.steps), found.steps
    assert found.analysis.interval > 0
    assert found.progress_deadline > 0


def _recorded_services() -> list[Mapping[str, Any]]:
    """An InferenceService as KServe leaves it, at moments of a rollout."""
    world = World()
    world.deploy("mnist", "gs://b/v1")
    documents = []
    for seconds, weight in ((15, None), (0.5, 10), (5, 10), (5, 0), (5, 100), (5, 50)):
        if weight is not None:
            world.deploy("mnist", "gs://b/v2", weight=weight)
        world.advance(seconds)
        documents.append(json.loads(json.dumps(world.kserve.document("models", "mnist"))))
    return documents


_SERVICES = _recorded_services()


def services(random: Random) -> str:
    """An InferenceService whose status no test would write, under the planner at any phase of a rollout."""
    document = {**random.choice(_SERVICES)}
    part = random.choice(("spec", "status"))  # the API server itself sees to the metadata
    document[part] = mutate(document[part], random)
    observed = dialect_for(document["apiVersion"]).observe(document)
    for observation in observed:
        _discovered(observation, random)
        _planned(observation, random)
    return "observed" if observed else "nothing in it"


def _discovered(observation: Observation, random: Random) -> None:
    tracker = random.choice(
        (
            None,
            StableRevisionTracker(observation.uid, STABLE, {"a": 1}, "stable"),
            StableRevisionTracker(observation.uid, CANDIDATE, {}, "x"),
        )
    )
    history = [rollout(), rollout(progress(phase=Phase.PROMOTED, reason=Reason.PROMOTED))]
    found = detect(observation, policy(), random.choice(([], history[:1], history)), tracker, NOW)
    if isinstance(found, StartRollout):
        weight = found.rollout.progress.step.weight
        assert weight is None or weight == 0 or weight == observation.weight, found
        assert from_document(to_document(found.rollout)).progress == found.rollout.progress


def _planned(observation: Observation, random: Random) -> None:
    phase = random.choice(list(Phase))
    step = random.randrange(-1, 4)
    weight = (0, *(each.weight for each in policy().steps))[step + 1]
    state = progress(step, weight, phase=phase, verified_at=random.choice((None, NOW - 1000)))
    age = random.choice((0.0, 0.0, 1e4))
    decision = plan(DecisionInput(policy(), rollout(state), observation, NOW, cache_age=age))
    written = decision.weight if decision.action is Action.WEIGHT else None
    if phase in FINAL:
        assert decision.action is Action.NONE, decision
        assert decision.progress.phase is phase
    # Nothing was measured, so nothing passed: the first step of a candidate that is ready, what was recorded
    # before, or back to 0 is all that may be written.
    if written is not None:
        first = policy().steps[0].weight
        began = step == -1 and observation.ready == CANDIDATE and written == first
        assert written in (0, weight) or began, (written, weight, step, decision)
        assert 0 <= written <= 100
    assert decision.progress.phase is not Phase.PROMOTED or phase is Phase.PROMOTED or weight == 100, decision


def _metric_query(metric: str, source: Source) -> MetricQuery:
    return MetricQuery("models", "mnist", "predictor", CANDIDATE, STABLE, source, 60.0, metric)


_METRICS = ("request-success-rate", "error-rate", "request-duration", "request-count")
_COUNTS: list[tuple[dict[str, str], str]] = [
    ({"autocanary": "count0"}, "900"),
    ({"autocanary": "count0", "autocanary_failed": "1"}, "9"),
]
_ROWS: list[dict[str, Any]] = [
    {"metric": {"namespace_name": "models", "revision_name": revision, **more}, "value": [NOW, value]}
    for revision in (CANDIDATE, STABLE)
    for more, value in (
        *_COUNTS,
        ({"autocanary": "age"}, "3"),
    )
]
_PAYLOAD = {"status": "success", "data": {"resultType": "vector", "result": _ROWS}}


def answers(random: Random) -> str:
    """A body that no Prometheus would send: every question still gets exactly one measurement."""
    payload = mutate(_PAYLOAD, random)
    result: QueryResponse | MetricsError
    try:
        result = parse_response(payload)
    except MalformedResponseError as error:
        result = MetricsUnreachable(str(error))
    source = random.choice((Source.KNATIVE, Source.AUTO, Source.ISTIO, Source.KNATIVE_OTEL))
    metric_queries = [_metric_query(metric, source) for metric in _METRICS]
    measurements = MetricsHarness(lambda _: result).query(*metric_queries)
    assert list(measurements) == metric_queries
    for measurement in measurements.values():
        assert measurement.value is None or measurement.value == measurement.value, measurement
        json.dumps(measurement.to_dict(), allow_nan=False)
        assert Measurement.from_dict(measurement.to_dict()) is not None
    return "malformed" if isinstance(result, MetricsError) else "read"


def records(random: Random) -> str:
    """A CanaryRollout whose status a user has edited: read, or refused as what it is."""
    document = mutate(json.loads(json.dumps(to_document(_example_rollout()))), random)
    try:
        read: Rollout = from_document(document)
    except (AttributeError, KeyError, TypeError, ValueError):
        return "refused"
    plan(DecisionInput(policy(), read, make_observation(), NOW))
    return "read"


def _example_rollout() -> Rollout:
    return rollout(progress(1, 25))


TARGETS: Mapping[str, Callable[[Random], str]] = {
    "policy-documents": policy_documents,
    "hostile-policies": hostile_policies,
    "policy-texts": policy_texts,
    "services": services,
    "answers": answers,
    "records": records,
}
