"""The version before the spec was changed, among the versions that an API server still keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from autocanary.kserve.earlier_version import MOST_VERSIONS, find_earlier_version
from autocanary.kserve.v1beta1 import V1Beta1
from autocanary.model.observation import Observation

DIALECT = V1Beta1()
Document = dict[str, Any]


def version(
    number: int, model: str, *, written: str = "10:00:00", uid: str = "u1", weight: int | None = None
) -> Document:
    """One version of a service; `written` is when its spec was."""
    part: Document = {"model": {"storageUri": model}} | ({} if weight is None else {"canaryTrafficPercent": weight})
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "metadata": {
            "name": "mnist",
            "namespace": "models",
            "uid": uid,
            "resourceVersion": str(number),
            "managedFields": [
                {"manager": "kubectl", "time": f"2026-11-30T{written}Z", "fieldsV1": {"f:spec": {"f:predictor": {}}}},
                {
                    "manager": "manager",
                    "time": "2026-11-30T12:00:00Z",
                    "subresource": "status",
                    "fieldsV1": {"f:status": {}},
                },
            ],
        },
        "spec": {"predictor": part},
    }


def found_in(*versions: Document) -> tuple[object, list[str]]:
    """The earlier version's resourceVersion and seconds (or None), and which versions were asked for."""
    asked: list[str] = []

    def read(at: str) -> Mapping[str, Any] | None:
        asked.append(at)
        before = [each for each in versions if int(each["metadata"]["resourceVersion"]) <= int(at)]
        return before[-1] if before else None

    found = find_earlier_version(DIALECT, observed(versions[-1]), read)
    return (found and (found.observation.resource_version, found.seconds)), asked


def observed(document: Document) -> Observation:
    (observation,) = DIALECT.observe(document)
    return observation


def test_the_newest_version_with_another_spec_is_found_over_writes_of_the_status() -> None:
    """One read per version, from the present one back; the older specs before it are not read."""
    versions = [
        version(3, "v0"),
        version(7, "v1", written="10:00:00"),
        version(9, "v1", written="10:00:00"),
        version(12, "v2", written="10:01:30"),
        version(15, "v2", written="10:01:30"),
    ]
    assert found_in(*versions) == (("9", 90.0), ["15", "14", "11"])


def test_a_change_of_the_weight_is_no_other_spec() -> None:
    """An intercepted candidate has its weight written before the version is looked for."""
    assert found_in(version(1, "v1"), version(2, "v2", written="10:00:20"), version(3, "v2", weight=0))[0] == (
        "1",
        20.0,
    )


@pytest.mark.parametrize(
    "versions",
    [
        [version(5, "v2")],
        [version(1, "v1", uid="before"), version(5, "v2")],
        [version(1, "v1"), *(version(number, "v2") for number in range(2, MOST_VERSIONS + 3))],
    ],
    ids=["compacted or created so", "a namesake", "too many versions"],
)
def test_nothing_is_found(versions: list[Document]) -> None:
    """And the search ends."""
    found, asked = found_in(*versions)
    assert found is None
    assert len(asked) <= MOST_VERSIONS


def test_without_managed_fields_the_time_is_unknown() -> None:
    """Some tools strip them."""
    bare = version(1, "v1")
    del bare["metadata"]["managedFields"]
    assert found_in(bare, version(2, "v2"))[0] == ("1", None)


def test_a_resource_version_that_is_no_number_is_not_counted_down() -> None:
    """No known API server has one; then nothing is asked."""
    odd = version(2, "v2")
    odd["metadata"]["resourceVersion"] = "abc"
    assert find_earlier_version(DIALECT, observed(odd), lambda _: pytest.fail("asked")) is None
