"""The policies in force: hot reload, custom resources, and the last valid version of each."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from autocanary.decide.policy_selection import select_policy
from autocanary.errors import PolicyError
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Policy
from autocanary.policy_files import ActivePolicies, PolicyChanges
from autocanary.ports import Policies
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, document, named, only


def names(active_policies: ActivePolicies) -> list[str]:
    return [policy.name for policy in active_policies.current()]


def resource(name: str = "small", namespace: str = "models", text: str = MINIMAL_POLICY) -> dict[str, Any]:
    value = document(text)
    value["metadata"] = {"name": name, "namespace": namespace}
    return value


def broken(text: str) -> str:
    return text.replace("5m", "5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(named("a"))
    (tmp_path / "b.yaml").write_text(named("b", service="iris"))
    return tmp_path


@pytest.fixture
def active_policies(folder: Path) -> ActivePolicies:
    """Policies that have read their folder and reported that."""
    made = ActivePolicies([folder])
    made.reload()
    return made


def test_implements_policies_port() -> None:
    """The controller sees the Policies protocol."""
    port: Policies = ActivePolicies()
    assert port.current() == ()


def test_non_kubernetes_file_is_a_problem_after_a_policy(folder: Path) -> None:
    """A schema beside the policies is no error; a file that no longer holds its policy keeps it."""
    (folder / "schema.json").write_text("{}")
    active_policies = ActivePolicies([folder])
    assert active_policies.reload() == PolicyChanges(added=("a", "b"))
    (folder / "a.yaml").write_text("image: {tag: v2}\n")
    changes = active_policies.reload()
    assert [source for source, _ in changes.invalid] == [str(folder / "a.yaml")]
    assert names(active_policies) == ["a", "b"]


def test_nothing_is_read_before_the_first_reload(folder: Path) -> None:
    """Reading files is the caller's decision."""
    active_policies = ActivePolicies([folder])
    assert names(active_policies) == []
    assert active_policies.reload() == PolicyChanges(added=("a", "b"))
    assert names(active_policies) == ["a", "b"]
    assert active_policies.policy_problems() == ()


def test_unchanged_files_return_the_same_tuple(active_policies: ActivePolicies, folder: Path) -> None:
    """A touched file is no change, and readers may compare by identity."""
    before = active_policies.current()
    os.utime(folder / "a.yaml", (1, 1))
    changes = active_policies.reload()
    assert changes == PolicyChanges()
    assert not changes
    assert active_policies.current() is before


