"""Tables on the pages that repeat what the code says are equal to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

from autocanary.decide.rules import CHAIN
from autocanary.kube.rbac import RBAC_RULES
from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Component, WebhookType
from autocanary.model.progress import Notification, Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import to_document
from autocanary.notifications.channel import EVENT_NAMES
from autocanary.notifications.webhook import cloudevent, payload
from autocanary.ports import Message
from autocanary.prometheus.exporters import HistogramMetric
from autocanary.prometheus.sources import EXPORTERS
from tests.cli.fake_client import decision, rollout
from tests.docs.pages import ROOT, blocks, table_after, text_of

_NOT_GIVEN = "Not given in this version"
_ONLY_NAMES_THEM = ("core/reason.py", "notify/wording.py", "kube/events.py")


def _sections(page: str) -> dict[str, str]:
    parts = re.split(r"^### (.+)\n", text_of(page), flags=re.MULTILINE)
    return {heading: body.strip() for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_reason_is_explained_and_nothing_else_is() -> None:
    """The word that an alert shows has a section with text."""
    sections = _sections("docs/troubleshooting.md")
    assert sorted(sections) == sorted(reason.value for reason in Reason)
    assert [heading for heading, body in sections.items() if len(body) < 30] == []


def test_reasons_that_are_said_not_to_be_given_are_the_ones_that_no_code_gives() -> None:
    """The page neither hides a reason that exists nor describes one that does not."""
    package = ROOT / "autocanary"
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in package.rglob("*.py")
        if path.relative_to(package).as_posix() not in _ONLY_NAMES_THEM
    )
    used = set(re.findall(r"\bReason\.([A-Z_]+)\b", sources)) | set(re.findall(r'"([A-Z][A-Za-z]+)"', sources))
    unused = {each.value for each in Reason if not used & {each.name, each.value}}
    sections = _sections("docs/troubleshooting.md")
    said = {heading for heading, body in sections.items() if body.startswith(_NOT_GIVEN)}
    phases = {phase.value for phase in Phase}  # they share words with reasons, so the text cannot tell
    assert said - phases == unused - phases


def test_the_chain_is_shown_whole_and_in_its_order() -> None:
    """The table of rules is the chain."""
    rows = table_after("docs/how-it-decides.md", "## The chain of rules")
    assert [row[1].strip("`") for row in rows if row[0]] == [rule.name for rule in CHAIN]


def test_every_kind_of_measurement_has_a_row() -> None:
    """As many rows as kinds; the page uses its own wording."""
    assert len(table_after("docs/how-it-decides.md", "## Measurements are not verdicts")) == len(MeasurementKind)


def test_every_phase_is_described() -> None:
    """The phases of the concepts are all there are."""
    rows = table_after("docs/concepts.md", "not final:  newer revision")
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == {phase.value for phase in Phase}


def test_the_diagram_is_the_one_beside_the_rules() -> None:
    """The state diagram is drawn once in the code and shown as it is there."""
    source = Path(ROOT / "autocanary/decide/rules/__init__.py").read_text(encoding="utf-8")
    drawn = dedent(source.split("::\n\n", 1)[1].split('"""', 1)[0]).rstrip()
    assert max(map(len, drawn.splitlines())) <= 80  # the site shows it whole at 1280 px
    assert drawn in text_of("docs/concepts.md")


def test_every_event_is_listed_with_both_its_names() -> None:
    """The word in a policy and the word in the log."""
    rows = table_after("docs/notifications.md", "## Events")
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert listed == {name: event.value for name, event in EVENT_NAMES.items()}


def test_every_type_of_policy_webhook_is_listed() -> None:
    """All five of Flagger's types that are honoured."""
    rows = table_after("docs/notifications.md", "## Policy webhooks")
    assert {row[0].strip("`") for row in rows} == {each.value for each in WebhookType}


def test_the_webhooks_fields_are_the_ones_that_are_sent() -> None:
    """The example has exactly the fields of a real payload, and the table explains each."""
    progress = Progress(Phase.STAGING, Reason.ROLLOUT_STARTED, "", started_at=0, phase_since=0)
    rollout = Rollout(
        namespace="models", name="mnist-00002", service="mnist", service_uid="u", api_version="v",
        component=Component.PREDICTOR, stable="a", candidate="b", policy_name="p", policy_digest="d",
        policy_document={}, progress=progress,
    )  # fmt: skip
    notification = Notification("id", "rollout_started", 0.0, "Staging", 0, 0, "RolloutStarted", "words")
    message = Message(notification, rollout)
    sent = cloudevent(message, "", payload(message, "", lambda _: None))
    shown = next(
        json.loads(block.text)
        for block in blocks(ROOT / "docs/notifications.md")
        if block.language == "json" and '"rollout"' in block.text
    )
    assert list(shown) == list(sent)
    assert list(shown["data"]) == list(sent["data"])
    constant = {"specversion", "datacontenttype"}
    assert _named("The attributes of the event:") == set(shown) - constant
    fields = {f"metrics[].{name}" for name in shown["data"]["metrics"][0]}
    assert _named("The fields of `data`:") == set(shown["data"]) | fields


