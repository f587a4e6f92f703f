"""Tests of autocanary.outbound.http_client."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autocanary.errors import DeliveryError
from autocanary.outbound.http_client import read_secret

WORD = re.compile(r"[a-z0-9]+")


def test_strips_whitespace(tmp_path: Path) -> None:
    """Editors and ``echo`` end a file with a line break."""
    path = tmp_path / "s"
    path.write_text(" abc\n\n")
    assert read_secret(path, WORD, "a word") == "abc"


@pytest.mark.parametrize("content", [b"c4n4ry c4n4ry", b"c4n4ry\xff", b"", b"c4n4ry" * 20_000 + b"!"])
def test_invalid_secret_error_does_not_quote_it(tmp_path: Path, content: bytes) -> None:
    """Neither in the sentence nor in what caused it."""
    path = tmp_path / "s"
    path.write_bytes(content)
    with pytest.raises(DeliveryError, match="a word") as caught:
        read_secret(path, WORD, "a word")
    assert "c4n4ry" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.retry_after is None


def test_folder_is_an_error(tmp_path: Path) -> None:
    """The operating system's own words are passed on."""
    with pytest.raises(DeliveryError, match="Is a directory"):
        read_secret(tmp_path, WORD, "a word")
