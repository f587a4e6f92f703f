"""Names as kubectl takes them."""

from __future__ import annotations

import pytest
import typer

from autocanary.cli.object_names import ObjectName, parse_name, parse_names
from tests.cli.fake_client import rollout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mnist", ObjectName("mnist")),
        ("isvc/mnist", ObjectName("mnist", "service")),
        ("InferenceService/mnist", ObjectName("mnist", "service")),
        ("inferenceservices.serving.kserve.io/mnist", ObjectName("mnist", "service")),
        ("crl/mnist-00002", ObjectName("mnist-00002", "rollout")),
        ("models/mnist", ObjectName("mnist", "", "models")),
        ("models/isvc/mnist", ObjectName("mnist", "service", "models")),
        ("isvc/models/mnist", ObjectName("mnist", "service", "models")),
    ],
)
def test_a_name_has_a_kind_and_a_namespace_before_it(text: str, expected: ObjectName) -> None:
    """Either, both or none, and with the group of ``kubectl get -o name``."""
    assert parse_name(text, None) == expected


@pytest.mark.parametrize("text", ["", "/", "models/", "/mnist", "a/b/mnist"])
def test_what_cannot_be_a_name_is_wrong_usage(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(typer.BadParameter, match="write "):
        parse_name(text, None)


def test_two_namespaces_contradict_each_other() -> None:
    """-n and the name; the same one twice is fine."""
    with pytest.raises(typer.BadParameter, match="-n says prod"):
        parse_name("models/mnist", "prod")
    assert parse_name("models/mnist", "models").namespace == "models"


def test_several_names_and_a_kind_before_them() -> None:
    """``autocanary promote isvc mnist iris``; each once."""
    assert parse_names(["mnist", "iris", "mnist"], None) == [ObjectName("mnist"), ObjectName("iris")]
    assert parse_names(["isvc", "mnist", "crl/iris-00002"], None) == [
        ObjectName("mnist", "service"),
        ObjectName("iris-00002", "rollout"),
    ]
    assert parse_names(["isvc"], None) == [ObjectName("isvc")]


def test_a_kind_excludes_the_other_one() -> None:
    """A service may have the name of another service's rollout."""
    own, other = rollout(service="mnist-00002", number=7), rollout(service="mnist")
    assert other.name == own.service
    assert parse_name("crl/mnist-00002", None).matching([own, other]) == [other]
    assert parse_name("isvc/mnist", None).matching([own, other]) == [other]
    assert parse_name("isvc/iris", None).matching([own, other]) == []
