"""Telling people and asking their services: everything that leaves by HTTP apart from Prometheus.

Lives here: ``queue`` (the Notifier port: one background worker over ``outbox``), ``outbox`` (what waits for
which channel and when it is tried again), ``channel`` (what a channel is) and one small file for each
(``log``, ``events``, ``slack`` for incoming webhooks, ``slack_bot`` for bot tokens, ``webhook``,
``apprise``), what they say (``evidence``, ``wording``) and in what form (``slack_blocks``, ``slack_head``,
``cloudevents``), the policy's choice among them (``routes``), and ``gates`` (the Gates port: policy
webhooks with Flagger's payload). ``http`` is this room's only importer of requests, ``slack_api`` the only
one that knows Slack's answers, ``secret`` the only reader of secret files, ``apprise`` the only importer of
that library.

Must never be here: decisions, a write to the cluster, or anything that makes a decision wait for a
receiver.
"""
