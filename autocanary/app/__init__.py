"""The composition root: the only place that builds adapters and wires them to the engine.

Lives here: ``service`` (what ``autocanary run`` runs), ``channels`` (whom it tells), ``policies`` (policies
from files and custom resources, and the answer in their status), ``people`` (what commands read and ask),
``routes`` (Knative's, for a person to look at), ``demo`` (the same engine on the simulated world),
``playing`` and ``simulate`` (planner and judge over simulated releases, once and many times).
Must never be here: a decision, a format, or anything that an adapter could do for itself.
"""

from __future__ import annotations

from autocanary.app.demo import DEFAULT_SCENARIOS, Demo, scenarios
from autocanary.app.people import open_ledger
from autocanary.app.service import Service, run

__all__ = ["DEFAULT_SCENARIOS", "Demo", "Service", "open_ledger", "run", "scenarios"]
