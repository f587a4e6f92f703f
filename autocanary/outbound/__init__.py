"""HTTP to receivers that are not ours: guarded addresses, deadlines, and one error when there is no answer.

Must never be here: what an answer means. Its users are the notifications, the policy webhooks and the web metrics; the
Prometheus client shares the deadline.
"""
