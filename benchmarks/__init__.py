"""What autocanary costs, how fast it reacts and how often it is wrong; README.md tells how to run each.

Lives here: the programs (``tick``, ``soak`` and ``world`` in virtual time, ``fleet`` on real servers and
``judge`` on counts alone), the Prometheus stand-in and the installation that some of them need, and the
peers' figures.
Must never be here: anything that the product imports. The tests hold the programs to what they say, and
take one thing from here, the forms of the queries (``answering``).
"""
