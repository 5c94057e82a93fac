"""Study B's report on rows made by hand: ratios, splits, doses, memory, survival, claims, findings, pages."""

import json
import math
import re
from dataclasses import asdict, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from judging import PARAMETERS as COMMON
from judging import judged
from notebooks import RULE, make_notebook
from sustainable.core.errors import UserError
from sustainable.policies.returns import share_of
from sustainable.reporting.hosts_tables import hosts_tables
from sustainable.reporting.measured_rows import check_blocks
from sustainable.reporting.pages import latex_sources
from sustainable.reporting.policies.claims import POLICY_CLAIMS
from sustainable.reporting.policies.costs import summarise_memory
from sustainable.reporting.policies.findings import (
    POLICY_FINDINGS,
    Models,
    _differing_between_runtimes,
    _of_enough_models,
    _p_of_pair,
    over_control,
)
from sustainable.reporting.policies.notebook_tables import notebook_tables
from sustainable.reporting.policies.pooling import (
    LargeSaving,
    Pooled,
    large_savings,
    pooled_lines,
    pooled_twin,
    saves_nothing,
)
from sustainable.reporting.policies.returns import Lengths, LengthShare, beside_published
from sustainable.reporting.policies.run import PoliciesRun, checked_table
from sustainable.reporting.policies.summary import (
    Policies,
    policies_metrics,
    policies_values,
    summarise_policies,
)
from sustainable.reporting.policies.tables import policies_tables, survival_table
from sustainable.reporting.templates import render_html, render_latex
from sustainable.reporting.wording import policies_story
from sustainable.statistics import (
    CONFIRMED,
    INCONCLUSIVE,
    NOT_TESTABLE,
    REFUTED,
    Estimate,
    holm,
    paired_p,
    ratio_of_logs,
    student_interval,
)

PARAMETERS = replace(COMMON, policies=replace(COMMON.policies, minimum_models=3))
PUBLISHED = {
    "claims": {f"B{place}": f"Statement {place}." for place in range(1, 7)},
    "best_quantizer_share": {"PTDQ": 0.40, "QAT": 0.36, "PTSQ": 0.24},
    "pruning_survival": [
        {"share": 0.05, "more_than": True, "lost": 0.40},
        {"share": 0.50, "more_than": False, "lost": 0.80},
    ],
    "cells": {"PPO": {"Hopper": {}, "Swimmer": {}}},
}
SEEDS = (1, 2, 3)
REST_US = 4.0
ENVIRONMENTS = {"Hopper-v5": (80.0, 3000.0), "HalfCheetah-v5": (30.0, 4000.0), "Pendulum-v1": (8.0, -150.0)}
RANDOM = {"Hopper-v5": 0.0, "HalfCheetah-v5": -200.0, "Pendulum-v1": -1200.0}
CONFIGURATIONS = {  # method, norm, share, runtime, CPU time of a call, bytes, normalised return
    "baseline": ("none", None, 0.0, "torch-eager", 16.0, 20_000, 1.0),
    "baseline_twin": ("none", None, 0.0, "torch-eager", 16.0, 20_000, 1.0),
    "onnxruntime": ("none", None, 0.0, "onnxruntime", 4.0, 20_000, 1.0),
    "numpy": ("none", None, 0.0, "numpy", 8.0, 20_000, 1.0),
    "ptdq": ("ptdq", None, 0.0, "torch-eager", 45.0, 6_000, 0.99),
    "ptsq": ("ptsq", None, 0.0, "torch-eager", 30.0, 6_000, 0.98),
    "unstructured_l1_50": ("unstructured", "l1", 0.5, "torch-eager", 16.0, 20_000, 0.95),
    "structured_l1_50": ("structured", "l1", 0.5, "torch-eager", 16.0, 8_000, 0.2),
    "structured_l1_50_numpy": ("structured", "l1", 0.5, "numpy", 8.0, 8_000, 0.2),
}
MEGABYTES = {"baseline": 300.0, "ptdq": 306.0, "ptsq": 309.0, "structured_l1_50": 297.0}


def kept_by(environment, kept):
    """The return of a policy that keeps so much of what its baseline has over a random one."""
    random, baseline = RANDOM[environment], ENVIRONMENTS[environment][1]
    return random + kept * (baseline - random)


def steps_of(environment, kept):
    """Hopper falls over sooner when it has lost its return; the others never end early."""
    if environment != "Hopper-v5":
        return 1000
    return round(1000 * kept) if kept < 0.9 else round(1000 - 100 * (1 - kept))


