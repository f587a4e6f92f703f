"""The channels that the settings ask for, and those that policies choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autocanary.kube.api_client import ApiClient
from autocanary.kube.events import EventWriter
from autocanary.notifications.apprise_channel import AppriseUrls
from autocanary.notifications.audit_log import KubernetesEvents
from autocanary.notifications.channel import Channel, PolicyOf
from autocanary.notifications.slack_api import SlackApi
from autocanary.notifications.slack_approvals import SlackApprovals
from autocanary.notifications.slack_bot import SlackBot
from autocanary.notifications.slack_webhook import SlackWebhook
from autocanary.notifications.webhook import PolicyWebhookChannels, WebhookChannel
from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.ports import Message, RolloutStore
from autocanary.settings import Settings

__all__ = ["policy_channels", "policy_http_client", "service_channels", "slack_approvals"]

ChannelsFor = Callable[[Message], Sequence[Channel]]


def service_channels(settings: Settings, client: ApiClient, http: HttpClient, policy_of: PolicyOf) -> list[Channel]:
    """The channels of every message; none writes to the cluster in a dry run."""
    cluster = settings.cluster_name
    channels: list[Channel] = []
    if not settings.dry_run:
        channels.append(KubernetesEvents(EventWriter(client, settings.identity).write))
    if settings.slack_webhook_url_file is not None:
        path = settings.slack_webhook_url_file
        channels.append(SlackWebhook(path, http, cluster=cluster, policy_of=policy_of))
    if settings.webhook_url:
        channels.append(WebhookChannel(settings.webhook_url, http, cluster=cluster, policy_of=policy_of))
    return channels


def slack_approvals(settings: Settings, http: HttpClient, store: RolloutStore) -> SlackApprovals | None:
    """Approvals by the buttons of Slack's messages; None where the settings ask for none, and in a dry run."""
    if settings.slack_app_token_file is None or settings.slack_bot_token_file is None or settings.dry_run:
        return None
    return SlackApprovals(
        settings.slack_app_token_file,
        SlackApi(settings.slack_bot_token_file, http, settings.slack_api_url),
        url=settings.slack_api_url,
        approvers=settings.slack_approvers,
        read=store.read,
        write=lambda namespace, name, request: store.write_request(namespace, name, paused=None, request=request),
    )


def policy_http_client(settings: Settings) -> HttpClient:
    """For URLs that policies name: private addresses only where the settings allow the host."""
    return HttpClient(hosts=WebhookHosts(settings.webhook_hosts))


def policy_channels(settings: Settings, http: HttpClient, policy_http: HttpClient, policy_of: PolicyOf) -> ChannelsFor:
    """The channels of one message: the webhooks of its policy, Slack, and Apprise."""
    cluster = settings.cluster_name
    sources: list[ChannelsFor] = [PolicyWebhookChannels(policy_http, cluster=cluster, policy_of=policy_of)]
    if settings.slack_bot_token_file is not None:
        api = SlackApi(settings.slack_bot_token_file, http, settings.slack_api_url)
        channel, mention = settings.slack_channel, settings.slack_mention
        approvals = settings.slack_app_token_file is not None and not settings.dry_run
        sources.append(
            SlackBot(api, channel=channel, mention=mention, cluster=cluster, policy_of=policy_of, approvals=approvals)
        )
    if settings.apprise_urls_file is not None:
        sources.append(AppriseUrls(settings.apprise_urls_file, cluster=cluster, policy_of=policy_of))
    return lambda message: [channel for find in sources for channel in find(message)]
