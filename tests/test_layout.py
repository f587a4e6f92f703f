"""The tree itself: one name has one meaning, and each third-party package has its owners."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "autocanary"
MODULES = sorted(PACKAGE.rglob("*.py"))

OWNERS = {
    "apscheduler": {"scheduler"},
    "jinja2": {"page"},
    "kubernetes": {"kube"},
    "markupsafe": {"page"},  # jinja2's own type of text that is markup
    "prometheus_api_client": {"prometheus"},
    "prometheus_client": {"http_server"},
    "promql_parser": {"promql"},
    "pydantic": {"policy_files", "settings"},  # two schemas: of a policy, and of the service's settings
    "pydantic_core": {"policy_files", "settings"},
    "pydantic_settings": {"settings"},
    "requests": {"prometheus", "outbound"},  # two clients with opposite needs: one trusted server, any receiver
    "rich": {"cli"},
    "starlette": {"http_server", "page"},  # two applications on two ports: the probes', and the users'
    "structlog": {"logs"},
    "typer": {"cli"},
    "urllib3": {"kube", "prometheus", "outbound"},  # what kubernetes and requests raise when the network fails
    "uvicorn": {"http_server"},
    "yaml": {"policy_files", "settings", "kube", "cli"},  # policies, settings, kubeconfig, `-o yaml`
}
"""Which packages may import a third-party package. A new owner is a decision, so it is written here."""


def _imports(path: Path) -> Iterator[str]:
    """The top-level names of everything that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _package(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_each_third_party_package_has_its_owners() -> None:
    """The pure packages own none, so they import the standard library alone."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        for name in _imports(path):
            if name not in sys.stdlib_module_names and name != "autocanary":
                found[name].add(_package(path))
    assert found == OWNERS


def test_no_two_modules_have_one_name() -> None:
    """A module's name says what is in it, so it stands for one thing in the whole package."""
    paths = defaultdict(list)
    for path in MODULES:
        if not path.stem.startswith("__"):
            paths[path.stem].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in paths.items() if len(found) > 1} == {}


def test_no_two_classes_have_one_name() -> None:
    """The same for public classes."""
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_tests_of_scheduler_caches_and_queues_use_what_is_public() -> None:
    """A private attribute of another object ties a test to how it works, not to what it does."""
    found = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for folder in ("scheduler", "kube", "notifications")
        for path in sorted((Path(__file__).parent / folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if ast.unparse(node.value) not in ("self", "cls") and not node.attr.isupper()  # a module's constant
    ]
    assert found == []


def test_a_long_file_says_why() -> None:
    """A file holds one idea and is read in one sitting; where that takes more than 300 lines, its docstring says why."""
    long, said = set(), set()
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 300:
            long.add(str(path.relative_to(PACKAGE)))
        if "Over 300 lines because " in (ast.get_docstring(ast.parse(text)) or ""):
            said.add(str(path.relative_to(PACKAGE)))
    assert said == long