def make_rows(blocks=12, calls=None, kept=None, environments=ENVIRONMENTS, noise=0.002, doses=None):
    """Windows of five episodes; a step costs the call, the environment and a rest, with a little noise."""
    rng, rows = np.random.default_rng(0), []
    for environment in environments:
        for dose in doses or (None,):
            step_us = ENVIRONMENTS[environment][0] if dose is None else 10.0 + dose
            for block in range(blocks):
                for position, (key, about) in enumerate(CONFIGURATIONS.items()):
                    method, norm, share, runtime, call_us, size, left = about
                    call_us, left = (calls or {}).get(key, call_us), (kept or {}).get(key, left)
                    call_us, own_us, rest_us = (
                        value * (1 + noise * rng.standard_normal()) for value in (call_us, step_us, REST_US)
                    )
                    steps = 5 * steps_of(environment, left)
                    cpu_s = steps * (call_us + own_us + rest_us) / 1e6
                    rows.append(
                        {
                            "study": "B", "profile": "paper", "environment": environment, "algorithm": "PPO",
                            "training_seed": SEEDS[block % 3], "configuration": key, "method": method,
                            "norm": norm, "share": share, "runtime": runtime,
                            "weights_sha256": f"{method}{share}{SEEDS[block % 3]}", "size_bytes": size,
                            "block": block, "position": position, "threads": 1, "episodes": 5, "steps": steps,
                            "return_mean": kept_by(environment, left), "wall_time_s": cpu_s,
                            "cpu_time_s": cpu_s, "cpu_j": 5 * cpu_s, "ram_j": cpu_s, "gpu_j": None,
                            "cpu_evidence": "modelled-load", "ram_evidence": "modelled-constant",
                            "gpu_evidence": None, "meter": "m", "note": "",
                            "cpu_time_per_step_us": call_us + own_us + rest_us, "policy_us": call_us,
                            "environment_us": own_us, "remainder_us": rest_us, "neighbours_load": 0.0,
                            "flags": None, "dose_us": dose,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


@cache
def make_returns():
    """Each model's episodes; pruning by 5 % costs nothing, by 50 % only the last seed survives."""
    variants = [("none", "none", None, 0.0), ("ptdq", "ptdq", None, 0.0), ("ptsq", "ptsq", None, 0.0)]
    variants += [("qat", "qat", None, 0.0)]
    for method in ("unstructured", "structured"):
        variants += [(f"{method}_l1_{p:02}", method, "l1", p / 100) for p in (5, 10, 50)]
    left = {"none": 1.0, "ptdq": 0.99, "ptsq": 0.95, "qat": 0.97}
    rows = []
    for environment in ENVIRONMENTS:
        for seed in SEEDS:
            for variant, method, norm, share in variants:
                kept = left.get(method, 0.95 if share < 0.5 or seed == 3 else 0.1)
                for episode in range(4):
                    moved = kept * (1 + 0.01 * (episode - 1.5))
                    rows.append(
                        {
                            "environment": environment, "algorithm": "PPO", "seed": seed, "variant": variant,
                            "method": method, "norm": norm, "share": share, "size_bytes": 100,
                            "episode": episode, "episode_return": kept_by(environment, moved),
                            "steps": steps_of(environment, moved),
                            "terminated": environment == "Hopper-v5",
                            "return_known": True,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


LARGE = {"baseline": 317.0, "ptdq": 304.0, "structured_l1_50": 303.0}


def make_memory(megabytes=MEGABYTES, noise=0.0005, large=LARGE):
    sizes = [("policy", key, size) for key, size in megabytes.items()]
    sizes += [("large", key, size) for key, size in large.items()]
    rng, rows = np.random.default_rng(1), []
    for repeat in range(8):
        for network, key, size in sizes:
            method, norm, share, runtime, *_ = CONFIGURATIONS[key]
            process = size * 2**20 * (1 + noise * rng.standard_normal())
            rows.append(
                {
                    "network": network, "environment": "Hopper-v5", "algorithm": "PPO",
                    "configuration": key, "method": method, "norm": norm, "share": share, "runtime": runtime,
                    "repeat": repeat,
                    "policy_rss_bytes": process - 290 * 2**20, "process_rss_bytes": process,
                    "weights_bytes_disk": 20_000, "weights_bytes_memory": 20_000,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


@cache
def make_workload():
    rows = make_rows(environments=["Hopper-v5"], doses=(0, 20, 50, 100, 200, 500))
    timed_alone = dict.fromkeys(("cpu_j", "ram_j", "cpu_evidence", "ram_evidence"))
    return rows.assign(environment="SimulatedWorkload-v0", **timed_alone)


def make_run(rows=None, memory=None, learned=("Hopper-v5", "HalfCheetah-v5")):
    table = [
        {"environment": name, "algorithm": "PPO", "seeds": list(SEEDS), "total_steps": 10**6,
         "reference_return": 3100.0 if name == "Hopper-v5" else None, "reference_source": "a table",
         "random_return": RANDOM[name], "learned_share": 0.5,
         "policies": [{"seed": seed, "learned": name in learned} for seed in SEEDS]}
        for name in ENVIRONMENTS
    ]  # fmt: skip
    curve = [
        {"environment": name, "algorithm": "PPO", "seed": seed, "step": step,
         "episode_return": kept_by(name, step / 1e6), "episode_length": 500}
        for name in ENVIRONMENTS for seed in SEEDS for step in range(0, 10**6 + 1, 250_000)
    ]  # fmt: skip
    cost = {"cpu_time_s": 100.0, "cpu_j": 500.0, "cpu_evidence": "modelled-load"}
    return PoliciesRun(
        returns=make_returns(),
        learning=pd.DataFrame(curve),
        table=table,
        rows=make_rows() if rows is None else rows,
        workload=make_workload(),
        memory=make_memory() if memory is None else memory,
        notebook=make_notebook(),
        conditions={"host": {"cpu": "a CPU", "isa": "AVX2"}},
        costs={"training": cost, "compress": cost},
    )


@cache
def as_made() -> Policies:
    return summarise_policies(make_run(), RULE, PARAMETERS)


def summarised(**changes) -> Policies:
    return summarise_policies(make_run(**changes), RULE, PARAMETERS) if changes else as_made()


def claims_of(**changes):
    return judge_on(POLICY_CLAIMS, summarised(**changes))


def judge_on(declarations, policies):
    return judged(declarations, PUBLISHED["claims"], policies=policies, parameters=PARAMETERS)


def cell_of(policies, environment):
    return next(cell for cell in policies.cells if cell.environment == environment)


def test_ratios_have_training_seeds_as_their_unit_and_keep_to_one_runtime():
    line = cell_of(summarised(), "HalfCheetah-v5").lines["structured_l1_50_numpy"]
    assert line.reference == "numpy"
    assert line.effects["step"].to_baseline.n == 3
    assert line.effects["step"].to_baseline.estimate == pytest.approx(42 / 50, rel=0.01)
    assert line.effects["step"].same_runtime.estimate == pytest.approx(1, rel=0.01)
    assert line.effects["policy"].to_baseline.estimate == pytest.approx(0.5, rel=0.01)
    assert line.size_ratio == pytest.approx(0.4)
    assert line.kept.estimate == pytest.approx(0.2)


def test_the_split_adds_up_and_finds_the_causes():
    policies = summarised()
    pruned = cell_of(policies, "Hopper-v5").lines["structured_l1_50"].split
    assert pruned["length"].estimate == pytest.approx(math.log(0.2))
    assert abs(pruned["step"].estimate) < 0.01
    quantized = cell_of(policies, "HalfCheetah-v5").lines["ptdq"].split
    assert quantized["length"].estimate == 0
    assert quantized["policy"].estimate == pytest.approx(math.log(79 / 50), rel=0.02)
    for split in (pruned, quantized):
        parts = [split[name].estimate for name in ("length", "policy", "environment", "remainder")]
        assert sum(parts) == pytest.approx(split["total"].estimate)


def test_scores_by_hand():
    scores = cell_of(summarised(), "HalfCheetah-v5").lines["baseline"].scores
    assert scores["energy_uj_per_step"].estimate == pytest.approx(6 * 50, rel=0.01)  # 5 W and 1 W assumed
    assert scores["steps_per_joule"].estimate == pytest.approx(1e6 / 300, rel=0.01)
    assert scores["return_per_joule"].estimate == pytest.approx(4200 / (1000 * 300e-6), rel=0.01)
    assert scores["cpu_us_per_return"].estimate == pytest.approx(50_000 / 4200, rel=0.01)


def test_the_idle_hosts_energy_is_subtracted_and_its_class_is_the_weakest():
    rows = make_rows(environments=["HalfCheetah-v5"])
    idle = rows[rows["configuration"] == "baseline"].assign(
        configuration="idle", wall_time_s=0.5, cpu_j=0.0, ram_j=0.25
    )
    policies = summarised(rows=pd.concat([rows, idle]))
    scores = cell_of(policies, "HalfCheetah-v5").lines["baseline"].scores
    assert scores["energy_uj_per_step"].estimate == pytest.approx(6 * 50, rel=0.01)
    assert scores["net_energy_uj_per_step"].estimate == pytest.approx(5.5 * 50, rel=0.01)  # idle: 0.5 W
    assert (policies.cpu_evidence, policies.energy_evidence) == ("modelled-load", "modelled-constant")


def test_the_twin_is_the_same_model_and_names_the_noise():
    cell = cell_of(summarised(), "Hopper-v5")
    assert cell.lines["baseline_twin"].same_as == "baseline"
    assert cell.lines["numpy"].same_as is None  # the same weights, another runtime
    assert abs(math.log(cell.twin("step").estimate)) < 0.01
    assert (cell.blocks, cell.seeds, cell.ends_early) == (12, 3, True)


def test_amdahl_predicts_what_was_made_to_obey_it():
    doses = summarised().doses
    assert len({dose.dose_us for dose in doses}) == 6
    first = next(dose for dose in doses if (dose.dose_us, dose.key) == (0, "onnxruntime"))
    assert first.predicted == pytest.approx(18 / 30, rel=0.01)
    assert first.speed_up == pytest.approx(4, rel=0.01)
    assert all(abs(math.log(dose.error.estimate)) < 0.01 for dose in doses)


def test_memory_is_compared_over_processes():
    lines = summarised().memory
    assert lines["ptdq"].process.estimate == pytest.approx(306 / 300, rel=0.001)
    assert lines["ptdq"].policy_difference_mib.estimate == pytest.approx(6, abs=0.5)
    assert lines["ptdq"].precise(0.01)
    assert not summarise_memory(make_memory(noise=0.05), "policy", 0.95)["ptdq"].precise(0.01)


def test_survival_stands_beside_the_published_shares():
    policies, said = summarised(), PUBLISHED["pruning_survival"]
    five, fifty = beside_published(policies.survival, policies.largest, said, 0.95)
    assert (five["tested"], five["measured"].estimate) == (0.10, 0)
    assert (fifty["tested"], fifty["measured"].estimate) == (0.50, pytest.approx(2 / 3))
    assert fifty["measured"].n == 12  # two environments, three seeds, two ways of pruning
    for method in ("structured", "unstructured"):  # one policy of three survives half, all survive a tenth
        assert (five[method].estimate, five[method].n) == (0, 6)
        assert fifty[method].estimate == pytest.approx(2 / 3)


def test_every_way_of_counting_survival_stands_below_its_header():
    run = make_run()
    returns = run.returns
    masked = (returns["method"] == "unstructured") & (returns["share"] == 0.5)
    returns = returns.assign(episode_return=returns["episode_return"].mask(masked, -1e6))
    policies = summarise_policies(replace(run, returns=returns), RULE, PARAMETERS)
    table = survival_table(policies, PUBLISHED, PARAMETERS)
    headers = [(column.group, column.header) for column in table.columns]
    shares = dict(zip(headers, table.rows[1].values, strict=True))
    assert shares["Units, raw return", "measured"].estimate == pytest.approx(2 / 3)
    assert shares["Masked weights, raw return", "measured"].estimate == 1.0


def test_the_best_quantizer_is_counted_by_model():
    found = summarised().quantizers
    assert (found.best["ptdq"].estimate, found.best["ptdq"].n, found.ties) == (1.0, 6, 0)


def test_compression_that_shrinks_and_saves_nothing_is_as_published():
    claim = claims_of()["B1"]
    assert claim.verdict == CONFIRMED
    assert claim.parts == {"bytes": CONFIRMED, "cost of a step": CONFIRMED}  # masks are the notebook's
    assert "not testable on this host (modelled-load" in claim.reason
    assert "Pendulum-v1 PPO" in claim.reason


def test_a_saving_that_keeps_the_return_refutes():
    rows = make_rows(calls={"structured_l1_50": 8.0}, kept={"structured_l1_50": 0.97})
    claim = claims_of(rows=rows)["B1"]
    assert (claim.verdict, claim.values["bytes"], claim.values["cost"]) == (REFUTED, CONFIRMED, REFUTED)
    lossy = make_rows(calls={"structured_l1_50": 8.0})
    assert claims_of(rows=lossy)["B1"].verdict == INCONCLUSIVE


def test_a_saving_too_small_to_matter_refutes_no_tendency():
    rows = make_rows(calls={"structured_l1_50": 14.5}, kept={"structured_l1_50": 1.0})  # 3 % and 1.5 %
    claim = claims_of(rows=rows)["B1"]
    assert (claim.verdict, claim.values["single"]) == (CONFIRMED, [])
    assert "the lowest units 50 % by L1 0.97" in claim.reason


def test_pooling_by_hand():
    rows = make_rows(calls={"structured_l1_50": 8.0}, kept={"structured_l1_50": 0.97})
    policies = summarised(rows=rows)
    pooled = {line.key: line for line in pooled_lines(policies.pairs, "step", PARAMETERS)}
    pruned = pooled["structured_l1_50"]
    assert (pruned.ratio.n, pruned.cells, pruned.keeps) == (6, 2, True)
    assert pruned.ratio.estimate == pytest.approx(math.sqrt(42 / 50 * 92 / 100), rel=0.01)
    single = large_savings(policies.pairs, "step", PARAMETERS)
    assert {(one.cell, one.key) for one in single} == {
        ("HalfCheetah-v5 PPO", "structured_l1_50"), ("Hopper-v5 PPO", "structured_l1_50")
    }  # fmt: skip
    assert all(one.keeps and one.p < 0.05 for one in single)
    assert pooled_twin(policies.learned, "step", PARAMETERS).estimate == pytest.approx(1, rel=0.01)


def test_a_compressor_that_leaves_the_bytes_is_named():
    rows = make_rows()
    rows.loc[rows["configuration"] == "ptsq", "size_bytes"] = 20_000
    claim = claims_of(rows=rows)["B1"]
    assert (claim.values["bytes"], claim.values["cost"]) == (REFUTED, CONFIRMED)
    assert "(not smaller: PTSQ)" in claim.reason


def test_episodes_that_cost_less_only_because_they_end_early():
    rows = make_rows(kept={"unstructured_l1_50": 1.0})
    policies = summarised(rows=rows)
    claim = judge_on(POLICY_CLAIMS, policies)["B2"]
    assert (
        "of 2 policies (4 variants; too few policies (2 of 1 environments; needed: 3 of 2))" in claim.reason
    )
    assert claim.verdict == INCONCLUSIVE  # one environment is too few
    every = LengthShare(share_of(4, 4), share_of(8, 8), ["Hopper-v5", "Walker2d-v5"])
    two = replace(policies, lengths=Lengths(every, every))
    assert judge_on(POLICY_CLAIMS, two)["B2"].verdict == CONFIRMED
    cheap = make_rows(kept={"unstructured_l1_50": 1.0}, calls={"unstructured_l1_50": 8.0})
    assert claims_of(rows=cheap)["B2"].verdict == REFUTED
    assert claims_of(learned=("HalfCheetah-v5",))["B2"].verdict == INCONCLUSIVE  # no episode ends early


def test_a_configuration_with_too_few_policies_is_no_tendency():
    def pooled(low, high, n, kept=1.0, environments=2):
        ratio, mean = Estimate((low + high) / 2, low, high, n), Estimate(kept, kept, kept, n)
        return Pooled("ptdq", ratio, mean, 1, environments)

    for lines, verdict in (
        ([pooled(1.0, 1.1, 3)], CONFIRMED),
        ([pooled(1.0, 1.1, 3), pooled(0.5, 1.5, 2)], CONFIRMED),
        ([pooled(1.0, 1.1, 3), pooled(0.5, 1.5, 3)], INCONCLUSIVE),
        ([pooled(1.0, 1.1, 3), pooled(0.8, 0.9, 3)], REFUTED),
        ([pooled(1.0, 1.1, 3), pooled(0.8, 0.9, 3, kept=0.5)], INCONCLUSIVE),
        ([pooled(1.0, 1.1, 2)], INCONCLUSIVE),
        ([pooled(1.0, 1.1, 3, environments=1)], INCONCLUSIVE),
    ):
        assert saves_nothing(lines, [], PARAMETERS) == verdict
    single = [LargeSaving("Hopper-v5 PPO", "ptdq", Estimate(0.8, 0.79, 0.81, 3), 0.001, keeps=True)]
    assert saves_nothing([pooled(1.0, 1.1, 3)], single, PARAMETERS) == REFUTED


def test_flagged_windows_and_a_loud_control_decide_nothing():
    rows = make_rows(calls={"structured_l1_50": 8.0}, kept={"structured_l1_50": 0.97})
    assert claims_of(rows=rows)["B1"].values["cost"] == REFUTED
    rows.loc[(rows["configuration"] == "structured_l1_50") & (rows["block"] > 0), "flags"] = "neighbours"
    assert claims_of(rows=rows)["B1"].values["cost"] == INCONCLUSIVE
    loud = claims_of(rows=make_rows(calls={"baseline_twin": 22.0}))["B1"]
    assert loud.values["cost"] == INCONCLUSIVE
    assert "decided by: the A/A control may differ by 5 %." in loud.reason


def test_the_rates_of_the_pooled_rule():
    """Ten configurations in four cells with three seeds; the seeds' SD is 1.2 %, the cells' 2 %."""

    def rate(verdict, logarithm, runs=15):
        return sum(simulated(rng, logarithm) == verdict for _ in range(runs)) / runs

    rng = np.random.default_rng(0)
    assert rate(CONFIRMED, 0.0) > 0.8
    assert rate(REFUTED, 0.0) < 0.1
    assert rate(REFUTED, math.log(0.9)) > 0.9


def simulated(rng, logarithm):
    """The verdict if one configuration's logarithm of the cost ratio is so large, and that of others is 0."""
    kept, lines, savings = Estimate(1.0, 0.99, 1.01, 12), [], []
    for mean in (logarithm, *[0.0] * 9):
        logs = mean + 0.02 * rng.standard_normal((4, 1)) + 0.012 * rng.standard_normal((4, 3))
        lines.append(Pooled("ptdq", ratio_of_logs(list(logs.ravel())), kept, 4, 4))
        savings += [float(p) for p in ttest_1samp(logs, -math.log(1.05), axis=1, alternative="less").pvalue]
    single = [LargeSaving("cell", "ptdq", kept, p, keeps=True) for p in holm(savings) if p < 0.05]
    wanted = replace(PARAMETERS, policies=replace(PARAMETERS.policies, minimum_models=6))
    return saves_nothing(lines, single, wanted)


def test_lengths_are_counted_by_what_is_left_of_the_return():
    lost, kept = summarised().lengths.lost, summarised().lengths.kept
    assert (lost.share.estimate, lost.share.n, lost.by_variant.n) == (
        1.0,
        2,
        4,
    )  # two seeds, two ways of half
    assert (kept.share.estimate, kept.share.n, kept.by_variant.n) == (1.0, 3, 3 * 3 + 3 * 4 + 2)


def test_a_return_that_counts_the_steps_says_nothing_about_lengths():
    run = make_run()
    counted = run.returns["episode_return"].mask(
        run.returns["environment"] == "Hopper-v5", run.returns["steps"]
    )
    policies = summarise_policies(
        replace(run, returns=run.returns.assign(episode_return=counted)), RULE, PARAMETERS
    )
    assert policies.paid_per_step == ["Hopper-v5"]
    assert (policies.lengths.lost.share, policies.lengths.kept.share) == (None, None)
    assert "number of steps: Hopper-v5" in judge_on(POLICY_CLAIMS, policies)["B2"].reason
    coupling = judge_on(POLICY_FINDINGS, policies)["F3"]
    assert "over 0 models" in coupling.reason
    assert "number of steps: Hopper-v5" in coupling.reason


@pytest.mark.parametrize(
    ("megabytes", "noise", "verdict"),
    [
        ({}, 0.0005, CONFIRMED),
        ({"ptdq": 290.0}, 0.0005, REFUTED),
        ({"structured_l1_50": 290.0}, 0.0005, REFUTED),
        ({}, 0.02, INCONCLUSIVE),
    ],
)
def test_the_memory_claim_needs_an_interval_below_one_percent(megabytes, noise, verdict):
    assert claims_of(memory=make_memory(MEGABYTES | megabytes, noise))["B3"].verdict == verdict


def test_a_smaller_fall_of_memory_is_negligible_too_and_masks_do_not_count():
    masked = claims_of(memory=make_memory(MEGABYTES | {"unstructured_l1_50": 280.0}))["B3"]
    assert masked.verdict == CONFIRMED
    assert "the weights are 20 KiB of 300 MiB; in the control's 20 KiB of 317 MiB" in masked.reason
    none = claims_of(memory=make_memory(MEGABYTES | {"structured_l1_50": 300.0}))["B3"]
    assert none.parts == {"quantization": CONFIRMED, "pruning, negligible": CONFIRMED}


def test_memory_is_the_same_only_if_the_control_shows_that_a_fall_would_be_seen():
    blind = LARGE | {"ptdq": 316.0}
    claim = claims_of(memory=make_memory(large=blind))["B3"]
    assert claim.parts == {"quantization": INCONCLUSIVE, "pruning, negligible": CONFIRMED}
    assert claim.values["control_shows_a_fall"] == {"quantization": False, "pruning, negligible": True}
    assert claim.verdict == INCONCLUSIVE
    fallen = claims_of(memory=make_memory(MEGABYTES | {"ptdq": 290.0}, large=blind))["B3"]
    assert fallen.verdict == REFUTED  # a fall that was seen needs no control


def test_the_librarys_overhead_is_in_memory():
    claim = claims_of()["B4"]
    assert claim.verdict == CONFIRMED
    assert "A call with torch.ao takes 1.8" in claim.reason  # 30 us instead of 16 us
    assert claims_of(memory=make_memory(MEGABYTES | {"ptdq": 290.0}))["B4"].verdict == REFUTED
    assert claims_of(memory=make_memory(MEGABYTES | {"ptsq": 300.0}))["B4"].verdict == INCONCLUSIVE


def test_too_few_blocks_decide_nothing():
    claims = claims_of(rows=make_rows(blocks=9))
    assert [claims[name].verdict for name in ("B1", "B2")] == [INCONCLUSIVE] * 2


def test_without_a_learned_policy_nothing_is_claimed_and_all_are_named():
    policies = summarised(learned=())
    assert policies.unlearned == [f"{name} PPO" for name in ENVIRONMENTS]
    claims = judge_on(POLICY_CLAIMS, policies)
    assert [claims[name].verdict for name in ("B1", "B2")] == [INCONCLUSIVE] * 2
    findings = judge_on(POLICY_FINDINGS, policies).values()
    assert not [finding for finding in findings if finding.verdict == REFUTED]


def test_seeds_that_have_not_learned_are_left_out_one_by_one():
    run = make_run()
    run.table[0]["policies"][1]["learned"] = False
    policies = summarise_policies(run, RULE, PARAMETERS)
    assert policies.unlearned == ["Hopper-v5 PPO (seed 2)", "Pendulum-v1 PPO"]
    cell = cell_of(policies, "Hopper-v5")
    assert (cell.seeds, cell.blocks, cell.lines["ptdq"].effects["step"].to_baseline.n) == (2, 8, 2)


def test_counted_energy_decides_itself():
    rows = make_rows().assign(cpu_evidence="counter")
    rows.loc[rows["configuration"] == "ptdq", "cpu_j"] /= 4
    claim = claims_of(rows=rows)["B1"]
    assert (claim.verdict, claim.values["outcome"]) == (REFUTED, "energy_step")
    assert "not testable" not in claim.reason


def test_findings_follow_the_rows():
    findings = judge_on(POLICY_FINDINGS, summarised())
    verdicts = {name: finding.verdict for name, finding in findings.items()}
    assert verdicts["F1"] == CONFIRMED  # smaller policies save nothing
    assert verdicts["F3"] == verdicts["F5"] == INCONCLUSIVE  # one environment is too few
    assert "over 3 models of Hopper-v5" in findings["F3"].reason
    assert "in 2 of 2 cells" in findings["F2"].reason  # 80 of 100 us in Hopper, 30 of 50 us in HalfCheetah
    assert verdicts["F13"] == NOT_TESTABLE  # no battery
    assert (findings["F13"].evidence, findings["F13"].reason) == ("none", "No row comes from a battery.")
    assert findings["F10"].evidence == "CPU time: clock"


def test_a_cell_with_too_few_blocks_is_named_and_left_out():
    run = make_run(learned=tuple(ENVIRONMENTS))
    for policy in run.table[2]["policies"][1:]:  # of Pendulum only one seed has learned: 4 of 12 blocks
        policy["learned"] = False
    policies = summarise_policies(run, RULE, PARAMETERS)
    assert [cell.name for cell in policies.measured] == ["Hopper-v5 PPO", "HalfCheetah-v5 PPO"]
    claim = judge_on(POLICY_CLAIMS, policies)["B1"]
    assert claim.verdict == CONFIRMED
    assert "Left out because of fewer than 12 blocks: Pendulum-v1 PPO (4)." in claim.reason
    alone = claims_of(learned=("HalfCheetah-v5",))["B1"]
    assert alone.parts["cost of a step"] == INCONCLUSIVE
    assert "decided by: too few policies (3 of 1 environments; needed: 3 of 2)." in alone.reason


def cell_with(environment, control, *sizes):
    return SimpleNamespace(
        environment=environment, seeds=3, lines={"baseline_twin": control}, compressed=list(sizes)
    )


def test_a_size_is_compared_with_the_controls_over_cells():
    def on(*cells):
        return over_control(cells, lambda size: size, PARAMETERS)

    found = on(cell_with("A", 0.1, 0.4, 0.6), cell_with("B", 0.1, 0.5, None), cell_with("C", 0.1, 0.3, 0.7))
    assert (found.excess.estimate, found.excess.n) == (pytest.approx(0.4), 3)
    assert (found.verdict, found.control.estimate) == (CONFIRMED, pytest.approx(0.1))
    quiet = on(cell_with("A", 0.001, 0.001), cell_with("B", 0.001, 0.001))
    assert (quiet.verdict, quiet.excess.estimate) == (REFUTED, 0.0)
    noise = on(cell_with("A", 0.3, 0.3), cell_with("B", 0.3, 0.3))  # as large as the control's: no effect
    assert noise.verdict == INCONCLUSIVE
    assert on(cell_with("A", 0.1, 0.5), cell_with("A", 0.1, 0.5)).verdict == INCONCLUSIVE  # one environment


def test_noise_alone_confirms_no_size():
    """Five configurations in seven cells, and the control, differ from 0 only by noise of 10 %."""
    rng, names = np.random.default_rng(0), ("A", "B")
    verdicts, alone = [], []
    for _ in range(200):
        sizes = abs(0.1 * rng.standard_normal((7, 6)))
        cells = [cell_with(names[place % 2], *own) for place, own in enumerate(sizes)]
        verdicts.append(over_control(cells, lambda size: size, PARAMETERS).verdict)
        alone.append(student_interval(sizes[:, 1:].ravel(), 0.95).low > math.log(1.02))
    assert verdicts.count(CONFIRMED) / 200 < 0.05
    assert sum(alone) / 200 > 0.95  # the mean size, without the control, confirms noise


def on_two_algorithms(rows):
    """The same windows for TRPO as well: four learned cells."""
    run = make_run(rows=pd.concat([rows, rows.assign(algorithm="TRPO")]))
    run.table.extend([entry | {"algorithm": "TRPO"} for entry in run.table])
    return judge_on(POLICY_FINDINGS, summarise_policies(run, RULE, PARAMETERS))


@pytest.mark.parametrize(("call_us", "verdict"), [(45.0, CONFIRMED), (4.0, REFUTED), (16.2, INCONCLUSIVE)])
def test_calls_are_dearer_not_dearer_or_in_doubt(call_us, verdict):
    noise = 0.002 if call_us != 16.2 else 0.1
    rows = make_rows(calls={"ptdq": call_us, "ptsq": call_us}, noise=noise)
    assert on_two_algorithms(rows)["F8"].verdict == verdict


def test_a_call_without_an_interval_is_not_counted():
    rows = make_rows(calls={"ptdq": 4.0})
    only = (rows["configuration"] == "ptdq") & (rows["training_seed"] > 1)  # one seed has no interval
    rows.loc[only & (rows["environment"] == "Hopper-v5"), "policy_us"] = math.nan
    found = judge_on(POLICY_FINDINGS, summarised(rows=rows))["F8"]
    assert found.values == {"dearer": 2, "not_dearer": 1, "of": 3, "missing": 1}
    assert "1 more have no interval" in found.reason


@pytest.mark.parametrize(("call_us", "differing"), [(8.0, []), (16.0, ["PyTorch and NumPy"])])
def test_a_configuration_that_costs_more_in_one_runtime_only_differs_between_runtimes(call_us, differing):
    """In PyTorch, the smaller network takes as long as the whole one; in NumPy as long, or twice as long."""
    rows = make_rows(calls={"structured_l1_50_numpy": call_us}, noise=0.01)
    found = judge_on(POLICY_FINDINGS, summarised(rows=rows))["F10"]
    assert [name.split(": ")[1] for name in found.values["disagreeing"]] == differing
    assert found.values["compared"] == 1


def test_noise_alone_rarely_differs_between_runtimes():
    """Each of 40 runs has 20 configurations in two runtimes that cost the same. Without a correction, more
    than half of the runs find a difference."""
    rng = np.random.default_rng(1)
    found, alone = 0, 0
    for _ in range(40):
        logs = rng.normal(0, 0.1, (20, 2, 6))
        pairs = [
            (SimpleNamespace(name="cell"), line_with(own, share, runtime))
            for share, both in enumerate(logs)
            for runtime, own in zip(("torch-eager", "numpy"), both, strict=True)
        ]
        policies = SimpleNamespace(labels={"one": "one"}, measured_pairs=pairs)
        found += bool(_differing_between_runtimes(policies, PARAMETERS)[0])
        alone += bool((paired_p(logs[:, 0] - logs[:, 1]) < 0.05).any())
    assert found <= 4
    assert alone > 20


def test_a_pair_of_runtimes_compares_the_policies_that_ran_in_both():
    one, other = ({"a": line_with([0.3, 0.5]), "b": line_with([1.0, 2.0])} for _ in "xy")
    assert _p_of_pair(one, other) == 1
    other = {"a": line_with([0.2, 0.4]), "b": line_with([9.0]), "c": line_with([5.0, 5.0])}
    assert _p_of_pair(one, other) == pytest.approx(0)  # 0.1 in both seeds of a; b lacks one, and c the other
    assert _p_of_pair(one, {}) == 1


def line_with(logs, share=0.5, runtime="numpy"):
    """A line of a pruned policy whose step has these logarithms of its ratio."""
    effects = {"step": SimpleNamespace(logs=list(logs))}
    names = {"key": "one", "method": "structured", "norm": "l1", "share": share, "runtime": runtime}
    return SimpleNamespace(**names, effects=effects)


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [((0.2, 0.2, 0.2), CONFIRMED), ((0.97, 0.97, 0.97), REFUTED), ((0.5, 0.95, 1.0), INCONCLUSIVE)],
)
def test_a_saving_must_certainly_lose_or_keep_the_return(kept, verdict):
    others = dict.fromkeys(("unstructured_l1_50", "structured_l1_50_numpy"), 1.0)
    rows = make_rows(calls={"structured_l1_50": 8.0}, kept=others | {"structured_l1_50": 0.97})
    own = rows["configuration"] == "structured_l1_50"
    for seed, left in zip(SEEDS, kept, strict=True):
        for environment in ENVIRONMENTS:
            place = own & (rows["training_seed"] == seed) & (rows["environment"] == environment)
            rows.loc[place, "return_mean"] = kept_by(environment, left)
    found = judge_on(POLICY_FINDINGS, summarised(rows=rows))["F11"]
    assert found.verdict == verdict
    assert found.values["saved"] >= 2


@pytest.mark.parametrize(
    ("configuration", "factor", "verdict"),
    [
        ("ptdq", 1.0, CONFIRMED),
        ("ptdq", 2.0, CONFIRMED),  # dearer than predicted is within the bound
        ("ptdq", 0.1, REFUTED),
        ("numpy", 0.1, CONFIRMED),  # no compressed policy: printed, but it decides nothing
        ("baseline_twin", 0.5, INCONCLUSIVE),  # a control that saves: the windows drift
    ],
)
def test_the_bound_is_one_sided_and_on_compressed_policies(configuration, factor, verdict):
    run = make_run()
    workload = run.workload.copy()
    workload.loc[workload["configuration"] == configuration, "cpu_time_per_step_us"] *= factor
    policies = summarise_policies(replace(run, workload=workload), RULE, PARAMETERS)
    assert judge_on(POLICY_FINDINGS, policies)["F9"].verdict == verdict


def test_the_bound_by_hand():
    doses = {(dose.dose_us, dose.key): dose for dose in summarised().doses}
    step = 16 + 10 + REST_US
    slow = doses[0, "ptdq"]  # 59 us instead of 30, of which 14 are not the policy's
    assert np.mean(slow.bound_logs) == pytest.approx(math.log(59 / 14), abs=0.01)
    other = doses[0, "numpy"]  # 22 us, of which only the environment's 10 us stay
    assert np.mean(other.bound_logs) == pytest.approx(math.log(22 / 10), abs=0.01)
    assert np.mean(doses[0, "baseline_twin"].bound_logs) == pytest.approx(0, abs=0.01)
    assert (slow.policy_share, slow.blocks) == (pytest.approx(16 / step, rel=0.01), 12)


def test_models_of_two_environments_are_needed():
    found = Estimate(0.9, 0.8, 1.0, 3)
    two = Models(3, ["CartPole-v1", "Hopper-v5"])
    assert _of_enough_models(found, two, PARAMETERS, 0.0) == CONFIRMED
    assert _of_enough_models(found, two, PARAMETERS, 2.0) == REFUTED
    for few in (Models(2, two.environments), Models(3, ["Hopper-v5"])):
        assert _of_enough_models(found, few, PARAMETERS, 0.0) == INCONCLUSIVE


def test_a_lost_row_or_an_unknown_policy_is_named():
    rows = make_rows()
    with pytest.raises(UserError, match=r"policies\.csv: Hopper-v5 PPO: block 0, configuration 'numpy'"):
        check_blocks(rows.drop(rows.index[3]), "policies.csv", ["environment", "algorithm"])
    run = make_run()
    with pytest.raises(UserError, match="Hopper-v5 PPO is missing"):
        checked_table(run.table[1:], run.rows)


@pytest.mark.parametrize("learned", [("Hopper-v5", "HalfCheetah-v5"), ()])
def test_every_page_renders_and_a_smoke_run_is_stamped(project, tmp_path, learned):
    run = make_run(learned=learned, rows=make_rows().assign(profile="smoke"))
    policies = summarise_policies(run, RULE, PARAMETERS)
    assert policies.stamps == ["smoke run"]
    claims = list(judge_on(POLICY_CLAIMS, policies).values())
    findings = list(judge_on(POLICY_FINDINGS, policies).values())
    stamp, folder = "smoke run, not evidence", project / "paper/templates"
    declared = policies_tables(policies, claims, findings, PUBLISHED, PARAMETERS)
    declared += [*hosts_tables(claims, [], [], {}), *notebook_tables(policies.notebook, RULE, PARAMETERS)]
    tables = [replace(table, stamp=stamp) for table in declared]
    by_id = {claim.id: claim for claim in (*claims, *findings)}
    values = policies_values(run, policies) | {"stamp": stamp, "parameters": PARAMETERS}
    values |= policies_story(policies, PUBLISHED, PARAMETERS.confidence) | {
        "claims": by_id,
        "b_claims": claims,
        "turned_b": [],
    }
    values["tables"] = {table.name: table for table in tables}
    pages = latex_sources(values)
    assert len(pages) == 16  # fifteen tables and the paper
    for name, (template, printed) in pages.items():
        text = render_latex(folder, template.replace("paper", "policies"), printed)
        assert name == "paper.tex" or stamp in text
        assert not re.search(r"nan|None", text), name
    shown = values | {"tables": {table.name: table.on("html") for table in tables}}
    (tmp_path / "page").write_text(
        '{% from "table.html.j2" import show %}'
        + (folder / "policies.html.j2").read_text()
        + "{% for table in tables.values() %}{{ show(table) }}{% endfor %}"
    )
    (tmp_path / "table.html.j2").write_text((folder / "table.html.j2").read_text())
    details = render_latex(folder, "policies_tables.tex.j2", values)
    assert not re.search(r"\bnan\b|None", details)
    for text in (render_latex(folder, "policies.tex.j2", values), render_html(tmp_path, "page", shown)):
        assert "Not learned" in text
        assert not re.search(r"\bnan\b|None", text)
    json.dumps([asdict(claim) for claim in (*claims, *findings)], allow_nan=False)
    json.dumps(policies_metrics(policies), allow_nan=False)
    assert set(policies_metrics(policies)) == {f"{name} PPO" for name in ENVIRONMENTS}
