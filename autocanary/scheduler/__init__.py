"""When work happens: the timer, the queue of what is due, the thread pools, and a clock that never jumps.

Must never be here: decisions, Kubernetes, HTTP, or a scheduler job per rollout.
"""

from autocanary.scheduler.clock import Heartbeat, SteadyClock
from autocanary.scheduler.due_queue import DueQueue
from autocanary.scheduler.thread_pool import PoolStoppedError, ThreadPool
from autocanary.scheduler.timer import Job, Timer

__all__ = ["DueQueue", "Heartbeat", "Job", "PoolStoppedError", "SteadyClock", "ThreadPool", "Timer"]
