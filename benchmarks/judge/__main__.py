"""All rows and all rules of the benchmark of the analysis, as a page with diagrams and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.judge.cost import cost
from benchmarks.judge.picture import detection, false_rollbacks, late_detection
from benchmarks.judge.report import as_json, faster_peers, page
from benchmarks.judge.traffic import ROWS
from benchmarks.judge.trials import Result, run

__all__ = ["main"]

_SEED = 20261122
_RUNS = 5000
_HARMFUL_RUNS = 2000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--runs", type=int, default=_RUNS, help="runs of each healthy row and load")
    parser.add_argument("--harmful-runs", type=int, default=_HARMFUL_RUNS, help="the same for harmful rows")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--record", type=Path, metavar="FILE", help="a line per row and load; goes on with it")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="write page, JSON and pictures there")
    parser.add_argument("--cost", action="store_true", help="what one evaluation costs, and the size of the state")
    chosen = parser.parse_args(arguments)
    if chosen.cost:
        print(cost())
        return 0
    began = time.monotonic()
    results = _all(chosen.runs, chosen.harmful_runs, chosen.seed, chosen.jobs, chosen.record)
    command = _command(chosen)
    text = page(results, command=command, seed=chosen.seed)
    if chosen.docs:
        (chosen.docs / "judge-benchmark.md").write_text(text, encoding="utf-8")
        (chosen.docs / "judge-benchmark.json").write_text(
            as_json(results, command=command, seed=chosen.seed), encoding="utf-8"
        )
        for name, picture in (
            ("false-rollbacks", false_rollbacks),
            ("detection", detection),
            ("late", late_detection),
        ):
            (chosen.docs / "images" / f"judge-{name}.svg").write_text(picture(results), encoding="utf-8")
    else:
        print(text)
    for each in faster_peers(results):
        print(f"a peer is faster at no more false rollbacks: {each}", file=sys.stderr)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


def _all(runs: int, harmful_runs: int, seed: int, jobs: int, record: Path | None) -> list[Result]:
    """Every row at every load, in the order of the page."""
    wanted = [(row, load) for row in ROWS.values() for load in row.loads]
    found: dict[tuple[str, float], list[Result]] = {}
    if record is not None and record.exists():
        for line in record.read_text(encoding="utf-8").splitlines():
            results = [Result.from_dict(each) for each in json.loads(line)]
            found[results[0].row, results[0].load] = results
    todo = [each for each in wanted if (each[0].name, each[1]) not in found]
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {
            pool.submit(run, row.name, load, harmful_runs if row.harmful else runs, seed): (row.name, load)
            for row, load in todo
        }
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            if record is not None:
                with record.open("a", encoding="utf-8") as file:
                    print(json.dumps([each.to_dict() for each in done.result()]), file=file)
            print(f"\r{len(found)} of {len(wanted)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [result for row, load in wanted for result in found[row.name, load]]


def _command(chosen: argparse.Namespace) -> str:
    words = ["python -m benchmarks.judge"]
    for flag, value, default in (
        ("--runs", chosen.runs, _RUNS),
        ("--harmful-runs", chosen.harmful_runs, _HARMFUL_RUNS),
        ("--seed", chosen.seed, _SEED),
    ):
        if value != default:
            words.append(f"{flag} {value}")
    return " ".join([*words, "--docs docs"])


if __name__ == "__main__":
    sys.exit(main())
