"""Fixtures of the tests of outbound, shared with those of the notifications."""

from __future__ import annotations

from tests.notifications.conftest import http, no_proxy, receiver

__all__ = ["http", "no_proxy", "receiver"]
