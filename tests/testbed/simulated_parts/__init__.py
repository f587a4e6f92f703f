"""What a cluster has and this machine has not: nodes, an ingress gateway, Knative's autoscaler.

Each part is simulated over real objects: it reads them through a watch, and writes the statuses that the real
part would write. What the controllers make of that is theirs.
"""

from tests.testbed.simulated_parts.autoscaler import SimulatedAutoscaler
from tests.testbed.simulated_parts.ingress import SimulatedIngress
from tests.testbed.simulated_parts.nodes import RevisionPods, SimulatedNodes

__all__ = ["RevisionPods", "SimulatedAutoscaler", "SimulatedIngress", "SimulatedNodes"]
