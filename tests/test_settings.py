"""Settings: three sources, one sentence per error, and no secret in any of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from autocanary.errors import SettingsError
from autocanary.settings import HostPort, Settings, flag_of, load, unknown_variables


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("AUTOCANARY_"):
            monkeypatch.delenv(name)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, "utf-8")
    return path


def error_of(**flags: object) -> str:
    with pytest.raises(SettingsError) as raised:
        load(flags)
    return str(raised.value)


def test_defaults_are_the_documented_ones() -> None:
    """Without any source, the settings are those of the documentation."""
    settings = load()
    assert (settings.tick, settings.prometheus_timeout, settings.history_limit) == (1.0, 5.0, 10)
    assert settings.listen == HostPort("0.0.0.0", 8080)
    assert (settings.leader_election, settings.dry_run, settings.log_level) == (True, False, "info")
    assert (settings.namespaces, settings.policies, settings.log_format) == ((), (), None)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source overrides the one below it, and only for what it names."""
    path = write(tmp_path, "tick: 2s\nhistory_limit: 3\ncluster_name: file\n")
    monkeypatch.setenv("AUTOCANARY_TICK", "3s")
    monkeypatch.setenv("AUTOCANARY_CLUSTER_NAME", "environment")
    settings = load({"config": path, "cluster_name": "flag", "history_limit": None})
    assert (settings.tick, settings.cluster_name, settings.history_limit) == (3.0, "flag", 3)


def test_the_environment_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTOCANARY_CONFIG works like --config."""
    monkeypatch.setenv("AUTOCANARY_CONFIG", str(write(tmp_path, "dry_run: true\n")))
    assert load().dry_run is True


def test_lists_are_comma_separated_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and empty items do not count."""
    monkeypatch.setenv("AUTOCANARY_NAMESPACES", "models, team-a,,")
    monkeypatch.setenv("AUTOCANARY_POLICIES", "/etc/autocanary,more.yaml")
    monkeypatch.setenv("AUTOCANARY_PROMETHEUS_HEADERS", "X-Scope-OrgID=team-a, Authorization=Basic a=b")
    settings = load()
    assert settings.namespaces == ("models", "team-a")
    assert settings.policies == (Path("/etc/autocanary"), Path("more.yaml"))
    assert settings.prometheus_headers == (("X-Scope-OrgID", "team-a"), ("Authorization", "Basic a=b"))


def test_query_parameters_are_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the environment as text, from the file as a mapping; those that autocanary sets are refused."""
    monkeypatch.setenv("AUTOCANARY_PROMETHEUS_PARAMS", "deny_partial_response=1, extra_label=team=a")
    assert load().prometheus_params == (("deny_partial_response", "1"), ("extra_label", "team=a"))
    monkeypatch.delenv("AUTOCANARY_PROMETHEUS_PARAMS")
    path = write(tmp_path, "prometheus_params: {partial_response: false, dedup: true}\n")
    assert load({"config": path}).prometheus_params == (("partial_response", "false"), ("dedup", "true"))
    assert "the query parameter timeout is set by autocanary" in error_of(prometheus_params=["timeout=1s"])
    assert "expected query parameters as name=value" in error_of(prometheus_params=["dedup"])


def test_the_file_may_hold_lists_and_mappings(tmp_path: Path) -> None:
    """YAML users write YAML lists; an empty value is the same as none."""
    path = write(tmp_path, "namespaces: [models]\nprometheus_headers: {X-Scope-OrgID: team-a}\nslack_channel:\n")
    settings = load({"config": path})
    assert settings.namespaces == ("models",)
    assert settings.prometheus_headers == (("X-Scope-OrgID", "team-a"),)
    assert settings.slack_channel == ""


def test_an_empty_file_and_an_empty_variable_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts render empty values for what is not set."""
    monkeypatch.setenv("AUTOCANARY_TICK", "")
    assert load({"config": write(tmp_path, "")}).tick == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:9090", HostPort("0.0.0.0", 9090)),
        (":0", HostPort("0.0.0.0", 0)),
        ("[::1]:8080", HostPort("::1", 8080)),
        ("localhost:80", HostPort("localhost", 80)),
    ],
)
def test_listen_is_an_address_and_a_port(text: str, expected: HostPort) -> None:
    """IPv6 addresses are in brackets; without a host it listens everywhere."""
    assert load({"listen": text}).listen == expected


