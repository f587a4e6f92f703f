"""Whatever is written, the answer is a Policy or a PolicyError with places, never another exception."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.errors import PolicyError
from autocanary.model.policy import Policy
from autocanary.policy_files import ActivePolicies, lint, load_text, parse, validate
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, PLACES, whole_with

QUICK = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150, deadline=None)
NASTY = st.sampled_from(
    [
        "{", "}", "[", "]", ":", ": ", "- ", "\n", "\n\n", "\t", "#", "&a ", "*a", "<<: ", "!x ", "|", ">",
        "'", '"', "%", "@", "`", "---\n", "...\n", "\x00", "\ufeff", "\x85", "\u2028", "on", "17:00", "0o7",
        "1e999", ".nan", "9" * 400, "-", "?", "{{ x }}", "{{", "5m", "99%", "\ud800", "é", "null", "~", "0",
    ]
)  # fmt: skip


def check(text: str | bytes) -> None:
    """Parse, and hold the result against what is promised."""
    policies: tuple[Policy, ...] = ()
    refused: PolicyError | None = None
    try:
        policies = parse(text, "p.yaml")
    except PolicyError as error:
        refused = error
    for problem in refused.problems if refused is not None else ():
        assert problem.source == "p.yaml"
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert "\n" not in str(problem)
    assert refused is None or refused.problems
    lint(load_text(text, "p.yaml").documents)
    for policy in policies:
        assert isinstance(policy, Policy)
        assert policy.steps[-1].weight == 100
        assert policy.analysis.gating
        weights = [step.weight for step in policy.steps]
        assert weights == sorted(set(weights))
        assert ActivePolicies().restore(policy.name, policy.document).digest == policy.digest


@QUICK
@given(st.text())
def test_any_text_loads_or_reports_problems(text: str) -> None:
    """Text that has nothing to do with policies."""
    check(text)


@QUICK
@given(st.binary())
def test_any_bytes_load_or_report_problems(content: bytes) -> None:
    """Bytes that may be no text at all."""
    check(content)


@QUICK
@given(st.data())
def test_policy_with_random_edits(data: st.DataObject) -> None:
    """The mistakes of editors: something missing, something doubled, something strange."""
    text = data.draw(st.sampled_from([FULL_POLICY, MINIMAL_POLICY]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.one_of(st.just(""), NASTY, st.just(text[start:end] * 2))) + text[end:]
    check(text)


@QUICK
@given(st.data())
def test_a_policy_with_lines_moved(data: st.DataObject) -> None:
    """Indented, repeated, dropped and exchanged lines."""
    lines = FULL_POLICY.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["indent", "outdent", "drop", "double", "exchange"]))
        if kind == "indent":
            lines[at] = "  " + lines[at]
        elif kind == "outdent":
            lines[at] = lines[at].removeprefix("  ")
        elif kind == "drop":
            lines[at] = ""
        elif kind == "double":
            lines.insert(other, lines[at])
        else:
            lines[at], lines[other] = lines[other], lines[at]
    check("\n".join(lines))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(
            ["5m", "99%", "mnist", "rollback", "intercept", "09:00", "UTC", "http://x", "#a", "error-rate"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "min", "max", "hold", "then", "setWeight", "pause", "duration", "url", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


@QUICK
@given(where=st.sampled_from(PLACES), value=JSON, as_text=st.booleans())
def test_policy_with_random_value_at_any_path(where: tuple[str | int, ...], value: Any, as_text: bool) -> None:
    """As a custom resource, and written out as a file."""
    changed = whole_with(where, value)
    policy, problems = validate(changed)
    assert (policy is None) == bool(problems)
    if as_text:
        check(yaml.safe_dump(changed, allow_unicode=True))


@QUICK
@given(JSON)
def test_any_object_as_a_custom_resource(value: Any) -> None:
    """And as the snapshot of a rollout."""
    resource = value if isinstance(value, dict) else {"spec": value}
    policy, problems = validate(resource)
    assert policy is None
    assert problems
    with pytest.raises(PolicyError):
        ActivePolicies().restore("x", value)
