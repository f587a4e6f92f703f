"""The words that user-visible texts do not use, each with the word to use instead."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT

__all__ = ["RULES", "Rule", "Text", "texts_of_code", "texts_of_page", "texts_of_python", "violations"]


@dataclass(frozen=True)
class Rule:
    """A pattern that must not match, the word to use instead, and a sentence that breaks the rule.

    ``in_names``: whether the word is also wrong in the names of code; in statistics a step has one.
    """

    pattern: str
    instead: str
    example: str
    in_names: bool = True

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        return re.finditer(self.pattern, text, re.IGNORECASE)


@dataclass(frozen=True)
class Text:
    """A user-visible text and the line on which it begins."""

    where: str
    line: int
    text: str
    is_name: bool = False


RULES = (
    Rule(r"\banew\b", "again, or the exact verb: recreated, renumbered", "the service was made anew"),
    Rule(
        r"\b((some|any|every|no)body|(some|any|every)one)\b",
        "the user, the client or the component; or 'you'",
        "somebody changed the weight",
    ),
    Rule(r"\bwho(m|ever)\b", "the user or the client, by name", "whoever released it"),
    Rule(r"\b(a|the|each|every) persons?\b|\ba person's\b", "a user, or 'you'", "it waits for a person"),
    Rule(r"\bpeople\b", "users", "what people ask"),
    Rule(r"\b(un)?told\b|\btells\b|\btelling\b", "reported, notified, logged; distinguished", "it is told once"),
    Rule(r"\bhiccups?\b", "a short failure", "a hiccup of the API server"),
    Rule(r"\bseen to\b", "verified", "it is seen to have left"),
    Rule(r"\bat (its|his|their) word\b", "as stated", "the status is taken at its word"),
    Rule(r"\bdraws? (lots|for each)\b", "chooses at random", "Knative draws lots"),
    Rule(r"\bfor want of\b", "because there is no", "for want of data"),
    Rule(r"\b(is|are|not|be) fought\b|\bfights? (it|them|him)\b", "keeps the change and pauses", "it is not fought"),
    Rule(r"\bacquit(s|ted|tal)?\b", "non-inferior", "it acquits the candidate"),
    Rule(r"\bculprits?\b|\bto blame\b|\bblamed?\b|\binnocent\b", "the cause, the contribution", "the culprit"),
    Rule(r"\bmetronome\b", "timer", "called by the metronome"),
    Rule(r"\bcouriers?\b", "delivery worker", "the courier"),
    Rule(r"\bbystanders?\b", "fakes", "the bystanders"),
    Rule(r"\bledgers?\b", "rollout store", "kept in the ledger"),
    Rule(r"\btake_up\b|\btake[ns]? up\b", "process, start, continue", "its result is taken up"),
    Rule(r"\bhurr(y|ies)\b", "requeue", "hurry the next tick"),
    Rule(r"\bsurroundings\b", "dependencies", "its surroundings"),
    Rule(r"\bwish(es|ed)?\b", "user request", "the wish of a user"),
    Rule(r"\bmend(s|ed|ing)?\b", "repair", "mend stable"),
    Rule(r"\bbeyond (a )?doubt\b", "proven, with the number", "it is beyond doubt"),
    Rule(r"\bby itself\b|\bby themselves\b", "automatically, or name the actor", "it ends by itself"),
    Rule(r"\bas it were\b", "nothing", "the beat, as it were"),
    Rule(r"\bstands? still\b|\bstood still\b", "makes no progress", "the rollout stands still"),
    Rule(r"\blives on\b", "keeps running", "it lives on"),
    Rule(r"\bcaught\b|\bcatches a\b", "intercepted", "the revision was caught"),
    Rule(r"\bsettl(e|es|ed|ing)\b(?!\.jsonl)", "finalize", "the promotion is settled"),
    Rule(r"\bbreach(es|ed)?\b", "violation", "a breach rolls back"),
    Rule(
        r"\b(a|each|every|the|next|last|one|two|first|this|per|of|bad|[0-9]+|many|all) looks?\b(?!-)",
        "evaluation",
        "at the next look",
    ),
    Rule(r"\blooked at\b|\blooks? on\b", "evaluated, read", "it was looked at"),
    Rule(r"\bthe judge\b(?!-)", "analysis", "the judge holds"),
    Rule(r"\bthe beat\b", "tick", "the beat of the service"),
    Rule(
        r"\b(the|a|present|live|last) pictures?\b|\bpictures of\b", "cache, diagram, view", "the picture of the cluster"
    ),
    Rule(r"\b(which|the|a|own) rooms?\b|\brooms of\b", "package", "which room it belongs to"),
    Rule(r"\bthe engine\b|\bdecision engine\b", "controller", "the engine decides"),
    Rule(r"\b(empty|the|its) books\b", "controller state", "begin with empty books"),
    Rule(r"\breadings\b|\b(a|one|last|bad) reading\b", "measurement", "the last reading"),
    Rule(r"\b(is|are|was|were) away\b", "unreachable, down", "Prometheus is away"),
    Rule(r"\b(is|are|was|were) to (be|become|replace|have)\b", "will, must", "it is to replace stable"),
    Rule(r"(?<!Flagger's )(?<!/)(?<!feature )\bgates?\b", "policy webhook", "a gate must say yes", in_names=False),
    Rule(r"\bplays?\b|\bplayed\b|\bplaying\b", "runs, simulates", "the demo plays a scenario"),
)


def violations(text: Text, rules: tuple[Rule, ...] = RULES) -> list[str]:
    """Each word of a text that a rule excludes: where it is, and what to use instead."""
    found = []
    for rule in rules:
        if text.is_name and not rule.in_names:
            continue
        for match in rule.matches(text.text):
            line = text.line + text.text.count("\n", 0, match.start())
            around = text.text[max(0, match.start() - 30) : match.end() + 30].replace("\n", " ")
            found.append(f"{text.where}:{line}: {match[0]!r} in '…{around}…': use {rule.instead}")
    return found


def texts_of_page(path: Path) -> Iterator[Text]:
    """A page, a values file or a policy: its whole text without the targets of links."""
    text = path.read_text(encoding="utf-8")
    yield Text(str(path.relative_to(ROOT)), 1, re.sub(r"\]\([^)\s]+\)", "]", text))


def texts_of_python(path: Path) -> Iterator[Text]:
    """The docstrings of a module, and every string in it that reads as a sentence or a part of one."""
    where = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield Text(where, node.lineno, node.value)


def texts_of_code(path: Path) -> Iterator[Text]:
    """What a reader of the code reads: docstrings, comments, and the names of functions, classes and parameters.

    Strings that a test only passes on are not meant: they are also what a careless user writes.
    """
    where, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Text(where, node.lineno, node.value.value)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield Text(where, node.lineno, _words(node.name), is_name=True)
        elif isinstance(node, ast.arg):
            yield Text(where, node.lineno, _words(node.arg), is_name=True)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in _PYTHON_NAMES:
            yield Text(where, node.lineno, _words(node.id), is_name=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(where, token.start[0], token.string)


_PYTHON_NAMES = frozenset({"caught"})  # what `pytest.raises` gives


def _words(name: str) -> str:
    """``test_holds_when`` and ``RolloutStore`` as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").strip()
