"""What platform teams do to a service in a week, from KServe's documentation alone, with autocanary over it.

Written from the pages on canary rollouts, the Knative autoscaler, loggers, custom transformers, storage credentials
and model formats, by users who know nothing of autocanary. Every week ends with what users may expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from tests.traps.world import SERVICE, TrapWorld, manifest

__all__ = ["WEEKS", "Week"]

STEP_SHARES = {0, 10, 25, 50, 100}
TAGS = "serving.kserve.io/enable-tag-routing"
STOP = "serving.kserve.io/stop"
CUSTOM_IMAGE = "dev.local/transformer"


@dataclass(frozen=True, slots=True)
class Week:
    """``name`` is the test's; ``sentence`` what should happen in it."""

    name: str
    sentence: str
    run: Callable[[TrapWorld], None]


WEEKS: list[Week] = []


def week(name: str) -> Callable[[Callable[[TrapWorld], None]], Callable[[TrapWorld], None]]:
    def note(run: Callable[[TrapWorld], None]) -> Callable[[TrapWorld], None]:
        WEEKS.append(Week(name, str(run.__doc__), run))
        return run

    return note


def _predictor(world: TrapWorld, **fields: Any) -> None:
    """``kubectl patch`` of fields of the predictor."""
    world.patch({"spec": {"predictor": fields}})


def _rolled_out(world: TrapWorld, number: int) -> None:
    """The revision went up the ladder, and has all the traffic."""
    world.until_phase(number, "Promoted")
    world.until_stable(number)
    assert world.share(number) == 100
    assert set(world.shares(number)) <= STEP_SHARES


def _until_ready(world: TrapWorld) -> None:
    def so() -> bool:
        seen = world.seen()
        return seen is not None and seen.service_ready is ConditionStatus.TRUE

    world.until(so, "the service to be ready")


@week("the-canary-example-by-the-book")
def _(world: TrapWorld) -> None:
    """10 % by hand is where the rollout begins; removing the field does not promote early; 0 afterwards is a decision."""
    world.serve()
    world.apply("v2", 10)
    world.until_share(2, 10)
    world.apply("v2")  # "promote the canary": the manifest without the field
    _rolled_out(world, 2)
    assert 25 in world.shares(2)
    written = world.written_weights()
    world.weight(0)  # "roll back": the traffic is pinned to the revision before
    world.until_share(1, 100)
    world.wait(8)
    assert world.share(1) == 100
    assert world.written_weights() == written


@week("a-day-of-scaling")
def _(world: TrapWorld) -> None:
    """Targets and bounds of the autoscaler make revisions: each is rolled out, with the same model."""
    world.serve("v1-slow12")
    _predictor(world, scaleTarget=5, scaleMetric="concurrency")
    _rolled_out(world, 2)
    _predictor(world, minReplicas=2, maxReplicas=4)
    _rolled_out(world, 3)
    _predictor(world, containerConcurrency=10)
    _rolled_out(world, 4)


@week("credentials-logger-and-resources")
def _(world: TrapWorld) -> None:
    """Three changes in a row: the last one is rolled out, and none of them takes all traffic at once."""
    world.serve("v1-slow12")
    _predictor(world, serviceAccountName="s3-reader")
    world.until_created(2)
    _predictor(world, logger={"mode": "all", "url": "http://message-dumper.default.svc.cluster.local"})
    world.until_created(3)
    resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "100m", "memory": "256Mi"}}
    _predictor(world, model={"resources": resources})
    _rolled_out(world, 4)
    assert world.highest(2) == world.highest(3) == 0


@week("a-bad-friday")
def _(world: TrapWorld) -> None:
    """The pipeline applies a bad model twice, the commit is reverted, and the fix is released on Monday."""
    world.serve()
    world.apply("v2-bad-slow12")
    world.until_phase(2, "RolledBack")
    world.apply("v2-bad-slow12")  # the pipeline is started again
    world.wait(10)
    assert world.share(1) == 100
    assert world.highest(2) <= 25
    world.apply("v1", 0)  # the revert, with the field as autocanary left it
    world.until_created(3)
    world.until_phase(3, "Promoted", "Missed")
    world.apply("v3-slow12")
    _rolled_out(world, 4)
    assert world.share(2) == 0


