"""Claims about study A's candidates on the tables of other hosts."""

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from judging import analysis_of
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.forecasting.hosts import Folders, benchmarks, judge_tables
from sustainable.reporting.forecasting.run import read_searches
from sustainable.reporting.forecasting.task import AuditedTask
from sustainable.statistics import CONFIRMED, REFUTED
from test_audited_reporting import PARAMETERS, make_searches

REFERENCE = Path(__file__).parents[1] / "data/reference"

WIDTHS = (4, 8, 16, 32)
COUNTS = ("parameters", "size_bytes", "proxy_flops", "proxy_parameters")


def table_of(eager=6.0, reverse=False, weights="w"):
    """All pairs of widths on two runtimes: operations as the product of the widths, CPU time as operations
    (or, with `reverse`, the other way round), and `eager` times as much in eager PyTorch."""
    rows = []
    for width_0, width_1 in product(WIDTHS, WIDTHS):
        flops = 1000 * width_0 * width_1 + width_0
        time = 1e6 / flops if reverse else flops / 1e6
        for runtime, factor in (("torch-eager", eager), ("onnxruntime", 1.0)):
            rows.append(
                {"family": "grid", "width_0": width_0, "width_1": width_1, "precision": "fp32"}
                | {"runtime": runtime, "weights_sha256": f"{weights}{width_0}x{width_1}", "flops": flops}
                | dict.fromkeys(COUNTS, flops)
                | {"sparsity": 1 - flops / 2e6, "validation_accuracy": 0.8, "refused": None}
                | {"cpu_time_ms_batch_1": factor * time, "cpu_time_ms_batch_64": factor * time}
                | dict.fromkeys(("cpu_time_se_batch_1", "cpu_time_se_batch_64"), 0.0)
            )
    return pd.DataFrame(rows)


def task_with(table, **others):
    audited, run = SimpleNamespace(batch_sizes=(1, 64)), SimpleNamespace(candidates=table)
    rest = dict.fromkeys(("ranking", "decomposition", "controls", "invested", "pay_back", "fresh"))
    return AuditedTask(name="lake", audited=audited, run=run, **rest, **others)


def judge(tmp_path, own, **tables):
    for host, table in tables.items():
        (tmp_path / "hosts" / host).mkdir(parents=True)
        table.to_csv(tmp_path / "hosts" / host / "lake.candidates.csv", index=False)
    task = task_with(own, searching=make_searches())
    analysis = analysis_of(tasks={"lake": task}, parameters=PARAMETERS)
    return judge_tables(Folders(tmp_path / "data", tmp_path / "hosts"), analysis, {})


def test_counted_operations_are_judged_on_every_host_that_timed_the_same_networks(tmp_path):
    others = {"equal": table_of(), "reversed": table_of(reverse=True), "stranger": table_of(weights="v")}
    found = judge(tmp_path, table_of(), **others)
    verdicts = {host: (claims["C4"][0].verdict, claims["C4"][1].verdict) for host, claims in found.items()}
    assert verdicts == {"equal": (CONFIRMED, CONFIRMED), "reversed": (REFUTED, CONFIRMED)}
    assert list(found["equal"]) == ["C4"]  # nobody searched these tables


def test_this_run_is_judged_again_on_the_deployments_that_both_timed(tmp_path):
    slow = table_of(eager=1.0)  # here no runtime is faster, except on one network
    slow.loc[slow["runtime"].eq("torch-eager") & slow["width_0"].eq(32), "cpu_time_ms_batch_1"] *= 9
    part = table_of()
    part = part[part["width_0"].lt(32) | part["runtime"].eq("torch-eager")]
    there, here = judge(tmp_path, slow, part=part)["part"]["C4"]
    assert there.parts["lake, does not rank runtimes"] == CONFIRMED
    assert "1.00 [1.00, 1.00] (batch 1)" in here.reason  # without the network that the host timed once


