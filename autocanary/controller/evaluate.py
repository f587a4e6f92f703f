"""Looking and judging: what is due is gathered, its metrics and webhooks asked, the answers judged."""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.controller import metric_queries
from autocanary.controller.act import Acts, gather
from autocanary.controller.context import Calls, Surroundings, log_failure
from autocanary.controller.running_rollout import Live
from autocanary.controller.state import Books
from autocanary.decide.decision_input import Situation
from autocanary.model.copying import changed
from autocanary.model.measurement import Question, Reading
from autocanary.model.policy import WebhookType
from autocanary.ports import Call, CallResult

__all__ = ["Looks"]


class Looks:
    """All questions of one tick are asked together; what they answer is taken up at a later one."""

    def __init__(self, around: Surroundings, books: Books, calls: Calls, acts: Acts) -> None:
        self._around, self._books, self._calls, self._acts = around, books, calls, acts

    def look(self, now: float) -> None:
        """Look at every rollout that is due."""
        round_: list[Live] = []
        for id_ in self._books.agenda.due(now):
            live = self._books.lives.get(id_)
            if live is None:
                continue
            if live.busy:
                live.again = True
                continue
            try:
                if self._look_at_one(live, now):
                    round_.append(live)
            except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
                live.asking = False
                log_failure("look_failed", live.key, fault)
                self._acts.schedule(live, now)
        if round_:
            self._ask(round_)

    def _look_at_one(self, live: Live, now: float) -> bool:
        """Decide what can be decided without metrics; whether the metrics are to be asked as well."""
        situation = gather(self._around, self._books, live, now)
        if situation is None:
            return False
        asks = metric_queries.measures(situation) and not live.asking and _is_look(live, now)
        if asks:
            live.asking, live.asked_at = True, now
        self._call_webhooks(live, situation)
        self._acts.decide(live, situation)
        return asks

    # --- the metrics -------------------------------------------------------------------------------------

    def _ask(self, round_: list[Live]) -> None:
        questions = [question for live in round_ for _, question in live.questions]
        future = self._around.askers.submit(lambda: self._around.metrics.ask(questions))
        self._calls.when_done(future, lambda readings, error: self._answers(round_, readings, error))

    def _answers(
        self, round_: list[Live], readings: Mapping[Question, Reading] | None, error: BaseException | None
    ) -> None:
        now = self._around.clock.now()
        for live in round_:
            live.asking = False
            if not self._books.is_current(live) or live.rollout.is_final:
                continue
            if readings is None:
                log_failure("look_failed", live.key, error)
                self._acts.schedule(live, now)
                continue
            try:
                self._judge(live, readings, now)
            except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
                log_failure("look_failed", live.key, fault)
                self._acts.schedule(live, now)

    def _judge(self, live: Live, readings: Mapping[Question, Reading], now: float) -> None:
        situation = gather(self._around, self._books, live, now)
        if situation is None or not situation.judged:
            return
        hooks = live.gates.pop(WebhookType.ROLLOUT, ())
        verdict = metric_queries.verdict_of(situation, live.questions, readings, hooks)
        if live.busy:
            live.waiting = verdict
            return
        self._acts.decide(live, changed(situation, {"verdict": verdict}))

    # --- the webhooks ------------------------------------------------------------------------------------

    def _call_webhooks(self, live: Live, situation: Situation) -> None:
        """Ask the policy's webhooks that have a say now, apart from everything else: one may be slow."""
        if live.calling or not situation.policy.webhooks:
            return
        interval = situation.policy.analysis.interval
        if live.called_at is not None and situation.now - live.called_at < interval * 0.5:
            return
        calls = metric_queries.calls_for(situation)
        if not calls:
            return
        live.calling, live.called_at = True, situation.now
        future = self._around.hooks.submit(lambda: self._around.gates.call(calls))
        self._calls.when_done(future, lambda results, error: self._called(live, calls, results, error))

    def _called(
        self,
        live: Live,
        calls: tuple[Call, ...],
        results: Mapping[Call, CallResult] | None,
        error: BaseException | None,
    ) -> None:
        live.calling = False
        if results is None:
            log_failure("webhook_failed", live.key, error)
        elif self._books.is_current(live):
            live.gates.update(metric_queries.answers(calls, results))
            self._books.agenda.bring_forward(live.id, self._around.clock.now())


def _is_look(live: Live, now: float) -> bool:
    """Once per interval: watch events bring a rollout forward, not the questions about its metrics."""
    return live.asked_at is None or live.beat(now) > live.beat(live.asked_at)
