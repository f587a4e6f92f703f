"""What others read of the running service: /metrics, /healthz and /readyz.

Lives here: ``server`` (uvicorn in a thread of its own), ``routes`` (the Starlette application), ``metrics``
(makes every series from the present state, those of ``rollouts`` as text), ``counters`` (what only grows;
the Listener port), ``table`` (names, labels and help of all metrics, and the documentation's page of them).

Must never be here: a write to the cluster, or a question to it. Everything served comes from callables that
answer from memory.
"""
