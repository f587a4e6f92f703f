"""The generated files of docs/: ``python docs/generate.py`` writes them all.

Commands, flags, settings, metrics and policy fields come from the code. Only what a setting means is written
here; a setting without a meaning stops the generator. tests/docs compares each file with what this generates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from autocanary.cli.root import app
from autocanary.http_server import metric_table
from autocanary.model.value_wording import format_duration
from autocanary.policy_files.json_schema import render_json_schema
from autocanary.policy_files.reference_page import render_reference
from autocanary.settings import ENV_PREFIX, HostPort, Settings

__all__ = ["PAGES", "cli_page", "settings_page"]

_HERE = Path(__file__).resolve().parent

_MEANINGS: Mapping[str, str] = {
    "config": "A YAML file with any of the settings below, in lower case and without the prefix.",
    "policies": "Files and folders with policies. Policies that are custom resources need none.",
    "prometheus_url": "Where Prometheus (or Thanos, Mimir, VictoriaMetrics) answers. Required by `run`.",
    "prometheus_token_file": "A file with a bearer token.",
    "prometheus_username": "For basic authentication, together with the password's file.",
    "prometheus_password_file": "A file with the password.",
    "prometheus_headers": "`Name=value` pairs sent with every query, such as `X-Scope-OrgID=team-a`.",
    "prometheus_params": "`name=value` query parameters sent with every query, such as `partial_response=false` "
    "(Thanos) or `deny_partial_response=1` (VictoriaMetrics).",
    "prometheus_ca_file": "A file with the CA certificates that Prometheus' certificate is checked against.",
    "prometheus_timeout": "The whole time one query may take.",
    "prometheus_servers": "Further servers, which policies name in `prometheusRef` ([their fields]"
    "(#several-prometheus-servers)); as YAML or JSON.",
    "web_credentials": "Credentials for web metrics, which policies name in `credentialsRef` ([their fields]"
    "(#credentials-of-web-metrics)); as YAML or JSON.",
    "namespaces": "The namespaces that are watched; all when empty. The flag is repeated.",
    "guard": "Where [the guard](gitops.md#the-guard) holds releases: `namespaces` and `objectSelector`, as YAML or "
    "JSON. Services there that no policy governs are named in the log, the metrics and an alert. The chart sets it.",
    "tick": "How often the controller evaluates what is due.",
    "listen": "Where /metrics, /healthz and /readyz are served.",
    "leader_election": "Whether replicas choose one that acts. Without it there must be one replica.",
    "lease_name": "The Lease the replicas compete for.",
    "lease_namespace": "The Lease's namespace; the one the service runs in when empty.",
    "lease_duration": "How long a silent leader keeps it; see [Replicas](operations.md#replicas-and-leadership).",
    "identity": "Who this replica is among the others; its host name when empty.",
    "dry_run": "Decide and tell, but write nothing to the cluster.",
    "log_format": "`json` or `console`; console on a terminal and json elsewhere when empty.",
    "log_level": "`debug`, `info`, `warning` or `error`.",
    "slack_webhook_url_file": "A file with the URL of a Slack incoming webhook.",
    "slack_bot_token_file": "A file with a Slack app's bot token (`xoxb-…`): one message per rollout. See "
    "[notifications](notifications.md#slack-with-a-bot-token).",
    "slack_channel": "The channel of rollouts whose policy names none, `#name` or ID; needs the bot token.",
    "slack_mention": "Mentioned there on a rollback, or when a rollout waits for you: IDs of members and "
    "user groups, `here`, `channel`.",
    "slack_app_token_file": "A file with a Slack app-level token (`xapp-…`): messages get buttons to approve, abort. "
    "See [approvals](notifications.md#approve-and-abort-from-slack).",
    "slack_approvers": "Members who may press them, by ID (`U012AB3CD`).",
    "slack_api_url": "Where Slack's Web API is; another one for GovSlack.",
    "apprise_urls_file": "A file of [Apprise](notifications.md#teams-discord-pagerduty-and-others) URLs, one a line.",
    "webhook_hosts": "Hosts that policies' webhooks and web metrics may reach although their addresses are private, "
    "and whose reasons are shown: names, `*.ml.svc`, addresses, networks "
    "([default](notifications.md#which-hosts-policies-webhooks-may-reach)).",
    "page_listen": "Where [the web page](page.md) is served, on a port of its own; nowhere when unset.",
    "page_user_header": "The header in which a proxy names the user of the page. Without it every request carries the"
    " user's own bearer token ([the difference](page.md#in-the-cluster)).",
    "page_groups_header": "The header with that user's groups, separated by commas.",
    "webhook_url": "Where transitions are posted as JSON ([the fields](notifications.md#generic-webhook)).",
    "history_limit": "How many finished rollouts are kept per service.",
    "author_annotation": "The annotation of an InferenceService that names the author of its spec, such as "
    "`example.com/author`; messages and the history show it beside the field manager.",
    "external_url": "Where the web page is reached. Messages, Events and the log then hold permalinks "
    "(`/rollouts/NAMESPACE/NAME`). With `{namespace}`, `{service}`, `{rollout}` or `{reason}` in it, it is the whole "
    "link.",
    "runbook_url": "The runbook that messages name; `{namespace}`, `{service}`, `{rollout}` and `{reason}` are "
    "filled in.",
    "cluster_name": "In every message; useful with several clusters.",
}
_CLI_HEAD = """\
# Commands

