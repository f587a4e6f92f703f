"""Policy documents: from the YAML that users write to ``model.policy.Policy``, with every error located.

The schema and its checks, the loader for files, the policies in force while the service runs, and what is
generated from the schema.
Must never be here: the Kubernetes API, Prometheus, or decisions about rollouts.
"""

from __future__ import annotations

from autocanary.policy_files.lint import lint
from autocanary.policy_files.loader import LoadedDocument, LoadResult, load_paths, load_text, parse
from autocanary.policy_files.policies_in_force import ActivePolicies, PolicyChanges
from autocanary.policy_files.validate_document import validate

__all__ = [
    "ActivePolicies",
    "LoadResult",
    "LoadedDocument",
    "PolicyChanges",
    "lint",
    "load_paths",
    "load_text",
    "parse",
    "validate",
]
