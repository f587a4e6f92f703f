"""The Kubernetes API server: what autocanary reads from it and writes to it.

The client with its error translation, list-then-watch caches, one module per watched kind, leader election,
and the list of RBAC rules that all of it needs.
Must never be here: a decision about a rollout. No exception of ``kubernetes`` or ``urllib3`` leaves it.
"""