<!-- Made by `python docs/generate.py`; do not edit. -->

`autocanary` is also installed as `kubectl-autocanary`, so `kubectl autocanary …` works. Results go to stdout,
notices go to stderr. `-h` after any command prints its help. Release notes and scripts can rely on the
names, flags and exit codes of this page.

## Exit codes

| Code | Meaning |
|---|---|
| 0 | Done. |
| 1 | An invalid policy, a rolled-back rollout, no such rollout, or not in time. |
| 2 | Wrong usage, or an invalid setting. |
| 3 | The cluster or Prometheus cannot be reached or used. |
| 130, 141 | Interrupted by Ctrl-C; the reader of the output went away. |

## As a plugin of kubectl, and in the shell

`kubectl autocanary status -n models --context prod --kubeconfig FILE` is `autocanary status …`: kubectl finds
`kubectl-autocanary` on the PATH. `--namespace`, `--all-namespaces`, `--context` and `--kubeconfig` mean what
they mean in kubectl; write them after the command.

`autocanary --install-completion` installs completion of commands and flags for the present shell (bash, zsh, fish,
PowerShell); `--show-completion` prints what it installs.

Durations of flags are `500ms`, `5s`, `10m`, `1h30m`, or a plain number of seconds. `--timeout` limits all
waiting, also for a server that accepts a connection and does not answer (code 3)."""
_CLI_FOOT = """\
## Output for programs

`status -o json` and `-o yaml` print what `kubectl get canaryrollouts` does: with a NAME one `CanaryRollout`,
without one `{"apiVersion": "v1", "kind": "List", "items": […]}` with what runs now for each service, or ran
last. Fields may be added; these stay as they are (a value that is not known is `null`):

