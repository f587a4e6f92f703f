"""docs/policy.schema.json, the published JSON Schema.

``python -m autocanary.policy_files.jsonschema > docs/policy.schema.json`` writes it anew; a test fails when
it is out of date.
"""

from __future__ import annotations

import json
import sys

from autocanary.policy_files.json_schema import published

__all__ = ["text"]


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(published(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
