"""Valid documents made wrong in many small ways, by a generator with a seed that can be printed and used again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

__all__ = ["mutate", "mutate_text"]

_WORDS = [
    "",
    " ",
    "x",
    "NaN",
    "-Inf",
    "1e400",
    "17:00",
    "99%",
    "0.99",
    "-5m",
    "5m",
    "{{ revision }}",
    "é\u0000\n",
    "a" * 300,
]
_ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    10,
    99,
    100,
    101,
    2**63,
    1.5,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"": None},
]


def mutate(document: Any, random: Random) -> Any:
    """A deep copy with one to four places changed: taken away, replaced, renamed, moved or doubled."""
    made = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        places = list(places_in(made))
        if not places:
            return made
        holder, key = random.choice(places)
        _change(holder, key, [place for place in places if place[0] is not holder], random)
    return made


def mutate_text(text: str, random: Random) -> bytes:
    """The text with a few bytes taken away, doubled, swapped for others, or cut off."""
    raw = bytearray(text.encode())
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(raw) + 1)
        kind = random.randrange(5)
        if kind == 0:
            del raw[at : at + random.randint(1, 8)]
        elif kind == 1:
            raw[at:at] = raw[at : at + random.randint(1, 40)]
        elif kind == 2:
            raw[at:at] = random.choice(
                (
                    b":",
                    b"- ",
                    b"\t",
                    b"\n",
                    b"{",
                    b"[",
                    b"&a ",
                    b"*a",
                    b"!!x ",
                    b"\xff",
                    b"\x00",
                    b"#",
                    b'"',
                    b"'",
                    b"|",
                    b"<<: ",
                )
            )
        elif kind == 3 and at < len(raw):
            raw[at] = random.randrange(256)
        elif kind == 4 and random.random() < 0.2:
            del raw[at:]
    return bytes(raw)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member of a document: what holds it, and its key or index."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield value, key
            yield from places_in(each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield value, index
            yield from places_in(each)


def _change(holder: Any, key: Any, others: list[tuple[Any, Any]], random: Random) -> None:
    kind = random.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = copy.deepcopy(random.choice(_ODD))
    elif kind == 2:
        holder[key] = random.choice(_WORDS)
    elif kind == 3 and others:
        other, where = random.choice(others)
        holder[key] = copy.deepcopy(other[where])
    elif kind == 4 and isinstance(holder, dict):
        holder[f"{key}{random.choice(('s', 'X', '_', ''))}"] = holder.pop(key)
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[key] = [holder[key]]
