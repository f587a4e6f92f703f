"""A hook of MkDocs: the repository's other texts become pages of the site, and links to them stay true.

On GitHub a page links to `../policies/first.yaml` or `../SECURITY.md`. The site has only docs/, so this adds
the files that pages link to, under a name of their own, and turns the links round. A link to a file that is
no page (the Dockerfile) becomes plain text. A link to nothing stays as it is: `mkdocs build --strict` stops.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

__all__ = ["on_files", "on_page_markdown"]

_ROOT = Path(__file__).resolve().parents[1]
_TEXTS = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/reporting-vulnerabilities.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "charts/autocanary/README.md": "chart.md",
    "policies": "policies/index.md",
}
_SHOWN = {"charts/autocanary/files/alerts.yaml": "alert-rules.md"}
_LINK = re.compile(r"(?<!`)\[([^\]\n]+)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def _places() -> dict[str, str]:
    """Where each file of the repository is in the site, for those outside of docs/."""
    policies = {f"policies/{path.name}": f"policies/{path.stem}.md" for path in _policies()}
    return {**_TEXTS, **_SHOWN, **policies}


def _policies() -> list[Path]:
    return sorted((_ROOT / "policies").glob("*.yaml"))


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are made of files outside of docs/."""
    for source, place in _places().items():
        files.append(File.generated(config, place, content=_content(source)))
    return files


def _content(source: str) -> str:
    if source == "policies":
        return _list_of_policies()
    text = (_ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".md"):
        return text
    return f"# {posixpath.basename(source)}\n\n```yaml\n{text.rstrip()}\n```\n"


def _list_of_policies() -> str:
    rows = [f"| [{path.name}]({path.name}) | {_about(path)} |" for path in _policies()]
    head = "# Examples of policies\n\nEach is valid as it stands. Change the selector, and copy what suits.\n\n"
    return head + "\n".join(["| File | About |", "|---|---|", *rows]) + "\n"


def _about(path: Path) -> str:
    """The first sentence of the comment that a policy begins with."""
    lines = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    text = " ".join(line for line in lines if line and not line.startswith("yaml-language-server"))
    return re.split(r"(?<=[.:])\s", text, maxsplit=1)[0].rstrip(":.") + "."


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001 - MkDocs' names
    """Turn links to the repository's files into links to the site's pages; code is left alone."""
    place = page.file.src_uri
    source = {there: here for here, there in _places().items()}.get(place, f"docs/{place}")
    folder = source if source == "policies" else posixpath.dirname(source)
    parts = _FENCE.split(markdown)
    for number in range(0, len(parts), 2):
        parts[number] = _LINK.sub(lambda found: _turned(found, folder, place), parts[number])
    return "".join(parts)


def _turned(found: re.Match[str], folder: str, place: str) -> str:
    words, target, anchor = found[1], posixpath.normpath(posixpath.join(folder, found[2])), found[3] or ""
    if (_ROOT / target).is_dir() and (_ROOT / target / "README.md").exists():
        target = f"{target}/README.md"
    there = _places().get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    if there is None:
        return words if (_ROOT / target).exists() else found[0]
    return f"[{words}]({posixpath.relpath(there, posixpath.dirname(place) or '.')}{anchor})"
