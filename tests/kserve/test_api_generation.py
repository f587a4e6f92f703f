"""Which API generations are spoken."""

from __future__ import annotations

import pytest

from autocanary.errors import InputError
from autocanary.kserve import DIALECTS, dialect_for


def test_v1beta1_is_found_by_its_api_version() -> None:
    """The dialect says where its objects are served."""
    dialect = dialect_for("serving.kserve.io/v1beta1")
    assert (dialect.group, dialect.version, dialect.plural) == (
        "serving.kserve.io",
        "v1beta1",
        "inferenceservices",
    )
    assert dialect in DIALECTS


def test_an_unknown_generation_is_refused_by_name() -> None:
    """The message names what was asked for and what is spoken."""
    with pytest.raises(InputError, match=r"'x/v9' are not supported; .* serving\.kserve\.io/v1beta1"):
        dialect_for("x/v9")
