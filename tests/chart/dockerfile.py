"""The Dockerfile carried out without a container engine: each stage's steps, in a folder instead of a root.

Paths of the image lie below that folder, and the base image is a fresh virtual environment of the Python that
runs the tests. What is copied from the context passes .dockerignore. Nothing else is different.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Stage", "build", "confined", "stages"]

ROOT = Path(__file__).resolve().parents[2]
_WORD = re.compile(r"\$\{(\w+)\}")
_PLACES = re.compile(r"(?<![\w./])/(?=opt/|wheel\b|source\b|tmp\b)")
_CACHE = "PIP_NO_CACHE_DIR"  # the image keeps no cache; the tests may use theirs


@dataclass
class Stage:
    """One stage: its name and its instructions, in order; what it made lies in ``folder``."""

    name: str
    steps: list[tuple[str, str]]
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    folder: Path = Path()

    def path(self, name: str) -> Path:
        """Where a path of this stage lies."""
        return self.folder / os.path.join(self.workdir, name).lstrip("/")

    def python(self) -> Path:
        """The base image's interpreter."""
        return self.folder / "usr" / "local" / "bin" / "python"

    def last(self, instruction: str) -> str:
        """What the last instruction of this name says."""
        return [text for name, text in self.steps if name == instruction][-1]


def stages() -> list[Stage]:
    """The stages of the Dockerfile, read."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: list[Stage] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            found.append(Stage(rest.partition(" AS ")[2] or "final", []))
        elif found:
            found[-1].steps.append((instruction, rest))
    return found


def build(folder: Path) -> dict[str, Stage]:
    """Carry all stages out; by name, the last is ``final``."""
    made: dict[str, Stage] = {}
    for stage in stages():
        stage.folder = folder / stage.name
        stage.folder.mkdir()
        subprocess.run([_base_python(), "-m", "venv", stage.folder / "usr" / "local"], check=True)
        for instruction, text in stage.steps:
            _carry_out(stage, instruction, text, made)
        made[stage.name] = stage
    return made


def _base_python() -> str:
    """The tests' own interpreter, unless it is where the image's user may not read (a home of root's)."""
    for candidate in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        path = Path(candidate).resolve()
        if not path.exists() or not all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents):
            continue
        fits = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))"
        if subprocess.run([candidate, "-c", fits], capture_output=True).returncode == 0:
            return candidate
    return sys.executable


def _carry_out(stage: Stage, instruction: str, text: str, made: dict[str, Stage]) -> None:
    if instruction == "ENV":
        for pair in shlex.split(text):
            name, _, value = pair.partition("=")
            stage.environment[name] = _WORD.sub(lambda word: stage.environment.get(word[1], ""), value)
    elif instruction == "WORKDIR":
        stage.workdir = text
        stage.path(".").mkdir(parents=True, exist_ok=True)
    elif instruction == "RUN":
        _run(stage, text)
    elif instruction == "COPY":
        _copy(stage, shlex.split(text), made)
    else:
        assert instruction in ("ARG", "LABEL", "USER", "EXPOSE", "ENTRYPOINT", "CMD"), instruction


def _run(stage: Stage, command: str) -> None:
    own = {name: value for name, value in stage.environment.items() if name not in (_CACHE, "PATH")}
    environment = {
        "PATH": f"{stage.python().parent}:/usr/bin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        **{name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_CERT") if name in os.environ},
        **own,
    }
    here = _PLACES.sub(f"{stage.folder}/", command)
    done = subprocess.run(["/bin/sh", "-c", here], cwd=stage.path("."), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"


def _copy(stage: Stage, words: list[str], made: dict[str, Stage]) -> None:
    source = words.pop(0).partition("=")[2] if words[0].startswith("--from=") else ""
    *names, target = words
    for name in names:
        origin = made[source].folder / name.lstrip("/") if source else _from_context(name)
        into = stage.path(target) / (origin.name if target.endswith("/") else "")
        into.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            ignore = None if source else shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(origin, into, dirs_exist_ok=True, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(origin, into)


def _from_context(name: str) -> Path:
    """A path of the build context; what .dockerignore leaves out is not there."""
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    assert any(fnmatch.fnmatch(name, pattern) for pattern in allowed), f".dockerignore leaves {name} out"
    return ROOT / name


def confined(user: str, command: list[str]) -> tuple[list[str], bool]:
    """The command as this user on a read-only file system, as far as this machine lets us, and whether the
    file system is read-only then. A user who is not root stays that user."""
    uid, _, gid = user.partition(":")
    as_user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    drop = [*as_user, "--bounding-set=-all", "--"] if os.geteuid() == 0 else []
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    read_only = [*alone, "/bin/sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
    if subprocess.run([*read_only, "/bin/true"], capture_output=True).returncode == 0:
        return [*read_only, *drop, *command], True
    return [*drop, *command], False


def words(text: str) -> list[str]:
    """The exec form of ENTRYPOINT and CMD."""
    found: list[str] = json.loads(text)
    return found
