"""YAML with places and without YAML 1.1's surprises."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.errors import Problem
from autocanary.policy_files.policy_errors import format_path
from autocanary.policy_files.yaml_reader import ParsedYaml, compose_documents, parse_node


def read(text: str) -> ParsedYaml:
    (node,) = compose_documents(text, "p.yaml")
    assert not isinstance(node, Problem), str(node)
    return parse_node(node, "p.yaml")


def complaints(text: str) -> list[str]:
    return [str(each) for each in read(text).problems]


def syntax(text: str) -> str:
    last = list(compose_documents(text, "p.yaml"))[-1]
    assert isinstance(last, Problem)
    return str(last)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: -1", -1),
        ("a: 0", 0),
        ("a: 1.5", 1.5),
        ("a: 1.", 1.0),
        ("a: 1.0e+3", 1000.0),
        ("a: true", True),
        ("a: False", False),
        ("a: text", "text"),
        ("a: '17:00'", "17:00"),
        ('a: "on"', "on"),
        ("a: 09:00", "09:00"),
        ("a: 2026-01-01", "2026-01-01"),
        ("a: 1e-3", "1e-3"),
        ("a: 0.5%", "0.5%"),
        ("a: ~", None),
        ("a:", None),
        ("a: [1, {b: c}]", [1, {"b": "c"}]),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: &x {b: 1}\nc: *x", {"b": 1}),
    ],
)
def test_values(text: str, value: Any) -> None:
    """What both YAML 1.1 and 1.2 understand is read."""
    measurement = read(text)
    assert measurement.problems == []
    assert measurement.value["a"] == value
    assert type(measurement.value["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: on", '1:4: a: YAML 1.1 reads the bare word on as true (write true, or "on" in quotes)'),
        ("a: No", "1:4: a: YAML 1.1 reads the bare word No as false"),
        ("on: 1", "1:1: YAML 1.1 reads the bare word on as true"),
        ("a: 17:00", '1:4: a: YAML 1.1 reads 17:00 without quotes as the number 1020 (write "17:00")'),
        ("a: -1:30", "as the number -90"),
        ("a: 1:30.5", "as the number 90.5"),
        ("a: 010", "1:4: a: 010 is a number that YAML 1.1 and 1.2 read differently"),
        ("a: 0x10", "0x10 is a number"),
        ("a: 0b11", "0b11 is a number"),
        ("a: 1_000", "1_000 is a number"),
        ("a: .inf", ".inf is a number"),
        ("a: .NaN", ".NaN is a number"),
        (f"a: {'9' * 5000}", "has too many digits"),
        ("a: !!binary aGk=", "the tag tag:yaml.org,2002:binary is not read here"),
        ("a: !mine x", "the tag !mine is not read here"),
        ("1: x", '1:1: the field\'s name 1 is not text (write "1" in quotes)'),
        ("~: x", "the field's name ~ is not text"),
        ("? [a]\n: x", "1:3: a field's name must be text"),
        ("a: 1\nb: 2\na: 3", "3:1: a is written twice, first at 1:1 (keep one of the two)"),
        ("a: {b: 1, b: 2}", "1:11: a: b is written twice, first at 1:5"),
        ("<<: 5\na: 1", "<< merges mappings only"),
    ],
)
def test_ambiguous_yaml_is_refused_at_its_position(text: str, words: str) -> None:
    """Everything that YAML 1.1 reads as something else, duplicate keys, and keys that are not text."""
    assert words in complaints(text)[0]


def test_all_ambiguous_values_are_reported() -> None:
    """One round of corrections is enough."""
    found = complaints("a: on\nb: [17:00, no]\nc: {010: x}\n")
    assert [each.split(": ")[0] for each in found] == [
        "p.yaml:1:4",
        "p.yaml:2:5",
        "p.yaml:2:12",
        "p.yaml:3:5",
    ]


def test_ambiguous_value_keeps_its_text() -> None:
    """One problem is not reported twice."""
    measurement = read("a: on\nb: 17:00\n")
    assert measurement.value == {"a": "on", "b": "17:00"}
    assert measurement.misread_paths == {("a",), ("b",)}


def test_positions_start_at_one_and_fall_back_to_the_parent() -> None:
    """A missing field is reported at the name of the mapping that lacks it."""
    positions = read("a:\n  b: [1, {c: 2}]\n  d: |\n    x\n").positions
    assert positions.position(("a", "b", 1, "c")) == (2, 14)
    assert positions.position(("a", "b", 1, "c"), key=True) == (2, 11)
    assert positions.position(("a", "b", 0)) == (2, 7)
    assert positions.position(("a", "b", 1, "missing")) == (2, 10)
    assert positions.position(("a", "missing", "deeper")) == (1, 1)
    assert positions.position(("nowhere",)) == (1, 1)


def test_unquoted_text_is_recorded() -> None:
    """The linter warns about times without quotes."""
    assert read("a: 09:00\nb: '09:00'\n").positions.unquoted == {("a",): "09:00"}


def test_merge_keys_fill_missing_fields() -> None:
    """``<<`` takes one base or several; the first that has a field wins."""
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\nw:\n  <<: *x\n"
    value = read(text).value
    assert value["z"] == {"a": 0, "b": 1, "c": 2}
    assert value["w"] == {"a": 1, "b": 1}


def test_alias_expansion_is_bounded() -> None:
    """A few lines can mean billions of values."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for letter, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{letter}: &{letter} [{','.join([f'*{before}'] * 9)}]\n"
    (message,) = complaints(bomb)
    assert "aliases are unfolded" in message
    merges = "a: &a {k0: x}\n" + "".join(
        f"m{at}: &m{at}\n  <<: [{', '.join(['*a' if at == 0 else f'*m{at - 1}'] * 9)}]\n" for at in range(9)
    )
    assert any("aliases are unfolded" in each for each in complaints(merges))


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "a: &a\n  <<: *a\n"])
def test_recursive_alias_is_refused(text: str) -> None:
    """A document cannot be unfolded when it contains itself."""
    (message,) = complaints(text)
    assert "aliases are unfolded" in message


