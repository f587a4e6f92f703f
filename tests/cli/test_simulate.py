"""``autocanary simulate``: what it asks for, and what users and programs read."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autocanary.app.simulation import SimulationSummary
from autocanary.cli import backend, printing
from autocanary.errors import InputError
from autocanary.model.policy import Policy
from autocanary.simulator.releases import STANDARD_RELEASES, SimulatedRelease
from tests.cli.conftest import Invoke

HEAD = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\n"
GOOD = HEAD + "metadata: {name: %s}\nspec: {selector: {}, stepWeights: [10, 100], stepDuration: 1m}\n"


class FakeSimulation:
    """Stands in for the simulation; ``asked`` is what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.notes: list[str] = []
        self.fault: InputError | None = None

    def simulate(
        self, policies: Sequence[tuple[str, Policy]], releases: Sequence[SimulatedRelease], **more: Any
    ) -> tuple[list[SimulationSummary], list[str]]:
        if self.fault is not None:
            raise self.fault
        more.pop("on_progress")(1, 2)
        self.asked = {"policies": [name for name, _ in policies], "releases": tuple(releases), **more}
        found = [
            SimulationSummary(name, release, (75.0, 90.0), (1500.0,) * 7, 1, (0, 0, 1, 2, 3, 5, 8, 13, 21, 34))
            for release in releases
            for name, _ in policies
        ]
        return found, self.notes


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> FakeSimulation:
    made = FakeSimulation()
    monkeypatch.setattr(backend, "simulate", made.simulate)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, "prod")


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(GOOD % name)
    return path


def test_simulates_the_standard_releases_by_default(invoke: Invoke, asked: FakeSimulation, file: Path) -> None:
    """150 runs of each, seed 1, 4 hours."""
    result = invoke("simulate", str(file))
    assert result.exit_code == 0
    assert asked.asked == {
        "policies": ["prod"],
        "releases": STANDARD_RELEASES,
        "runs": 150,
        "seed": 1,
        "horizon": 14400.0,
    }


