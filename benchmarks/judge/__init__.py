"""How often the analysis is wrong and how fast it is right, beside the rules of other tools.

Lives here: the traffic of the rows (``traffic``), the analysis over thousands of runs at once (``crowd``, which
the tests hold against the package's own), other tools' rules (``peers``), the runs (``trials``), what an evaluation
costs (``cost``) and the report with its pictures.
Must never be here: figures to be met. What comes out is written down.
"""
