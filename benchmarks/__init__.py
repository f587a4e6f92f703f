"""What autocanary costs and how fast it reacts: ``tick`` in virtual time, ``fleet`` on real servers.

Lives here: the two programs, the Prometheus stand-in they ask, the installation ``fleet`` runs in, and the
peers' figures beside which it prints its own.
Must never be here: anything that the product or its tests import.
"""
