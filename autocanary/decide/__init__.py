"""Decision input in, decision out: what happens next to one rollout, and whether a new one starts.

The ordered chain of rules, the transitions that rules choose from, the planner that runs the chain, and the
detection of new releases. All of it is pure.
Must never be here: I/O, a clock, a thread, or a third-party package.
"""
