"""The policies in force: hot reload, custom resources, and the last valid version of each."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from autocanary.errors import PolicyError
from autocanary.model.policy import Policy
from autocanary.policy_files import Changes, PolicyBook
from autocanary.ports import Policies
from tests.policy_files.documents import MINIMAL, WHOLE, document, named, only


def names(book: PolicyBook) -> list[str]:
    return [policy.name for policy in book.current()]


def resource(name: str = "small", namespace: str = "models", text: str = MINIMAL) -> dict[str, Any]:
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
def book(folder: Path) -> PolicyBook:
    """A book that has read its folder and reported that."""
    made = PolicyBook([folder])
    made.reload()
    return made


def test_it_is_the_port() -> None:
    """The engine sees the Policies protocol."""
    port: Policies = PolicyBook()
    assert port.current() == ()


def test_what_is_no_kubernetes_document_is_a_fault_only_where_a_policy_was(folder: Path) -> None:
    """A schema beside the policies is nobody's fault; a policy's file that holds none any more keeps it."""
    (folder / "schema.json").write_text("{}")
    book = PolicyBook([folder])
    assert book.reload() == Changes(added=("a", "b"))
    (folder / "a.yaml").write_text("image: {tag: v2}\n")
    changes = book.reload()
    assert [source for source, _ in changes.invalid] == [str(folder / "a.yaml")]
    assert names(book) == ["a", "b"]


def test_nothing_is_read_before_the_first_reload(folder: Path) -> None:
    """Reading files is the caller's decision."""
    book = PolicyBook([folder])
    assert names(book) == []
    assert book.reload() == Changes(added=("a", "b"))
    assert names(book) == ["a", "b"]
    assert book.faults() == ()


def test_nothing_changed_is_the_same_tuple_and_no_changes(book: PolicyBook, folder: Path) -> None:
    """A touched file is no change, and readers may compare by identity."""
    before = book.current()
    os.utime(folder / "a.yaml", (1, 1))
    changes = book.reload()
    assert changes == Changes()
    assert not changes
    assert book.current() is before


