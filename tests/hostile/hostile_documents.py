"""Structured hostile documents for every watched kind: depth, size, types, unicode and numbers at every field.

Each document follows from its seed alone, so that a failure can be sent again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from autocanary.kserve import dialect_for
from autocanary.model.rollout_json import to_document
from autocanary.simulator.world import World
from tests.decide.builders import progress, rollout
from tests.fuzz.mutating import mutate, places_in
from tests.hostile.tenants import nested

__all__ = ["KINDS", "Draft", "draft"]

KINDS = ("inferenceservices", "rolloutpolicies", "canaryrollouts")
_RAW = "__raw__"
_TEXTS = (
    "",
    "\x00",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202e\u2066\ufeff",
    "\ud800",
    "\U0001f480",
    "{{ name }}",
    "../../etc/passwd",
    "a.",
    "Bearer ey.",
    "NaN",
    "1e999",
    "-0",
    "<!channel>",
    "\r\n",
    "'\"`$(x)",
)
_NUMBERS = (0, -1, 1, 100, 101, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1e308, -1e308, 5e-324, 0.1, 1e-9, -0.0)
_NAMES = ("a", "", "a.b/c", "\u202e", "__proto__", "x" * 300, "\x1b[2J", "a.a." * 50, "metadata", "$ref", "-", "é")


class Draft:
    """``spec_body`` for create or merge patch, ``status_body`` for the status subresource; "" where there is none."""

    def __init__(self, kind: str, name: str, spec_body: bytes, status_body: bytes = b"") -> None:
        self.kind, self.name, self.spec_body, self.status_body = kind, name, spec_body, status_body


def _policies() -> list[dict[str, Any]]:
    texts = [file.read_text() for file in sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def _services() -> list[dict[str, Any]]:
    """An InferenceService as KServe leaves it at moments of a rollout."""
    world = World()
    world.deploy("mnist", "gs://b/v1")
    found = []
    for seconds, weight in ((15, None), (0.5, 10), (5, 10), (5, 0), (5, 100), (5, 50)):
        if weight is not None:
            world.deploy("mnist", "gs://b/v2", weight=weight)
        world.advance(seconds)
        found.append(json.loads(json.dumps(world.kserve.document("models", "mnist"))))
    assert all(dialect_for(each["apiVersion"]).observe(each) for each in found)
    return found


def _records() -> list[dict[str, Any]]:
    return [
        json.loads(json.dumps(to_document(rollout(progress(step, weight)))))
        for step, weight in ((-1, 0), (0, 10), (1, 25))
    ]


_BASES: dict[str, list[dict[str, Any]]] = {
    "inferenceservices": _services(),
    "rolloutpolicies": _policies(),
    "canaryrollouts": _records(),
}


def draft(kind: str, namespace: str, seed: str) -> Draft:
    """A document of the kind that is wrong at one to four places, of which one may be absurd."""
    random = Random(seed)
    document = copy.deepcopy(random.choice(_BASES[kind]))
    name = f"odd-{random.randrange(40)}"
    raw = ""
    for _ in range(random.choice((1, 1, 2, 4))):
        part = random.choice([each for each in ("spec", "status") if each in document])
        if random.random() < 0.4:
            changed = mutate({part: document[part]}, random)
            document[part] = changed.get(part, {}) if isinstance(changed, dict) else {}
        else:
            raw = _spoil(document, part, random) or raw
    document["metadata"] = _metadata(namespace, name, random)
    if kind == "canaryrollouts" and isinstance(document.get("spec"), dict) and random.random() < 0.7:
        document["spec"].setdefault("inferenceService", {"apiVersion": "serving.kserve.io/v1beta1", "name": name})
    status = document.pop("status", None)
    spec_body, status_body = _encode(document), b""
    if status is not None:
        status_body = _encode({"status": status})
    return Draft(kind, name, _filled(spec_body, raw), _filled(status_body, raw))


def _encode(document: object) -> bytes:
    return json.dumps(document, default=str).encode()


def _filled(body: bytes, raw: str) -> bytes:
    return body.replace(f'"{_RAW}"'.encode(), (raw or "1").encode())


def _metadata(namespace: str, name: str, random: Random) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    kind = random.randrange(12)
    if kind == 0:
        metadata["labels"] = {f"l{number}": "x" * 60 for number in range(random.choice((1, 50, 1500)))}
    elif kind == 1:
        metadata["annotations"] = {f"a{number}": _text(random)[:2000] for number in range(random.choice((1, 20)))}
    elif kind == 2:
        metadata["finalizers"] = [f"hostile.example/{number}" for number in range(random.choice((1, 100)))]
    elif kind == 3:
        metadata["ownerReferences"] = [
            {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": name, "uid": f"u-{number}"}
            for number in range(random.choice((1, 200)))
        ]
    elif kind == 4:
        metadata["annotations"] = {
            "kubectl.kubernetes.io/last-applied-configuration": "x" * random.choice((10, 200_000))
        }
    return metadata


def _spoil(document: dict[str, Any], part: str, random: Random) -> str:
    """Put something absurd at a field; the raw text that takes the place of the mark, if any."""
    places = list(places_in(document[part]))
    if not places:
        document[part] = _RAW
        return nested(random.choice((10, 101, 1000)))
    holder, key = random.choice(places)
    value, raw = _absurd(random)
    if isinstance(holder, dict) and random.random() < 0.3:
        holder[random.choice(_NAMES)] = value
    else:
        holder[key] = value
    return raw


def _absurd(random: Random) -> tuple[Any, str]:
    makers: tuple[Callable[[], tuple[Any, str]], ...] = (
        lambda: (_RAW, nested(random.choice((5, 45, 99, 101, 500, 1000)), random.choice(('{"a":', "[")))),
        lambda: (_text(random), ""),
        lambda: (random.choice(_NUMBERS), ""),
        lambda: (_RAW, random.choice(("1" * 300, "1e400", "-1e-400", "0.1e+1", str(2**64), "1E5"))),
        lambda: ([{"name": str(each)} for each in range(random.choice((1, 60, 3000)))], ""),
        lambda: ({f"k{each}": each for each in range(random.choice((1, 60, 3000)))}, ""),
        lambda: (random.choice((None, True, [], {}, [[]], [None], {"": None})), ""),
        lambda: ({random.choice(_NAMES): _text(random)}, ""),
        lambda: ("a" + random.choice((" OR a", " or a", "(", "+a", "[5m]")) * random.choice((5, 99, 2000)), ""),
        lambda: (random.choice(("9999h", "0s", "-1s", "1e3s", "5m5m", "99999999999999999999s")), ""),
    )
    return random.choice(makers)()


def _text(random: Random) -> str:
    return random.choice(_TEXTS) * random.choice((1, 1, 30, 3_000, 40_000))
