"""Files and folders: what is read, what is passed over, and what is said about what cannot be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from autocanary.errors import PolicyError
from autocanary.limits import FILE_BYTES
from autocanary.policy_files import load_paths, load_text, parse
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, document, named, problems

OTHER_KIND = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: on, b: 17:00}\n"


def names(*paths: Path) -> list[str]:
    return [policy.name for policy in load_paths(paths).policies]


def messages(*paths: Path) -> list[str]:
    return [str(each) for each in load_paths(paths).all_problems]


def test_a_file_may_hold_several_documents() -> None:
    """Empty documents between them are nothing; each policy knows its line."""
    text = f"---\n{named('a')}---\n\n---\n{named('b')}...\n"
    policies = parse(text, "p.yaml")
    assert [(each.name, each.origin) for each in policies] == [("a", "p.yaml:2"), ("b", "p.yaml:16")]


def test_one_bad_document_does_not_hide_the_others() -> None:
    """Each document is examined alone, with the lines of the file."""
    load_result = load_text(named("a") + "---\n" + named("b").replace("5m", "5") + "---\n" + named("c"), "p.yaml")
    assert [each.name for each in load_result.policies] == ["a", "c"]
    assert [(each.name, each.policy is None) for each in load_result.documents] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]
    assert [each.line for each in load_result.errors] == [19]


def test_documents_before_a_syntax_error_are_read() -> None:
    """What comes after cannot be."""
    load_result = load_text(named("a") + "---\nkind: [\n", "p.yaml")
    assert [each.name for each in load_result.policies] == ["a"]
    assert len(load_result.errors) == 1
    assert not load_result.readable


def test_other_kinds_are_skipped_with_a_warning() -> None:
    """Their YAML is not examined."""
    load_result = load_text(OTHER_KIND + "---\n" + MINIMAL_POLICY, "p.yaml")
    assert [each.name for each in load_result.policies] == ["small"]
    assert [str(each) for each in load_result.all_problems] == [
        "p.yaml:1:1: warning: passed over: ConfigMap is not a RolloutPolicy"
    ]
    assert load_result.errors == ()
    assert load_result.readable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            "1:1: the file is empty (write a policy into it that begins with apiVersion: autocanary.dev/v1alpha1)",
        ),
        ("# nothing\n---\n---\n", "1:1: the file is empty"),
        ("\ufeff", "1:1: the file is empty"),
        ("just text\n", "1:1: a policy is a mapping with apiVersion, kind, metadata and spec"),
        ("- a\n", "1:1: a policy is a mapping"),
        ("apiVersion: v1\n", "1:1: kind is missing (add kind: RolloutPolicy)"),
        ("kind: rolloutpolicy\n", "1:7: the kind rolloutpolicy is not known (did you mean RolloutPolicy?)"),
        ("kind: RolloutPolicies\n", "1:7: the kind RolloutPolicies is not known"),
        ("apiVersion: autocanary.dev/v1alpha1\nkind: Policy\n", "2:7: the kind Policy is not known"),
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            "1:1: a List is not read (put each policy into a document",
        ),
        ("kind: [a]\n", "1:1: kind is missing"),
        ("a: 1\n\tb: 2\n", "2:1: YAML does not allow a tab here (indent with spaces)"),
        ("kind: RolloutPolicy\nkind: RolloutPolicy\n", "2:1: kind is written twice, first at 1:1"),
    ],
)
def test_document_that_is_not_a_policy(text: str, expected: str) -> None:
    """One clear sentence each."""
    assert any(each.startswith(f"p.yaml:{expected}") for each in problems(text))


def test_rollout_document_is_skipped() -> None:
    """Our other custom resource is known, and no policy."""
    (problem,) = load_text("apiVersion: autocanary.dev/v1alpha1\nkind: CanaryRollout\n", "p.yaml").all_problems
    assert problem.severity == "warning"


def test_a_byte_order_mark_is_no_text() -> None:
    """Windows editors write one."""
    assert [each.name for each in parse("\ufeff" + MINIMAL_POLICY)] == ["small"]
    assert [each.name for each in parse(b"\xef\xbb\xbf" + MINIMAL_POLICY.encode())] == ["small"]


def test_what_is_not_utf8_is_named_by_its_place() -> None:
    """The byte and where it is."""
    content = MINIMAL_POLICY.encode().replace(b"mnist", b"mn\xffst")
    with pytest.raises(PolicyError, match=r"^p.yaml:5:24: the byte 0xff here is not UTF-8 \(save the file as UTF-8\)$"):
        parse(content, "p.yaml")


def test_json_is_read_too() -> None:
    """It is YAML."""
    assert [each.name for each in parse(json.dumps(document(FULL_POLICY), indent=2))] == ["prod-models"]


def test_parse_raises_everything_at_once() -> None:
    """The exception holds each problem and prints one a line."""
    with pytest.raises(PolicyError) as raised:
        parse(MINIMAL_POLICY.replace("5m", "5").replace("min: 99", "min: 0.9"), "p.yaml")
    assert [each.line for each in raised.value.problems] == [7, 11]
    assert len(str(raised.value).splitlines()) == 2


def test_a_folder_is_read_with_its_subfolders(tmp_path: Path) -> None:
    """In the order of names, and only files that may hold policies."""
    (tmp_path / "b.yaml").write_text(named("b"))
    (tmp_path / "a.yml").write_text(named("a"))
    (tmp_path / "c.json").write_text(json.dumps(document(named("c"))))
    (tmp_path / "README.md").write_text("no policy")
    (tmp_path / ".hidden.yaml").write_text(named("hidden"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.yaml").write_text(named("d"))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "e.yaml").write_text(named("e"))
    assert names(tmp_path) == ["a", "b", "c", "d"]
    assert messages(tmp_path) == []


def test_a_mounted_configmap_is_read_once(tmp_path: Path) -> None:
    """Kubernetes shows each file, and each subfolder, through a link into ``..data``."""
    generation = tmp_path / "..2026_01_01_00_00_00.123"
    (generation / "team").mkdir(parents=True)
    (generation / "a.yaml").write_text(named("a"))
    (generation / "team" / "b.yaml").write_text(named("b"))
    (tmp_path / "..data").symlink_to(generation.name)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "team").symlink_to("..data/team")
    assert names(tmp_path) == ["a", "b"]
    assert messages(tmp_path) == []


def test_a_folder_that_contains_itself_is_read_once(tmp_path: Path) -> None:
    """Links may go round in circles."""
    (tmp_path / "a.yaml").write_text(named("a"))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["a"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    """``validate policies policies/a.yaml`` finds no duplicate."""
    file = tmp_path / "a.txt"
    file.write_text(named("a"))
    assert names(file, tmp_path / "." / "a.txt") == ["a"]
    (tmp_path / "b.yaml").write_text(named("b"))
    assert names(tmp_path, tmp_path / "b.yaml") == ["b"]


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    """A missing path, a broken link, a circle of links, a path that is none."""
    (tmp_path / "broken.yaml").symlink_to("nowhere")
    (tmp_path / "round.yaml").symlink_to("round.yaml")
    missing = tmp_path / "missing"
    assert messages(missing) == [f"{missing}: there is no such file or folder (check the path)"]
    broken, circle = messages(tmp_path)
    assert broken == f"{tmp_path}/broken.yaml: there is no such file or folder (check the path)"
    assert circle.startswith(f"{tmp_path}/round.yaml: it cannot be read: ")
    assert "not a path" in messages(Path("a\0b"))[0]


def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, so the refusal is simulated."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert messages(tmp_path) == [f"{tmp_path}: it cannot be read: permission denied (check the path and its rights)"]


def test_non_kubernetes_files_are_skipped_in_folders_only(tmp_path: Path) -> None:
    """A chart's values or a schema beside policies are no error; in a file that is named they are."""
    schema = tmp_path / "schema.json"
    schema.write_text('{"$schema": "https://json-schema.org/draft/2020-12/schema"}')
    (tmp_path / "small.yaml").write_text(MINIMAL_POLICY)
    words = "passed over: this is no Kubernetes document, it has neither apiVersion nor kind"
    assert names(tmp_path) == ["small"]
    assert messages(tmp_path) == [f"{schema}:1:1: warning: {words}"]
    assert load_paths([tmp_path]).errors == ()
    assert messages(schema) == [f"{schema}:1:1: kind is missing (add kind: RolloutPolicy)"]


