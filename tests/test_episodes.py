"""Windows of whole episodes: the design, shared episodes, and the split of a step's cost."""

from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from sustainable.core.journal import RowJournal
from sustainable.measuring.blocks import IDLE
from sustainable.measuring.clock import ClockMeter
from sustainable.policies.benchmark.episodes import (
    EpisodesParameters,
    LabelledPolicy,
    Measurement,
    episode_seeds,
    episodes_for,
    measure_episodes,
    per_step,
    time_separately,
)
from sustainable.policies.environments.rollout import Episode, record
from test_rollout import Countdown, constant

PARAMETERS = EpisodesParameters(
    blocks=4,
    window_s=0.05,
    threads=1,
    keep_memory=False,
    seed=3,
    warm_up_limit_s=0.2,
    warm_up_tolerance=0.5,
    overhead_limit=0.9,
    cpu_to_wall_floor=0.1,
    neighbours_limit=0.99,
    repeats=0,
    timed_steps=20,
)


def measured(path: Path, policies: dict[str, Any], blocks: int = 4, seeds: tuple[int, ...] = (1, 2)) -> Any:
    journal = RowJournal(path / "journal.jsonl", "identity")
    replicas = {
        seed: {name: LabelledPolicy(act, {"seed_of": seed}) for name, act in policies.items()}
        for seed in seeds
    }
    parameters = EpisodesParameters(**{**vars(PARAMETERS), "blocks": blocks})
    measure_episodes(Measurement({"here": Countdown()}, replicas, parameters, ClockMeter), journal)
    return journal.rows[1:]


def test_every_block_holds_every_configuration_and_an_idle_window_once(tmp_path):
    rows = measured(tmp_path, {"baseline": constant(1.0), "baseline_twin": constant(1.0)})
    for block in range(4):
        windows = [row for row in rows if row["block"] == block]
        assert sorted(row["configuration"] for row in windows) == ["baseline", "baseline_twin", IDLE]
        assert {row["training_seed"] for row in windows} == {1 + block % 2}
        assert {row["seed_of"] for row in windows if row["configuration"] != IDLE} == {1 + block % 2}


def test_a_killed_measurement_continues_at_the_next_window(tmp_path):
    whole = measured(tmp_path, {"baseline": constant(1.0)})
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]))
    again = measured(tmp_path, {"baseline": constant(1.0)})
    assert [(r["block"], r["configuration"]) for r in again] == [
        (r["block"], r["configuration"]) for r in whole
    ]
    assert again[:3] == whole[:3]


def test_a_policy_that_ends_episodes_early_runs_more_of_them(tmp_path):
    rows = measured(tmp_path, {"good": constant(1.0), "bad": constant(-1.0)}, blocks=2, seeds=(1,))
    good, bad = ([r for r in rows if r["configuration"] == name] for name in ("good", "bad"))
    assert all(3 <= row["steps"] / row["episodes"] <= 4 and row["terminated_share"] == 0 for row in good)
    assert all(row["steps"] == row["episodes"] and row["terminated_share"] == 1 for row in bad)
    assert all(row["return_mean"] == -1 for row in bad)


def test_every_block_has_its_own_episode_seeds():
    assert list(islice(episode_seeds(3, 0), 2)) == [3, 4]
    assert list(islice(episode_seeds(3, 2), 2)) == [200_003, 200_004]


def test_a_window_has_at_least_the_minimum_of_episodes():
    assert len(episodes_for(3, 0.0, Countdown(), constant(1.0), count(0))) == 3


def test_a_window_that_is_too_short_continues():
    assert len(episodes_for(1, 0.01, Countdown(), constant(1.0), count(0))) > 1


def test_windows_of_a_block_have_the_same_number_of_episodes(tmp_path):
    rows = measured(tmp_path, {"baseline": constant(1.0), "other": constant(2.0)}, blocks=2, seeds=(1,))
    assert len({row["episodes"] for row in rows if row["configuration"] != IDLE}) == 1


def test_a_step_is_split_exactly():
    row = {"cpu_time_s": 1.0}
    split = per_step(
        row,
        [Episode(2.0, 30, True), Episode(4.0, 70, False)],
        {"policy_us": 4000.0, "environment_us": 5000.0},
    )
    assert (split["steps"], split["episodes"]) == (100, 2)
    assert split["return_mean"] == 3.0
    assert split["terminated_share"] == 0.5
    assert split["cpu_time_per_step_us"] == pytest.approx(10_000)
    assert split["remainder_us"] == pytest.approx(1000)


def test_an_idle_window_has_no_cost_per_step():
    split = per_step({"cpu_time_s": 0.1}, [], {})
    assert split["episodes"] == split["steps"] == 0
    assert split["cpu_time_per_step_us"] is None


def test_policy_and_environment_are_timed_separately():
    recording = record(Countdown(), constant(1.0), count(0), 50)
    calls: list[int] = []

    def act(observation: Any) -> Any:
        calls.append(1)
        return constant(1.0)(observation)

    times = time_separately(act, Countdown(), recording)
    assert len(calls) == len(recording.observations)
    assert times["policy_us"] > 0
    assert times["environment_us"] > 0
