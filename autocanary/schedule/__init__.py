"""When work happens: who is due, the beat, the threads that wait for others, and a clock that never jumps.

Lives here: ``agenda`` (who is due, in the caller's time), ``groups`` (who is looked at together),
``metronome`` (a few fixed jobs; the only importer of apscheduler), ``heartbeat`` (proof that the beat is
alive), ``pool`` (threads for blocking calls, which never keep a process from ending) and ``clock`` (epoch
seconds that never jump).

Must never be here: decisions, Kubernetes, HTTP, or one job per rollout.
"""

from autocanary.schedule.agenda import Agenda
from autocanary.schedule.clock import SteadyClock
from autocanary.schedule.heartbeat import Heartbeat
from autocanary.schedule.metronome import Beat, Metronome
from autocanary.schedule.pool import PoolStoppedError, ThreadPool

__all__ = ["Agenda", "Beat", "Heartbeat", "Metronome", "PoolStoppedError", "SteadyClock", "ThreadPool"]
