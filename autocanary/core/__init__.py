"""Values and decisions: what should happen, what is, and what to do next.

Lives here: ``policy`` (what should happen), ``windows`` (when it may), ``observation`` (what is),
``reading`` (what a metric said), ``counts`` (requests counted on both revisions), ``judge`` (readings ->
verdict), ``progress`` and ``rollout`` (how far a rollout has come, versioned), ``companion`` (what the
service's other components do meanwhile), ``situation`` (everything that a decision is made from), ``rules``
(one ordered chain of small named rules), ``planner`` (runs the chain), ``moves`` (what each answer means),
``decision`` (the answer), ``telling`` (a transition put into outbox and history), ``selection`` (which
policy governs a service), ``modes`` (where nothing can be rolled out), ``numbering`` (revisions numbered
anew), ``discovery`` (what starts a rollout), ``document`` (a rollout as JSON), ``changing`` (a value with
some fields replaced), ``instants`` and ``duration`` (time as text), ``reason`` (one enum of reasons),
``story`` (a decision in human sentences), ``standing`` and ``outlook`` (a comparison as people see it), and
``record`` and ``replay`` (what a decision was made from, and the same decision made again).

Must never be here: I/O, a clock, logging, threads, or any third-party package. Time arrives as an argument,
in seconds since the epoch; durations are floats in seconds; weights are whole percent.
"""
