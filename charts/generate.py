"""The parts of the chart that are made from something else: ``python charts/generate.py`` writes them all.

The rules of its roles come from the program's list of rights, its definitions from crds/, the format of
policies from docs/policy.schema.json, the README and the schema's descriptions from the comments in
values.yaml. The table of rights in docs/operations.md is made here as well. tests/chart compares every file
with what this makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from autocanary.kube.rbac import RBAC_RULES, NamespaceScope

__all__ = ["FILES", "Value", "documented"]

_HERE = Path(__file__).resolve().parent
CHART = _HERE / "autocanary"
_POLICY = "policy."  # what the definitions of policies are called by, among the chart's own


class Value(NamedTuple):
    """One documented value: its path, its default and what is said about it."""

    path: tuple[str, ...]
    default: Any
    meaning: str

    @property
    def name(self) -> str:
        return ".".join(self.path)


# --- the rights


def rules() -> str:
    """templates/_rules.tpl."""
    parts = ["{{- /* Made by charts/generate.py from autocanary/kube/rbac.py; do not edit. */ -}}"]
    for scope in NamespaceScope:
        lines = [line for rule in RBAC_RULES if rule.scope is scope for line in _rule(rule)]
        parts.append("\n".join([f'{{{{- define "autocanary.rules.{scope.value}" -}}}}', *lines, "{{- end -}}"]))
    return "\n\n".join(parts) + "\n"


def _rule(rule: Any) -> Iterator[str]:
    yield f"# {rule.reason[0].upper()}{rule.reason[1:]}."
    yield f"- apiGroups: [{json.dumps(rule.group) if not rule.group else rule.group}]"
    yield f"  resources: [{rule.resource}]"
    yield f"  verbs: [{', '.join(rule.verbs)}]"


# --- the definitions

_CRDS_HEAD = """\
{{- /* Made by charts/generate.py from crds/; do not edit. Helm installs what lies in crds/ once and never
       upgrades it, so .helmignore hides that folder and the definitions are part of the release. */ -}}
{{- define "autocanary.crdAnnotations" -}}
{{- $annotations := ternary (dict "helm.sh/resource-policy" "keep") (dict) .Values.crds.keep -}}
{{- with merge (dict) .Values.crds.annotations $annotations }}
  annotations: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}
{{- if .Values.crds.install }}
"""


def crds() -> str:
    """templates/crds.yaml."""
    texts = []
    for path in sorted((CHART / "crds").glob("*.yaml")):
        text = path.read_text(encoding="utf-8").removeprefix("---\n")
        text = re.sub(r"\{\{|\}\}", lambda found: f'{{{{ "{found[0]}" }}}}', text)
        texts.append(
            re.sub(
                r"^metadata:$",
                'metadata:{{ include "autocanary.crdAnnotations" . }}',
                text,
                count=1,
                flags=re.M,
            )
        )
    return _CRDS_HEAD + "---\n".join(texts) + "{{- end }}\n"


# --- the format of policies


def policy_schema() -> str:
    """files/policy.schema.json, which templates/_policies.tpl reads."""
    definitions = _policy_definitions()
    root = definitions.pop(f"{_POLICY}RolloutPolicy")
    return json.dumps({**root, "definitions": definitions}, indent=1, ensure_ascii=False) + "\n"


def _policy_definitions() -> dict[str, Any]:
    """The published schema as definitions of draft 7, which is what every Helm 3 understands."""
    published = json.loads((_HERE.parent / "docs" / "policy.schema.json").read_text(encoding="utf-8"))
    inner = published.pop("$defs")
    del published["$schema"]
    return {f"{_POLICY}{name}": _portable(node) for name, node in {"RolloutPolicy": published, **inner}.items()}


def _portable(node: Any) -> Any:
    if isinstance(node, list):
        return [_portable(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: _portable(each) for name, each in node.items()}
    if isinstance(made.get("$ref"), str):
        # Beside a $ref, draft 7 reads nothing.
        return {"$ref": made["$ref"].replace("#/$defs/", f"#/definitions/{_POLICY}")}
    if isinstance(made.get("pattern"), str) and made["pattern"].startswith("^(?=.)"):
        # Go's regular expressions look nowhere ahead.
        made |= {"pattern": made["pattern"].replace("(?=.)", "", 1), "minLength": 1}
    return made


# --- the values


def documented() -> tuple[Value, ...]:
    """Every value of values.yaml that has a comment beginning with ``--``, in order."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    root = yaml.compose(text)
    return tuple(_values(root, yaml.safe_load(text), text.splitlines(), ()))


