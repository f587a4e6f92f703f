"""Several Prometheus servers: each query goes to the one that its policy names, and to no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from autocanary.errors import SettingsError
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery
from autocanary.prometheus import MetricsServers, NamedMetrics
from autocanary.prometheus.connection_settings import config_of_server
from autocanary.settings import PrometheusServer, load
from tests.prometheus.scripted_prometheus import metric_query


class CountingServer:
    """Answers each query with its own value, and remembers what it was asked."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.asked: list[MetricQuery] = []

    def query(self, questions: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        self.asked += questions
        return {each: Measurement(MeasurementKind.VALUE, self.value) for each in questions}


MAIN, TEAM, OTHER = CountingServer(1), CountingServer(2), CountingServer(3)


@pytest.fixture
def servers() -> MetricsServers:
    for each in (MAIN, TEAM, OTHER):
        each.asked.clear()
    team = PrometheusServer("team-a", "http://mimir:9090", namespaces=("models", "team-a-*"))
    other = PrometheusServer("other", "http://other:9090", namespaces=("elsewhere",))
    return MetricsServers(MAIN, {"team-a": NamedMetrics(team, TEAM), "other": NamedMetrics(other, OTHER)})


def test_each_query_goes_to_its_server_in_order(servers: MetricsServers) -> None:
    """One measurement per query, whichever server answers."""
    queries = [metric_query(), replace(metric_query(), server="team-a"), replace(metric_query(), service="x")]
    found = servers.query(queries)
    assert [measurement.value for measurement in found.values()] == [1, 2, 1]
    assert list(found) == queries
    assert (TEAM.asked, OTHER.asked) == ([queries[1]], [])


@pytest.mark.parametrize("server", ["other", "nowhere"])
def test_unknown_and_forbidden_names_have_the_same_answer(servers: MetricsServers, server: str) -> None:
    """A tenant's policy neither reaches another team's server nor learns that there is one."""
    asked = replace(metric_query(), server=server)
    found = servers.query([asked])[asked]
    assert found.kind is MeasurementKind.UNSUPPORTED
    assert found.detail == (
        f"no Prometheus '{server}' is configured for services of namespace models: they may use team-a"
    )
    assert OTHER.asked == TEAM.asked == MAIN.asked == []


def test_namespaces_are_patterns(servers: MetricsServers) -> None:
    """As in a shell."""
    asked = [replace(metric_query(namespace=each), server="team-a") for each in ("team-a-x", "team-ax", "kube-system")]
    kinds = [measurement.kind for measurement in servers.query(asked).values()]
    assert kinds == [MeasurementKind.VALUE, MeasurementKind.UNSUPPORTED, MeasurementKind.UNSUPPORTED]


def test_settings_describe_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON in the environment; what a server has becomes its configuration, and no secret is printed."""
    text = (
        '[{"name": "team-a", "url": "https://mimir/prometheus/", "timeout": "10s", "namespaces": ["team-a"],'
        ' "headers": {"X-Scope-OrgID": "s3cret"}, "params": {"dedup": true}, "token_file": "/etc/token"}]'
    )
    monkeypatch.setenv("AUTOCANARY_PROMETHEUS_SERVERS", text)
    settings = load()
    [server] = settings.prometheus_servers
    config = config_of_server(server)
    assert (config.base_url, config.timeout, config.token_file) == ("https://mimir/prometheus", 10.0, "/etc/token")
    assert (config.headers, config.params) == ({"X-Scope-OrgID": "s3cret"}, {"dedup": "true"})
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("servers_text", "words"),
    [
        ("- [", "expected a list of servers as YAML or JSON"),
        ("{}", "expected a list of servers, each with name and url"),
        ("[1]", "server 1: expected name, url"),
        ("[{name: a}]", "server a: url is missing"),
        ("[{url: 'http://x'}]", "server 1: name is missing"),
        ("[{name: A, url: 'http://x'}]", "server A: name: expected a name of lower-case letters"),
        ("[{name: a, url: 'ftp://x'}]", "server a: url: expected a URL"),
        ("[{name: a, url: 'http://u:p@x'}]", "server a: url: a password does not belong into a URL"),
        ("[{name: a, url: 'http://x', tokenfile: /x}]", "server a: 'tokenfile' is unknown; did you mean token_file?"),
        ("[{name: a, url: 'http://x', timeout: 1h}]", "server a: timeout: expected a duration of at most 120s"),
        ("[{name: a, url: 'http://x', username: u}]", "server a: username and password_file belong together"),
        (
            "[{name: a, url: 'http://x', username: u, password_file: /p, token_file: /t}]",
            "server a: token_file and password_file exclude each other",
        ),
        ("[{name: a, url: 'http://x', params: {query: x}}]", "server a: params: the query parameter query"),
        ("[{name: a, url: 'http://x', headers: {'a b': x}}]", "server a: headers: expected headers"),
        ("[{name: a, url: 'http://x', namespaces: [A/B]}]", "server a: namespaces: 'A/B' is neither a namespace"),
        ("[{name: a, url: 'http://x', namespaces: []}]", "server a: namespaces: the list is empty: leave it out"),
        ("[{name: a, url: 'http://x'}, {name: a, url: 'http://y'}]", "two servers have the name a"),
    ],
)
def test_wrong_settings_are_said_with_the_server(servers_text: str, words: str) -> None:
    """In one sentence, before the service starts."""
    with pytest.raises(SettingsError, match="--prometheus-servers: ") as error:
        load({"prometheus_servers": servers_text})
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