def write_searches(folder, **changes):
    """Write the searches of `make_searches` as the stage does; `changes` of the searched space."""
    made = make_searches(ours=5, rival=20)
    rows = [
        {"searcher": name, "seed": seed, "evaluation": at, "reward": reward, "distinct": 60, "tie": 0}
        for name, found, seeds in (("random", 20, 6), ("ppo_stepwise", 5, 6))
        for seed in range(seeds)
        for at, reward in ((1, 1.0), (found + seed % 3, 4.0))
    ]
    search, metrics = folder / "search/lake-near", folder / "metrics/lake-near"
    search.mkdir(parents=True)
    metrics.mkdir(parents=True)
    pd.DataFrame(rows).assign(test_reward=None).to_csv(search / "improvements.csv", index=False)
    deployed = {"width_0": 4, "width_1": 4, "precision": "fp32", "runtime": "onnxruntime"}
    chosen = deployed | {
        "reward": 4.0,
        "test_reward": None,
        "tie": 1,
        "log_cpu_time": 0.0,
        "accuracy_loss": 0.0,
    }
    groups = {"random": "ranked", "ppo_stepwise": "ranked"}
    space = {"median_reward": 1.0, "noise": "none", "ties": [deployed], "best_test_reward": None}
    choices = made.choices | {
        "groups": groups, "points": 64, "grid_points": 64, "oracle_on_grid": True,
        "space": made.choices["space"] | space | changes,
        "choices": {"oracle": chosen, "ppo_stepwise": chosen | {"evaluation": 5, "distinct": 60}},
    }  # fmt: skip
    (search / "choices.json").write_text(json.dumps(choices))
    costs = read_json(REFERENCE / "metrics/weather/searchers_cost.json")
    (metrics / "searchers_cost.json").write_text(json.dumps({name: costs[name] for name in groups}))
    return search


def test_searches_on_the_table_of_another_host_are_judged_beside_those_of_this_run(tmp_path):
    write_searches(tmp_path / "data")
    there, here = judge(tmp_path, table_of(), near=table_of())["near"]["C3"]
    assert (there.verdict, here.verdict) == (CONFIRMED, REFUTED)  # ours was made the better one there


def test_test_rewards_are_all_there_or_all_missing(tmp_path):
    search = write_searches(tmp_path, best_test_reward=9.0)
    with pytest.raises(UserError, match=r"improvements.csv: test_reward is missing, but choices.json has"):
        read_searches(search, dict.fromkeys(("random", "ppo_stepwise")))


def write_benchmark(place, change):
    """Write the shipped benchmark of the weather as a host has it, after `change` of its rows."""
    place.mkdir()
    for name in ("weather.hits.csv", "weather.conditions.json"):
        shutil.copyfile(REFERENCE / "benchmark" / name, place / name)
    rows = pd.read_csv(REFERENCE / "benchmark/weather.csv")
    change(rows)
    rows.to_csv(place / "weather.csv", index=False)


def test_a_benchmark_is_summarised_in_place_of_this_runs(tmp_path):
    """The chosen deployment takes 20 times as long there, at batch 64."""

    def slow(rows):
        own = rows["configuration"].eq("ppo_stepwise") & rows["batch_size"].eq(64)
        rows.loc[own, ["cpu_time_s", "cpu_time_ms"]] *= 20

    def retrain(rows):
        rows["weights_sha256"] = "v"

    write_benchmark(tmp_path / "slow", slow)
    write_benchmark(tmp_path / "stranger", retrain)
    run = SimpleNamespace(rows=pd.read_csv(REFERENCE / "benchmark/weather.csv"))
    run.metrics = {"baseline": {"seeds": {"1": {}}}}
    task = replace(task_with(table_of(), searching=None), name="weather", run=run)
    found = benchmarks(tmp_path, task, PARAMETERS)
    assert list(found) == ["slow"]
    lines, fresh = found["slow"].audited.lines, found["slow"].fresh
    assert fresh
    ratio = lines["ppo_stepwise"].timings[64].ratio.estimate / lines["oracle"].timings[64].ratio.estimate
    assert 15 < ratio < 25  # both are the same network
