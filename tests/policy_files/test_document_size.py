"""Documents that are too large or too deep: refused by every reader, located, and without harm to the others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary import limits
from autocanary.errors import PolicyError, Problem
from autocanary.policy_files import ActivePolicies, load_paths, load_text, policies_in_force, validate
from autocanary.policy_files import validate_document as validate_module
from tests.policy_files.policy_texts import MINIMAL_POLICY, document, named

Change = Callable[[dict[str, Any]], None]


def nested(levels: int, *, as_list: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if as_list else {"a": value}
    return value


def query(text: str) -> Change:
    def change(spec: dict[str, Any]) -> None:
        spec["analysis"]["metrics"].append({"name": "own", "query": text, "thresholdRange": {"max": 1}})

    return change


def put(name: str, value: Any) -> Change:
    return lambda spec: spec.__setitem__(name, value)


def webhook(**fields: Any) -> Change:
    return put("webhooks", [{"name": "smoke", "type": "pre-rollout", "url": "http://smoke/run", **fields}])


HOSTILE: dict[str, tuple[Change, str]] = {
    "8,000 upper-case operators": (query(" OR ".join(["a"] * 8000)), "longer than 16,384 bytes"),
    "2,500 upper-case operators": (query(" OR ".join(["a"] * 2500)), "the query has 2,499 operators"),
    "999 operators": (query(" or ".join(["a"] * 1000)), "the query has 999 operators"),
    "nested parentheses": (query("(" * 2000 + "a" + ")" * 2000), "2,000 levels deep"),
    "a panic of the parser": (query("a offset inf > OR"), ""),
    "500 levels": (put("x", nested(500)), "nested deeper than 40 levels"),
    "750 levels of lists": (put("x", nested(750, as_list=True)), "nested deeper than 40 levels"),
    "980 levels in a metric": (lambda spec: spec["analysis"].update(metrics=nested(975)), "nested deeper than 40"),
    "a name of 600 kB": (put("a." * 300_000, 1), "bytes as JSON"),
    "a value of 600 kB": (put("bake", "1" * 600_000), "bytes as JSON"),
    "200 kB of dots": (put("a." * 100_000, 1), "unknown field"),
    "digits of 200 kB": (put("bake", "1" * 200_000), "has no unit"),
    "5,000 unknown fields": (lambda spec: spec.update({f"x{each}": 1 for each in range(5000)}), "5,000 values"),
    "4,000 unknown fields": (lambda spec: spec.update({f"x{each}": 1 for each in range(4000)}), "unknown field"),
    "unicode": (put("\u202e\x1b[2J\U0001f480" * 1000, "\x00\ud800" * 1000), "unknown field"),
    "51 metrics": (
        lambda spec: spec["analysis"].update(metrics=[{"name": f"m{each}", "query": "a"} for each in range(51)]),
        "more than 50 entries",
    ),
    "501 names": (put("selector", {"names": [f"m{each}" for each in range(501)]}), "more than 500 entries"),
    "21 webhooks": (
        put("webhooks", [{"name": f"w{each}", "type": "rollout", "url": "http://w"} for each in range(21)]),
        "more than 20 entries",
    ),
    "an hour of retries": (webhook(timeout="10m", retries=5), "6 calls of 10m last 1h"),
    "a long timeout": (webhook(timeout="301s"), "1 calls of 5m1s last 5m1s"),
    "a long URL": (webhook(url="http://" + "a" * 3000), "the URL has 3,007 characters"),
    "21 routes": (put("notifications", [{"events": ["held"]}] * 21), "more than 20 entries"),
    "51 windows": (
        put("windows", [{"from": "09:00", "to": "10:00", "timezone": "UTC"}] * 51),
        "more than 50 entries",
    ),
}


def hostile(name: str) -> dict[str, Any]:
    value = document()
    HOSTILE[name][0](value["spec"])
    return value


def check(problems: tuple[Problem, ...], says: str) -> None:
    """The problem is there, and no text is longer than a message may be."""
    texts = [str(each) for each in problems]
    assert any(says in each for each in texts), [each[:200] for each in texts]
    assert max(map(len, texts)) < 2000
    assert len(texts) <= 101
    assert all(each.isprintable() for each in texts)


@pytest.mark.parametrize("name", [each for each in HOSTILE if HOSTILE[each][1]])
def test_custom_resource_beyond_a_limit_is_refused(name: str) -> None:
    """`validate` names the problem and raises nothing."""
    policy, problems = validate(hostile(name))
    assert policy is None
    check(problems, HOSTILE[name][1])


@pytest.mark.parametrize("name", HOSTILE)
def test_no_custom_resource_keeps_the_next_one_from_being_in_force(name: str) -> None:
    """The problem stays with its policy."""
    active = ActivePolicies()
    before, after = document(named("a")), document(named("z"))
    for each in (before, {**hostile(name), "metadata": {"name": "m", "namespace": "models"}}, after):
        active.apply(each)
    assert [policy.name for policy in active.current() if policy.name != "m"] == ["a", "z"]
    if HOSTILE[name][1]:
        [(place, problems)] = active.policy_problems()
        assert place == "models/m"
        check(problems, HOSTILE[name][1])


@pytest.mark.parametrize("name", [each for each in HOSTILE if HOSTILE[each][1]])
def test_snapshot_beyond_a_limit_is_refused(name: str) -> None:
    """A snapshot that a user has changed, or that another version wrote, is held to the same limits."""
    with pytest.raises(PolicyError) as refused:
        ActivePolicies().restore("small", hostile(name)["spec"])
    check(refused.value.problems, HOSTILE[name][1])


@pytest.mark.parametrize("name", [each for each in HOSTILE if HOSTILE[each][1] and each != "unicode"])
def test_file_beyond_a_limit_does_not_hide_the_next_file(name: str, tmp_path: Path) -> None:
    """Every file is read, whatever another one holds."""
    (tmp_path / "a.yaml").write_text(dumped(hostile(name)))
    (tmp_path / "z.yaml").write_text(named("z"))
    loaded = load_paths([tmp_path])
    assert [policy.name for policy in loaded.policies] == ["z"]
    assert loaded.errors
    assert max(len(str(each)) for each in loaded.errors) < 2000


@pytest.mark.parametrize("levels", [41, 500, 980])
def test_deep_document_does_not_hide_the_next_document_of_its_file(levels: int) -> None:
    """Its problem has a line, and the documents after it are read."""
    deep = MINIMAL_POLICY + "  x: " + "[" * levels + "1" + "]" * levels + "\n"
    loaded = load_text("---\n".join([named("a"), deep, named("z")]), "p.yaml")
    assert [policy.name for policy in loaded.policies] == ["a", "z"]
    [problem] = loaded.errors
    assert "nested deeper than 40 levels" in str(problem)
    assert problem.line == named("a").count("\n") + 1 + deep.count("\n")


def dumped(value: Any) -> str:
    """YAML in flow style, without PyYAML's own recursion."""
    done: list[str] = []
    pending: list[Any] = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, tuple):
            done.append(each[0])
        elif isinstance(each, dict):
            inner = [part for key, one in each.items() for part in ((f"{quoted(key)}: ",), one, (", ",))]
            pending += [("}",), *reversed(inner), ("{",)]
        elif isinstance(each, list):
            pending += [("]",), *reversed([part for one in each for part in (one, (", ",))]), ("[",)]
        else:
            done.append(quoted(each) if isinstance(each, str) else str(each))
    return "".join(done) + "\n"


def quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', width=10**9).strip()


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError()])
def test_exhausted_stack_or_memory_is_a_problem_of_the_policy(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no limit has foreseen concerns one policy."""

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(validate_module, "compile_policy", fail)
    policy, [problem] = validate(document())
    assert policy is None
    assert "more memory or stack than the service has" in str(problem)


def test_document_that_holds_itself_is_refused() -> None:
    """No JSON is so, but a caller's mapping may be."""
    value = document()
    value["spec"]["selector"] = value
    check(validate(value)[1], "nested deeper than 40 levels")


def test_annotations_do_not_count_as_the_policy() -> None:
    """`kubectl apply` stores a copy of the policy in an annotation."""
    value = document()
    value["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * limits.POLICY_BYTES}
    assert validate(value)[0] is not None


def resource(number: int, *, webhooks: int = 0) -> dict[str, Any]:
    value = copy.deepcopy(document(named(f"p{number:03}")))
    value["metadata"] |= {
        "namespace": "models",
        "creationTimestamp": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
    }
    value["spec"]["webhooks"] = [{"name": f"w{each}", "type": "rollout", "url": "http://w"} for each in range(webhooks)]
    return value


def test_oldest_policies_of_a_namespace_are_in_force() -> None:
    """The order in which they are seen does not matter; a free place goes to the next oldest."""
    active = ActivePolicies()
    for number in reversed(range(limits.NAMESPACE_POLICIES + 2)):
        active.apply(resource(number))
    assert [each.name for each in active.current()] == [f"p{each:03}" for each in range(limits.NAMESPACE_POLICIES)]
    [(first, [problem]), (second, _)] = active.policy_problems()
    assert (first, second) == ("models/p100", "models/p101")
    assert str(problem) == (
        "rolloutpolicy models/p100: the namespace has 100 older policies, and no more are in force "
        "(delete a policy, or join several)"
    )
    other = resource(500)
    other["metadata"]["namespace"] = "team-a"
    active.apply(other)
    assert active.current()[-1].namespace == "team-a"
    active.delete("models", "p000")
    assert [place for place, _ in active.policy_problems()] == ["models/p101"]


def test_webhooks_of_a_namespace_are_limited_together() -> None:
    """Many policies with many webhooks are what one policy with many would be."""
    active = ActivePolicies()
    for number in range(7):
        active.apply(resource(number, webhooks=20))
    assert len(active.current()) == limits.NAMESPACE_WEBHOOKS // 20
    assert [place for place, _ in active.policy_problems()] == ["models/p005", "models/p006"]
    active.apply(resource(7))
    assert active.current()[-1].name == "p007"


def test_many_custom_resources_are_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work for a list of resources grows with their number, not with its square."""
    visited: list[int] = []
    original = policies_in_force._within_namespace_limits

    def count(resources: dict[Any, Any]) -> Any:
        visited.append(len(resources))
        return original(resources)

    monkeypatch.setattr(policies_in_force, "_within_namespace_limits", count)
    active = ActivePolicies()
    for number in range(50):
        active.apply(resource(number))
    assert len(active.current()) == 50
    assert active.policy_problems() == ()
    assert visited == [50]


@pytest.mark.parametrize("field", ["names", "namespaces"])
def test_wildcards_of_a_selector_are_bounded(field: str) -> None:
    """Hundreds of patterns with hundreds of wildcards take seconds to compile, at every change of any policy."""
    written = document()
    written["metadata"].pop("namespace", None)
    written["spec"]["selector"] = {field: ["a*"] * 200}
    assert validate(written)[0] is not None
    written["spec"]["selector"] = {field: ["*x" * 120] * 500}
    policy, problems = validate(written)
    assert policy is None
    assert any("has 60,000 wildcards, and at most 200 are read" in str(each) for each in problems)
