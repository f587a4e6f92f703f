"""The composition root: the only package that builds adapters and connects them to the controller.

One module per program: the service, the demo, the simulation, and the client behind the user's commands.
Must never be here: a decision, a format, or anything that an adapter can do.
"""

from __future__ import annotations

from autocanary.app.dashboard_run import Dashboard
from autocanary.app.demo_page import DemoPage
from autocanary.app.demo_run import DEFAULT_SCENARIOS, Demo, scenarios
from autocanary.app.service import AutocanaryService, run
from autocanary.app.user_client import open_client

__all__ = ["DEFAULT_SCENARIOS", "AutocanaryService", "Dashboard", "Demo", "DemoPage", "open_client", "run", "scenarios"]
