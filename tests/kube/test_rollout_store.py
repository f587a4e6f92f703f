"""The rollout store port: what is remembered, and what happens when another client wrote first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, NotLeader, Refused, Unreachable
from autocanary.kube.api_client import ApiClient
from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.resource import ROLLOUTS
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.logs import capture
from autocanary.model.packed_record import PackedDecisions, PackedSeries
from autocanary.model.progress import Phase
from autocanary.model.progress_json import VERSION, with_stored_fields
from autocanary.model.rollout import Request, Rollout
from autocanary.model.rollout_json import to_document
from autocanary.ports import RolloutStore
from tests.kube.fake_api import FakeApi, Reply, status, until
from tests.kube.samples import Leader, bare, rollout


@pytest.fixture
def connect(api: FakeApi) -> Iterator[Callable[..., KubeRolloutStore]]:
    made: list[KubeRolloutStore] = []

    def start(**options: Any) -> KubeRolloutStore:
        leader = options.pop("leader", Leader())
        client = api.client(timeout=(1.0, options.pop("read", 5.0)))
        made.append(KubeRolloutStore(client, leader, timing=WatchTiming(retry_not_served=0.01), **options))
        made[-1].start()
        assert made[-1].wait(5)
        return made[-1]

    yield start
    for each in made:
        each.stop()


def stored(api: FakeApi, wanted: Rollout, *, with_status: bool = True) -> dict[str, Any]:
    """The object as if another instance had written it."""
    document = to_document(wanted)
    if not with_status:
        document.pop("status")
    return api.put("canaryrollouts", document)


def test_a_rollout_is_created_with_its_state(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """The object, then its status: what is read back equals what was given, nulls and all."""
    store: RolloutStore = connect()
    made = store.create(rollout())
    assert bare(made) == rollout()
    assert made.uid
    assert list(store.rollouts()) == [made]
    post, put = api.made("POST")[0], api.made("PUT")[0]
    assert "status" not in post.body
    assert put.path.endswith("/canaryrollouts/mnist-00002/status")
    assert put.body["metadata"]["resourceVersion"]
    assert "spec" not in put.body


def test_the_state_is_replaced_not_merged(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """A field at its default is absent; a merge would keep the old value for ever."""
    store = connect()
    made = store.create(rollout())
    after = store.update_status(
        replace(
            made,
            progress=replace(
                made.progress,
                step=replace(made.progress.step, verified_at=None, weight=0),
                analysis=replace(made.progress.analysis, metrics={}),
            ),
        )
    )
    assert (after.progress.step.verified_at, after.progress.step.weight, after.progress.analysis.metrics) == (
        None,
        0,
        {},
    )
    assert "verified_at" not in api.objects["canaryrollouts", "ml", "mnist-00002"]["status"]["progress"]


def test_records_follow_each_other_without_a_read(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Each answer carries the version for the next write."""
    store = connect()
    made = store.create(rollout())
    for weight in (10, 25, 50):
        made = store.update_status(
            replace(made, progress=replace(made.progress, step=replace(made.progress.step, weight=weight)))
        )
    assert made.progress.step.weight == 50
    assert api.made("GET", "/canaryrollouts/") == []