def test_changed_content_reloads_the_file(active_policies: ActivePolicies, folder: Path) -> None:
    """Even when its time and size stay the same."""
    file = folder / "a.yaml"
    stamp = file.stat()
    file.write_text(named("a").replace("[10, 100]", "[20, 100]"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert active_policies.reload() == PolicyChanges(changed=("a",))
    assert active_policies.current()[0].steps[0].weight == 20


def test_added_and_removed_files(active_policies: ActivePolicies, folder: Path) -> None:
    """A file that is gone takes its policies with it."""
    (folder / "c.yaml").write_text(named("c", service="x"))
    (folder / "a.yaml").unlink()
    assert active_policies.reload() == PolicyChanges(added=("c",), removed=("a",))
    assert names(active_policies) == ["b", "c"]


def test_invalid_update_keeps_last_valid_policy(active_policies: ActivePolicies, folder: Path) -> None:
    """The last valid version, with the problem reported once."""
    before = active_policies.current()
    (folder / "a.yaml").write_text(broken(named("a")))
    changes = active_policies.reload()
    ((name, (problem,)),) = changes.invalid
    assert (name, problem.line) == ("a", 7)
    assert changes == PolicyChanges(invalid=changes.invalid)
    assert active_policies.current() is before
    assert active_policies.policy_problems() == changes.invalid
    assert active_policies.reload() == PolicyChanges()
    (folder / "a.yaml").write_text(named("a").replace("[10, 100]", "[20, 100]"))
    assert active_policies.reload() == PolicyChanges(changed=("a",))
    assert active_policies.policy_problems() == ()


@pytest.mark.parametrize("content", [b"kind: [", b"", b"\xff", b"a: 1\n\tb: 2", b"kind: RolloutPolicy\n"])
def test_a_file_that_cannot_be_read_keeps_its_policies(
    active_policies: ActivePolicies, folder: Path, content: bytes
) -> None:
    """It is unknown which policy the text was meant to be."""
    (folder / "a.yaml").write_bytes(content)
    ((name, problems),) = active_policies.reload().invalid
    assert name.startswith(str(folder / "a.yaml"))
    assert problems
    assert names(active_policies) == ["a", "b"]


def test_unnamed_document_keeps_missing_policies(active_policies: ActivePolicies, folder: Path) -> None:
    """Of several policies in a file none is dropped while one has no readable name."""
    both = named("a") + "---\n" + named("c", service="x")
    (folder / "a.yaml").write_text(both)
    assert active_policies.reload() == PolicyChanges(added=("c",))
    (folder / "a.yaml").write_text(both.replace("name: c", "nmae: c"))
    assert [name for name, _ in active_policies.reload().invalid] == [f"{folder}/a.yaml:13"]
    assert names(active_policies) == ["a", "c", "b"]
    (folder / "a.yaml").write_text(named("a"))
    assert active_policies.reload() == PolicyChanges(removed=("c",))


def test_an_invalid_policy_does_not_keep_a_deleted_one(active_policies: ActivePolicies, folder: Path) -> None:
    """When every document has its name, those that are not there are gone."""
    (folder / "a.yaml").write_text(named("a") + "---\n" + named("c", service="x"))
    active_policies.reload()
    (folder / "a.yaml").write_text(broken(named("a")))
    assert active_policies.reload().removed == ("c",)
    assert names(active_policies) == ["a", "b"]


def test_never_valid_policy_is_only_a_problem(folder: Path) -> None:
    """There is no earlier version to keep."""
    (folder / "c.yaml").write_text(broken(named("c")))
    active_policies = ActivePolicies([folder])
    changes = active_policies.reload()
    assert changes.added == ("a", "b")
    assert [name for name, _ in changes.invalid] == ["c"]


def test_missing_folder_keeps_policies(active_policies: ActivePolicies, folder: Path) -> None:
    """A mount may come back; until then there is a problem."""
    before = active_policies.current()
    content = (folder / "a.yaml").read_text()
    shutil.rmtree(folder)
    ((name, _),) = active_policies.reload().invalid
    assert name == str(folder)
    assert active_policies.current() is before
    folder.mkdir()
    (folder / "a.yaml").write_text(content)
    assert active_policies.reload() == PolicyChanges(removed=("b",))
    assert active_policies.policy_problems() == ()


def test_missing_named_file_keeps_policies(tmp_path: Path) -> None:
    """The same for a single file."""
    file = tmp_path / "a.txt"
    file.write_text(named("a"))
    active_policies = ActivePolicies([file])
    active_policies.reload()
    file.unlink()
    active_policies.reload()
    assert names(active_policies) == ["a"]
    assert [name for name, _ in active_policies.policy_problems()] == [str(file)]


def test_configmap_update_is_atomic(tmp_path: Path) -> None:
    """Kubernetes turns one link; every file is then another."""
    for generation, weight in (("..1", 10), ("..2", 20)):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "a.yaml").write_text(named("a").replace("[10,", f"[{weight},"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    active_policies = ActivePolicies([tmp_path])
    active_policies.reload()
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert active_policies.reload() == PolicyChanges(changed=("a",))
    assert active_policies.current()[0].steps[0].weight == 20


def test_two_files_with_one_name(active_policies: ActivePolicies, folder: Path) -> None:
    """The first stays in force, the second is a problem; when the first goes, the second takes over."""
    (folder / "z.yaml").write_text(named("a", service="z"))
    ((name, (problem,)),) = active_policies.reload().invalid
    assert name == "a"
    assert problem.message == f"the name a is already used by {folder}/a.yaml:1, which stays in force"
    assert active_policies.current()[0].selector.names == ("mnist",)
    (folder / "a.yaml").unlink()
    assert active_policies.reload().changed == ("a",)
    assert active_policies.policy_problems() == ()


def test_one_file_with_one_name_twice(folder: Path) -> None:
    """Also within a file."""
    (folder / "a.yaml").write_text(named("a") + "---\n" + named("a", service="z"))
    active_policies = ActivePolicies([folder])
    ((name, (problem,)),) = active_policies.reload().invalid
    assert (name, problem.source) == ("a", f"{folder}/a.yaml:13")
    assert names(active_policies) == ["a", "b"]


def test_custom_resources_are_applied_and_deleted() -> None:
    """At once in force, reported at the next reload."""
    active_policies = ActivePolicies()
    assert active_policies.apply(resource()) == ()
    assert names(active_policies) == ["small"]
    assert active_policies.current()[0].origin == "rolloutpolicy models/small"
    assert active_policies.reload() == PolicyChanges(added=("models/small",))
    active_policies.delete("models", "small")
    active_policies.delete("models", "never-there")
    assert names(active_policies) == []
    assert active_policies.reload() == PolicyChanges(removed=("models/small",))


def test_an_invalid_custom_resource_keeps_its_last_valid_version() -> None:
    """The answer is what its condition will say."""
    active_policies = ActivePolicies()
    active_policies.apply(resource())
    before = active_policies.current()
    (problem,) = active_policies.apply(resource(text=broken(MINIMAL_POLICY)))
    assert "stepDuration" in problem.message
    assert active_policies.current() is before
    assert active_policies.policy_problems() == (("models/small", (problem,)),)
    assert active_policies.reload() == PolicyChanges(added=("models/small",))  # apply has returned its problem
    active_policies.apply(resource())
    assert active_policies.policy_problems() == ()
    active_policies.apply(resource(text=broken(MINIMAL_POLICY)))
    active_policies.delete("models", "small")
    assert (active_policies.current(), active_policies.policy_problems()) == ((), ())


def test_file_wins_over_custom_resource_of_same_name(tmp_path: Path) -> None:
    """And the custom resource is in force when the file is gone."""
    (tmp_path / "a.yaml").write_text(named("small, namespace: models", service="file"))
    active_policies = ActivePolicies([tmp_path])
    active_policies.apply(resource())
    assert active_policies.reload().invalid[0][0] == "models/small"
    assert active_policies.current()[0].selector.names == ("file",)
    (tmp_path / "a.yaml").unlink()
    active_policies.reload()
    assert active_policies.current()[0].selector.names == ("mnist",)


def test_snapshot_restores_the_same_policy() -> None:
    """A rollout goes on by the policy it began with, in the same meaning."""
    original = only(FULL_POLICY)
    restored = ActivePolicies().restore("prod-models", original.document)
    assert restored.digest == original.digest
    assert (restored.steps, restored.analysis, restored.windows) == (
        original.steps,
        original.analysis,
        original.windows,
    )


def test_a_snapshot_of_another_version_is_refused() -> None:
    """In words, not with a traceback."""
    with pytest.raises(PolicyError, match=r"spec\.quantum: unknown field"):
        ActivePolicies().restore("a", {**document()["spec"], "quantum": 1})
    with pytest.raises(PolicyError, match="there is no value here"):
        ActivePolicies().restore("a", None)  # type: ignore[arg-type]


def test_readers_always_see_a_consistent_set(folder: Path) -> None:
    """Offers, withdrawals and reloads from several threads lose nothing."""
    active_policies = ActivePolicies([folder])
    failures: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen: tuple[Policy, ...] = tuple(active_policies.current())
            if len({(each.namespace, each.name) for each in seen}) != len(seen):
                failures.append("a name twice")

    def apply(which: int) -> None:
        for at in range(10):
            active_policies.apply(resource(f"r{which}-{at}"))
            active_policies.reload()

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=apply, args=(which,)) for which in range(3)]
    reader.start()
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    stop.set()
    reader.join()
    assert failures == []
    assert len(active_policies.current()) == 2 + 3 * 10


def test_thousands_of_policies(active_policies: ActivePolicies) -> None:
    """3,000 in 30 namespaces: each is in force, a change concerns one, and a broken one keeps its last version."""
    active_policies.reload()
    placed = [(f"p{number}", f"ns{number % 30}") for number in range(3000)]
    for name, namespace in placed:
        text = MINIMAL_POLICY.replace("[mnist]", f"[{name}]")
        assert active_policies.apply(resource(name, namespace, text)) == ()
    assert len(active_policies.reload().added) == 3000
    for name, namespace in (placed[0], placed[1499], placed[-1]):
        found = select_policy(active_policies.current(), ServiceKey(namespace, name), {})
        assert isinstance(found, Policy)
        assert (found.namespace, found.name) == (namespace, name)
    assert active_policies.apply(resource(*placed[7], broken(MINIMAL_POLICY)))
    active_policies.apply(resource(*placed[8], MINIMAL_POLICY.replace("5m", "6m")))
    changes = active_policies.reload()
    assert (changes.added, changes.changed, changes.removed) == ((), ("ns8/p8",), ())
    assert len(active_policies.current()) == 3000 + 2
