"""Hostile JSON costs its own object and nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from autocanary.kube import bounded_json
from autocanary.kube.bounded_json import (
    MAX_DEPTH,
    MAX_OBJECT_BYTES,
    SkippedObject,
    decode_document,
    decode_event,
    decode_list,
)


def nested(levels: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * levels + "1" + closing * levels


def item(name: str, spec: str = "{}") -> str:
    metadata = json.dumps({"annotations": {"name": "victim"}, "name": name, "namespace": "ml", "resourceVersion": "7"})
    return f'{{"apiVersion":"v1","metadata":{metadata},"spec":{spec}}}'


def list_of(*items: str) -> bytes:
    return f'{{"kind":"List","metadata":{{"resourceVersion":"9"}},"items":[{",".join(items)}]}}'.encode()


def names(documents: list[dict[str, Any]]) -> list[str]:
    return [each["metadata"]["name"] for each in documents]


HOSTILE = {
    "deep objects": nested(1000),
    "deep lists": nested(5000, "[", "]"),
    "deep and mixed": nested(700, '[{"a":', "}]"),
    "just too deep": nested(MAX_DEPTH),
    "one million levels": nested(1_000_000, "[", "]"),
    "a number of 600 kB": "9" * 600_000,
    "deep, with brackets in its texts": nested(400, '{"}]\\"{":["]","\\\\",', "]}"),
}


@pytest.mark.parametrize("spec", HOSTILE.values(), ids=HOSTILE)
def test_hostile_object_in_a_list_is_skipped_by_name(spec: str) -> None:
    """The objects before and after it are decoded."""
    page = decode_list(list_of(item("a"), item("odd", spec), item("b")))
    assert names(page.items) == ["a", "b"]
    assert page.metadata == {"resourceVersion": "9"}
    [skipped] = page.skipped
    assert (skipped.namespace, skipped.name, skipped.resource_version) == ("ml", "odd", "7")
    assert skipped.reason


@pytest.mark.parametrize("spec", HOSTILE.values(), ids=HOSTILE)
def test_hostile_object_of_a_watch_is_named(spec: str) -> None:
    """The version is known, so that the watch can resume after it."""
    kind, skipped = decode_event(f'{{"type":"MODIFIED","object":{item("odd", spec)}}}'.encode())
    assert kind == "MODIFIED"
    assert isinstance(skipped, SkippedObject)
    assert (skipped.namespace, skipped.name, skipped.resource_version) == ("ml", "odd", "7")


@pytest.mark.parametrize("spec", HOSTILE.values(), ids=HOSTILE)
def test_hostile_document_is_a_value_error(spec: str) -> None:
    """A single read fails with one class of error, whatever the decoder raises."""
    with pytest.raises(ValueError, match=r"deeper|ValueError"):
        decode_document(item("odd", spec).encode())


def test_deep_metadata_is_named_all_the_same() -> None:
    """The managed fields of a deep object are as deep as the object."""
    managed = nested(2000, '{"f:a":', "}")
    deep = f'{{"metadata":{{"managedFields":{managed},"name":"odd","namespace":"ml","resourceVersion":"7"}}}}'
    [skipped] = decode_list(list_of(deep)).skipped
    assert (skipped.namespace, skipped.name, skipped.resource_version) == ("ml", "odd", "7")


def test_another_object_cannot_be_named() -> None:
    """Names in annotations, in the spec, and in a second metadata do not count."""
    spec = f'{{"metadata":{{"name":"victim"}},"deep":{nested(500)}}}'
    [skipped] = decode_list(list_of(item("odd", spec))).skipped
    assert skipped.name == "odd"


@pytest.mark.parametrize("odd", ["7", "null", '"text"', "[]", nested(300), '{"metadata":' + nested(300) + "}"])
def test_object_without_a_name_is_skipped(odd: str) -> None:
    """It is counted, without a name."""
    page = decode_list(list_of(item("a"), odd, item("b")))
    assert names(page.items) == ["a", "b"]
    assert [(each.namespace, each.name) for each in page.skipped] == [("", "")]


def test_names_are_cut_and_cleaned() -> None:
    """A server that is no API server may answer anything."""
    deep = f'{{"metadata":{{"name":"\\u001b[2J{"x" * 9000}"}},"spec":{nested(300)}}}'
    [skipped] = decode_list(list_of(deep)).skipped
    assert len(skipped.name) == 253
    assert "\x1b" not in skipped.name


def test_long_object_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a list, in a watch (whose line may lack its end), and alone."""
    monkeypatch.setattr(bounded_json, "MAX_OBJECT_BYTES", 1000)
    long = item("odd", '{"text":"' + "x" * 1000 + '"}')
    assert names(decode_list(list_of(item("a"), long)).items) == ["a"]
    event = f'{{"type":"ADDED","object":{long}}}'.encode()
    for line in (event, event[:1100]):
        kind, skipped = decode_event(line)
        assert kind == "ADDED"
        assert isinstance(skipped, SkippedObject)
        assert (skipped.name, skipped.resource_version) == ("odd", "7")
    with pytest.raises(ValueError, match="longer than"):
        decode_document(long.encode())


