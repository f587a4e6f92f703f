"""What happens within a cluster whose controllers are the simulator's rules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from autocanary.model.policy import Component
from autocanary.simulator.knative_controller import KnativeService, Revision, SpecTarget
from autocanary.simulator.kserve_controller import KServeController
from tests.traps.world import SERVICE, TrapWorld


class SimulatorRulesWorld(TrapWorld):
    """Both grounds on which the controllers are simulated."""

    @abstractmethod
    def run_in_cluster(self, action: Callable[[KServeController], None]) -> None:
        """Do something to the rules, between two moments."""

    def _child(self, controller: KServeController) -> KnativeService:
        return controller.children((self.namespace, SERVICE))[Component.PREDICTOR]

    def _pods(self, number: int, action: Callable[[KnativeService, Revision, float], None]) -> None:
        def act(controller: KServeController) -> None:
            child = self._child(controller)
            action(child, child.revisions[self.revision(number)], controller.now())

        self.run_in_cluster(act)

    def crash(self, number: int) -> None:
        """See `TrapWorld.crash`."""
        self._pods(number, lambda child, revision, _: child.pods_crash(revision))

    def unready(self, number: int) -> None:
        """See `TrapWorld.unready`."""
        self._pods(number, lambda child, revision, _: child.pods_unready(revision))

    def recover(self, number: int) -> None:
        """See `TrapWorld.recover`."""
        self._pods(number, lambda child, revision, now: child.pods_ready(revision, now))

    def delete_revision(self, number: int) -> None:
        """See `TrapWorld.delete_revision`."""
        self.run_in_cluster(lambda controller: self._child(controller).delete_revision(self.revision(number)))

    def refuse_revisions(self, refused: bool = True) -> None:
        """See `TrapWorld.refuse_revisions`."""

        def act(controller: KServeController) -> None:
            child = self._child(controller)
            child.refusal = "quota exceeded" if refused else ""
            if not refused:
                child.reconcile_soon()

        self.run_in_cluster(act)

    def hold_ingress(self, held: bool = True) -> None:
        """See `TrapWorld.hold_ingress`."""

        def act(controller: KServeController) -> None:
            child = self._child(controller)
            child.ingress_held = held
            child.reconcile_soon()

        self.run_in_cluster(act)

    def freeze(self, frozen: bool = True) -> None:
        """See `TrapWorld.freeze`."""
        self.run_in_cluster(lambda controller: controller.freeze((self.namespace, SERVICE), frozen))

    def delete_knative_service(self) -> None:
        """See `TrapWorld.delete_knative_service`."""
        self.run_in_cluster(lambda rules: rules.drop_child((self.namespace, SERVICE), Component.PREDICTOR))

    def edit_knative_traffic(self, percent: int, number: int) -> None:
        """See `TrapWorld.edit_knative_traffic`."""
        split = (SpecTarget("", 100 - percent, ""), SpecTarget(self.revision(number), percent, "prev"))
        self.run_in_cluster(lambda rules: rules.edit_child((self.namespace, SERVICE), Component.PREDICTOR, split))

    def lose_rolled_out(self) -> None:
        """See `TrapWorld.lose_rolled_out`."""
        self.run_in_cluster(lambda rules: rules.lose_rolled_out((self.namespace, SERVICE)))
