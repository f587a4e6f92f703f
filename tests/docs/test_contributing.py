"""What CONTRIBUTING.md says about the tree is true."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, code, table_after

_TABLE = "### Modules that are tested through others"


def _modules_without_a_test_file() -> set[tuple[str, str]]:
    """Package and module, where tests/<package> has no test_<module>.py."""
    found = set()
    for path in (ROOT / "autocanary").rglob("*.py"):
        package = path.relative_to(ROOT / "autocanary").parent.as_posix()
        top = package.partition("/")[0]
        tests = ROOT / "tests" if top == "." else ROOT / "tests" / top
        if not path.stem.startswith("__") and not any(tests.glob(f"**/test_{path.stem}.py")):
            found.add((package if top != "." else "autocanary", path.stem))
    return found


def test_every_module_without_a_test_file_is_listed() -> None:
    """A new module gets a test file of its name, or the page says through what it is tested."""
    listed = {
        (row[0].strip("`"), module)
        for row in table_after("CONTRIBUTING.md", _TABLE)
        for module in re.findall(r"`(\w+)`", row[1])
    }
    assert sorted(_modules_without_a_test_file() - listed) == []
    assert [each for each in sorted(listed) if not _module_exists(*each)] == []


def _module_exists(package: str, module: str) -> bool:
    folder = ROOT / "autocanary" / ("" if package == "autocanary" else package)
    return (folder / f"{module}.py").is_file()


def test_every_file_that_is_named_exists() -> None:
    """Paths from the root of the repository, and the modules of the walk-throughs."""
    named = {
        span
        for span in code(ROOT / "CONTRIBUTING.md")
        if re.fullmatch(r"(tests|autocanary|docs|charts)/[\w/.-]+", span)
    }
    assert len(named) > 15
    assert [
        path for path in sorted(named - {"autocanary/prometheus/sources/bentoml.py"}) if not (ROOT / path).exists()
    ] == []