def test_listen_prints_what_it_reads() -> None:
    """The text of an address can be given again."""
    for text in ("[::1]:8080", "127.0.0.1:80"):
        assert str(load({"listen": text}).listen) == text


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("tick", "5x", "--tick: expected a duration such as 500ms, 5s, 10m or 1h30m, or a number of seconds"),
        ("tick", "soon", "--tick: expected a duration such as 500ms, 5s, 10m or 1h30m"),
        ("tick", True, "--tick: expected a duration such as 500ms, 5s or 10m"),
        ("tick", "1ms", "--tick: should be greater than or equal to 0.1 seconds"),
        ("lease_duration", "2s", "--lease-duration: should be greater than or equal to 3 seconds"),
        ("prometheus_timeout", "0s", "--prometheus-timeout: should be greater than 0 seconds"),
        ("leader_election", "perhaps", "--leader-election: expected true or false"),
        ("history_limit", "many", "--history-limit: expected a whole number"),
        ("history_limit", 0, "--history-limit: should be greater than or equal to 1"),
        ("log_level", "loud", "--log-level: expected 'debug', 'info', 'warning' or 'error'"),
        ("log_format", "xml", "--log-format: expected 'json' or 'console'"),
        ("listen", "8080", "--listen: expected HOST:PORT such as 0.0.0.0:8080"),
        ("listen", "host:70000", "--listen: expected HOST:PORT such as 0.0.0.0:8080"),
        ("listen", "::1:80", "--listen: expected an IPv6 address in brackets, such as [::]:8080"),
        ("page_listen", "8090", "--page-listen: expected HOST:PORT such as 0.0.0.0:8080"),
        ("page_user_header", "X User", "--page-user-header: expected the name of a header, such as X-Forwarded-User"),
        ("page_user_header", "Authorization", "--page-user-header: Authorization cannot name a user"),
        ("namespaces", ["Models"], "--namespace: 'Models' cannot be the name of a namespace"),
        ("namespaces", 5, "--namespace: expected a list, comma-separated"),
        ("lease_name", "My Lease", "--lease-name: expected a Kubernetes name"),
        ("cluster_name", 5, "--cluster-name: expected a text"),
        ("prometheus_url", "prometheus:9090", "--prometheus-url: expected a URL that begins with http://"),
        ("prometheus_url", "http://[", "--prometheus-url: expected a URL that begins with http://"),
        ("prometheus_url", 9090, "--prometheus-url: expected a URL that begins with http://"),
        ("prometheus_ca_file", "", "--prometheus-ca-file: expected the path of a file"),
        ("prometheus_headers", ["X-Scope-OrgID"], "--prometheus-headers: expected headers as Name=value"),
        ("prometheus_headers", ["A=b\nC: d"], "--prometheus-headers: expected headers as Name=value"),
    ],
)
def test_each_fault_is_one_sentence_that_names_the_flag(name: str, value: object, sentence: str) -> None:
    """Users read where the wrong value came from and what was expected."""
    message = error_of(**{name: value})
    assert message.startswith(sentence)
    assert "\n" not in message


def test_a_fault_names_the_variable_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of an error is the source that is in force."""
    monkeypatch.setenv("AUTOCANARY_TICK", "5x")
    assert error_of().startswith("AUTOCANARY_TICK: ")


def test_a_fault_names_the_file_it_came_from(tmp_path: Path) -> None:
    """So is that of a value in the file."""
    path = write(tmp_path, "tick: 5x\n")
    assert error_of(config=path).startswith(f"{path}: tick: ")


def test_all_errors_are_reported_at_once() -> None:
    """Users do not want to find them one by one."""
    assert len(error_of(tick="x", log_level="y").splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tick: [", r"settings\.yaml:\d+:\d+: the settings file is not valid YAML"),
        ("- tick", r"settings\.yaml: expected settings as 'name: value'"),
        ("tik: 1s", r"settings\.yaml: 'tik' is not a setting; did you mean tick\?"),
        ("config: other.yaml", r"settings\.yaml: 'config' is not a setting"),
        (
            "slack_webhook_url: https://x",
            r"'slack_webhook_url' is not a setting; did you mean slack_webhook_url_file",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    """A file that cannot be understood is never half used."""
    assert re.search(sentence, error_of(config=write(tmp_path, text)))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and a binary file have different sentences."""
    missing = tmp_path / "none.yaml"
    assert error_of(config=missing) == f"{missing}: the settings file cannot be read: No such file or directory"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert error_of(config=binary) == f"{binary}: the settings file is not UTF-8 text"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"prometheus_username": "me"}, "belong together"),
        ({"prometheus_password_file": "p"}, "belong together"),
        (
            {"prometheus_username": "me", "prometheus_password_file": "p", "prometheus_token_file": "t"},
            "exclude each other",
        ),
    ],
)
def test_credentials_are_whole_and_unambiguous(flags: dict[str, object], sentence: str) -> None:
    """Half a pair, or two ways to log in, is a mistake."""
    assert sentence in error_of(**flags)


