"""Many numbers as a short string: exact, and half as long as JSON numbers."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence

__all__ = ["pack_counts", "pack_floats", "unpack_counts", "unpack_floats"]


def pack_floats(values: Sequence[float]) -> str:
    """Base64 of little-endian doubles."""
    return b64encode(struct.pack(f"<{len(values)}d", *values)).decode("ascii")


def unpack_floats(text: str) -> tuple[float, ...]:
    """ValueError when the text is not of ``pack_floats``."""
    raw = b64decode(text, validate=True)
    if len(raw) % 8:
        raise ValueError(f"{len(raw)} bytes are no doubles")
    return struct.unpack(f"<{len(raw) // 8}d", raw)


def pack_counts(values: Sequence[int]) -> str:
    """Base64 of whole numbers from 0 on, seven bits a byte (LEB128)."""
    packed = bytearray()
    for value in values:
        rest = value
        while rest > 0x7F:
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return b64encode(packed).decode("ascii")


def unpack_counts(text: str) -> list[int]:
    """ValueError when the text is not of ``pack_counts``."""
    values, value, shift = [], 0, 0
    for byte in b64decode(text, validate=True):
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            values.append(value)
            value, shift = 0, 0
    if shift:
        raise ValueError("the last number is cut off")
    return values