@pytest.mark.parametrize("text", ["[" * 5000, "- " * 5000, "{a: " * 100 + "1" + "}" * 100])
def test_deep_nesting_is_refused_before_it_overflows(text: str) -> None:
    """The composer calls itself for each level."""
    assert "nested deeper than 40 levels" in syntax(text)


def test_a_file_of_very_many_values_is_refused() -> None:
    """What is composed is bounded, too."""
    assert "more than 50000 values" in syntax("[" + "1," * 60_000 + "]")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n\tb: 1", "p.yaml:2:1: YAML does not allow a tab here (indent with spaces)"),
        ("a: b: c", "p.yaml:1:5: this is not YAML: mapping values are not allowed here"),
        ("a: [1, 2", "this is not YAML: expected ',' or ']'"),
        ("a: 'x", "this is not YAML: found unexpected end of stream"),
        ("a: *nope", "p.yaml:1:4: this is not YAML: found undefined alias"),
        ("a: @x", "this is not YAML: found character"),
        ("ok: 1\nb\x00: 2", "p.yaml:2:2: YAML does not allow the character U+0000 (remove it)"),
        ("a: 1\n b: 2", "p.yaml:2:3: this is not YAML: mapping values are not allowed here"),
        ("%YAML 9.9\n---\na: 1", "p.yaml:1:1: this is not YAML"),
    ],
)
def test_yaml_syntax_errors(text: str, words: str) -> None:
    """One sentence with the place, whatever the parser's own words are."""
    message = syntax(text)
    assert words in message
    assert "\n" not in message


def test_documents_before_a_syntax_error_are_read() -> None:
    """The rest of the stream is lost, what came before is not."""
    nodes = list(compose_documents("a: 1\n---\n\n---\nb: [\n", "p.yaml"))
    assert len(nodes) == 2
    assert isinstance(nodes[1], Problem)


def test_multi_line_key_is_shown_on_one_line() -> None:
    """YAML lets a name go on in the next line, or hold a break; the complaint about it stays one line."""
    assert format_path(("spec", "step\nWeights", 0)) == "spec.step\\nWeights[0]"
    (messages,) = complaints('a:\n  "b\\nc": 17:00')
    assert messages.startswith("p.yaml:2:11: a.b\\nc: ")
