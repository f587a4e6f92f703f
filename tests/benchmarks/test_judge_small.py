"""A small run of the benchmark, with bounds that chance respects and a broken judge does not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from autocanary.analysis.parameters import ComparisonParameters, Margin
from benchmarks.judge.cost import cost
from benchmarks.judge.crowd import BatchComparison
from benchmarks.judge.picture import detection, false_rollbacks, late_detection
from benchmarks.judge.report import as_json, faster_peers, format_duration, page, percent
from benchmarks.judge.traffic import LOADS, ROWS, TickCounts
from benchmarks.judge.trials import OUR_RULES, RULES, Result, run

SEED = 7
DOCS = Path(__file__).resolve().parents[2] / "docs"
RUNS = 300


@cache
def results(row: str, load: float, runs: int = RUNS) -> dict[str, Result]:
    return {each.rule: each for each in run(row, load, runs, SEED)}


@pytest.mark.parametrize(("row", "load"), [("A2", 10.0), ("A5", 100.0), ("A8", 1.0)])
def test_healthy_rollouts_are_not_rolled_back(row: str, load: float) -> None:
    """False rollbacks stay under alpha (at 5 % more than 28 of 300 has a probability of 1e-3)."""
    found = results(row, load)
    for rule in OUR_RULES:
        assert found[rule].ended <= 28
    assert found["default"].ended <= 6  # ten times what a long run shows


def test_healthy_rollouts_are_shown_non_inferior() -> None:
    """Nine of ten pass the first step within the four hours, half of them within half an hour."""
    found = results("A2", 10.0)
    for rule in OUR_RULES:
        assert found[rule].passed >= 270
        assert 240.0 <= (found[rule].passed_after or 0.0) <= 1800.0


def test_bad_rollouts_are_rolled_back() -> None:
    """0.1 % to 1 % at 100 rps: all, and as fast as a long run says, within a third."""
    found = results("B1", 100.0)
    for rule, seconds, failures in (
        ("fast", 60, 7),
        ("default", 150, 16),
        ("robust", 240, 26),
        ("strict", 210, 23),
    ):
        each = found[rule]
        assert each.ended == RUNS
        assert each.median == pytest.approx(seconds, rel=0.34)
        assert each.failed == pytest.approx(failures, rel=0.34)
        assert (each.ninety or 0.0) <= 3.0 * seconds
    assert found["Flagger"].median == pytest.approx(660, rel=0.34)


def test_dead_canary_is_rolled_back_at_the_second_sample() -> None:
    """0.1 % to 100 % at 10 rps; without a cap, at the first."""
    found = results("B4", 10.0)
    assert [found[rule].median for rule in ("fast", "default", "robust", "strict")] == [10.0, 20.0, 20.0, 20.0]
    assert found["Flagger"].median == 360.0
    assert found["Argo"].median == 60.0


def test_cap_prevents_false_rollbacks_in_bursts() -> None:
    """Clusters on one side: `fast` is fooled as documented, the capped presets are not."""
    found = results("A6", 100.0)
    assert found["fast"].ended > 0.4 * RUNS
    assert found["default"].ended < 0.08 * RUNS
    assert found["z each tick"].ended > 0.5 * RUNS


def test_peer_rules_match_their_documentation() -> None:
    """A fixed threshold kills a healthy 0.9 % service; a z-test at every evaluation kills a third of all."""
    found = results("A2", 10.0)
    assert found["Flagger"].ended > 0.9 * RUNS
    assert found["Argo"].ended > 0.9 * RUNS
    assert 0.2 * RUNS < found["z each tick"].ended < 0.7 * RUNS
    assert found["Kayenta-like"].ended < 0.3 * RUNS


def test_villes_bound_at_the_edge_of_the_margin() -> None:
    """10,000 rollouts exactly at the edge, 240 evaluations each: at most alpha are ever rolled back."""
    parameters = ComparisonParameters(alpha=0.05, block=10.0, samples=1, cap=None, fail_margin=Margin(1.25, 0.01))
    rng = np.random.default_rng(SEED)
    runs = 10_000
    crowd = BatchComparison(parameters, runs, 3)
    ever = np.zeros(runs, dtype=np.bool_)
    for tick in range(240):
        step, weight = tick // 80, (10, 25, 50)[tick // 80]
        n_c, n_s = rng.poisson(2.0 * weight, runs), rng.poisson(2.0 * (100 - weight), runs)
        p_s = rng.choice([0.0, 0.005, 0.03])
        e_c, e_s = rng.binomial(n_c, 1.25 * p_s + 0.01), rng.binomial(n_s, p_s)
        crowd.update(step, weight, TickCounts(n_c, e_c, n_s, e_s))
        ever |= crowd.reached(parameters.bound)
    # alpha and three standard errors; and not so few that the edge would not be one.
    assert 0.001 <= ever.mean() <= 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / runs)


def test_the_same_seed_gives_the_same_figures() -> None:
    """Runs can be repeated, and another seed is another run."""
    assert run("B4", 10.0, 40, 3) == run("B4", 10.0, 40, 3)
    assert run("B4", 1.0, 40, 3) != run("B4", 1.0, 40, 4)


def made_up() -> list[Result]:
    return [
        Result(
            row.name,
            load,
            rule,
            200,
            ended,
            90.0 if ended else None,
            None,
            5.0 if ended else None,
            150,
            600.0,
        )
        for row in ROWS.values()
        for load in row.loads
        for rule, ended in zip(RULES, (0, 1, 2, 3, 150, 200, 190, 40, 9, 5, 6, 7), strict=True)
    ]


def test_the_page_has_all_rows_and_says_how_it_was_made() -> None:
    """Command, seed, runs, every row at every load, and links to what lies beside it."""
    text = page(made_up(), command="python -m benchmarks.judge --runs 200", seed=5)
    assert "`python -m benchmarks.judge --runs 200` with seed 5" in text
    assert text.count("\n| A3 | ") == len(LOADS)
    assert "| B1: 0.1 % to 1 % | 100 rps | – | 1.5 min / 5 |" in text
    assert "0.50 % | 1.0 % | 1.5 % | 75 % | 100 % |" in text
    assert text.count("\n| D3: ") == 3
    assert "\n| C10: rare traffic: 0.5 % to 50 % | 0.05 rps | – |" in text
    found = json.loads(as_json(made_up(), command="c", seed=5))
    assert len(found["results"]) == len(made_up())
    assert found["results"][1]["low"] < 0.005 < found["results"][1]["high"]


def kept() -> tuple[list[Result], str, int]:
    raw = json.loads((DOCS / "judge-benchmark.json").read_text(encoding="utf-8"))
    return [Result.from_dict(each) for each in raw["results"]], raw["command"], raw["seed"]


def test_page_and_pictures_are_made_from_the_figures_beside_them() -> None:
    """No one has edited them by hand, and none of them is from another run."""
    results, command, seed = kept()
    assert (DOCS / "judge-benchmark.md").read_text(encoding="utf-8") == page(results, command=command, seed=seed)
    for name, picture in (
        ("false-rollbacks", false_rollbacks),
        ("detection", detection),
        *([("late", late_detection)] if any(each.row == "C1" for each in results) else []),
    ):
        assert (DOCS / "images" / f"judge-{name}.svg").read_text(encoding="utf-8") == picture(results)


def test_how_it_decides_quotes_the_figures() -> None:
    """Each figure of the summary stands in the benchmark."""
    results, _, _ = kept()
    text = (DOCS / "how-it-decides.md").read_text(encoding="utf-8")
    head = next(line for line in text.splitlines() if line.startswith("| Healthy, rolled"))
    lines = re.findall(r"^\| A\d: .*$", text, re.MULTILINE)
    rules = [cell.strip() for cell in head.strip("|").split("|")][1:]
    assert len(lines) >= 5
    for line in lines:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for rule, cell in zip(rules, cells, strict=True):
            shares = [each.ended / each.runs for each in results if (each.row, each.rule) == (name[:2], rule)]
            assert cell == percent(max(shares)), (name, rule)
    rows = re.findall(r"^\| B\d: .*$", text, re.MULTILINE)
    assert len(rows) >= 4
    for line in rows:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        load = float(name.rpartition(" %, ")[2].removesuffix(" rps").replace(",", ""))
        for rule, cell in zip(rules, cells, strict=True):
            each = next(e for e in results if (e.row, e.load, e.rule) == (name[:2], load, rule))
            assert cell == f"{format_duration(each.median or 0.0)} / {each.failed or 0.0:,.0f}", (name, rule)


def test_a_faster_peer_is_named_only_if_it_makes_no_more_mistakes() -> None:
    """Every peer of the made-up figures is faster; those that roll back as few healthy ones are listed."""
    found = faster_peers([replace(each, median=600.0 if each.rule == "default" else 90.0) for each in made_up()])
    assert {each.rule for each in found} == {"Kayenta-like", "mSPRT", "O'Brien-Fleming", "bets alone"}
    slow = [replace(each, median=100.0) for each in made_up()]
    assert faster_peers(slow) == []
    never = [replace(each, median=None if each.rule == "default" else 9000.0) for each in made_up()]
    assert {each.ours for each in faster_peers(never)} == {None}


def test_harm_before_the_onset_is_a_mistake() -> None:
    """The rows of late harm: times from the onset, and those that ended before it apart."""
    found = results("C3", 100.0, 60)
    assert found["default"].early == 0
    assert 240.0 <= (found["default"].median or 0.0) <= 480.0
    assert found["Argo"].early > 20
    assert found["bets alone"].ended == 60
    assert 0.0 < (found["Flagger"].median or 0.0) <= 420.0


def test_shared_outages_and_gaps_roll_back_few() -> None:
    """Though each side is scraped at its own phase, and one is not scraped for minutes."""
    for row in ("D1", "D3", "D4"):
        found = results(row, 100.0, 60)
        assert found["default"].ended <= 1, row
    assert results("D4", 100.0, 60)["Flagger"].ended == 60
    assert results("D3", 100.0, 60)["z each tick"].ended > 30


def test_the_figures_are_svg_with_a_bar_for_each_number() -> None:
    """Well-formed, titled, and one bar with words per figure."""
    for picture, bars in ((false_rollbacks, 8 * 10), (detection, 4 * 4 * 10), (late_detection, 9 * 10)):
        root = ElementTree.fromstring(picture(made_up()))  # noqa: S314 - made here
        space = "{http://www.w3.org/2000/svg}"
        assert root.find(f"{space}title") is not None
        assert len(root.findall(f"{space}rect/{space}title")) == bars


def test_formats_shares_and_durations() -> None:
    """Percent and durations with the digits that matter."""
    assert [percent(each) for each in (0.0, 0.0002, 0.041, 0.87)] == ["0 %", "0.02 %", "4.1 %", "87 %"]
    assert [format_duration(each) for each in (10, 150, 4320)] == ["10 s", "2.5 min", "1 h 12 min"]


def test_the_state_is_small() -> None:
    """The cost table says its size; the time is the machine's and is not judged."""
    size = int(cost(samples=60).split("largest | ")[1].split(" ")[0].replace(",", ""))
    assert 1000 < size < 4000
