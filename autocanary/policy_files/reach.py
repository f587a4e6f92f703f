"""Which services a document is about, told even of one that is no policy yet."""

from __future__ import annotations

from autocanary.model.policy import Analysis, Component, Policy, Selector
from autocanary.policy_files.loader import Loaded
from autocanary.policy_files.raw_document import entries, mapping
from autocanary.policy_files.validate_document import identity

__all__ = ["reach"]


def reach(loaded: Loaded) -> Policy | None:
    """Selector, component and order, as a policy of nothing else; None when they cannot be told."""
    if loaded.policy is not None:
        return loaded.policy
    document = loaded.draft.value
    spec = mapping(document, "spec")
    if spec is None:
        return None
    selector = spec.get("selector", {})
    if not isinstance(selector, dict):
        return None
    names, namespaces = entries(selector, "names"), entries(selector, "namespaces")
    labels = mapping(selector, "matchLabels") or {}
    component = spec.get("component", Component.PREDICTOR.value)
    words = [*names, *namespaces, *labels, *labels.values(), component]
    whole = all(isinstance(part, dict if name == "matchLabels" else list) for name, part in selector.items())
    if not whole or not all(isinstance(word, str) for word in words) or component not in list(Component):
        return None
    namespace, name = identity(document)
    return Policy(
        name=name or "the policy",
        namespace=namespace,
        selector=Selector(tuple(names), tuple(namespaces), tuple(sorted(labels.items()))),
        steps=(),
        analysis=Analysis(metrics=()),
        component=Component(component),
        after=tuple(each for each in Component if each.value in entries(spec, "after")),
        origin=loaded.place,
    )
