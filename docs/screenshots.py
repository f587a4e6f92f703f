"""The pictures of the page: ``make screenshots`` makes them from two runs of the simulated cluster, in chromium.

Nothing in them is drawn: the service's own controller has rolled a good release out and a bad one back.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from autocanary.app.demo_page import DemoPage  # noqa: E402
from autocanary.app.demo_run import controller_on  # noqa: E402
from autocanary.page import Visitor  # noqa: E402
from autocanary.policy_files import ActivePolicies  # noqa: E402
from autocanary.simulator.scenarios import SCENARIOS  # noqa: E402
from autocanary.simulator.traffic import RequestLoad  # noqa: E402
from tests.page.browser import open_browser, opened_page  # noqa: E402

_IMAGES = _ROOT / "docs/images"
_WIDTH = 1180
_POLICY = {
    "selector": {"names": ["*"]},
    "stepWeights": [10, 25, 50, 100],
    "stepDuration": "5m",
    "analysis": {
        "metrics": [
            {"name": "error-rate", "compare": {}},
            {"name": "request-duration", "thresholdRange": {"max": "500ms"}, "compare": {}},
        ]
    },
}
_RUNS = {
    "page-rollback": ("late-onset", 1800.0),
    "page-promotion": ("healthy", 3600.0),
}


class _Page(DemoPage):
    """As a user with the right to act sees it; the demo itself refuses what comes after the end of a scenario."""

    def may_act(self, visitor: Visitor, namespace: str) -> bool:
        del visitor, namespace
        return True


def _run(page: DemoPage, scenario: str, horizon: float) -> None:
    """Until its rollout has ended."""
    policy = replace(ActivePolicies().restore("mnist", _POLICY), namespace="models")
    world = replace(SCENARIOS[scenario], policy=policy, load=RequestLoad(60.0)).open()
    controller = controller_on(world)
    end = world.now() + horizon
    while world.now() < end:
        world.advance(1.0)
        controller.tick()
        rollouts = world.store.rollouts()
        if rollouts and all(each.is_final for each in rollouts):
            break
    page.update(scenario, world, world.store.rollouts(), policy)


def main() -> None:
    """Write docs/images/page-*.png."""
    page = _Page()
    try:
        with open_browser() as browser:
            for name, (scenario, horizon) in _RUNS.items():
                _run(page, scenario, horizon)
                address = f"{page.address}rollouts/{scenario}/mnist-00002"
                size = {"width": _WIDTH, "height": 1000}
                with opened_page(browser, address, viewport=size, color_scheme="light") as shown:
                    shown.wait_for_timeout(300)
                    last = shown.locator(".card").first.bounding_box()
                    height = min(1500.0, last["y"] + last["height"] + 24) if last is not None else 1000.0
                    path = _IMAGES / f"{name}.png"
                    shown.screenshot(
                        path=str(path), full_page=True, clip={"x": 0, "y": 0, "width": _WIDTH, "height": height}
                    )
                    sys.stdout.write(f"{path}: {path.stat().st_size // 1000} kB\n")
    finally:
        page.close()


if __name__ == "__main__":
    main()