def _values(node: Any, value: Any, lines: list[str], above: tuple[str, ...]) -> Iterator[Value]:
    for key, inner in node.value:
        path, meaning = (*above, key.value), _comment(lines, key.start_mark.line)
        if meaning:
            yield Value(path, value[key.value], meaning)
        elif isinstance(inner, yaml.MappingNode):
            yield from _values(inner, value[key.value], lines, path)


def _comment(lines: list[str], line: int) -> str:
    """What the comment right above a line says; empty when it does not begin with ``--``."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().removeprefix("#").strip())
        if found[0].startswith("--"):
            return " ".join(found).removeprefix("--").strip()
    return ""


def values_schema() -> str:
    """values.schema.json: as written, with the values' descriptions and the format of policies put in."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    own = {name: each for name, each in schema["definitions"].items() if not name.startswith(_POLICY)}
    schema["definitions"] = {**own, **_policy_definitions()}
    for value in documented():
        node = schema
        for part in value.path:
            node = node["properties"][part]
        if "$ref" not in node:
            node["description"] = value.meaning
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


_README = """\
# autocanary

<!-- Made by `python charts/generate.py` from values.yaml; do not edit. -->

The [Helm](https://helm.sh) chart of autocanary, which steps KServe's `canaryTrafficPercent` up on evidence
and rolls back on a breach. Kubernetes {kubernetes} or newer; KServe and Prometheus are yours.

```sh
helm install autocanary charts/autocanary --namespace autocanary --create-namespace \\
  --set image.repository=registry.example.com/autocanary \\
  --set prometheus.url=http://prometheus-operated.monitoring:9090 \\
  --set-file policies.first=policies/first.yaml
```

[Operations](../../docs/operations.md) tells how to run, upgrade and remove it,
[Security](../../docs/security.md) what it may do and why. `ci/` holds values for the common variants; each is
installed by the tests.

## What it makes

| Object | When |
|---|---|
| Deployment, Service | always |
| ServiceAccount | `serviceAccount.create` |
| ClusterRole and binding; or a Role and binding in each of `namespaces` | `rbac.create` |
| Role and binding for the Lease, in its own namespace | `rbac.create` and `leaderElection` |
| CustomResourceDefinitions `canaryrollouts` and `rolloutpolicies` | `crds.install` |
| ConfigMap with the policies | `policies` |
| PodDisruptionBudget | `podDisruptionBudget.enabled` and two replicas or more |
| NetworkPolicy | `networkPolicy.enabled` |
| ServiceMonitor, or PodMonitor | `serviceMonitor.enabled`, or `podMonitor.enabled` |
| PrometheusRule | `prometheusRule.enabled` |
| ConfigMap with Grafana dashboards | `dashboards.enabled` |

Secrets are never made, only mounted: name yours in `prometheus.tokenSecret` and its like.

## Values

A value that is not listed here is an error.

{table}
"""


def readme() -> str:
    """README.md."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    oldest = re.sub(r"[^\d.]*(\d+\.\d+).*", r"\1", chart["kubeVersion"])
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    for value in documented():
        default = json.dumps(value.default, ensure_ascii=False).replace("|", "\\|")
        meaning = re.sub(r"<(\w+)>", r"`\1`", value.meaning).replace("|", "\\|")
        rows.append(f"| `{value.name}` | `{default}` | {meaning} |")
    return _README.format(kubernetes=oldest, table="\n".join(rows))


_BEGIN = "<!-- Made by charts/generate.py: rights -->\n"
_END = "<!-- Made by charts/generate.py: end -->\n"


def operations() -> str:
    """docs/operations.md with its table of rights."""
    text = (_HERE.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    rows = ["| API group | Resource | Verbs | Why |", "|---|---|---|---|"]
    for rule in RBAC_RULES:
        group = f"`{rule.group}`" if rule.group else "core"
        reason = rule.reason + ("; in its own namespace only" if rule.scope is NamespaceScope.HOME else "")
        rows.append(f"| {group} | `{rule.resource}` | {', '.join(rule.verbs)} | {reason} |")
    table = "\n".join(rows)
    return f"{before}{_BEGIN}\n{table}\n\n{_END}{rest.split(_END)[1]}"


FILES: Mapping[str, Callable[[], str]] = {
    "README.md": readme,
    "values.schema.json": values_schema,
    "files/policy.schema.json": policy_schema,
    "templates/_rules.tpl": rules,
    "templates/crds.yaml": crds,
    "../../docs/operations.md": operations,
}
"""Each file that is made, by its path from the chart."""


def main() -> None:
    for name, make in FILES.items():
        (CHART / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
