"""Policy documents: from the YAML that people write to ``core.policy.Policy``, and back to them when wrong.

Lives here: ``schema`` and ``analysis_schema`` (the fields, their types and descriptions; ``fields`` are the
types), ``quantities`` (values with units), ``presets`` (the metrics that need no query), ``yamlnodes`` and
``yamlsyntax`` (YAML), ``spots`` (its lines and columns), ``faults``, ``sentences`` and ``spelling`` (what
is wrong, in words), ``mending`` (what misspelt words were meant to be), ``written`` (reading on past a
fault), ``rules`` and ``comparing`` (what one field says about another), ``document`` (all of these in one
pass), ``compile`` (document -> Policy), ``load`` (files and folders), ``lint`` (a set of policies, offline:
each of them, and by ``reach`` those ``beside`` each other and those ``waiting`` for each other), ``book``
(the policies in force while the service runs), ``published``, ``jsonschema`` and ``reference`` (what is
generated for people).

Must never be here: the Kubernetes API, Prometheus, decisions about rollouts. Only the yaml modules import
PyYAML; only the schema modules and what is generated from them import pydantic.
"""

from __future__ import annotations

from autocanary.policyfile.book import Changes, PolicyBook
from autocanary.policyfile.document import validate
from autocanary.policyfile.lint import lint
from autocanary.policyfile.load import Loaded, Loading, load_paths, load_text, parse

__all__ = [
    "Changes",
    "Loaded",
    "Loading",
    "PolicyBook",
    "lint",
    "load_paths",
    "load_text",
    "parse",
    "validate",
]
