"""``status --watch`` of 30 services on a real pseudo-terminal of 80 columns and 24 lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PROGRAM = textwrap.dedent(
    """
    from autocanary.cli import backend, follow, root
    from autocanary.model.progress import Phase
    from tests.cli.fake_client import START, FakeRolloutClient, rollout

    names = [f"recommender-{number:02d}" for number in range(30)]
    ended = {"recommender-00", "recommender-01"}
    client = FakeRolloutClient(
        *(rollout(Phase.PROMOTED if name in ended else Phase.PROGRESSING, service=name) for name in names)
    )
    backend.open_client = lambda *_: client
    follow.now = lambda: START + 60
    root.main()
    """
)


def _screen(seconds: float = 60.0) -> str:
    """What the program wrote until its first whole screen; then Ctrl-C."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "status", "--watch"],
        env={**environment, "TERM": "xterm", "PYTHONPATH": str(_ROOT)},
        cwd=_ROOT,
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    text, deadline = "", time.monotonic() + seconds
    try:
        while "lists all of them" not in text and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                text += os.read(terminal, 65536).decode("utf-8", "replace")
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(10)
        finally:
            child.kill()
            child.wait()
            os.close(terminal)
    return text


def test_thirty_services_fit_on_a_small_screen() -> None:
    """Running ones first, a line each, and a last line that says how many are left out."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", _screen())
    lines = [line.rstrip() for line in plain.replace("\r", "").split("\n") if line.strip()]
    assert lines[0].split()[:2] == ["SERVICE", "PHASE"]
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.startswith("recommender-")]
    assert len(rows) == 21
    assert {row.split()[1] for row in rows} == {"Progressing"}
    assert lines[len(rows) + 1] == "and 9 more; `autocanary status` lists all of them"
