"""The Ledger port: what is remembered, and what happens when somebody else was there first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, NotLeader, Refused, Unreachable
from autocanary.kube.api_errors import KindMissing
from autocanary.kube.list_watch import Pace
from autocanary.kube.rollout_store import KubeLedger
from autocanary.logs import capture
from autocanary.model.progress import VERSION, Phase
from autocanary.model.rollout import Request, Rollout
from autocanary.model.rollout_json import to_document
from autocanary.ports import Ledger
from tests.kube.fake_api import FakeApi, Reply, status, until
from tests.kube.samples import Leader, rollout


@pytest.fixture
def connect(api: FakeApi) -> Iterator[Callable[..., KubeLedger]]:
    made: list[KubeLedger] = []

    def start(**options: Any) -> KubeLedger:
        leader = options.pop("leader", Leader())
        session = api.session(timeout=(1.0, options.pop("read", 5.0)))
        made.append(KubeLedger(session, leader, pace=Pace(missing=0.01), **options))
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


def bare(made: Rollout) -> Rollout:
    """Without what only the server knows."""
    return made.but(uid="", resource_version="", created_at=0.0)


def test_a_rollout_is_created_with_its_state(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """The object, then its status: what is read back equals what was given, nulls and all."""
    ledger: Ledger = connect()
    made = ledger.create(rollout())
    assert bare(made) == rollout()
    assert made.uid
    assert list(ledger.rollouts()) == [made]
    post, put = api.made("POST")[0], api.made("PUT")[0]
    assert "status" not in post.body
    assert put.path.endswith("/canaryrollouts/mnist-00002/status")
    assert put.body["metadata"]["resourceVersion"]
    assert "spec" not in put.body


def test_the_state_is_replaced_not_merged(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """A field at its default is absent; a merge would keep the old value for ever."""
    ledger = connect()
    made = ledger.create(rollout())
    after = ledger.record(made.but(progress=made.progress.but(verified_at=None, weight=0, metrics={})))
    assert (after.progress.verified_at, after.progress.weight, after.progress.metrics) == (None, 0, {})
    assert "verified_at" not in api.objects["canaryrollouts", "ml", "mnist-00002"]["status"]["progress"]


def test_records_follow_each_other_without_a_read(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """Each answer carries the version for the next write."""
    ledger = connect()
    made = ledger.create(rollout())
    for weight in (10, 25, 50):
        made = ledger.record(made.but(progress=made.progress.but(weight=weight)))
    assert made.progress.weight == 50
    assert api.made("GET", "/canaryrollouts/") == []


def test_what_others_change_is_told_once(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """A person with kubectl edits, then deletes."""
    heard: list[tuple[str, str]] = []
    stored(api, rollout())
    ledger = connect(on_change=heard.append)
    until(lambda: len(heard) == 1)
    assert ledger.changed() == {("ml", "mnist-00002")}
    assert ledger.changed() == set()
    stored(api, rollout(paused=True))
    until(lambda: ledger.rollouts()[0].paused)
    api.drop("canaryrollouts", "ml", "mnist-00002")
    until(lambda: len(heard) == 3)
    assert ledger.changed() == {("ml", "mnist-00002")}
    assert list(ledger.rollouts()) == []


def test_a_record_over_somebodys_change_is_a_conflict(
    api: FakeApi, connect: Callable[..., KubeLedger]
) -> None:
    """A person has asked something in between: read it, plan again."""
    ledger = connect()
    made = ledger.create(rollout())
    ledger.ask("ml", "mnist-00002", paused=True, request=None)
    with pytest.raises(Conflict, match="update the status of CanaryRollout ml/mnist-00002"):
        ledger.record(made)
    found = ledger.read("ml", "mnist-00002")
    assert found is not None
    assert found.paused
    assert ledger.record(found).paused


def test_a_record_of_what_was_never_read_is_a_conflict(
    api: FakeApi, connect: Callable[..., KubeLedger]
) -> None:
    """Without a version it would overwrite whatever is there."""
    with pytest.raises(Conflict, match="never read"):
        connect().record(rollout())
    assert api.made("PUT") == []


def test_a_deleted_rollout_cannot_be_recorded(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """Somebody has deleted it: it must not come back by itself."""
    ledger = connect()
    made = ledger.create(rollout())
    api.drop("canaryrollouts", "ml", "mnist-00002")
    with pytest.raises(NotFound):
        ledger.record(made)
    assert ledger.read("ml", "mnist-00002") is None
    assert list(ledger.rollouts()) == []


def test_a_create_whose_answer_was_lost_is_taken_over(
    api: FakeApi, connect: Callable[..., KubeLedger]
) -> None:
    """The object is there, without a status: the second try finishes it."""
    ledger = connect(read=0.05)
    api.reply("POST", "/canaryrollouts", Reply(delay=0.1, after=True))
    with pytest.raises(Unreachable):
        ledger.create(rollout())
    made = ledger.create(rollout())
    assert bare(made) == rollout()
    assert len(api.objects) == 1


def test_a_crash_between_the_two_writes_is_repaired(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """The status was refused; the object starts from its beginning until the next try."""
    ledger = connect()
    api.reply("PUT", "/status", Reply(503))
    with pytest.raises(Busy):
        ledger.create(rollout())
    until(lambda: ledger.rollouts())
    assert ledger.rollouts()[0].progress.phase is Phase.STAGING
    assert bare(ledger.create(rollout())) == rollout()


def test_what_a_rollout_has_recorded_already_counts(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """The leader before this one has come further than a beginning."""
    ledger = connect()
    further = rollout().progress.but(phase=Phase.BAKING, weight=100)
    stored(api, rollout(progress=further))
    taken = ledger.create(rollout())
    assert taken.progress == further
    assert api.made("PUT") == []
    assert ledger.record(taken).progress == further


@pytest.mark.parametrize(
    "other",
    [
        rollout(service_uid="another-uid"),
        rollout(candidate="mnist-predictor-00009"),
        rollout(attempt=2),
    ],
)
def test_a_rollout_about_something_else_is_not_taken_over(
    api: FakeApi, connect: Callable[..., KubeLedger], other: Rollout
) -> None:
    """A service deleted and made again has revisions of the same names."""
    ledger = connect()
    stored(api, other)
    with pytest.raises(AlreadyExists, match=f"ml/mnist-00002 exists.*{other.candidate}"):
        ledger.create(rollout())
    assert api.made("PUT") == []


@pytest.mark.parametrize("fault", ["newer version", "no version", "unknown phase", "no policy", "no spec"])
def test_an_object_that_cannot_be_read_is_left_alone(
    api: FakeApi, connect: Callable[..., KubeLedger], fault: str
) -> None:
    """Told once, never shown, never overwritten."""
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
        ledger = connect()
        api.put("canaryrollouts", document)
        stored(api, rollout("fine-00002"))
        until(lambda: [each.name for each in ledger.rollouts()] == ["fine-00002"])
    assert len(log.named("rollout_unreadable")) == 1
    assert "left alone" in log.named("rollout_unreadable")[0]["error"]
    with pytest.raises(Refused, match="left alone"):
        ledger.read("ml", "mnist-00002")
    with pytest.raises(Refused, match="left alone"):
        ledger.create(rollout())
    assert api.made("PUT") == []


def test_an_object_that_becomes_readable_is_shown(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """After a downgrade was taken back."""
    document = to_document(rollout())
    document["status"]["progress"]["version"] = VERSION + 1
    api.put("canaryrollouts", document)
    ledger = connect()
    assert list(ledger.rollouts()) == []
    stored(api, rollout())
    until(lambda: len(ledger.rollouts()) == 1)
    assert bare(ledger.rollouts()[0].but(uid="")) == rollout()


def test_people_ask_without_leadership(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """The command line is not the leader; the last wish wins, and only what is asked is written."""
    stored(api, rollout())
    ledger = connect(leader=Leader(False))
    first = ledger.ask("ml", "mnist-00002", paused=None, request=Request("1", "promote", "ann"))
    assert (first.request, first.paused) == (Request("1", "promote", "ann"), False)
    second = ledger.ask("ml", "mnist-00002", paused=True, request=Request("2", "abort"))
    assert (second.request, second.paused) == (Request("2", "abort"), True)
    patch = api.made("PATCH")[0]
    assert patch.body == {"spec": {"request": {"id": "1", "verb": "promote", "by": "ann"}}}
    assert patch.query["fieldManager"] == "autocanary-cli"
    with pytest.raises(NotFound, match="none"):
        ledger.ask("ml", "none", paused=True, request=None)


def test_without_leadership_nothing_is_written(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """Two leaders would write over each other."""
    stored(api, rollout())
    ledger = connect(leader=Leader(False))
    for write in (ledger.create, ledger.record, ledger.delete):
        with pytest.raises(NotLeader, match="ml/mnist-00002"):
            write(ledger.rollouts()[0])
    assert [each.method for each in api.requests if each.method != "GET"] == []


def test_a_rollout_is_deleted_once_and_only_that_one(
    api: FakeApi, connect: Callable[..., KubeLedger]
) -> None:
    """Gone already is as good; another object of the name stays."""
    ledger = connect()
    made = ledger.create(rollout())
    ledger.delete(made)
    assert list(ledger.rollouts()) == []
    ledger.delete(made)
    again = ledger.create(rollout())
    assert again.uid != made.uid
    with pytest.raises(Conflict):
        ledger.delete(made)
    assert ("canaryrollouts", "ml", "mnist-00002") in api.objects


def test_missing_definitions_say_how_to_install_them(
    api: FakeApi, connect: Callable[..., KubeLedger]
) -> None:
    """The first thing a newcomer forgets."""
    api.unserved.add("canaryrollouts")
    ledger = connect()
    assert isinstance(ledger.fault, KindMissing)
    assert ledger.age() < 5
    with pytest.raises(NotFound, match=r"autocanary crds \| kubectl apply -f -"):
        ledger.create(rollout())


def test_a_namespace_that_is_gone_is_not_missing_definitions(
    api: FakeApi, connect: Callable[..., KubeLedger]
) -> None:
    """The API server's own words tell them apart."""
    api.reply("POST", "/canaryrollouts", Reply(404, status(404, "NotFound", '"ml" not found', name="ml")))
    with pytest.raises(NotFound, match='"ml" not found'):
        connect().create(rollout())


