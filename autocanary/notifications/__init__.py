"""Notifications to users, and the policy webhooks: everything that leaves by HTTP except Prometheus queries.

The delivery worker with its retry queue, one module per channel, and the text and layout of the messages.
Must never be here: a decision, a write to the cluster, or anything that makes a decision wait for a receiver.
"""