def test_numbers_are_whole_on_a_narrow_terminal(
    invoke: Invoke, asked: FakeSimulation, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal breaks the lines; no figure is cut, and no row has more than 80 characters."""

    def narrow(stream: Any = None, width: int = 60, **_: Any) -> Console:
        return Console(file=stream or sys.stdout, force_terminal=True, width=width, color_system=None)

    monkeypatch.setattr(printing, "console", narrow)
    result = invoke("simulate", str(file))
    assert result.exit_code == 0
    assert "ROLLED BACK" in result.stdout
    assert "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_table_has_a_row_for_each_release(invoke: Invoke, asked: FakeSimulation, file: Path) -> None:
    """What was simulated, how it ended with its interval, how long it took and what it cost."""
    result = invoke("simulate", str(file))
    assert max(map(len, result.stdout.splitlines())) <= 80
    rows = {part.split()[0]: part for part in result.stdout.split("\n\n")[1:]}
    assert set(rows) == {release.name for release in STANDARD_RELEASES}
    for part in ("0.5 % → 5 %, after 15m", "20.0 % (5.7 to 51.0)", "1m15s, 1m30s", "3, 21", "25m"):
        assert part in rows["late-15m"]
    assert "80 ms → 160 ms" in rows["slow"]
    assert "in bursts" in rows["bursty"]
    assert "1m after 100 %" in rows["late-in-bake"]
    assert "10 % of scrapes fail" in rows["missed-scrapes"]
    assert "candidate not scraped for 8m" in rows["not-scraped"]
    assert "both fail for 3m" in rows["shared-outage"]
    assert "120 ms for the first 5m" in rows["cold-start"]
    assert "policy" not in result.stdout
    assert result.stderr == ""


def test_a_described_release_alone_is_simulated(invoke: Invoke, asked: FakeSimulation, file: Path) -> None:
    """Errors in percent, times as durations."""
    flags = "--rps 2 --base-error 0.1% --canary-error 1% --base-latency 50ms --canary-latency 0.2s --onset 5m"
    more = "--bursts --runs 7 --seed 3 --horizon 30m"
    assert invoke("simulate", str(file), *flags.split(), *more.split()).exit_code == 0
    (release,) = asked.asked["releases"]
    assert release == SimulatedRelease("release", 2.0, 0.1, 1.0, 0.05, 0.2, 300.0, bursts=True)
    assert (asked.asked["runs"], asked.asked["seed"], asked.asked["horizon"]) == (7, 3, 1800.0)


def test_json_has_the_documented_fields(invoke: Invoke, asked: FakeSimulation, file: Path) -> None:
    """Fractions of 1, seconds, and null where something never happened."""
    result = invoke("simulate", str(file), "--rps", "2", "--canary-error", "1 %", "-o", "json")
    (entry,) = json.loads(result.stdout)["releases"]
    assert list(entry) == [
        "name",
        "rps",
        "base_error",
        "canary_error",
        "runs",
        "rolled_back",
        "promoted",
        "undecided",
        "seconds_to_rollback",
        "bad_requests",
        "seconds_to_promotion",
    ]
    assert (entry["name"], entry["rps"], entry["base_error"], entry["canary_error"]) == (
        "release",
        2.0,
        0.005,
        0.01,
    )
    assert entry["rolled_back"]["share"] == 0.2
    assert entry["rolled_back"]["low"] < 0.2 < entry["rolled_back"]["high"]
    assert entry["promoted"] == {"share": 0.7}
    assert entry["undecided"] == {"share": 0.1}


def test_two_policies_stand_side_by_side(invoke: Invoke, asked: FakeSimulation, tmp_path: Path) -> None:
    """A row for each below the release; in JSON each entry says whose it is."""
    one, two = written(tmp_path, "careful"), written(tmp_path, "quick")
    result = invoke("simulate", str(one), str(two), "--rps", "5")
    lines = [line for line in result.stdout.splitlines() if "careful" in line or "quick" in line]
    assert len(lines) == 2
    assert [line.strip() for line in lines] == ["policy careful", "policy quick"]
    assert result.stdout.count("release  5/s") == 1
    found = json.loads(invoke("simulate", str(one), str(two), "--rps", "5", "-o", "json").stdout)["releases"]
    assert [(each["policy"], each["name"]) for each in found] == [
        ("careful", "release"),
        ("quick", "release"),
    ]


def test_two_policies_of_one_name_are_distinguished_by_their_files(
    invoke: Invoke, asked: FakeSimulation, tmp_path: Path
) -> None:
    """A policy and its successor."""
    paths = [tmp_path / name for name in ("old.yaml", "new.yaml")]
    for path in paths:
        path.write_text(GOOD % "prod")
    assert invoke("simulate", *map(str, paths)).exit_code == 0
    assert asked.asked["policies"] == [str(path) for path in paths]


def test_prints_what_is_not_simulated(invoke: Invoke, asked: FakeSimulation, file: Path) -> None:
    """On stderr, so that programs read on."""
    asked.notes = ["prod: no windows: steps may be taken at any time"]
    result = invoke("simulate", str(file), "-o", "json")
    assert "no windows" in result.stderr
    assert "windows" not in result.stdout


def test_invalid_policy_exits_1(invoke: Invoke, asked: FakeSimulation, tmp_path: Path) -> None:
    """With the place of each fault, as `validate` has it."""
    path = tmp_path / "wrong.yaml"
    path.write_text(HEAD + "metadata: {name: wrong}\nspec: {selector: {}, stepWeights: [50, 10]}\n")
    result = invoke("simulate", str(path))
    assert result.exit_code == 1
    assert f"{path}:4:" in result.stderr
    assert asked.asked == {}


def test_a_file_holds_one_policy(invoke: Invoke, asked: FakeSimulation, tmp_path: Path) -> None:
    """Not several, and not none."""
    path = tmp_path / "some.yaml"
    for text, said in (
        ("---\n".join(GOOD % name for name in ("one", "two")), "holds 2 policies; expected one"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n", "holds 0 policies; expected one"),
    ):
        path.write_text(text)
        result = invoke("simulate", str(path))
        assert result.exit_code == 2
        assert said in result.stderr


def test_policy_that_cannot_be_simulated_is_a_usage_error(invoke: Invoke, asked: FakeSimulation, file: Path) -> None:
    """One sentence."""
    asked.fault = InputError("policy llm cannot be simulated: nothing in it is about failed requests")
    result = invoke("simulate", str(file))
    assert result.exit_code == 2
    assert result.stderr.startswith("autocanary simulate: policy llm cannot be simulated")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rps", "0"], "above 0"),
        (["--rps", "many"], "above 0"),
        (["--rps", "nan"], "above 0"),
        (["--base-error", "0.1"], "such as 0.5%"),
        (["--canary-error", "101%"], "between 0% and 100%"),
        (["--base-latency", "0s"], "0.1ms or more"),
        (["--canary-latency", "soon"], "expected a duration"),
        (["--onset", "5 minutes"], "expected a duration"),
        (["--horizon", "0"], "is not a positive duration"),
        (["--runs", "0"], "--runs"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_wrong_flags_are_one_sentence(
    invoke: Invoke, asked: FakeSimulation, file: Path, flags: list[str], said: str
) -> None:
    """Exit code 2, and nothing is simulated."""
    result = invoke("simulate", str(file), *flags)
    assert result.exit_code == 2
    assert said in result.stderr
    assert asked.asked == {}


def test_more_than_two_policies_and_the_same_twice(invoke: Invoke, asked: FakeSimulation, tmp_path: Path) -> None:
    """Both are mistakes."""
    paths = [str(written(tmp_path, name)) for name in ("a", "b", "c")]
    result = invoke("simulate", *paths)
    assert (result.exit_code, "expected one or two" in result.stderr) == (2, True)
    result = invoke("simulate", paths[0], paths[0])
    assert (result.exit_code, "given twice" in result.stderr) == (2, True)


def test_the_whole_command_really_simulates(invoke: Invoke, file: Path) -> None:
    """No stand-in: a dead canary is rolled back in every run, and a second time with the same figures."""
    arguments = ("simulate", str(file), "--canary-error", "100%", "--rps", "50", "--runs", "5", "-o", "json")
    result = invoke(*arguments)
    assert result.exit_code == 0
    (entry,) = json.loads(result.stdout)["releases"]
    assert entry["rolled_back"]["share"] == 1.0
    assert 0 < entry["seconds_to_rollback"]["p50"] < 180
    assert entry["seconds_to_promotion"]["p50"] is None
    assert invoke(*arguments).stdout == result.stdout