def test_a_changed_file_is_noticed_by_its_content(book: PolicyBook, folder: Path) -> None:
    """Even when its time and size stay the same."""
    file = folder / "a.yaml"
    stamp = file.stat()
    file.write_text(named("a").replace("[10, 100]", "[20, 100]"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert book.reload() == Changes(changed=("a",))
    assert book.current()[0].steps[0].weight == 20


def test_files_come_and_go(book: PolicyBook, folder: Path) -> None:
    """A file that is gone takes its policies with it."""
    (folder / "c.yaml").write_text(named("c", service="x"))
    (folder / "a.yaml").unlink()
    assert book.reload() == Changes(added=("c",), removed=("a",))
    assert names(book) == ["b", "c"]


def test_a_policy_that_becomes_invalid_stays_in_force(book: PolicyBook, folder: Path) -> None:
    """The last valid version, and the fault beside it, reported once."""
    before = book.current()
    (folder / "a.yaml").write_text(broken(named("a")))
    changes = book.reload()
    ((name, (problem,)),) = changes.invalid
    assert (name, problem.line) == ("a", 7)
    assert changes == Changes(invalid=changes.invalid)
    assert book.current() is before
    assert book.faults() == changes.invalid
    assert book.reload() == Changes()
    (folder / "a.yaml").write_text(named("a").replace("[10, 100]", "[20, 100]"))
    assert book.reload() == Changes(changed=("a",))
    assert book.faults() == ()


@pytest.mark.parametrize("content", [b"kind: [", b"", b"\xff", b"a: 1\n\tb: 2", b"kind: RolloutPolicy\n"])
def test_a_file_that_cannot_be_read_keeps_its_policies(
    book: PolicyBook, folder: Path, content: bytes
) -> None:
    """Nobody knows which policy the text was to be."""
    (folder / "a.yaml").write_bytes(content)
    ((name, problems),) = book.reload().invalid
    assert name.startswith(str(folder / "a.yaml"))
    assert problems
    assert names(book) == ["a", "b"]


def test_a_nameless_document_may_be_any_that_is_gone(book: PolicyBook, folder: Path) -> None:
    """Of several policies in a file none is dropped while one cannot be told by its name."""
    both = named("a") + "---\n" + named("c", service="x")
    (folder / "a.yaml").write_text(both)
    assert book.reload() == Changes(added=("c",))
    (folder / "a.yaml").write_text(both.replace("name: c", "nmae: c"))
    assert [name for name, _ in book.reload().invalid] == [f"{folder}/a.yaml:13"]
    assert names(book) == ["a", "c", "b"]
    (folder / "a.yaml").write_text(named("a"))
    assert book.reload() == Changes(removed=("c",))


def test_an_invalid_policy_does_not_keep_a_deleted_one(book: PolicyBook, folder: Path) -> None:
    """When every document has its name, those that are not there are gone."""
    (folder / "a.yaml").write_text(named("a") + "---\n" + named("c", service="x"))
    book.reload()
    (folder / "a.yaml").write_text(broken(named("a")))
    assert book.reload().removed == ("c",)
    assert names(book) == ["a", "b"]


def test_a_policy_that_was_never_valid_is_only_a_fault(folder: Path) -> None:
    """There is no earlier version to keep."""
    (folder / "c.yaml").write_text(broken(named("c")))
    book = PolicyBook([folder])
    changes = book.reload()
    assert changes.added == ("a", "b")
    assert [name for name, _ in changes.invalid] == ["c"]


def test_a_folder_that_is_away_for_a_moment_withdraws_nothing(book: PolicyBook, folder: Path) -> None:
    """A mount may come back; the fault says so until then."""
    before = book.current()
    content = (folder / "a.yaml").read_text()
    shutil.rmtree(folder)
    ((name, _),) = book.reload().invalid
    assert name == str(folder)
    assert book.current() is before
    folder.mkdir()
    (folder / "a.yaml").write_text(content)
    assert book.reload() == Changes(removed=("b",))
    assert book.faults() == ()


def test_a_file_given_by_name_that_is_away(tmp_path: Path) -> None:
    """The same for a single file."""
    file = tmp_path / "a.txt"
    file.write_text(named("a"))
    book = PolicyBook([file])
    book.reload()
    file.unlink()
    book.reload()
    assert names(book) == ["a"]
    assert [name for name, _ in book.faults()] == [str(file)]


def test_a_configmap_is_swapped_at_once(tmp_path: Path) -> None:
    """Kubernetes turns one link; every file is then another."""
    for generation, weight in (("..1", 10), ("..2", 20)):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "a.yaml").write_text(named("a").replace("[10,", f"[{weight},"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    book = PolicyBook([tmp_path])
    book.reload()
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert book.reload() == Changes(changed=("a",))
    assert book.current()[0].steps[0].weight == 20


def test_two_files_with_one_name(book: PolicyBook, folder: Path) -> None:
    """The first stays in force, the second is a fault; when the first goes, the second takes over."""
    (folder / "z.yaml").write_text(named("a", service="z"))
    ((name, (problem,)),) = book.reload().invalid
    assert name == "a"
    assert problem.message == f"the name a is already used by {folder}/a.yaml:1, which stays in force"
    assert book.current()[0].selector.names == ("mnist",)
    (folder / "a.yaml").unlink()
    assert book.reload().changed == ("a",)
    assert book.faults() == ()


def test_one_file_with_one_name_twice(folder: Path) -> None:
    """Also within a file."""
    (folder / "a.yaml").write_text(named("a") + "---\n" + named("a", service="z"))
    book = PolicyBook([folder])
    ((name, (problem,)),) = book.reload().invalid
    assert (name, problem.source) == ("a", f"{folder}/a.yaml:13")
    assert names(book) == ["a", "b"]


def test_custom_resources_are_offered_and_withdrawn() -> None:
    """At once in force, reported at the next reload."""
    book = PolicyBook()
    assert book.offer(resource()) == ()
    assert names(book) == ["small"]
    assert book.current()[0].origin == "rolloutpolicy models/small"
    assert book.reload() == Changes(added=("models/small",))
    book.withdraw("models", "small")
    book.withdraw("models", "never-there")
    assert names(book) == []
    assert book.reload() == Changes(removed=("models/small",))


def test_an_invalid_custom_resource_keeps_its_last_valid_version() -> None:
    """The answer is what its condition will say."""
    book = PolicyBook()
    book.offer(resource())
    before = book.current()
    (problem,) = book.offer(resource(text=broken(MINIMAL)))
    assert "stepDuration" in problem.message
    assert book.current() is before
    assert book.faults() == (("models/small", (problem,)),)
    assert book.reload() == Changes(added=("models/small",))  # its fault has been answered already
    book.offer(resource())
    assert book.faults() == ()
    book.offer(resource(text=broken(MINIMAL)))
    book.withdraw("models", "small")
    assert (book.current(), book.faults()) == ((), ())


def test_a_file_goes_before_a_custom_resource_of_its_name(tmp_path: Path) -> None:
    """And the custom resource is in force when the file is gone."""
    (tmp_path / "a.yaml").write_text(named("small, namespace: models", service="file"))
    book = PolicyBook([tmp_path])
    book.offer(resource())
    assert book.reload().invalid[0][0] == "models/small"
    assert book.current()[0].selector.names == ("file",)
    (tmp_path / "a.yaml").unlink()
    book.reload()
    assert book.current()[0].selector.names == ("mnist",)


def test_a_snapshot_is_restored_as_it_was() -> None:
    """A rollout goes on by the policy it began with, in the same meaning."""
    original = only(WHOLE)
    restored = PolicyBook().restore("prod-models", original.document)
    assert restored.digest == original.digest
    assert (restored.steps, restored.analysis, restored.windows) == (
        original.steps,
        original.analysis,
        original.windows,
    )


def test_a_snapshot_of_another_version_is_refused() -> None:
    """In words, not with a traceback."""
    with pytest.raises(PolicyError, match=r"spec\.quantum: unknown field"):
        PolicyBook().restore("a", {**document()["spec"], "quantum": 1})
    with pytest.raises(PolicyError, match="there is no value here"):
        PolicyBook().restore("a", None)  # type: ignore[arg-type]


def test_readers_always_see_a_consistent_set(folder: Path) -> None:
    """Offers, withdrawals and reloads from several threads lose nothing."""
    book = PolicyBook([folder])
    failures: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen: tuple[Policy, ...] = tuple(book.current())
            if len({(each.namespace, each.name) for each in seen}) != len(seen):
                failures.append("a name twice")

    def offer(which: int) -> None:
        for at in range(10):
            book.offer(resource(f"r{which}-{at}"))
            book.reload()

    reader = threading.Thread(target=look)
    writers = [threading.Thread(target=offer, args=(which,)) for which in range(3)]
    reader.start()
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    stop.set()
    reader.join()
    assert failures == []
    assert len(book.current()) == 2 + 3 * 10
