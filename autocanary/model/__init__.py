"""The values that the other packages exchange: policy, observation, measurement, progress, rollout, decision.

Frozen dataclasses and enums, with their JSON and text forms. Time is an argument, in seconds since the
epoch; durations are seconds; weights are whole percent.
Must never be here: a decision, I/O, a clock, logging, threads, or a third-party package.
"""
