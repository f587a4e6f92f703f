"""The chart by what Helm makes of it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocanary.kube.crds import definitions
from autocanary.kube.rbac import FORWARDED_USER_RULES, NamespaceScope, rbac_rules
from autocanary.policy_files import load_text
from autocanary.settings import ENV_PREFIX, PrometheusServer, WebCredentials, load
from charts.generate import documented
from tests.chart.chart import CHART, CI, PROMETHEUS, container, helm, of_kind, render, variant

pytestmark = pytest.mark.real

FIRST = (CHART.parents[1] / "policies" / "first.yaml").read_text(encoding="utf-8")
LIMITED = (CHART.parents[1] / "policies" / "thresholds.yaml").read_text(encoding="utf-8")


def _paths(node: Any, at: str = "") -> set[str]:
    """Every path into a mapping, of inner mappings as well."""
    if not isinstance(node, dict):
        return {at}
    return {at} | {path for name, each in node.items() for path in _paths(each, f"{at}.{name}".lstrip("."))}


def _variables(documents: list[dict[str, Any]]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(documents)["env"] if "value" in each}


def test_credentials_of_web_metrics_get_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Secrets, at the paths that the setting names; the network policy opens the way to their services."""
    token = {"name": "eval", "hosts": ["eval.ml.svc"], "tokenSecret": {"name": "eval"}, "namespaces": ["team-*"]}
    basic = {"name": "old", "hosts": ["*.x"], "username": "u", "passwordSecret": {"name": "old", "key": "pw"}}
    to = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ml"}}}]
    given = {
        "prometheus": {"url": "http://prometheus:9090"},
        "webCredentials": [token, basic],
        "networkPolicy": {
            "enabled": True,
            "apiServerTo": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
            "webTo": to,
            "webToPorts": [8080],
        },
    }
    documents = render(given)
    monkeypatch.setenv("AUTOCANARY_WEB_CREDENTIALS", _variables(documents)["AUTOCANARY_WEB_CREDENTIALS"])
    assert load().web_credentials == (
        WebCredentials(
            "eval", ("eval.ml.svc",), token_file="/etc/autocanary/web-eval-token/token", namespaces=("team-*",)
        ),
        WebCredentials("old", ("*.x",), username="u", password_file="/etc/autocanary/web-old-password/pw"),
    )
    mounts = {each["mountPath"] for each in container(documents)["volumeMounts"]}
    assert {"/etc/autocanary/web-eval-token", "/etc/autocanary/web-old-password"} <= mounts
    [policy] = of_kind(documents, "NetworkPolicy")
    assert {"to": to, "ports": [{"port": 8080, "protocol": "TCP"}]} in policy["spec"]["egress"]
    both = {**given, "webCredentials": [{**token, "passwordSecret": {"name": "x"}, "username": "u"}]}
    assert helm("template", "x", str(CHART), given=both).returncode != 0