def test_object_at_the_bounds_is_decoded() -> None:
    """The bounds do not reach what users write."""
    allowed = nested(MAX_DEPTH - 1)
    assert names(decode_list(list_of(item("a", allowed))).items) == ["a"]
    assert isinstance(decode_event(f'{{"type":"ADDED","object":{item("a", allowed)}}}'.encode()).document, dict)
    assert decode_document(item("a", allowed).encode())["spec"]
    assert MAX_OBJECT_BYTES > 2 * 1_572_864  # twice what etcd stores


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{}", b'{"items":[', b'{"items":[{}]}', b'{"metadata":{},"items":[{"a":1', b'{"metadata":[]}'],
)
def test_what_is_no_list_is_a_value_error(body: bytes) -> None:
    """Half an answer must not be taken for a whole list."""
    with pytest.raises(ValueError, match=r"."):
        decode_list(body)


@pytest.mark.parametrize("end", range(1, 60, 7))
def test_cut_list_is_a_value_error(end: int) -> None:
    """Wherever it is cut, and with a deep object before the cut."""
    whole = list_of(item("a"), item("odd", nested(300)), item("b"))
    with pytest.raises(ValueError, match=r"."):
        decode_list(whole[:-end])


def test_list_in_any_order_and_without_items() -> None:
    """Typed and untyped lists differ in order, and an empty one has null for items."""
    body = b'{ "items" : [ {"metadata": {"name": "a"}} ] , "metadata" : {"resourceVersion" : "9"} }'
    assert names(decode_list(body).items) == ["a"]
    assert decode_list(b'{"metadata":{"resourceVersion":"9"},"items":null}').items == []


@pytest.mark.parametrize("text", ["\\u007b[[[", '\\\\\\"{[', "}}}]]]", "ünï \U0001f389"])
def test_brackets_in_texts_are_no_depth(text: str) -> None:
    """A prompt template may hold any number of them."""
    body = item("a", '{"text":"' + text * 200 + '"}')
    assert names(decode_list(list_of(body)).items) == ["a"]
    assert decode_document(body.encode())["spec"]["text"]


class _CountedSteps:
    """Counts how often the scan looks for the next bracket or quote."""

    def __init__(self, pattern: Any) -> None:
        self.pattern, self.steps = pattern, 0

    def search(self, *words: Any) -> Any:
        self.steps += 1
        return self.pattern.search(*words)


@pytest.mark.parametrize("unit", ['{"a":', "[", '"\\"', "[[]", '{"a":"', "}"])
def test_work_grows_with_the_length_only(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the text is twice the steps, for text that is hostile or not JSON at all."""
    steps = []
    for size in (20_000, 40_000):
        counted = _CountedSteps(bounded_json._STRUCTURE)
        monkeypatch.setattr(bounded_json, "_STRUCTURE", counted)
        with contextlib.suppress(ValueError):
            decode_list(list_of(item("odd", unit * size)))
        monkeypatch.undo()
        steps.append(counted.steps)
    assert steps[1] <= 2.1 * steps[0] + 10
