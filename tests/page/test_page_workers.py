"""The page's threads: few, capped, and apart from everything else."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from autocanary.page.page_workers import PageBusy, PageWorkers


def test_too_much_work_is_refused_and_not_queued() -> None:
    """A flood of requests costs answers with 503, not memory."""
    gate = threading.Event()

    async def flood(workers: PageWorkers) -> tuple[int, int]:
        tasks = [asyncio.ensure_future(workers.render(gate.wait)) for _ in range(100)]
        await asyncio.sleep(0.2)
        refused = sum(task.done() and isinstance(task.exception(), PageBusy) for task in tasks)
        gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return refused, sum(each is True for each in done)

    workers = PageWorkers()
    assert asyncio.run(flood(workers)) == (68, 32)
    workers.stop()


def test_waiting_for_the_api_server_holds_up_no_page() -> None:
    """Each kind of work has threads of its own."""

    async def both(workers: PageWorkers) -> float:
        slow = [asyncio.ensure_future(workers.access(lambda: time.sleep(0.5))) for _ in range(20)]
        began = time.monotonic()
        await workers.render(lambda: None)
        took = time.monotonic() - began
        for each in slow:
            each.cancel()
        return took

    workers = PageWorkers()
    assert asyncio.run(both(workers)) < 0.3
    workers.stop()


def test_rendering_rests_as_long_as_it_has_worked_while_more_waits() -> None:
    """So that it never has a whole core: a tick shares the interpreter with it."""
    rests: list[float] = []

    def work() -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    async def several(workers: PageWorkers) -> None:
        await asyncio.gather(*(workers.render(work) for _ in range(10)))

    workers = PageWorkers(sleep=rests.append)
    asyncio.run(several(workers))
    workers.stop()
    assert len(rests) >= 8
    assert all(0.015 < each < 0.2 for each in rests)


def test_what_waits_when_the_service_stops_is_refused() -> None:
    """With an answer, and without a traceback for each request in the log."""
    gate = threading.Event()

    async def waiting(workers: PageWorkers) -> list[object]:
        tasks = [asyncio.ensure_future(workers.render(gate.wait)) for _ in range(10)]
        await asyncio.sleep(0.1)
        workers.stop()
        gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    done = asyncio.run(waiting(PageWorkers()))
    assert sum(each is True for each in done) == 2
    assert sum(isinstance(each, PageBusy) for each in done) == 8


def test_after_the_stop_requests_are_refused() -> None:
    """With an answer that the page can show."""
    workers = PageWorkers()
    workers.stop()

    async def late() -> None:
        with pytest.raises(PageBusy, match="stopping"):
            await workers.render(lambda: None)

    asyncio.run(late())