def test_no_secret_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither errors nor the printed settings show what may be a secret."""
    assert "hunter2" not in error_of(prometheus_url="http://me:hunter2@prometheus")
    assert "hunter2" not in error_of(prometheus_headers=["hunter2"])
    assert "hunter2" not in error_of(webhook_url="hunter2")
    assert "hunter2" not in error_of(config=write(tmp_path, "prometheus_headers: 'hunter2'\n"))
    settings = load({"prometheus_headers": ["Authorization=hunter2"], "webhook_url": "https://hooks.example/hunter2"})
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("AUTOCANARY_SLACK_WEBHOOK_URL", "https://hooks.example/hunter2")
    assert "hunter2" not in "".join(unknown_variables({"AUTOCANARY_SLACK_WEBHOOK_URL": "hunter2"}))


def test_settings_are_frozen() -> None:
    """Nothing can change them after the start."""
    settings = load()
    with pytest.raises(ValidationError):
        settings.tick = 2.0


def test_an_unknown_variable_is_a_warning_with_the_nearest_name() -> None:
    """A typo must not be silent; a variable far from any name gets no guess."""
    warnings = unknown_variables(
        {
            "AUTOCANARY_PROMETEUS_URL": "x",
            "AUTOCANARY_COLOUR_OF_IT": "x",
            "AUTOCANARY_TICK": "1s",
            "HOME": "/",
        }
    )
    assert warnings == (
        "AUTOCANARY_COLOUR_OF_IT is not a setting and has no effect",
        "AUTOCANARY_PROMETEUS_URL is not a setting and has no effect; did you mean AUTOCANARY_PROMETHEUS_URL?",
    )


def test_service_links_are_neither_settings_nor_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes injects these for Services named autocanary, autocanary-metrics and autocanary-tick."""
    links: dict[str, str] = {}
    for service in ("AUTOCANARY", "AUTOCANARY_METRICS", "AUTOCANARY_TICK"):
        links |= {
            f"{service}_SERVICE_HOST": "10.0.0.1",
            f"{service}_SERVICE_PORT": "8080",
            f"{service}_SERVICE_PORT_HTTP": "8080",
            f"{service}_PORT": "tcp://10.0.0.1:8080",
            f"{service}_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            f"{service}_PORT_8080_TCP_PROTO": "tcp",
            f"{service}_PORT_8080_TCP_PORT": "8080",
            f"{service}_PORT_8080_TCP_ADDR": "10.0.0.1",
        }
    assert unknown_variables(links) == ()
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    assert load() == Settings()


def test_a_port_that_is_no_service_link_is_a_mistake() -> None:
    """Only Kubernetes writes tcp:// there; a user who means --listen must hear of it."""
    assert unknown_variables({"AUTOCANARY_LISTEN_PORT": "8080"}) == (
        "AUTOCANARY_LISTEN_PORT is not a setting and has no effect; did you mean AUTOCANARY_LISTEN?",
    )


def test_the_flag_of_a_list_is_singular() -> None:
    """--namespace is repeated; the others are the setting's name."""
    assert (flag_of("namespaces"), flag_of("prometheus_url")) == ("--namespace", "--prometheus-url")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"page_user_header": "X-User"}, "need PAGE_LISTEN"),
        ({"page_listen": "h:1", "page_groups_header": "X-Groups"}, "groups belong to a user"),
        ({"page_listen": "h:8080"}, "the same port"),
        ({"slack_bot_token_file": "t", "slack_webhook_url_file": "u"}, "exclude each other"),
        ({"slack_channel": "#ml"}, "SLACK_CHANNEL and SLACK_MENTION need SLACK_BOT_TOKEN_FILE"),
        ({"slack_mention": "here"}, "SLACK_CHANNEL and SLACK_MENTION need SLACK_BOT_TOKEN_FILE"),
        ({"slack_bot_token_file": "t", "slack_mention": "here"}, "SLACK_MENTION needs SLACK_CHANNEL"),
        ({"slack_channel": "ml ops", "slack_bot_token_file": "t"}, "expected a Slack channel"),
        ({"slack_channel": "#c", "slack_bot_token_file": "t", "slack_mention": "@ann"}, "'@ann' is neither"),
        ({"slack_api_url": "slack.com"}, "begins with http"),
    ],
)
def test_slack_settings_belong_together(flags: dict[str, str], sentence: str) -> None:
    """A bot token chooses channels, an incoming webhook has one; nothing is silently without effect."""
    assert sentence in error_of(**flags)


