"""What people type: one small file per command, on typer and rich.

Lives here: ``root`` (the program: help, errors, exit codes), ``options`` (flags that mean what they mean in
kubectl), ``exits`` (exit codes), ``printing`` (results to stdout, words about them to stderr), ``seams``
(the few doors to the rest of the program, opened when a command needs them), ``finding`` and ``patience``
(which rollout is meant, and waiting for it), ``rollout_view``, ``demo_view`` and ``trail`` (rollouts as
pictures and as lines), ``probe`` (policies held against a Prometheus), and the commands.

Must never be here: decisions about rollouts, HTTP, or an import of ``app`` before a command needs it.
"""