def test_external_change_is_reported_once(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """A user with kubectl edits, then deletes."""
    heard: list[tuple[str, str]] = []
    stored(api, rollout())
    store = connect(on_change=heard.append)
    until(lambda: len(heard) == 1)
    assert store.take_changes() == {("ml", "mnist-00002")}
    assert store.take_changes() == set()
    stored(api, rollout(paused=True))
    until(lambda: store.rollouts()[0].paused)
    api.drop("canaryrollouts", "ml", "mnist-00002")
    until(lambda: len(heard) == 3)
    assert store.take_changes() == {("ml", "mnist-00002")}
    assert list(store.rollouts()) == []


def test_status_write_after_external_change_is_conflict(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """A user has asked something in between: read it, plan again."""
    store = connect()
    made = store.create(rollout())
    store.write_request("ml", "mnist-00002", paused=True, request=None)
    with pytest.raises(Conflict, match="update the status of CanaryRollout ml/mnist-00002"):
        store.update_status(made)
    found = store.read("ml", "mnist-00002")
    assert found is not None
    assert found.paused
    assert store.update_status(found).paused


def test_a_record_of_what_was_never_read_is_a_conflict(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Without a version it would overwrite whatever is there."""
    with pytest.raises(Conflict, match="never read"):
        connect().update_status(rollout())
    assert api.made("PUT") == []


def test_a_deleted_rollout_cannot_be_recorded(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """A user has deleted it: it must not come back."""
    store = connect()
    made = store.create(rollout())
    api.drop("canaryrollouts", "ml", "mnist-00002")
    with pytest.raises(NotFound):
        store.update_status(made)
    assert store.read("ml", "mnist-00002") is None
    assert list(store.rollouts()) == []


def test_a_create_whose_answer_was_lost_is_taken_over(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """The object is there, without a status: the second try finishes it."""
    store = connect(read=0.5)
    api.reply("POST", "/canaryrollouts", Reply(delay=0.7, after=True))
    with pytest.raises(Unreachable):
        store.create(rollout())
    made = store.create(rollout())
    assert bare(made) == rollout()
    assert len(api.objects) == 1


def test_a_crash_between_the_two_writes_is_repaired(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """The status was refused; the object starts from its beginning until the next try."""
    store = connect()
    api.reply("PUT", "/status", Reply(503))
    with pytest.raises(Busy):
        store.create(rollout())
    until(lambda: store.rollouts())
    assert store.rollouts()[0].progress.phase is Phase.STAGING
    assert bare(store.create(rollout())) == rollout()


def test_record_completed_after_a_restart_keeps_its_specs(
    api: FakeApi, connect: Callable[..., KubeRolloutStore]
) -> None:
    """The process that completes it knows stable's spec differently: the recorded one stays, and is verified."""
    store = connect()
    api.reply("PUT", "/status", Reply(503))
    first = rollout(stable_spec={"model": {"storageUri": "gs://b/v1"}}, stable_digest="v1")
    with pytest.raises(Busy):
        store.create(first)
    made = store.create(replace(first, stable_spec=None, stable_digest=""))
    assert (made.stable_spec, made.changed_specs) == (first.stable_spec, ())
    assert made.progress == first.progress


def test_what_a_rollout_has_recorded_already_counts(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """The leader before this one has come further than a beginning."""
    store = connect()
    further = with_stored_fields(rollout().progress, {"phase": Phase.BAKING, "weight": 100})
    stored(api, rollout(progress=further))
    taken = store.create(rollout())
    assert taken.progress == further
    assert api.made("PUT") == []
    assert store.update_status(taken).progress == further


@pytest.mark.parametrize(
    "other",
    [
        rollout(service_uid="another-uid"),
        rollout(candidate="mnist-predictor-00009"),
        rollout(attempt=2),
    ],
)
def test_a_rollout_about_something_else_is_not_taken_over(
    api: FakeApi, connect: Callable[..., KubeRolloutStore], other: Rollout
) -> None:
    """A service deleted and made again has revisions of the same names."""
    store = connect()
    stored(api, other)
    with pytest.raises(AlreadyExists, match=f"ml/mnist-00002 exists.*{other.candidate}"):
        store.create(rollout())
    assert api.made("PUT") == []


@pytest.mark.parametrize("fault", ["newer version", "no version", "unknown phase", "no policy", "no spec"])
def test_an_object_that_cannot_be_read_is_left_alone(
    api: FakeApi, connect: Callable[..., KubeRolloutStore], fault: str
) -> None:
    """Logged once, never shown, never overwritten."""
    document = to_document(rollout())
    if fault == "newer version":
        document["status"]["progress"]["version"] = VERSION + 1
    elif fault == "no version":
        document["status"]["progress"].pop("version")
    elif fault == "unknown phase":
        document["status"]["progress"]["phase"] = "Levitating"
    elif fault == "no policy":
        document["spec"].pop("policy")
    else:
        document.pop("spec")
    api.put("canaryrollouts", document)
    with capture() as log:
        store = connect()
        api.put("canaryrollouts", document)
        stored(api, rollout("fine-00002"))
        until(lambda: [each.name for each in store.rollouts()] == ["fine-00002"])
    assert len(log.named("rollout_unreadable")) == 1
    assert "left alone" in log.named("rollout_unreadable")[0]["error"]
    with pytest.raises(Refused, match="left alone"):
        store.read("ml", "mnist-00002")
    with pytest.raises(Refused, match="left alone"):
        store.create(rollout())
    assert api.made("PUT") == []


DEEP: dict[str, Any] = {}
for _ in range(150):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    "progress", [{"version": VERSION, "phase": "Nonsense"}, {"version": VERSION, "evidence": DEEP}]
)
def test_status_that_cannot_be_used_is_replaced(
    api: FakeApi, connect: Callable[..., KubeRolloutStore], progress: dict[str, Any]
) -> None:
    """Unreadable, or too deep to be decoded: the object's metadata is enough to write over it."""
    store = connect()
    made = store.create(rollout())
    with suppress(Unreachable):  # the answer is too deep to be decoded
        api.client().patch(ROLLOUTS, "ml", "mnist-00002", {"status": {"progress": progress}}, subresource="status")
    with pytest.raises(Refused):
        store.read("ml", "mnist-00002")
    replaced = store.replace_status(made)
    assert bare(replaced) == rollout()
    assert store.read("ml", "mnist-00002") == replaced


def test_status_of_another_object_is_not_replaced(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Another one of that name, or one whose spec cannot be read either."""
    store = connect()
    made = store.create(rollout())
    with pytest.raises(Conflict, match="created again"):
        store.replace_status(replace(made, uid="another"))
    api.objects["canaryrollouts", "ml", "mnist-00002"]["spec"].pop("policy")
    with pytest.raises(Refused, match="left alone"):
        store.replace_status(made)


def test_unreadable_object_is_not_taken_for_none(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """A record that was deleted ends its rollout; one that became unreadable does not."""
    store = connect()
    store.create(rollout())
    assert not store.is_unreadable("ml", "mnist-00002")
    assert not store.is_unreadable("ml", "none")
    change = {"status": {"progress": {"version": VERSION, "phase": "Nonsense"}}}
    api.client().patch(ROLLOUTS, "ml", "mnist-00002", change, subresource="status")
    until(lambda: store.is_unreadable("ml", "mnist-00002"))
    assert store.cached("ml", "mnist-00002") is None


def test_spec_that_a_user_patches_is_not_used(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Patch on the object does not reach its status: the digest there stays, and the change is logged once."""
    stored(api, rollout())
    evil = {"spec": {"stableSpec": {"value": {"containers": [{"image": "evil"}]}}}}
    with capture() as log:
        store = connect()
        assert store.rollouts()[0].stable_spec is not None
        api.client().patch(ROLLOUTS, "ml", "mnist-00002", evil)
        until(lambda: store.rollouts()[0].changed_specs == ("stableSpec",))
        found = store.update_status(store.rollouts()[0])
        assert found.stable_spec is None
        restarted = connect()
        assert restarted.rollouts()[0].stable_spec is None
    assert {(each["level"], each["rollout"]) for each in log.named("recorded_spec_changed")} == {
        ("error", "mnist-00002")
    }
    assert len(log.named("recorded_spec_changed")) == 2  # one per store
    [condition] = [each for each in stored_status(api)["conditions"] if each["type"] == "RecordedSpecs"]
    assert condition["reason"] == "SpecChanged"


def stored_status(api: FakeApi) -> dict[str, Any]:
    status: dict[str, Any] = api.objects["canaryrollouts", "ml", "mnist-00002"]["status"]
    return status


def test_an_object_that_becomes_readable_is_shown(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """After a downgrade was taken back."""
    document = to_document(rollout())
    document["status"]["progress"]["version"] = VERSION + 1
    api.put("canaryrollouts", document)
    store = connect()
    assert list(store.rollouts()) == []
    stored(api, rollout())
    until(lambda: len(store.rollouts()) == 1)
    assert bare(replace(store.rollouts()[0], uid="")) == rollout()


def test_user_requests_need_no_leadership(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """The command line is not the leader; the last request wins, and only what is asked is written."""
    stored(api, rollout())
    store = connect(leader=Leader(False))
    first = store.write_request("ml", "mnist-00002", paused=None, request=Request("1", "promote", "ann", 25))
    assert (first.request, first.paused) == (Request("1", "promote", "ann", 25), False)
    second = store.write_request("ml", "mnist-00002", paused=True, request=Request("2", "abort"))
    assert (second.request, second.paused) == (Request("2", "abort"), True)
    patch = api.made("PATCH")[0]
    expected = {"id": "1", "verb": "promote", "by": "ann", "weight": 25, "reason": None}
    assert patch.body == {"spec": {"request": expected}}
    assert patch.query["fieldManager"] == "autocanary-cli"
    with pytest.raises(NotFound, match="none"):
        store.write_request("ml", "none", paused=True, request=None)


def test_without_leadership_nothing_is_written(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Two leaders would write over each other."""
    stored(api, rollout())
    store = connect(leader=Leader(False))
    for write in (store.create, store.update_status, store.delete):
        with pytest.raises(NotLeader, match="ml/mnist-00002"):
            write(store.rollouts()[0])
    assert [each.method for each in api.requests if each.method != "GET"] == []


def test_a_rollout_is_deleted_once_and_only_that_one(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Gone already is as good; another object of the name stays."""
    store = connect()
    made = store.create(rollout())
    store.delete(made)
    assert list(store.rollouts()) == []
    store.delete(made)
    again = store.create(rollout())
    assert again.uid != made.uid
    with pytest.raises(Conflict):
        store.delete(made)
    assert ("canaryrollouts", "ml", "mnist-00002") in api.objects


def test_missing_definitions_say_how_to_install_them(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """The first thing a newcomer forgets."""
    api.unserved.add("canaryrollouts")
    store = connect()
    assert isinstance(store.fault, ResourceNotServed)
    assert store.cache_age() < 5
    with pytest.raises(NotFound, match=r"autocanary crds \| kubectl apply -f -"):
        store.create(rollout())


def test_a_namespace_that_is_gone_is_not_missing_definitions(
    api: FakeApi, connect: Callable[..., KubeRolloutStore]
) -> None:
    """The API server's own words tell them apart."""
    api.reply("POST", "/canaryrollouts", Reply(404, status(404, "NotFound", '"ml" not found', name="ml")))
    with pytest.raises(NotFound, match='"ml" not found'):
        connect().create(rollout())


class DelayedResponses:
    """Calls of a rollout store's session whose answers come after the watch has reported them."""

    def __init__(self, store: KubeRolloutStore, monkeypatch: pytest.MonkeyPatch, *verbs: str) -> None:
        self.before_answer: Callable[[], object] = lambda: None
        for verb in verbs:
            monkeypatch.setattr(ApiClient, verb, self._late(getattr(ApiClient, verb), store))

    def _late(self, call: Callable[..., Any], store: KubeRolloutStore) -> Callable[..., Any]:
        def late(*args: Any, **options: Any) -> Any:
            answer = call(*args, **options)
            version = answer["metadata"]["resourceVersion"]
            until(lambda: version in {each.resource_version for each in store.rollouts()})
            self.before_answer()
            return answer

        return late


def test_own_writes_are_not_reported_as_changes(
    api: FakeApi, connect: Callable[..., KubeRolloutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when the watch reports them first: half an attempt must not be taken for a foreign one."""
    heard: list[tuple[str, str]] = []
    store = connect(on_change=heard.append)
    DelayedResponses(store, monkeypatch, "create", "replace")
    made = store.create(rollout())
    again = store.update_status(
        replace(made, progress=replace(made.progress, step=replace(made.progress.step, weight=50)))
    )
    store.delete(again)
    until(lambda: not store.rollouts())
    assert heard == []
    assert store.take_changes() == set()


def test_external_change_during_own_write_is_reported_after(
    api: FakeApi, connect: Callable[..., KubeRolloutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user pauses in the moment between our write and its answer."""
    store = connect()
    made = store.create(rollout())
    overtaken = DelayedResponses(store, monkeypatch, "replace")

    def pauses() -> None:
        stored(api, rollout(paused=True))
        until(lambda: store.rollouts()[0].paused)
        assert store.take_changes() == set(), "reported before the answer is here"

    overtaken.before_answer = pauses
    store.update_status(replace(made, progress=replace(made.progress, step=replace(made.progress.step, weight=50))))
    assert store.take_changes() == {("ml", "mnist-00002")}
    assert store.rollouts()[0].paused


def test_a_write_that_failed_half_way_is_reported(
    api: FakeApi, connect: Callable[..., KubeRolloutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object was made and its status was not: a user must repair it."""
    store = connect()
    DelayedResponses(store, monkeypatch, "create")
    api.reply("PUT", "/status", Reply(503))
    with pytest.raises(Busy):
        store.create(rollout())
    assert store.take_changes() == {("ml", "mnist-00002")}


def test_rollouts_of_one_policy_share_its_snapshot(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Of thousands of rollouts it is most of what is held; one that says something else keeps its own."""
    stored(api, rollout(name="mnist-00002"))
    stored(api, rollout(name="mnist-00003"))
    edited = {**rollout().policy_document, "edited": "by hand"}
    stored(api, rollout(name="mnist-00004", policy_document=edited))
    store = connect()
    first, second, other = (store.cached("ml", f"mnist-0000{number}") for number in (2, 3, 4))
    assert first is not None
    assert second is not None
    assert other is not None
    assert first.policy_document is second.policy_document
    assert other.policy_document == edited
    assert store.update_status(second).policy_document == first.policy_document


def test_gets_cached_rollout_by_name(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Without a call; one that cannot be read is as good as none."""
    stored(api, rollout(name="mnist-00002"))
    odd = to_document(rollout(name="mnist-00003"))
    del odd["spec"]["policy"]
    api.put("canaryrollouts", odd)
    store = connect()
    calls = len(api.made("GET"))
    found = store.cached("ml", "mnist-00002")
    assert found is not None
    assert found.name == "mnist-00002"
    assert store.cached("ml", "mnist-00003") is None
    assert store.cached("elsewhere", "mnist-00002") is None
    assert len(api.made("GET")) == calls


def test_what_has_ended_is_kept_packed(api: FakeApi, connect: Callable[..., KubeRolloutStore]) -> None:
    """Read and written alike: ten of each service are kept, and nothing but views reads their decisions."""
    store = connect()
    made = store.create(rollout())
    entry = {"time": "2026-01-01T00:00:00Z", "reason": "Promoted", "inputs": {"now": 1.0}}
    ended = replace(
        made, progress=replace(made.progress, phase=Phase.PROMOTED, decisions=(entry,), series={"weight": "0,10"})
    )
    written = store.update_status(ended)
    until(lambda: any(each.is_final for each in store.rollouts()))
    for found in (written, *store.rollouts(), *connect().rollouts()):
        assert isinstance(found.progress.decisions, PackedDecisions)
        assert isinstance(found.progress.series, PackedSeries)
        assert list(found.progress.decisions) == [entry]
    again = store.update_status(replace(written, progress=replace(written.progress, message="delivered")))
    assert list(again.progress.decisions) == [entry]
