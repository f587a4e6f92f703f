"""Telling people and asking their services: everything that leaves by HTTP apart from Prometheus.

Lives here: ``queue`` (the Notifier port: one background worker over ``outbox``), ``outbox`` (what waits for
which channel and when it is tried again), one small file per channel (``log``, ``slack``, ``webhook``,
``events``), what they say (``evidence``, ``wording``), the policy's choice among them (``routes``), and
``gates`` (the Gates port: policy webhooks with Flagger's payload). ``http`` is this room's only importer of
requests.

Must never be here: decisions, a write to the cluster, or anything that makes a decision wait for a receiver.
"""
