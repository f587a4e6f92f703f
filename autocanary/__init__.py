"""autocanary: progressive delivery for KServe model servers.

The whole program in one sentence: for every **rollout** that is due, **observe** the service, **measure** its
revisions, **analyse** the candidate, **plan** the next transition, **record** it, **act** on it, and
**notify** users. docs/architecture.md is the map of the packages below this one.
Must never be here: an import of any of them, because every command would have to wait for it.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
