"""What a cluster has and this machine has not: nodes, an ingress gateway, Knative's autoscaler.

Each part is played over real objects: it reads them through a watch, and writes the statuses that the real
part would write. What the controllers make of that is theirs.
"""

from tests.testbed.played.autoscaler import PlayedAutoscaler
from tests.testbed.played.ingress import PlayedIngress
from tests.testbed.played.nodes import PlayedNodes, RevisionPods

__all__ = ["PlayedAutoscaler", "PlayedIngress", "PlayedNodes", "RevisionPods"]
