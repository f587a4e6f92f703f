"""Which rollout a name means."""

from __future__ import annotations

from dataclasses import replace

from autocanary.cli.follow import find_rollout, latest_by_service, matching, newest
from autocanary.model.progress import Phase
from tests.cli.fake_client import START, rollout

OLD = rollout(Phase.PROMOTED, number=2, started_at=START)
MIDDLE = rollout(Phase.ROLLED_BACK, number=3, started_at=START + 100)
RUNNING = rollout(number=4, started_at=START + 200)
IRIS = rollout(Phase.PROMOTED, service="iris", started_at=START + 50)


def test_a_service_means_its_running_rollout_else_its_newest() -> None:
    """What a user wants to act on is what is going on."""
    assert find_rollout([OLD, RUNNING, MIDDLE], "mnist") is RUNNING
    assert find_rollout([MIDDLE, OLD], "mnist") is MIDDLE
    assert find_rollout([OLD, MIDDLE], "iris") is None


def test_the_name_of_a_rollout_means_that_one() -> None:
    """Also when it is an old one, and also when a service has the same name."""
    assert find_rollout([OLD, RUNNING], OLD.name) is OLD
    same = rollout(service=OLD.name, number=9, started_at=START + 900)
    assert find_rollout([OLD, same], OLD.name) is OLD


def test_named_lists_the_oldest_first() -> None:
    """In the order in which things happened."""
    assert matching([RUNNING, OLD, MIDDLE, IRIS], "mnist") == [OLD, MIDDLE, RUNNING]


def test_newest_of_nothing_is_nothing() -> None:
    """And a second attempt of the same second is newer than the first."""
    assert newest([]) is None
    again = replace(OLD, name="mnist-00002-r2", attempt=2)
    assert newest([again, OLD]) is again


def test_current_shows_every_service_once_unless_more_is_going_on() -> None:
    """Running rollouts, and for quiet services the last one; sorted by name."""
    assert list(latest_by_service([OLD, RUNNING, MIDDLE, IRIS])) == [IRIS, RUNNING]
    assert list(latest_by_service([OLD, MIDDLE])) == [MIDDLE]
    assert list(latest_by_service([])) == []
