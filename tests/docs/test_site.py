"""The documentation builds as a site, and nothing in it leads nowhere."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from tests.docs.pages import ROOT

_OF_THE_REPOSITORY = {"decisions/README.md": "decisions/index.html"}


class Page(HTMLParser):
    """What a browser would follow, load and jump to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.prose: list[str] = []
        self._code = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._code += tag in ("code", "pre", "script", "style")
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        loaded = found.get("src") or (found.get("href") if tag == "link" else None)
        if loaded and found.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(loaded)
        if found.get("id"):
            self.anchors.add(found["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("code", "pre", "script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.prose.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """The pages by their place in the site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return {
        path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in folder.rglob("*.html")
        if path.name != "404.html"
    }


def test_every_page_of_the_documentation_is_in_the_site(site: dict[str, Page]) -> None:
    """And so are the examples, the chart's values and what else the pages link to."""
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    expected = {_OF_THE_REPOSITORY.get(page, page.removesuffix(".md") + ".html") for page in pages}
    expected |= {f"policies/{path.stem}.html" for path in (ROOT / "policies").glob("*.yaml")}
    assert expected - set(site) == set()
    assert {"index.html", "chart.html", "alert-rules.html", "policies/index.html"} <= set(site)


def test_every_link_arrives(site: dict[str, Page]) -> None:
    """At a page of the site, and at the heading it names."""
    broken = [
        f"{place}: {link}" for place, page in site.items() for link in page.links if not _arrives(site, place, link)
    ]
    assert broken == []


def _arrives(site: dict[str, Page], place: str, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme in ("http", "https"):
        return True
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), parts.path)) if parts.path else place
    if path == ".":
        path = "index.html"
    if path not in site:
        return (ROOT / "docs" / path).is_file()  # an image, or JSON
    return not parts.fragment or unquote(parts.fragment) in site[path].anchors or parts.fragment == "__skip"


def test_nothing_is_loaded_from_elsewhere(site: dict[str, Page]) -> None:
    """A cluster without the internet can serve it, and no reader is reported to a third party."""
    elsewhere = [load for page in site.values() for load in page.loads if "//" in load]
    assert elsewhere == []


def test_no_markdown_is_left_over(site: dict[str, Page]) -> None:
    """Tables and lists that GitHub shows are shown here, too."""
    traces = re.compile(r"\|\s*-{3,}|\]\([\w./#-]+\)|^\s*- \w.*\n\s*- \w", re.MULTILINE)
    left = [f"{place}: {found[0]!r}" for place, page in site.items() for found in _found(traces, page)]
    assert left == []


def _found(traces: re.Pattern[str], page: Page) -> Iterator[re.Match[str]]:
    for text in page.prose:
        yield from traces.finditer(text)


def test_the_way_through_the_site_names_each_page_once() -> None:
    """No page is in the navigation twice."""
    lines = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:", 1)[1].split("\ntheme:", 1)[0]
    named = list(_named(yaml.safe_load(lines)))
    assert len(named) == len(set(named)) > 20
    assert named[:3] == ["index.md", "getting-started.md", "concepts.md"]


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from _named(each)


def test_a_link_to_nothing_is_left_for_the_strict_build_to_find(tmp_path: Path) -> None:
    """The hook hides no mistake: only files that exist and are no pages become plain text."""
    from docs.site import on_page_markdown

    class _Page:
        class file:  # noqa: N801 - as MkDocs calls it
            src_uri = "limits.md"

    text = "[gone](../policies/gone.yaml) [image](../Dockerfile) [first](../policies/first.yaml#x) `[a](b.md)`"
    turned = on_page_markdown(text, page=_Page, config=None, files=None)  # type: ignore[arg-type]
    assert turned == "[gone](../policies/gone.yaml) image [first](policies/first.md#x) `[a](b.md)`"
