"""Fault matrices: what can go wrong, where, and what must come of it. ``python -m tests.matrices`` prints them.

One module per matrix, with a ``title`` and ``rows()``: the tests take their cells from the same values.
Must never be here: the tests themselves.
"""