@pytest.mark.parametrize("name", CI)
def test_helm_lint_has_nothing_to_say(name: str) -> None:
    """For every variant; warnings are errors."""
    done = helm("lint", str(CHART), "--strict", "--quiet", given=variant(name))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_the_variants_use_every_value() -> None:
    """A value that no variant sets is untested; these few have tests of their own."""
    used = {path for name in CI for path in _paths(variant(name))}
    assert {name for name in (value.name for value in documented()) if name not in used} == {
        "admissionPolicy.enabled",
        "guard.enabled",  # test_guard.py
        "guard.fallback",
        "guard.namespaces",
        "guard.objectSelector",
        "image.pullPolicy",
        "image.tag",
        "livenessProbe",
        "nameOverride",
        "networkPolicy.prometheusPorts",
        "podDisruptionBudget.enabled",
        "podMonitor.interval",
        "podMonitor.metricRelabelings",
        "podMonitor.namespace",
        "podMonitor.relabelings",
        "podMonitor.scrapeTimeout",
        "prometheusRule.disabledAlerts",
        "rbac.create",
        "readinessProbe",
        "resources",
        "securityContext",
        "dashboards.labels",
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "prometheus.url is required"),
        ({**PROMETHEUS, "leaderElection": False}, "then replicas must be 1"),
        ({**PROMETHEUS, "dryRun": True}, "each notification is sent twice"),
        ({**PROMETHEUS, "replica": 3}, "replica"),
        ({**PROMETHEUS, "replicas": "two"}, "replicas"),
        ({"prometheus": {"url": "http://p", "username": "u"}}, "belong together"),
        (
            {
                "prometheus": {
                    "url": "http://p",
                    "username": "u",
                    "passwordSecret": {"name": "s"},
                    "tokenSecret": {"name": "s"},
                }
            },
            "exclude each other",
        ),
        ({**PROMETHEUS, "serviceAccount": {"create": False}}, "name the account"),
        (
            {
                **PROMETHEUS,
                "slack": {"botTokenSecret": {"name": "s"}, "webhookSecret": {"name": "s"}},
            },
            "exclude each other",
        ),
        (
            {**PROMETHEUS, "slack": {"appTokenSecret": {"name": "s"}, "approvers": ["U0123456789"]}},
            "slack.appTokenSecret needs slack.botTokenSecret",
        ),
        (
            {**PROMETHEUS, "slack": {"botTokenSecret": {"name": "s"}, "approvers": ["U0123456789"]}},
            "slack.appTokenSecret.name and slack.approvers belong together",
        ),
        ({**PROMETHEUS, "slack": {"channel": "#models"}}, "need slack.botTokenSecret"),
        (
            {**PROMETHEUS, "slack": {"botTokenSecret": {"name": "s"}, "mention": ["here"]}},
            "slack.mention needs slack.channel",
        ),
        ({**PROMETHEUS, "policies": {"a": FIRST}, "existingPoliciesConfigMap": "b"}, "exclude each other"),
        (
            {**PROMETHEUS, "serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "scraped twice",
        ),
    ],
)
def test_values_that_cannot_work_are_refused_with_a_sentence(given: dict[str, Any], says: str) -> None:
    """Helm stops before anything is installed."""
    done = helm("template", "autocanary", str(CHART), given=given)
    assert done.returncode != 0
    assert says in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "stepWeights:",
            "stepWeigths:",
            "policies.first.spec: stepWeigths is not a field; there are after, analysis,",
        ),
        ("[10, 50, 100]", "[10, 500]", "policies.first.spec.stepWeights[1]: expected a number from"),
        ("[10, 50, 100]", "10", "policies.first.spec.stepWeights: expected a list, got 10"),
        (
            "stepDuration: 5m",
            "stepDuration: 5 minutes",
            'policies.first.spec.stepDuration: "5 minutes" does not fit',
        ),
        ("{min: 99}", "{min: [99]}", "thresholdRange.min: expected "),
        ("metadata:\n  name: first\n", "", "policies.first: metadata is missing"),
        ("stepDuration: 5m", "stepDuration: [", "policies.first: not a YAML mapping: "),
    ],
)
def test_a_policy_with_an_error_is_refused_with_its_place(old: str, new: str, says: str) -> None:
    """Given as the text of a file, before anything is installed."""
    text = FIRST if old in FIRST else LIMITED
    assert old in text
    done = helm(
        "template",
        "autocanary",
        str(CHART),
        given={**PROMETHEUS, "policies": {"first": text.replace(old, new)}},
    )
    assert done.returncode != 0
    assert says in done.stderr
    assert "`autocanary validate`" in done.stderr


def test_a_policy_as_values_with_an_error_is_refused_with_its_place() -> None:
    """Given as an object: by the schema of the values."""
    policy = {**yaml.safe_load(FIRST), "kind": "RolloutPolcy"}
    done = helm("template", "autocanary", str(CHART), given={**PROMETHEUS, "policies": {"first": policy}})
    assert done.returncode != 0
    assert "/policies/first/kind" in done.stderr


