"""What is generated is up to date, and agrees with what the loader does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.model.decision import Event
from autocanary.model.policy import Analysis
from autocanary.model.rollout_json import API_VERSION
from autocanary.policy_files import validate
from autocanary.policy_files.analysis_schema import AnalysisFields as AnalysisSchema
from autocanary.policy_files.json_schema import policy_json_schema
from autocanary.policy_files.metric_presets import PRESETS
from autocanary.policy_files.reference_page import render_reference as reference_text
from autocanary.policy_files.schema import Document, EventName
from autocanary.policy_files.schema_errors import yaml_flow
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, PLACES, document, whole_with
from tests.policy_files.test_validate_document import CASES

VALIDATOR = jsonschema.Draft202012Validator(policy_json_schema())


def test_the_schema_is_a_schema() -> None:
    """By its own meta-schema."""
    jsonschema.Draft202012Validator.check_schema(policy_json_schema())


def parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node
        for each in node.values():
            yield from parts(each)


def test_every_field_is_described_and_no_other_is_allowed() -> None:
    """The schema is the documentation that editors show."""
    found = [part for part in parts(policy_json_schema()) if "type" in part]
    assert len(found) >= 17
    for part in found:
        assert part["additionalProperties"] is False
        assert all(field["description"].strip().endswith(".") for field in part["properties"].values())


def test_every_field_and_preset_is_in_the_reference() -> None:
    """Nothing that can be written is undocumented."""
    page = reference_text()
    for part in parts(policy_json_schema()):
        for name in part["properties"]:
            assert f"`{name}`" in page
    for name in PRESETS:
        assert f"`{name}`" in page


def test_the_examples_in_the_schema_can_be_read() -> None:
    """Each example of a field fits the field's own schema."""
    definitions = {"$defs": policy_json_schema()["$defs"]}
    checked = 0
    for part in parts(policy_json_schema()):
        for field in part["properties"].values():
            for example in field.get("examples", ()):
                jsonschema.Draft202012Validator({**definitions, **field}).validate(example)
                checked += 1
            if "default" in field:
                jsonschema.Draft202012Validator({**definitions, **field}).validate(field["default"])
    assert checked > 30


def test_the_defaults_are_those_of_the_core() -> None:
    """One truth: ``core.policy``."""
    core, schema = Analysis(()), AnalysisSchema.model_fields
    for name in ("interval", "warmup", "min_requests", "source", "cancelled_calls"):
        assert schema[name].default == getattr(core, name)
    assert (schema["window"].default, core.window_follows) == (None, True)


def test_the_events_are_those_of_the_core() -> None:
    """Each word is an audit event."""
    assert {each.name for each in EventName} == {each.name for each in Event}


def test_the_version_is_that_of_the_other_resources() -> None:
    """CanaryRollout and RolloutPolicy share one group and version."""
    assert policy_json_schema()["properties"]["apiVersion"]["const"] == API_VERSION
    assert set(Document.model_fields) == {"api_version", "kind", "metadata", "spec"}


@pytest.mark.parametrize("text", [MINIMAL_POLICY, FULL_POLICY])
def test_the_schema_accepts_what_the_loader_accepts(text: str) -> None:
    """No red lines in an editor under a policy that works."""
    assert list(VALIDATOR.iter_errors(document(text))) == []


KNOWN_ONLY_TO_THE_LOADER = {
    "namespaces twice", "weights fall", "zero", "only dryRun", "ratio", "success ratio of 1", "swapped range",
    "unit of a query", "latency without unit", "preset with query", "twice", "empty query", "webhook secret",
    "unknown placeholder", "bare placeholder", "malformed placeholder", "quantile of a rate", "webhook names",
    "quantile of a query", "margin as a ratio", "the same compared twice", "timeout before the end",
    "timeout before the end of a pause", "violations of nothing", "full confidence",
    "margin of nothing", "waits for itself", "waits for itself, not the default", "waits twice", "window zone", "window zone path", "window day twice", "webhook url port",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(CASES) - KNOWN_ONLY_TO_THE_LOADER))
def test_json_schema_refuses_invalid_documents(name: str) -> None:
    """The editor shows most problems."""
    assert list(VALIDATOR.iter_errors(yaml.safe_load(CASES[name][0])))


@pytest.mark.parametrize("name", sorted(KNOWN_ONLY_TO_THE_LOADER))
def test_documents_only_the_loader_refuses(name: str) -> None:
    """The list of what only the loader sees holds nothing that the schema sees."""
    assert not list(VALIDATOR.iter_errors(yaml.safe_load(CASES[name][0])))


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["5m", "99%", "x", "", "rollback", "#a", "09:00", "UTC", "http://x", "mn*", {}, [], [{}]]),
    st.integers(-1, 101),
    st.booleans(),
    st.floats(0, 2),
    st.none(),
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200, deadline=None)
@given(where=st.sampled_from(PLACES), value=VALUES)
def test_json_schema_accepts_mutated_valid_documents(where: tuple[str | int, ...], value: Any) -> None:
    """Whatever one value of a whole policy is replaced by."""
    changed = whole_with(where, value)
    policy, _ = validate(changed)
    assert policy is None or list(VALIDATOR.iter_errors(changed)) == []


@pytest.mark.parametrize("value", [{"a": "b: c"}, ["#x", "", "it's", 'say "x"', "{{ x }}", 1, 0.5, True], "*x"])
def test_flow_is_yaml(value: Any) -> None:
    """Examples in messages can be pasted."""
    assert yaml.safe_load(yaml_flow(value)) == value


def test_the_reference_has_no_empty_cell_where_a_default_is_known() -> None:
    """Durations are shown as they are written."""
    assert re.search(r"\| `progressDeadline` \| duration \| `30m` \|", reference_text())
    assert re.search(r"\| `interval` \| duration \| `15s` \|", reference_text())
