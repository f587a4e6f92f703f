"""The control loop: watch changes, start rollouts, evaluate, act, write and notify, over ports.

``controller`` is the loop; each other module is one pass of it, or the state that the passes share.
Must never be here: HTTP, YAML, custom resources, and decisions. Decisions are made in ``decide``.
"""

from autocanary.controller.controller import Controller

__all__ = ["Controller"]