@pytest.mark.parametrize("path", sorted((CHART.parents[1] / "policies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_policy_can_be_given_as_text_and_as_values(path: Path) -> None:
    """The chart accepts what the program accepts, and passes it on unchanged."""
    text = path.read_text(encoding="utf-8")
    documents = [each for each in yaml.safe_load_all(text) if each]
    given: dict[str, Any] = {"policies": {"text": text, **{f"object{at}": each for at, each in enumerate(documents)}}}
    [config] = of_kind(render(given), "ConfigMap")
    assert config["data"].pop("text.yaml") == text
    assert [yaml.safe_load(each) for each in config["data"].values()] == documents
    loaded = [policy.name for each in config["data"].values() for policy in load_text(each, "a.yaml").policies]
    assert loaded == [each["metadata"]["name"] for each in documents]


def test_other_documents_in_a_policy_file_are_left_alone() -> None:
    """As the program leaves them alone."""
    other = "kind: ConfigMap\nmetadata: {name: a}\n---\n# nothing\n---\n"
    [config] = of_kind(render({"policies": {"first": other + FIRST}}), "ConfigMap")
    assert config["data"]["first.yaml"] == other + FIRST


def test_the_whole_cluster_is_watched_with_a_cluster_role_and_leases_at_home_only() -> None:
    """The rights in rights.py, bound to the chart's account, in the right places."""
    documents = render(namespace="auto")
    [everywhere] = of_kind(documents, "ClusterRole")
    [home] = of_kind(documents, "Role")
    assert everywhere["rules"] == rbac_rules(NamespaceScope.WATCHED)
    assert (home["metadata"]["namespace"], home["rules"]) == ("auto", rbac_rules(NamespaceScope.HOME))
    for binding in (*of_kind(documents, "ClusterRoleBinding"), *of_kind(documents, "RoleBinding")):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "autocanary", "namespace": "auto"}]
        assert binding["roleRef"]["name"] in {everywhere["metadata"]["name"], home["metadata"]["name"]}


def test_named_namespaces_get_a_role_each_and_the_cluster_none() -> None:
    """Least privilege: nothing of the whole cluster is made, and the service watches only these."""
    documents = render(variant("namespaced"), namespace="auto")
    scopes = {each["kind"] for each in documents if "namespace" not in each["metadata"]}
    assert scopes == set()
    roles = {each["metadata"]["namespace"]: each["rules"] for each in of_kind(documents, "Role")}
    assert roles == {
        "models": rbac_rules(NamespaceScope.WATCHED),
        "team-a": rbac_rules(NamespaceScope.WATCHED),
        "auto": rbac_rules(NamespaceScope.HOME),
    }
    assert _variables(documents)["AUTOCANARY_NAMESPACES"] == "models,team-a"


def test_the_page_is_off_and_takes_no_right_when_it_is_on() -> None:
    """A Service and a port of its own; users bring their own tokens."""
    off, on = render(PROMETHEUS, namespace="auto"), render(variant("page"), namespace="auto")
    assert [each["name"] for each in container(off)["ports"]] == ["http"]
    assert not [name for name in _variables(off) if "PAGE" in name]
    assert container(on)["ports"][1] == {"name": "page", "containerPort": 8090}
    assert _variables(on)["AUTOCANARY_PAGE_LISTEN"] == ":8090"
    [service] = [each for each in of_kind(on, "Service") if each["metadata"]["name"] == "autocanary-page"]
    assert service["spec"]["ports"] == [{"name": "page", "port": 8090, "targetPort": "page"}]
    for kind in ("ClusterRole", "Role"):
        assert [each["rules"] for each in of_kind(on, kind)] == [each["rules"] for each in of_kind(off, kind)]


def test_a_proxy_that_names_users_gives_the_rights_to_ask_and_write_for_them() -> None:
    """Only then, and only where the proxy alone reaches the port."""
    documents = render(variant("page-behind-proxy"), namespace="auto")
    asking, writing = (
        {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}
        for rule in FORWARDED_USER_RULES
    )
    [cluster] = of_kind(documents, "ClusterRole")
    assert cluster["rules"] == [asking]
    [watched] = [each for each in of_kind(documents, "Role") if each["metadata"]["namespace"] == "models"]
    assert watched["rules"] == [*rbac_rules(NamespaceScope.WATCHED), writing]
    [policy] = of_kind(documents, "NetworkPolicy")
    [page] = [rule for rule in policy["spec"]["ingress"] if rule["ports"][0]["port"] == "page"]
    assert page["from"] == variant("page-behind-proxy")["page"]["ingressFrom"]


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"userHeader": "X-User"}, "need page.enabled"),
        ({"enabled": True, "groupsHeader": "X-Groups"}, "groups belong to a user"),
        ({"enabled": True, "userHeader": "X-User"}, "only your proxy may"),
        ({"enabled": True, "port": 8080}, "a port of its own"),
    ],
)
def test_a_page_that_would_be_open_to_all_is_refused(page: dict[str, Any], says: str) -> None:
    """A client that reaches the port could name any user."""
    done = helm("template", "x", str(CHART), given={**PROMETHEUS, "page": page})
    assert done.returncode != 0
    assert says in done.stderr


