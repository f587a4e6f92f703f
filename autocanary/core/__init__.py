"""Values and decisions: what should happen, what is, and what to do next.

Lives here: ``policy`` (what should happen), ``windows`` (when it may), ``observation`` (what is),
``reading`` (what a metric said), ``judge`` (readings -> verdict), ``progress`` and ``rollout`` (how far a
rollout has come, versioned), ``rules`` (one ordered chain of small named rules), ``planner`` (runs the
chain), ``moves`` (what each answer means), ``decision`` (the answer), ``discovery`` (what starts a rollout),
``document`` (a rollout as JSON), ``changing`` (a value with some fields replaced), ``reason`` (one enum of
reasons),
``story`` (a decision in human sentences), ``standing`` and ``outlook`` (a comparison as people see it), and
``record`` and ``replay`` (what a decision was made from, and the same decision made again).

Must never be here: I/O, a clock, logging, threads, or any third-party package. Time arrives as an
argument, in seconds since the epoch; durations are floats in seconds; weights are whole percent.
"""
