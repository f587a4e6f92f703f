"""The Kubernetes API server: what is read from it, what is written to it, and nothing decided.

Lives here: ``kubeconfig`` (which cluster, as whom), ``session`` and ``stream`` (one HTTP client), ``faults``
(one error translation), ``resource`` (paths), ``picture`` and ``watch`` (a local copy, kept by
list-then-watch), ``mirror`` (such copies over the watched namespaces), ``cluster`` (InferenceServices),
``ledger`` (CanaryRollouts), ``policies`` (RolloutPolicies), ``events`` (Kubernetes Events), ``lease`` (who
leads), ``rights`` (the RBAC that all of this needs) and ``crds`` (the definitions of our own resources).

Must never be here: a decision about a rollout. Only JSON dicts cross ``session``, and no exception of
``kubernetes`` or ``urllib3`` leaves it.
"""
