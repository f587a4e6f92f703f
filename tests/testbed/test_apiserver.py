"""What the API server of the tests hands out, without starting it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from tests.testbed.servers import ApiServer


def test_a_kubeconfig_is_never_half_there(tmp_path: Path) -> None:
    """It is rewritten for every kubectl, while another thread's kubectl may be reading it."""
    api = ApiServer(folder=tmp_path)
    path = api.kubeconfig()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            api.kubeconfig()

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(2000):
            assert json.loads(path.read_text())["current-context"] == "testbed"
    finally:
        stop.set()
        for writer in writers:
            writer.join(5)
