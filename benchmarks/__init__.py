"""What autocanary costs, how fast it reacts and how often it is wrong; README.md says how to run each.

Lives here: the programs (``tick``, ``soak`` and ``world`` in virtual time, ``fleet`` on real servers and
``judge`` on counts alone), what they roll out (``workload``), the soak's parts (``soak_world``,
``soak_day``, ``soak_checks``), a Prometheus without data (``answering``, ``grouped`` in the process and
``standin`` beside it), real servers (``installation``, ``audit``), what is measured (``usage``,
``accounts``, ``holding``, ``profiled``), and ``figures`` (how it is printed, and the peers' own).
Must never be here: anything that the product imports. The tests hold the programs to what they say, and
take one thing from here, the forms of the queries (``answering``).
"""
