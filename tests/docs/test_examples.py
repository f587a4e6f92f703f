"""What the pages show as YAML is YAML, and what is a policy is a valid one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from autocanary.policy_files import lint, load_text, validate
from tests.docs.pages import PAGES, Block, blocks

_YAML = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]
_METRIC = {"name": "request-success-rate", "thresholdRange": {"min": 99}}


def _policies(block: Block) -> Iterator[Mapping[str, Any]]:
    """The policies in a block; a fragment of one is completed."""
    for document in yaml.safe_load_all(block.text):
        if not isinstance(document, dict):
            continue
        if document.get("kind") == "RolloutPolicy":
            yield document
        elif set(document) == {"metrics"}:
            yield _around({"analysis": document})
        elif set(document) in ({"notifications"}, {"steps"}):
            yield _around({"analysis": {"metrics": [_METRIC]}, **document})


def _around(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    steps = {} if "steps" in spec else {"stepWeights": [10], "stepDuration": "5m"}
    head = {"apiVersion": "autocanary.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "page"}}
    return {**head, "spec": {"selector": {"names": ["mnist"]}, **steps, **spec}}


@pytest.mark.parametrize("block", _YAML, ids=str)
def test_every_policy_on_a_page_is_valid(block: Block) -> None:
    """A reader can copy it."""
    for document in _policies(block):
        policy, problems = validate(document)
        assert problems == ()
        assert policy is not None
        loading = load_text(json.dumps(document), "page")
        assert [problem for problem in lint(loading.documents) if problem.severity == "error"] == []


def test_the_pages_show_policies_and_fragments_of_them() -> None:
    """The test above would pass on pages without any."""
    assert sum(1 for block in _YAML for _ in _policies(block)) >= 5


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page) if b.language == "json"], ids=str)
def test_every_json_block_is_json(block: Block) -> None:
    """A reader can paste it into a test of a receiver."""
    assert isinstance(json.loads(block.text), dict)
