"""Whom the service tells: the channels that the settings ask for, and those that policies choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autocanary.kube.api_client import Session
from autocanary.kube.events import EventWriter
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.notifications.apprise_channel import AppriseUrls
from autocanary.notifications.audit_log import KubernetesEvents
from autocanary.notifications.channel import Channel
from autocanary.notifications.http_client import Http
from autocanary.notifications.slack_api import SlackApi
from autocanary.notifications.slack_bot import SlackBot
from autocanary.notifications.slack_webhook import SlackWebhook
from autocanary.notifications.webhook import RouteWebhooks, WebhookChannel
from autocanary.ports import Message
from autocanary.settings import Settings

__all__ = ["always", "chosen"]

PolicyOf = Callable[[Rollout], Policy | None]
Chosen = Callable[[Message], Sequence[Channel]]


def always(settings: Settings, session: Session, http: Http, policy_of: PolicyOf) -> list[Channel]:
    """The channels of every message; none writes to the cluster in a dry run."""
    cluster = settings.cluster_name
    channels: list[Channel] = []
    if not settings.dry_run:
        channels.append(KubernetesEvents(EventWriter(session, settings.identity).write))
    if settings.slack_webhook_url_file is not None:
        path = settings.slack_webhook_url_file
        channels.append(SlackWebhook(path, http, cluster=cluster, policy_of=policy_of))
    if settings.webhook_url:
        channels.append(WebhookChannel(settings.webhook_url, http, cluster=cluster, policy_of=policy_of))
    return channels


def chosen(settings: Settings, http: Http, policy_of: PolicyOf) -> Chosen:
    """The channels of one message: those of its policy, or what stands in for them."""
    cluster = settings.cluster_name
    finders: list[Chosen] = [RouteWebhooks(http, cluster=cluster, policy_of=policy_of)]
    if settings.slack_bot_token_file is not None:
        api = SlackApi(settings.slack_bot_token_file, http, settings.slack_api_url)
        channel, mention = settings.slack_channel, settings.slack_mention
        finders.append(SlackBot(api, channel=channel, mention=mention, cluster=cluster, policy_of=policy_of))
    if settings.apprise_urls_file is not None:
        finders.append(AppriseUrls(settings.apprise_urls_file, cluster=cluster, policy_of=policy_of))
    return lambda message: [channel for find in finders for channel in find(message)]
