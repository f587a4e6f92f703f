"""The services whose releases the chart's guard holds at 0 %, by namespace and labels, as Kubernetes selects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["Guard", "LabelOperator", "LabelRequirement"]


class LabelOperator(str, Enum):
    """As in a LabelSelector's matchExpressions."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One condition on a label; ``values`` are empty for EXISTS and DOES_NOT_EXIST."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def is_met(self, labels: Mapping[str, str]) -> bool:
        """NOT_IN is met by a label that is missing, as in Kubernetes."""
        if self.operator is LabelOperator.IN:
            return labels.get(self.key) in self.values
        if self.operator is LabelOperator.NOT_IN:
            return labels.get(self.key) not in self.values
        return (self.key in labels) is (self.operator is LabelOperator.EXISTS)


@dataclass(frozen=True, slots=True)
class Guard:
    """Empty ``namespaces``: all; empty ``requirements``: whatever the labels."""

    namespaces: tuple[str, ...] = ()
    requirements: tuple[LabelRequirement, ...] = ()

    def holds(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a release of this service is held."""
        return (not self.namespaces or namespace in self.namespaces) and all(
            each.is_met(labels) for each in self.requirements
        )
