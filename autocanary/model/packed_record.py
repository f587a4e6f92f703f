"""What a rollout that has ended is remembered by: its decisions and series, compressed until they are read.

They are most of a record, and nothing but views reads them. A service keeps ten such rollouts, so thousands of services
would fill the memory with what users look at now and then.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from autocanary.model.frozen_copy import replace
from autocanary.model.rollout import Rollout

__all__ = ["PackedDecisions", "PackedSeries", "pack_record"]


def _packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _unpacked(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))


class PackedDecisions(Sequence[Mapping[str, Any]]):
    """A tuple of decisions; each access reads all of them."""

    __slots__ = ("_count", "_packed")

    def __init__(self, decisions: Sequence[Mapping[str, Any]]) -> None:
        self._packed, self._count = _packed(list(decisions)), len(decisions)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        return self._all()[at]

    def _all(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(_unpacked(self._packed))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._all())

    def __reversed__(self) -> Iterator[Mapping[str, Any]]:
        found: Iterator[Mapping[str, Any]] = reversed(self._all())
        return found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedDecisions):
            return self._packed == other._packed or list(self) == list(other)
        return isinstance(other, Sequence) and len(other) == self._count and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))


class PackedSeries(Mapping[str, str]):
    """A mapping of series; each access reads all of them."""

    __slots__ = ("_names", "_packed")

    def __init__(self, series: Mapping[str, str]) -> None:
        self._packed, self._names = _packed(dict(series)), tuple(series)

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            raise KeyError(name)
        return str(_unpacked(self._packed)[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def values(self) -> Any:
        return _unpacked(self._packed).values()

    def items(self) -> Any:
        return _unpacked(self._packed).items()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedSeries) and self._packed == other._packed:
            return True
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(dict(self.items()))


def pack_record(rollout: Rollout) -> Rollout:
    """The same rollout; of one that has ended, decisions and series are compressed."""
    progress = rollout.progress
    if not rollout.is_final or isinstance(progress.decisions, PackedDecisions):
        return rollout
    decisions = PackedDecisions(progress.decisions) if progress.decisions else ()
    series = PackedSeries(progress.series) if progress.series else progress.series
    return replace(rollout, progress=replace(progress, decisions=decisions, series=series))
