"""autocanary: progressive delivery for KServe model servers.

The whole program in one sentence: each *tick*, for every *rollout* that is due, **observe** the service,
**measure** its revisions, **judge** the canary, **plan** the next move, **act** on it, **record** why,
and **tell** people.  docs/architecture.md is the map of the packages below this one.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
