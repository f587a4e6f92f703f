"""The service's own HTTP endpoints: /metrics, /healthz and /readyz.

The server, its endpoints, and the table of exported metrics. Everything is served from memory.
Must never be here: a write to the cluster, or a request to it.
"""