@pytest.mark.parametrize("field", ["apiVersion: autocanary.dev/v1alpha1", "metadata: {name: a}", "spec: {}"])
def test_a_policy_without_its_kind_is_a_fault_in_a_folder_too(tmp_path: Path, field: str) -> None:
    """Whatever shows that a policy was meant; so is what is no mapping."""
    (tmp_path / "a.yaml").write_text(f"{field}\n")
    (tmp_path / "b.yaml").write_text(f"- {field}\n")
    assert messages(tmp_path) == [
        f"{tmp_path}/a.yaml:1:1: kind is missing (add kind: RolloutPolicy)",
        f"{tmp_path}/b.yaml:1:1: a policy is a mapping with apiVersion, kind, metadata and spec",
    ]


def test_an_empty_folder_is_a_warning(tmp_path: Path) -> None:
    """Policies may come from custom resources alone."""
    (problem,) = load_paths([tmp_path]).all_problems
    assert problem.severity == "warning"
    assert "*.yaml, *.yml, *.json" in problem.message


def test_file_above_1_mib_is_refused(tmp_path: Path) -> None:
    """A megabyte is read, more is not."""
    file = tmp_path / "large.yaml"
    file.write_text(MINIMAL_POLICY + "#" * (FILE_BYTES - len(MINIMAL_POLICY)))
    assert names(file) == ["small"]
    with file.open("a") as stream:
        stream.write("#")
    assert messages(file) == [f"{file}: the file is larger than 1 MiB (split it into several files)"]


def test_problems_are_ordered_by_file_and_line(tmp_path: Path) -> None:
    """As a compiler lists them."""
    (tmp_path / "b.yaml").write_text(OTHER_KIND + "---\n" + MINIMAL_POLICY.replace("5m", "5"))
    (tmp_path / "a.yaml").write_text(MINIMAL_POLICY.replace("5m", "5").replace("10,", "0,"))
    places = [(Path(each.source).name, each.line) for each in load_paths([tmp_path]).all_problems]
    assert places == [("a.yaml", 6), ("a.yaml", 7), ("b.yaml", 1), ("b.yaml", 12)]