def test_without_election_there_is_no_right_to_leases() -> None:
    """What is not used is not granted."""
    assert of_kind(render({"leaderElection": False, "replicas": 1}), "Role") == []


@pytest.mark.parametrize("name", CI)
def test_the_service_accepts_the_settings_it_is_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's variables go through the program's own settings."""
    given = variant(name)
    documents = render(given)
    for variable, value in _variables(documents).items():
        if variable != f"{ENV_PREFIX}CONFIG":  # a file of the pod
            monkeypatch.setenv(variable, value)
    settings = load()
    assert settings.prometheus_url == given["prometheus"]["url"]
    assert settings.leader_election is given.get("leaderElection", True)
    assert settings.lease_name == of_kind(documents, "Deployment")[0]["metadata"]["name"]
    assert settings.lease_namespace == "auto"
    assert settings.lease_duration == (15.0 if "leaseDuration" in given else 6.0)
    assert settings.listen == ("0.0.0.0", given.get("service", {}).get("port", 8080))
    assert dict(settings.prometheus_headers) == given["prometheus"].get("headers", {})
    assert dict(settings.prometheus_params) == given["prometheus"].get("params", {})
    assert [each.name for each in settings.prometheus_servers] == [
        each["name"] for each in given["prometheus"].get("servers", [])
    ]


def test_further_prometheus_servers_get_their_files_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own Secrets, at the paths that the setting names; not without addresses for the network policy."""
    team = {
        "name": "team-a",
        "url": "https://mimir.monitoring/prometheus",
        "headers": {"X-Scope-OrgID": "team-a"},
        "params": {"partial_response": "false"},
        "tokenSecret": {"name": "mimir-token"},
        "caConfigMap": {"name": "mimir-ca", "key": "bundle.pem"},
        "namespaces": ["team-a", "team-a-*"],
    }
    basic = {
        "name": "legacy",
        "url": "http://prometheus.legacy:9090",
        "timeout": "10s",
        "username": "reader",
        "passwordSecret": {"name": "legacy", "key": "secret"},
    }
    documents = render({"prometheus": {"url": "http://prometheus:9090", "servers": [team, basic]}})
    monkeypatch.setenv("AUTOCANARY_PROMETHEUS_SERVERS", _variables(documents)["AUTOCANARY_PROMETHEUS_SERVERS"])
    first, second = load().prometheus_servers
    assert first == PrometheusServer(
        name="team-a",
        url="https://mimir.monitoring/prometheus",
        headers=(("X-Scope-OrgID", "team-a"),),
        params=(("partial_response", "false"),),
        token_file="/etc/autocanary/prometheus-team-a-token/token",
        ca_file="/etc/autocanary/prometheus-team-a-ca/bundle.pem",
        namespaces=("team-a", "team-a-*"),
    )
    assert (second.timeout, second.username) == (10.0, "reader")
    assert second.password_file == "/etc/autocanary/prometheus-legacy-password/secret"
    mounts = {each["mountPath"] for each in container(documents)["volumeMounts"]}
    for path in (first.token_file, first.ca_file, second.password_file):
        assert path.rpartition("/")[0] in mounts
    policy = {"enabled": True, "apiServerTo": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}
    closed = {"prometheus": {"url": "http://prometheus:9090", "servers": [basic]}, "networkPolicy": policy}
    done = helm("template", "x", str(CHART), given=closed)
    assert done.returncode != 0
    assert "name the addresses of all of them" in done.stderr