def test_slack_with_a_bot_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it from the environment."""
    monkeypatch.setenv("AUTOCANARY_SLACK_BOT_TOKEN_FILE", "/etc/slack/token")
    monkeypatch.setenv("AUTOCANARY_SLACK_CHANNEL", "#ml-ops")
    monkeypatch.setenv("AUTOCANARY_SLACK_MENTION", "S012AB3CD, here")
    settings = load()
    assert settings.slack_bot_token_file == Path("/etc/slack/token")
    assert (settings.slack_channel, settings.slack_mention) == ("#ml-ops", ("S012AB3CD", "here"))
    assert settings.slack_api_url == "https://slack.com/api"


def test_webhook_hosts_are_names_globs_addresses_and_networks() -> None:
    """A list, comma-separated; what is no host is an error that shows an example."""
    assert load({"webhook_hosts": "gate.ml.svc,*.ml.svc, 10.0.0.0/8,::1"}).webhook_hosts == (
        "gate.ml.svc",
        "*.ml.svc",
        "10.0.0.0/8",
        "::1",
    )
    assert load().webhook_hosts == ()
    for wrong in ("http://gate", "gate:8080", "gate/path", "a b"):
        assert "is not a host: expected a name" in error_of(webhook_hosts=wrong)


def test_approvers_and_the_app_token_belong_together(tmp_path: Path) -> None:
    """And need the bot, whose messages have the buttons."""
    app, bot = {"slack_app_token_file": tmp_path / "app"}, {"slack_bot_token_file": tmp_path / "bot"}
    assert "SLACK_APP_TOKEN_FILE and SLACK_APPROVERS belong together" in error_of(**app, **bot)
    assert "needs SLACK_BOT_TOKEN_FILE" in error_of(**app, slack_approvers="U0123456789")
    assert "is not a member's ID" in error_of(**app, **bot, slack_approvers="@ada")
    assert load({**app, **bot, "slack_approvers": "U0123456789, W0123456789"}).slack_approvers == (
        "U0123456789",
        "W0123456789",
    )


def test_a_link_template_is_checked_at_the_start() -> None:
    """A brace that is no placeholder would be found at the first rollback."""
    assert "{nope} is none of {namespace}, {service}, {rollout}, {reason}" in error_of(runbook_url="https://w/{nope}")
    assert "expected a URL" in error_of(external_url="canary.example.com")
    assert load({"runbook_url": "https://w/{reason}"}).runbook_url == "https://w/{reason}"


def test_the_guard_is_read_as_the_chart_writes_it() -> None:
    """Namespaces, and labels as in a LabelSelector."""
    selector = {
        "matchLabels": {"team": "a"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["dev"]},
            {"key": "own", "operator": "Exists"},
        ],
    }
    found = load({"guard": json.dumps({"namespaces": ["models"], "objectSelector": selector})}).guard
    assert found is not None
    assert found.holds("models", {"team": "a", "own": ""})
    assert not found.holds("other", {"team": "a", "own": ""})
    assert not found.holds("models", {"team": "a", "own": "", "tier": "dev"})
    assert not found.holds("models", {"own": ""})
    assert load().guard is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models", "expected namespaces, objectSelector or both"),
        ("{namespace: [models]}", "'namespace' is unknown; did you mean namespaces?"),
        ("{namespaces: []}", "expected a namespace or a label"),
        ("{namespaces: [A/B]}", "'A/B' cannot be the name of a namespace"),
        ("{objectSelector: {team: a}}", "expected matchLabels, matchExpressions or both"),
        ("{objectSelector: {matchLabels: {team: 1}}}", "expected labels with texts"),
        (
            "{objectSelector: {matchExpressions: [{key: team}]}}",
            "expected key, operator (In, NotIn, Exists, DoesNotExist)",
        ),
        ("{objectSelector: {matchExpressions: [{key: team, operator: In}]}}", "In of team: wrong values"),
    ],
)
def test_a_wrong_guard_is_refused(text: str, sentence: str) -> None:
    """Before the service starts."""
    with pytest.raises(SettingsError) as error:
        load({"guard": text})
    assert sentence in str(error.value)
