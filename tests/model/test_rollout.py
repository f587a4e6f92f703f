"""The documents in which rollouts survive a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.decide.outbox import (
    DELIVERED_KEPT,
    mark_delivered,
    record_transition,
    save_channel_message_id,
)
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind, Source, Unit
from autocanary.model.progress import (
    AnalysisState,
    HoldState,
    MetricState,
    Notification,
    Outbox,
    Phase,
    Progress,
    RollbackState,
    StepState,
    UserRequests,
)
from autocanary.model.progress_json import UnknownVersionError, progress_from_json, progress_to_json
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, rollout_name
from autocanary.model.rollout_json import from_document, to_document
from tests.decide.builders import NOW, progress, rollout

times = st.none() | st.floats(0, 4e9, allow_nan=False)
text = st.text(max_size=12)
measurements = st.builds(
    Measurement,
    kind=st.sampled_from(MeasurementKind),
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    unit=st.sampled_from(Unit),
    requests=times,
    age=times,
    source=st.none() | st.sampled_from(Source),
    detail=text,
)
states = st.builds(
    MetricState,
    violations=st.integers(0, 9),
    passes=st.integers(0, 99),
    ok=st.sampled_from([None, True, False]),
    last=st.none() | measurements,
)
notifications = st.builds(
    Notification,
    id=text,
    event=text,
    at=st.floats(0, 4e9),
    phase=text,
    step=st.integers(0, 9),
    weight=st.integers(0, 100),
    reason=text,
    message=text,
    delivered_channels=st.lists(text, max_size=2).map(tuple),
)
weights = st.none() | st.integers(0, 100)
texts = st.lists(text, max_size=2).map(tuple)
progresses = st.builds(
    Progress,
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    message=text,
    started_at=st.floats(0, 4e9),
    phase_since=st.floats(0, 4e9),
    finished_at=times,
    step=st.builds(
        StepState,
        index=st.integers(-1, 9),
        weight=weights,
        from_weight=weights,
        started_at=times,
        verified_at=times,
        drifted_since=times,
        observed_weight=weights,
    ),
    analysis=st.builds(
        AnalysisState,
        metrics=st.dictionaries(text, states, max_size=3),
        last_evaluation_at=times,
        no_data_since=times,
        outage_since=times,
        inconclusive_since=times,
        from_step=st.integers(0, 9),
    ),
    hold=st.builds(HoldState, since=times, notified_at=times, paused_by=text),
    rollback=st.builds(
        RollbackState,
        written_at=times,
        repairing=st.booleans(),
        escalated_at=times,
        restored=st.booleans(),
        stable_is_bad=st.booleans(),
        renumbered_revision=text,
    ),
    outbox=st.builds(
        Outbox,
        pending=st.lists(notifications, max_size=2).map(tuple),
        delivered=texts,
        warnings_sent=texts,
        channel_message_ids=st.dictionaries(text, text, max_size=2),
    ),
    requests=st.builds(UserRequests, promote_all=st.booleans(), answered_id=text, answer=text),
    webhooks_passed=texts,
    decisions=st.lists(st.dictionaries(text, text, max_size=2), max_size=2).map(tuple),
    spec_changed_at=times,
    series=st.dictionaries(text, text, max_size=2),
    released_by=text,
)


@given(progresses)
def test_a_progress_survives_json_exactly(state: Progress) -> None:
    """Serialise, parse, deserialise: the same value, whatever is in it."""
    kept = json.loads(json.dumps(to_document(rollout(state))))
    assert from_document(kept).progress == state


def test_a_rollout_survives_its_document() -> None:
    """Identity, policy snapshot, requests and both specs come back."""
    before = rollout(
        paused=True,
        request=Request("r1", "promote", "ada", 25),
        candidate_spec={"model": {}},
        candidate_digest="c",
        uid="x",
        resource_version="9",
        attempt=3,
    )
    assert from_document(json.loads(json.dumps(to_document(before)))) == before


def test_an_object_without_a_status_starts_from_its_beginning() -> None:
    """A crash between creating the object and its first status write."""
    document = to_document(rollout())
    del document["status"]
    document["metadata"]["creationTimestamp"] = "2026-11-22T10:00:00Z"
    state = from_document(document).progress
    assert (state.phase, state.step.index, state.step.weight) == (Phase.STAGING, -1, 0)
    assert state.started_at == 1795341600.0


def test_a_newer_format_is_refused_not_guessed() -> None:
    """A downgrade must not misread what a newer version recorded."""
    document = to_document(rollout())
    document["status"]["progress"]["version"] = 99
    with pytest.raises(UnknownVersionError, match="format 99"):
        from_document(document)


def test_status_has_readable_top_level_fields() -> None:
    """What kubectl and kubectl wait look at."""
    state = progress(1, 25, metrics={"error-rate": MetricState(violations=1, ok=False)}, observed_weight=25)
    status: dict[str, Any] = to_document(rollout(state))["status"]
    assert (status["phase"], status["step"], status["weight"], status["observedWeight"]) == (
        "Progressing",
        2,
        25,
        25,
    )
    assert status["metrics"] == [{"name": "error-rate", "violations": 1, "passes": 0, "verdict": "violation"}]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Promoted": "Unknown",
        "Progressing": "True",
    }


@pytest.mark.parametrize(
    ("phase", "promoted"),
    [
        (Phase.PROMOTED, "True"),
        (Phase.ROLLED_BACK, "False"),
        (Phase.MISSED, "False"),
        (Phase.BAKING, "Unknown"),
    ],
)
def test_the_promoted_condition_serves_kubectl_wait(phase: Phase, promoted: str) -> None:
    """Unknown while it runs, then True or False."""
    conditions = to_document(rollout(progress(phase=phase)))["status"]["conditions"]
    assert next(each["status"] for each in conditions if each["type"] == "Promoted") == promoted


@given(
    st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True),
    st.integers(1, 99999),
    st.integers(1, 12),
)
def test_names_are_valid_and_distinct(service: str, number: int, attempt: int) -> None:
    """At most 63 characters, and another candidate or attempt never has the same name."""
    candidate = f"{service}-predictor-{number:05}"
    name = rollout_name(service, candidate, attempt)
    assert len(name) <= 63
    assert name[-1] not in "-."
    assert name != rollout_name(service, f"{service}-predictor-{number + 1:05}", attempt)
    assert name != rollout_name(service, candidate, attempt + 1)


def test_a_transformers_rollout_does_not_collide_with_the_predictors() -> None:
    """Both components number their revisions from 00001."""
    assert rollout_name("mnist", "mnist-transformer-00002") != rollout_name("mnist", "mnist-predictor-00002")


def test_notification_is_delivered_when_every_channel_has_it() -> None:
    """The outbox entry stays until the last channel is done, and its id is kept to recognise it."""
    state = record_transition(rollout(), progress(), Event.STEP, NOW)
    entry = state.outbox.pending[0]
    half = mark_delivered(state, entry.id, "slack", ("slack", "log"))
    assert half.outbox.pending[0].delivered_channels == ("slack",)
    assert half.outbox.delivered == ()
    whole = mark_delivered(half, entry.id, "log", ("slack", "log"))
    assert (whole.outbox.pending, whole.outbox.delivered) == ((), (entry.id,))


def test_histories_are_bounded() -> None:
    """Decisions and delivered ids keep the newest only: a status must not grow for ever."""
    state = progress()
    for index in range(50):
        state = record_transition(rollout(), state, Event.STEP, NOW + index)
        state = mark_delivered(state, state.outbox.pending[0].id, "log", ("log",))
    assert len(state.outbox.delivered) == DELIVERED_KEPT
    assert len(state.decisions) == 20


def test_channel_message_ids_survive_json() -> None:
    """The newest counts; none, or the same again, changes nothing; an older document has none."""
    first = save_channel_message_id(progress(), "slack:#a", "C1/1.1")
    both = save_channel_message_id(save_channel_message_id(first, "slack:#b", "C2/2.2"), "slack:#a", "C1/3.3")
    assert dict(both.outbox.channel_message_ids) == {"slack:#a": "C1/3.3", "slack:#b": "C2/2.2"}
    assert save_channel_message_id(both, "slack:#a", "") is both
    assert save_channel_message_id(both, "slack:#a", "C1/3.3") is both
    assert progress_from_json(json.loads(json.dumps(progress_to_json(both)))) == both
    assert (
        progress_from_json(
            {k: v for k, v in progress_to_json(progress()).items() if k != "channel_message_ids"}
        ).outbox.channel_message_ids
        == {}
    )


@pytest.mark.parametrize("name", ["id", "by"])
def test_text_of_a_request_is_cut_and_cleaned(name: str) -> None:
    """It enters statuses, messages and the log of decisions; an id of ordinary length stays as it is."""
    document = to_document(rollout())
    ordinary = {"id": "a  b", "verb": "resume", "by": "Ann  B."}
    document["spec"]["request"] = ordinary
    read = from_document(document).request
    assert read is not None
    assert getattr(read, name) == ordinary[name]
    document["spec"]["request"] = {**ordinary, name: "\x1b[2J\x1b]0;owned\x07x\n" + "y" * 1_000_000}
    read = from_document(document).request
    assert read is not None
    assert getattr(read, name).startswith("x y")
    assert len(getattr(read, name)) <= 253
    assert from_document(document).request == read
