"""What people type: one small file per command, on typer and rich.

Lives here: ``root`` (the program: help, errors, exit codes), ``options`` (flags that mean what they mean in
kubectl), ``exits`` (exit codes), ``printing`` (results to stdout, words about them to stderr), ``seams``
(the few doors to the rest of the program, opened when a command needs them), ``finding`` and ``patience``
(which rollout is meant, and waiting for it), ``following`` (one rollout, to its end), ``rollout_view``,
``evidence_view``, ``demo_view`` and ``trail`` (rollouts as pictures and as lines), ``route_table`` and
``simulation_view`` (tables), ``probe`` (policies held against a Prometheus), and the commands: ``run``,
``status``, ``verbs`` (promote, pause, resume, abort, retry), ``validate``, ``simulate``, ``demo``, ``crds``
and ``version``.

Must never be here: decisions about rollouts, HTTP, or an import of ``app`` before a command needs it.
"""