@week("two-releases-and-a-change-of-mind")
def _(world: TrapWorld) -> None:
    """v3 comes while v2 is at 25 %, and v2 comes again while v3 is: the last applied one is rolled out from the bottom."""
    world.serve()
    world.apply("v2-slow12", 0)
    world.until_share(2, 25)
    world.apply("v3-slow12", 0)
    world.until_share(3, 25)
    world.apply("v2-slow12", 0)
    _rolled_out(world, 4)
    assert max(world.highest(2), world.highest(3)) <= 50


@week("tags-to-try-the-canary")
def _(world: TrapWorld) -> None:
    """Tag routing is switched on to try the new model, and off again: each is a revision, and is rolled out."""
    world.serve()
    world.apply("v2-slow12", 0, annotations={TAGS: "true"})
    world.until_share(2, 10)
    _rolled_out(world, 2)
    world.patch({"metadata": {"annotations": {TAGS: None}}})
    _rolled_out(world, 3)


@week("a-transformer-is-added-and-removed")
def _(world: TrapWorld) -> None:
    """It has no policy: its first revision serves at once, and the predictor is rolled out beside it."""
    world.serve()
    container = {"name": "kserve-container", "image": f"{CUSTOM_IMAGE}:1"}
    world.patch({"spec": {"transformer": {"minReplicas": 1, "containers": [container]}}})

    def serves() -> bool:
        seen = world.seen(Component.TRANSFORMER)
        return seen is not None and seen.rolled_out != ""

    world.until(serves, "the transformer to serve")
    _predictor(world, model={"storageUri": f"gs://models/{SERVICE}/v2-slow12"})
    _rolled_out(world, 2)
    world.patch({"spec": {"transformer": None}})
    world.until(lambda: world.seen(Component.TRANSFORMER) is None, "the transformer to be gone")
    _predictor(world, model={"storageUri": f"gs://models/{SERVICE}/v3-bad-slow12"})
    world.until_phase(3, "RolledBack")
    assert world.share(2) == 100


@week("deleted-by-mistake")
def _(world: TrapWorld) -> None:
    """Deleted at 25 % and applied again at once: the new service serves, and its next release is rolled out."""
    world.serve()
    world.apply("v2", 0)
    world.until_share(2, 25)
    world.delete()
    world.until(lambda: not world.exists(), "the service to be gone")
    world.apply("v2")
    _until_ready(world)
    world.until_stable(1)
    world.wait(world.rest_seconds)
    world.apply("v3-slow12")
    world.until(lambda: world.ready() == world.revision(2), "00002 to be ready")
    world.until_stable(2, seconds=150)
    assert world.share(2) == 100


@week("stopped-for-the-weekend")
def _(world: TrapWorld) -> None:
    """Stopped on Friday and resumed on Monday with a new model: it serves, and the next release goes up the ladder."""
    world.serve()
    world.patch({"metadata": {"annotations": {STOP: "true"}}})
    world.until(lambda: not world.split() or not any(world.split().values()), "nothing to be routed", seconds=60)
    world.patch({"metadata": {"annotations": {STOP: "false"}}})
    _until_ready(world)
    world.until(lambda: world.share(1) == 100, "00001 to serve again")
    world.wait(world.rest_seconds)
    world.apply("v2-slow12", annotations={STOP: "false"})
    world.until_stable(2, seconds=200)
    assert world.share(2) == 100
    assert 10 in world.shares(2)


@week("from-the-old-schema-to-the-new")
def _(world: TrapWorld) -> None:
    """``sklearn:`` is what ``model:`` is: the same place in the new schema is no release, another place is one."""

    def old(version: str) -> Mapping[str, Any]:
        document = manifest(world.namespace, version)
        model = document["spec"]["predictor"].pop("model")
        document["spec"]["predictor"]["sklearn"] = {"storageUri": model["storageUri"]}
        return document

    world.apply_document(old("v1"))
    world.until_stable(1)
    world.wait(world.rest_seconds)
    world.apply_document(old("v2-slow12"))
    _rolled_out(world, 2)
    world.wait(5)
    written = world.written_weights()
    world.replace("v2-slow12")  # kubectl apply would keep the old form beside the new one, which KServe refuses
    world.wait(15)
    assert world.written_weights() == written
    assert world.share(2) == 100