class Overtaken:
    """Calls of a ledger's session whose answers come after the watch has told of them."""

    def __init__(self, ledger: KubeLedger, monkeypatch: pytest.MonkeyPatch, *verbs: str) -> None:
        self.before_answer: Callable[[], object] = lambda: None
        session = ledger._session
        for verb in verbs:
            monkeypatch.setattr(session, verb, self._late(getattr(session, verb), ledger))

    def _late(self, call: Callable[..., Any], ledger: KubeLedger) -> Callable[..., Any]:
        def late(*args: Any, **options: Any) -> Any:
            answer = call(*args, **options)
            version = answer["metadata"]["resourceVersion"]
            until(lambda: version in {each.resource_version for each in ledger.rollouts()})
            self.before_answer()
            return answer

        return late


def test_own_writes_are_nobody_elses_changes(
    api: FakeApi, connect: Callable[..., KubeLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when the watch tells of them first: half an attempt must not be taken for a foreign one."""
    heard: list[tuple[str, str]] = []
    ledger = connect(on_change=heard.append)
    Overtaken(ledger, monkeypatch, "create", "replace")
    made = ledger.create(rollout())
    again = ledger.record(made.but(progress=made.progress.but(weight=50)))
    ledger.delete(again)
    until(lambda: not ledger.rollouts())
    assert heard == []
    assert ledger.changed() == set()


def test_a_change_during_an_own_write_is_told_after_it(
    api: FakeApi, connect: Callable[..., KubeLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person pauses in the moment between our write and its answer."""
    ledger = connect()
    made = ledger.create(rollout())
    overtaken = Overtaken(ledger, monkeypatch, "replace")

    def pauses() -> None:
        stored(api, rollout(paused=True))
        until(lambda: ledger.rollouts()[0].paused)
        assert ledger.changed() == set(), "told before the answer is here"

    overtaken.before_answer = pauses
    ledger.record(made.but(progress=made.progress.but(weight=50)))
    assert ledger.changed() == {("ml", "mnist-00002")}
    assert ledger.rollouts()[0].paused


def test_a_write_that_failed_half_way_is_told_of(
    api: FakeApi, connect: Callable[..., KubeLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object was made and its status was not: somebody has to look at it."""
    ledger = connect()
    Overtaken(ledger, monkeypatch, "create")
    api.reply("PUT", "/status", Reply(503))
    with pytest.raises(Busy):
        ledger.create(rollout())
    assert ledger.changed() == {("ml", "mnist-00002")}


def test_rollouts_of_one_policy_share_its_snapshot(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """Of thousands of rollouts it is most of what is held; one that says something else keeps its own."""
    stored(api, rollout(name="mnist-00002"))
    stored(api, rollout(name="mnist-00003"))
    edited = {**rollout().policy_document, "edited": "by hand"}
    stored(api, rollout(name="mnist-00004", policy_document=edited))
    ledger = connect()
    first, second, other = (ledger.known("ml", f"mnist-0000{number}") for number in (2, 3, 4))
    assert first is not None
    assert second is not None
    assert other is not None
    assert first.policy_document is second.policy_document
    assert other.policy_document == edited
    assert ledger.record(second).policy_document == first.policy_document


def test_one_rollout_is_known_by_its_name(api: FakeApi, connect: Callable[..., KubeLedger]) -> None:
    """Without a call; one that cannot be read is as good as none."""
    stored(api, rollout(name="mnist-00002"))
    odd = to_document(rollout(name="mnist-00003"))
    del odd["spec"]["policy"]
    api.put("canaryrollouts", odd)
    ledger = connect()
    calls = len(api.made("GET"))
    found = ledger.known("ml", "mnist-00002")
    assert found is not None
    assert found.name == "mnist-00002"
    assert ledger.known("ml", "mnist-00003") is None
    assert ledger.known("elsewhere", "mnist-00002") is None
    assert len(api.made("GET")) == calls
