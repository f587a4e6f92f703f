"""autocanary: progressive delivery for KServe model servers.

The whole program in one sentence: each *tick*, for every *rollout* that is due, **observe** the service,
**measure** its revisions, **judge** the canary, **plan** the next move, **act** on it, **record** why,
and **tell** people.  docs/architecture.md is the map of the packages below this one.

Lives here: ``core`` (values and decisions), ``engine`` (the tick) and ``ports`` (what it needs), the
adapters (``kube`` with ``kserve``, ``prometheus`` with ``promql``, ``notify``, ``policyfile``, ``serve``,
``schedule``), ``sim`` (a world in memory), ``settings``, ``logs``, ``errors``, and what puts all of it
together for people (``app``, ``cli``, ``__main__``).
Must never be here: an import of any of them, for which every command would have to wait.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
