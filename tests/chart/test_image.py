"""The Dockerfile, read: what the image promises."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from autocanary import __version__

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line.strip() for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
FINAL = LINES[max(at for at, line in enumerate(LINES) if line.startswith("FROM ")) :]


def _of(instruction: str, lines: list[str]) -> list[str]:
    return [line.split(None, 1)[1] for line in lines if line.startswith(f"{instruction} ")]


def test_it_runs_as_a_numbered_user_that_is_not_root() -> None:
    """Kubernetes' runAsNonRoot needs a number, not a name."""
    assert _of("USER", FINAL) == ["65532:65532"]
    assert FINAL.index("USER 65532:65532") < FINAL.index('ENTRYPOINT ["autocanary"]')


def test_it_runs_the_service_and_any_other_command_as_well() -> None:
    """`docker run autocanary` serves; `docker run autocanary crds` prints the definitions."""
    assert (_of("ENTRYPOINT", FINAL), _of("CMD", FINAL)) == (['["autocanary"]'], ['["run"]'])


def test_everything_from_the_index_is_checked_against_a_hash() -> None:
    """No pip install without a lock, hashes or a wheel that was built here."""
    installs = [call for line in LINES for call in re.findall(r"pip [^&]*\binstall\b[^&]*", line)]
    assert len(installs) == 3
    assert [each for each in installs if "--require-hashes" not in each and "--no-index" not in each] == []


def test_nothing_is_installed_or_compiled_in_the_final_stage() -> None:
    """It only takes the finished folder over, and loses the base image's installer."""
    assert [line for line in _of("RUN", FINAL) if "install" in line and "uninstall" not in line] == []
    assert _of("COPY", FINAL) == ["--from=installed /opt/autocanary /opt/autocanary"]
    assert "PYTHONDONTWRITEBYTECODE=1" in TEXT


def test_both_stages_that_meet_have_the_same_python() -> None:
    """A virtual environment only works beside the interpreter that made it."""
    base, *others = _of("FROM", LINES)
    assert re.fullmatch(r"python:3\.12-slim-bookworm@sha256:[0-9a-f]{64} AS base", base)
    assert {line.split()[0] for line in others} == {"base"}


def test_the_label_names_the_version() -> None:
    """The image's labels say what it holds."""
    assert f'VERSION="{__version__}"' in _of("ARG", FINAL)
    assert "org.opencontainers.image.version" in " ".join(_of("LABEL", FINAL))


def test_what_is_copied_is_there_and_not_left_out_of_the_context() -> None:
    """.dockerignore lists what may come in; a missing line would only show when the image is built."""
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    sources = [word for line in _of("COPY", LINES) if not line.startswith("--from") for word in line.split()[:-1]]
    assert {"autocanary", "charts/autocanary/crds", "requirements.lock"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), source
    assert not any(fnmatch.fnmatch(".git", pattern) for pattern in allowed)