@pytest.mark.parametrize("name", CI)
def test_every_file_that_a_setting_names_is_mounted(name: str) -> None:
    """A path in a variable lies below a mount, and every mount has its volume; none pins a file by subPath."""
    documents = render(variant(name))
    found = container(documents)
    mounts = {each["mountPath"]: each for each in found["volumeMounts"]}
    paths = [
        value
        for variable, value in _variables(documents).items()
        if variable.startswith(ENV_PREFIX) and value.startswith("/etc/")
    ]
    assert all(any(path == mount or path.startswith(f"{mount}/") for mount in mounts) for path in paths)
    assert all("subPath" not in each for each in mounts.values())
    assert all(each["readOnly"] for path, each in mounts.items() if path != "/tmp")
    volumes = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["volumes"]
    assert sorted(each["name"] for each in volumes) == sorted(each["name"] for each in mounts.values())


def test_a_hardened_installation_mounts_all_its_credentials() -> None:
    """The token, the CA, Slack's URL and the file of settings, each where its setting says."""
    variables = _variables(render(variant("hardened")))
    assert {name: value for name, value in variables.items() if value.startswith("/etc/autocanary/")} == {
        "AUTOCANARY_PROMETHEUS_TOKEN_FILE": "/etc/autocanary/prometheus-token/token",
        "AUTOCANARY_PROMETHEUS_CA_FILE": "/etc/autocanary/prometheus-ca/ca.crt",
        "AUTOCANARY_SLACK_BOT_TOKEN_FILE": "/etc/autocanary/slack-bot/token",
        "AUTOCANARY_SLACK_APP_TOKEN_FILE": "/etc/autocanary/slack-app/token",
        "AUTOCANARY_APPRISE_URLS_FILE": "/etc/autocanary/apprise/urls",
        "AUTOCANARY_CONFIG": "/etc/autocanary/config/config.yaml",
    }


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({}, "autocanary:0.1.0"),
        ({"registry": "r.example.com:5000", "repository": "ml/a", "tag": "1"}, "r.example.com:5000/ml/a:1"),
        ({"tag": "1", "digest": "sha256:" + "a" * 64}, "autocanary@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_named_by_tag_or_digest(image: dict[str, str], name: str) -> None:
    """A digest wins, for it cannot be moved."""
    assert container(render({"image": image}))["image"] == name


def test_one_instance_without_election_is_replaced_before_the_next_begins() -> None:
    """Two of them would write the same weights; and a budget for one pod would block every drain."""
    documents = render(variant("single"))
    [deployment] = of_kind(documents, "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert of_kind(documents, "PodDisruptionBudget") == []


def test_the_replicas_are_spread_and_never_all_gone() -> None:
    """By default over the machines, where there are several; a constraint of one's own gets the selector."""
    selector = {"matchLabels": {"app.kubernetes.io/name": "autocanary", "app.kubernetes.io/instance": "autocanary"}}
    [deployment] = of_kind(render(), "Deployment")
    assert deployment["spec"]["template"]["spec"]["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }
    ]
    [budget] = of_kind(render(), "PodDisruptionBudget")
    assert budget["spec"] == {"maxUnavailable": 1, "selector": selector}
    own = {"maxSkew": 2, "topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    [deployment] = of_kind(render({"topologySpreadConstraints": [own]}), "Deployment")
    assert deployment["spec"]["template"]["spec"]["topologySpreadConstraints"] == [own]


def test_openshift_may_choose_the_numbers_of_users_itself() -> None:
    """What is set to null is gone; the rest of the restrictions stays."""
    [deployment] = of_kind(render(variant("openshift")), "Deployment")
    assert deployment["spec"]["template"]["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


API_SERVER = [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
ELSEWHERE = [{"ipBlock": {"cidr": "10.30.0.0/16"}}]


def _namespace(name: str) -> list[dict[str, Any]]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]


@pytest.mark.parametrize(
    ("url", "given", "ports", "to"),
    [
        ("http://prometheus:9090", {}, [9090], _namespace("auto")),
        ("http://prometheus.monitoring:9090", {}, [9090], _namespace("monitoring")),
        ("http://prometheus.monitoring.svc.cluster.local/base", {}, [80], _namespace("monitoring")),
        ("http://10.1.2.3:9090", {}, [9090], [{"ipBlock": {"cidr": "10.1.2.3/32"}}]),
        ("https://prometheus.example.com", {"prometheusTo": ELSEWHERE}, [443], ELSEWHERE),
        ("http://[fd00::1]:9090", {"prometheusTo": ELSEWHERE}, [9090], ELSEWHERE),
        ("http://prometheus:80", {"prometheusPorts": [9090]}, [9090], _namespace("auto")),
    ],
)
def test_network_policy_allows_prometheus(
    url: str, given: dict[str, Any], ports: list[int], to: list[dict[str, Any]]
) -> None:
    """At the port of its URL, unless the port of its pods is another, and at no other address."""
    policy = _network_policy(url, **given)
    egress = [[each["port"] for each in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert egress == [[53, 53], [443, 6443], ports, [443]]
    assert policy["spec"]["egress"][2]["to"] == to


def _network_policy(url: str = "http://prometheus.monitoring:9090", **given: Any) -> dict[str, Any]:
    wanted = {"enabled": True, "apiServerTo": API_SERVER, **given}
    [policy] = of_kind(render({"prometheus": {"url": url}, "networkPolicy": wanted}), "NetworkPolicy")
    return policy


def test_network_policy_opens_what_is_named_only() -> None:
    """Without web ports no rule is for all addresses; the variant for production is closed too."""
    [hardened] = of_kind(render(variant("hardened")), "NetworkPolicy")
    for policy in (_network_policy(webPorts=[]), hardened):
        assert [rule for rule in policy["spec"]["egress"] if not rule.get("to")] == []
    assert [rule["ports"] for rule in _network_policy()["spec"]["egress"] if not rule.get("to")] == [
        [{"port": 443, "protocol": "TCP"}]
    ]


@pytest.mark.parametrize(
    ("url", "given", "said"),
    [
        ("http://prometheus:9090", {"apiServerTo": []}, "networkPolicy.apiServerTo is empty"),
        ("https://prometheus.example.com", {}, "networkPolicy.prometheusTo is empty, and prometheus.example.com"),
        ("http://[fd00::1]:9090", {}, "networkPolicy.prometheusTo is empty"),
    ],
)
def test_network_policy_asks_for_the_addresses_it_needs(url: str, given: dict[str, Any], said: str) -> None:
    """What is not known is not opened to all addresses."""
    wanted = {"enabled": True, "apiServerTo": API_SERVER, **given}
    done = helm("template", "x", str(CHART), given={"prometheus": {"url": url}, "networkPolicy": wanted})
    assert done.returncode != 0
    assert said in done.stderr


def test_temporary_files_have_a_limit() -> None:
    """A full /tmp must not fill the node."""
    [deployment] = of_kind(render(PROMETHEUS), "Deployment")
    [tmp] = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "tmp"]
    assert tmp["emptyDir"] == {"sizeLimit": "64Mi"}


def test_the_alerts_can_be_chosen_and_labelled() -> None:
    """Those of files/alerts.yaml, less those that are not wanted, with the labels that route them."""
    groups = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    [everything] = of_kind(render({"prometheusRule": {"enabled": True}}), "PrometheusRule")
    assert everything["spec"]["groups"] == groups
    given = {"enabled": True, "disabledAlerts": names[:1], "alertLabels": {"team": "ml", "severity": "page"}}
    [some] = of_kind(render({"prometheusRule": given}), "PrometheusRule")
    rules_left = [rule for group in some["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert [rule["alert"] for rule in rules_left] == names[1:]
    assert {rule["labels"]["team"] for rule in rules_left} <= {"ml"}
    assert {rule["labels"]["severity"] for rule in rules_left} <= {"page"}


def test_the_runbooks_are_where_the_values_say() -> None:
    """An address of one's own before the alert's heading; the texts beside it stay."""
    page = "https://docs.example.com/alerts.html"
    [given] = of_kind(render({"prometheusRule": {"enabled": True, "runbookUrl": page}}), "PrometheusRule")
    for group in given["spec"]["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["runbook_url"] == f"{page}#{rule['alert'].lower()}"
            assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}


def test_the_dashboards_arrive_as_they_were_written() -> None:
    """Braces of Grafana's own templates included."""
    [config] = of_kind(render({"dashboards": {"enabled": True}}), "ConfigMap")
    files = {path.name: path.read_text(encoding="utf-8") for path in (CHART / "files" / "dashboards").glob("*.json")}
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: yaml.safe_load(text) for name, text in config["data"].items()} == {
        name: yaml.safe_load(text) for name, text in files.items()
    }


def test_metrics_keep_the_labels_of_the_rollout() -> None:
    """`namespace` and `service` say where the model is, not where autocanary's pod is."""
    for kind, endpoints in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        name = kind[0].lower() + kind[1:]
        [monitor] = of_kind(render({name: {"enabled": True}}), kind)
        [endpoint] = monitor["spec"][endpoints]
        assert (endpoint["honorLabels"], endpoint["path"], endpoint["port"]) == (True, "/metrics", "http")


@pytest.mark.parametrize(
    ("given", "annotations"),
    [
        ({}, {"helm.sh/resource-policy": "keep"}),
        ({"keep": False}, None),
        ({"annotations": {"a": "b"}}, {"helm.sh/resource-policy": "keep", "a": "b"}),
    ],
)
def test_the_definitions_are_part_of_the_release_and_kept(
    given: dict[str, Any], annotations: dict[str, str] | None
) -> None:
    """The very ones that `autocanary crds` prints, with the annotation that makes Helm keep them."""
    made = of_kind(render({"crds": given}), "CustomResourceDefinition")
    assert [each["metadata"].pop("annotations", None) for each in made] == [annotations] * 2
    assert made == definitions()


def test_what_no_variant_sets_has_its_effect() -> None:
    """The values of a few lines that the variants leave at their defaults."""
    documents = render(
        {
            "nameOverride": "gate",
            "image": {"pullPolicy": "Always"},
            "livenessProbe": {"initialDelaySeconds": 7},
            "readinessProbe": {"periodSeconds": 9},
            "resources": {"limits": {"memory": "1Gi"}},
            "securityContext": {"runAsUser": 1000},
            "podDisruptionBudget": {"enabled": False},
            "rbac": {"create": False},
            "dashboards": {"enabled": True, "labels": {"dashboards": "yes"}},
            "podMonitor": {
                "enabled": True,
                "namespace": "monitoring",
                "interval": "20s",
                "scrapeTimeout": "5s",
                "relabelings": [{"action": "labeldrop", "regex": "a"}],
                "metricRelabelings": [{"action": "labeldrop", "regex": "b"}],
            },
        }
    )
    made = {each["kind"] for each in documents}
    assert made.isdisjoint({"PodDisruptionBudget", "ClusterRole", "Role", "RoleBinding", "ClusterRoleBinding"})
    found = container(documents)
    assert found["imagePullPolicy"] == "Always"
    assert (found["livenessProbe"]["initialDelaySeconds"], found["readinessProbe"]["periodSeconds"]) == (7, 9)
    assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert found["resources"]["limits"]["memory"] == "1Gi"
    assert found["securityContext"]["runAsUser"] == 1000
    [deployment] = of_kind(documents, "Deployment")
    assert deployment["metadata"]["name"] == "autocanary-gate"
    assert of_kind(documents, "ConfigMap")[0]["metadata"]["labels"]["dashboards"] == "yes"
    [monitor] = of_kind(documents, "PodMonitor")
    assert monitor["metadata"]["namespace"] == "monitoring"
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("20s", "5s")
    assert (endpoint["relabelings"][0]["regex"], endpoint["metricRelabelings"][0]["regex"]) == ("a", "b")


def test_the_package_holds_what_an_installation_needs_and_no_more(tmp_path: Path) -> None:
    """The definitions once, as a template; alerts, dashboards and the README; not the variants."""
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        names = {name.removeprefix("autocanary/") for name in archive.getnames()}
    assert {"README.md", "values.schema.json", "templates/crds.yaml", "files/alerts.yaml"} <= names
    assert {
        "files/policy.schema.json",
        *(f"files/dashboards/{path.name}" for path in (CHART / "files" / "dashboards").iterdir()),
    } <= names
    assert [name for name in names if name.startswith(("crds/", "ci/", "."))] == []
    said = helm("template", "autocanary", str(package), given=PROMETHEUS).stdout
    assert said.count("kind: CustomResourceDefinition") == 2