| Field | What it says |
|---|---|
| `metadata.namespace`, `metadata.name` | Which rollout. |
| `spec.inferenceService.name` | The service. |
| `spec.component` | `predictor`, `transformer` or `explainer`. |
| `spec.stable`, `spec.candidate` | The two revisions. |
| `spec.attempt` | 1, and one more for each retry. |
| `spec.policy.name` | The policy it began with. |
| `spec.paused` | Whether a user paused it. |
| `status.phase` | [The phases](concepts.md#phases). |
| `status.reason`, `status.message` | Why: [one word](troubleshooting.md), and a sentence. |
| `status.step` | The step it is at, from 1; 0 before the first. |
| `status.weight`, `status.observedWeight` | Percent asked for, and percent seen in effect. |
| `status.startedAt`, `status.stepStartedAt`, `status.finishedAt` | UTC, as `2026-01-31T12:00:00Z`. |
| `status.metrics` | Each with `name`, `verdict` (pass, violation, inconclusive), `violations`, `passes`. |
| `status.decisions` | The last 20: `time`, `event`, `phase`, `reason`, `message`, `weight`. |
| `status.conditions` | `Promoted` and `Progressing`, as `kubectl wait` reads them. |

`status.progress` is the service's own state and may change with every version.

`simulate -o json` prints `{"releases": [{"name", "rps", "base_error", "canary_error", "runs", "rolled_back":
{"share", "low", "high"}, "promoted": {"share"}, "undecided": {"share"}, "seconds_to_rollback":
{"p50", "p90"}, "bad_requests": {"p50", "p90"}, "seconds_to_promotion": {"p50"}}]}`. Errors and shares are
fractions (0.005 is 0.5 %), seconds are counted from the first step, and what never happened is `null`. Of two
policies each entry has its `policy`, too."""
_SETTINGS_HEAD = """\
# Settings

<!-- Made by `python docs/generate.py`; do not edit. -->

The settings of `autocanary run`. A flag wins over the environment, the environment over the file that
`--config` names. Lists are comma-separated. Durations are `5s`, `1m30s`, or a number of seconds.

Tokens, passwords and Slack's URL are files. Each is read when it is used, so a rotated secret is picked up
without a restart. `PROMETHEUS_HEADERS` and `WEBHOOK_URL` may hold secrets, too. None of them appears in logs,
errors or Events.

kubeconfig and in-cluster credentials are found as kubectl finds them: `--kubeconfig`, `$KUBECONFIG`,
`~/.kube/config`, then the pod's service account. An unknown `AUTOCANARY_…` variable is a warning that names
the nearest known one."""
_SETTINGS_FOOT = """\
As a file:

```yaml
prometheus_url: http://prometheus.monitoring:9090
policies: [/etc/autocanary/policies]
namespaces: [models, team-a]
log_level: info
```

## Several Prometheus servers

Where a cluster has several, a policy names the one that measures its services, in
[`analysis.prometheusRef`](policy-reference.md#specanalysisprometheusref). Only names that stand here can be used, so
that no policy reaches another host or reads a file:

```yaml
prometheus_servers:
  - name: team-a
    url: https://mimir.monitoring/prometheus
    headers: {X-Scope-OrgID: team-a}
    token_file: /etc/autocanary/prometheus-team-a-token/token
    namespaces: [team-a, team-a-*]
```

| Field | Default | Meaning |
|---|---|---|
| `name` | | What policies write. Lower-case letters, digits and `-`. |
| `url` | | Where it answers. |
| `token_file` | | A file with a bearer token. |
| `username`, `password_file` | | For basic authentication. |
| `headers`, `params` | | Sent with every query. |
| `ca_file` | | A file with the CA certificates that its certificate is checked against. |
| `timeout` | `5s` | The whole time one query may take. |
| `namespaces` | all | The namespaces whose services it may measure; `*` and `?` as in a shell. Not empty. |

Files are read at every query, so that a rotated secret is picked up. Each server has its own threads and connections:
the rollouts of one do not wait for another. A name that is not configured, or not for the service's namespace, holds
the rollout like an outage. `autocanary validate --prometheus-url` asks the server that a policy names, where these
settings have it.

## Credentials of web metrics

A [web metric](metrics-recipes.md#a-metric-that-another-service-answers) names credentials in `web.credentialsRef`.
They are sent to the hosts that stand here, and to no other, whatever URL a policy has:

```yaml
web_credentials:
  - name: eval
    hosts: [eval.ml.svc, "*.eval.example.com"]
    token_file: /etc/autocanary/web-eval-token/token
    namespaces: [team-a, team-a-*]
```

| Field | Default | Meaning |
|---|---|---|
| `name` | | What policies write. Lower-case letters, digits and `-`. |
| `hosts` | | The hosts of URLs that get them; `*` and `?` as in a shell. Private ones need `webhook_hosts`, too. |
| `token_file` | | A file with a bearer token. |
| `username`, `password_file` | | For basic authentication, in place of a token. |
| `namespaces` | all | The namespaces whose services may use them. Not empty. |

The chart sets them by `webCredentials`, from Secrets."""
_MARKUP = re.compile(r"\[/?(?:dim|bold|italic)\]")


# --- commands


def cli_page() -> str:
    """docs/cli.md."""
    root: Any = typer.main.get_command(app)
    parts = [_CLI_HEAD]
    panel = ""
    for name, command in root.commands.items():
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            parts.append(f"## {panel}")
        parts += _command(name, command)
    return "\n\n".join([*parts, _CLI_FOOT]) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"### `{name}`"
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    usage = " ".join([f"autocanary {name}", *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    yield f"```console\n$ {usage}\n```"
    yield _text(command.help)
    rows = [(f"`{each.metavar}`", _text(each.help)) for each in arguments]
    rows += [(_flags(each), _meaning(each)) for each in options]
    if rows:
        yield "\n".join(["| | |", "|---|---|", *(f"| {flags} | {_cell(text)} |" for flags, text in rows)])


def _argument(argument: Any) -> str:
    return str(argument.metavar) if argument.required else f"[{argument.metavar}]"


def _flags(option: Any) -> str:
    names = sorted(option.opts, key=lambda each: (not each.startswith("--"), each))
    value = f" {option.metavar}" if option.metavar else ""
    shown = f"`{', '.join(names)}{value}`".replace("|", "\\|")
    return f"{shown}, `{', '.join(option.secondary_opts)}`" if option.secondary_opts else shown


def _meaning(option: Any) -> str:
    text = _text(option.help)
    if option.is_flag and option.secondary_opts and option.default is not None:
        return f"{text} Default: {'yes' if option.default else 'no'}."
    return text


def _text(help_text: str | None) -> str:
    """Help as plain prose: the markup for terminals dropped, what it dims said to be the default."""
    text = re.sub(r"\s*\[dim\]\(default: (.+?)\)\[/dim\]", r" Default: \1.", help_text or "")
    return _MARKUP.sub("", text).strip()


# --- settings


def settings_page() -> str:
    """docs/settings.md."""
    flags = _run_flags()
    rows = [
        "| Variable | Flag of `run` | Default | Meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        flag = f"`{flags[name]}`" if name in flags else "–"
        default = _default(field.default)
        rows.append(f"| `{ENV_PREFIX}{name.upper()}` | {flag} | {default} | {_cell(_MEANINGS[name])} |")
    return "\n\n".join([_SETTINGS_HEAD, "\n".join(rows), _SETTINGS_FOOT]) + "\n"


def _run_flags() -> Mapping[str, str]:
    root: Any = typer.main.get_command(app)
    return {
        each.name: "/".join([each.opts[0], *each.secondary_opts])
        for each in root.commands["run"].params
        if each.name in Settings.model_fields
    }


def _default(value: object) -> str:
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{format_duration(value)}`"
    if isinstance(value, HostPort):
        return f"`{value}`"
    return f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "settings.md": settings_page,
    "metrics.md": metric_table.markdown,
    "policy-reference.md": render_reference,
    "policy.schema.json": render_json_schema,
}
"""Each generated file, by its path from docs/."""

if __name__ == "__main__":
    for page, render in PAGES.items():
        (_HERE / page).write_text(render(), encoding="utf-8")