def _named(words: str) -> set[str]:
    """What the first column names of the table of docs/notifications.md after some words."""
    rows = table_after("docs/notifications.md", words)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def test_the_rights_are_the_codes() -> None:
    """Group, resource and verbs, row by row."""
    rows = table_after("docs/operations.md", "## Rights")
    listed = [("" if row[0] == "core" else row[0].strip("`"), row[1].strip("`"), row[2]) for row in rows]
    assert listed == [(right.group, right.resource, ", ".join(right.verbs)) for right in RBAC_RULES]


def test_the_sources_stand_in_the_order_in_which_auto_prefers_them() -> None:
    """One row and one section per source."""
    rows = table_after("docs/metrics-recipes.md", "turn it on ([below]")
    order = list(dict.fromkeys(exporter.source.value for exporter in EXPORTERS))
    assert [row[0].strip("`") for row in rows] == order
    headings = re.findall(r"^## ([a-z-]+)$", text_of("docs/metrics-recipes.md"), re.MULTILINE)
    assert headings == order


def test_every_series_that_is_asked_for_is_named() -> None:
    """Each metric's name is on the page of recipes."""
    page = text_of("docs/metrics-recipes.md")
    names = {counted.metric.removesuffix("_count") for exporter in EXPORTERS for counted in exporter.counted}
    names |= {
        measure.metric
        for exporter in EXPORTERS
        for alternatives in exporter.measures.values()
        for measure in alternatives
        if isinstance(measure, HistogramMetric)
    }
    assert sorted(name for name in names if name not in page) == []


def test_the_packages_are_those_of_the_import_contract() -> None:
    """The drawing in the page is the contract that is checked."""
    contract = text_of("pyproject.toml").split("layers = [", 1)[1].split("]", 1)[0]
    packages = [line.split() for line in re.findall(r'"([^"]+)"', contract)]
    drawing = text_of("docs/architecture.md").split("```\n", 2)[1]
    drawn = [re.split(r"\s{2,}", line.removeprefix("autocanary."))[0] for line in drawing.splitlines()]
    assert [line.split() for line in drawn] == packages


def test_every_sentence_of_the_commands_that_is_explained_is_one_they_say() -> None:
    """The messages on the page are those of the commands; … replaces names."""
    sources = (
        " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "autocanary").rglob("*.py"))
        + " connection refused "
    )
    said = re.sub(r"""["']\s*\n\s*f?["']""", "", sources)  # texts over several lines
    said = re.sub(r"\{[^{}]*\}", "…", said).replace("_PATIENCE", "30s")
    rows = table_after("docs/troubleshooting.md", "## Errors of commands")
    assert {row[1] for row in rows} == {"1", "2", "3", "–"}
    quoted = [words for row in rows for words in re.findall(r'"([^"]+)"', row[0])]
    parts = [part.strip(" :;,") for words in quoted for part in words.replace("30s", "…").split("…")]
    assert [part for part in parts if part and part not in said] == []


def test_every_field_that_programs_may_read_is_in_the_documents() -> None:
    """The table of `status -o json` names fields that exist; they stay."""
    document = to_document(full_rollout())
    rows = table_after("docs/cli.md", "## Output for programs")
    fields = [field for row in rows for field in re.findall(r"`([\w.]+)`", row[0])]
    assert len(fields) > 20

    def has(field: str) -> bool:
        here: object = document
        for part in field.split("."):
            if not isinstance(here, dict) or part not in here:
                return False
            here = here[part]
        return True

    assert [field for field in fields if not has(field)] == []
    status = document["status"]
    assert {"name", "verdict", "violations", "passes"} <= set(status["metrics"][0])
    assert {"time", "event", "phase", "reason", "message", "weight"} <= set(status["decisions"][0])
    assert [each["type"] for each in status["conditions"]] == ["Promoted", "Progressing"]


def full_rollout() -> Rollout:
    """One with an evaluation and a decision."""
    return rollout(decisions=(decision(10, "step_taken", 25, "StepPassed", "x"),))
