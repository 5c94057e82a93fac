"""The audited report on rows made by hand: ratios over seeds, claims C1 to C5, searchers, tables, figures."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from judging import PARAMETERS as COMMON
from judging import judged
from sustainable.core.errors import UserError
from sustainable.reporting import formats
from sustainable.reporting.forecasting.accuracy_gate import hits_by_seed, role_of, summarise_gate
from sustainable.reporting.forecasting.audited import (
    Ranking,
    control_lines,
    pay_back_audited,
    peak_rates,
    proxy_agreement,
    repair_lines,
    summarise_audited,
    summarise_ranking,
)
from sustainable.reporting.forecasting.audited_claims import AUDITED_CLAIMS
from sustainable.reporting.forecasting.audited_tables import budgets_table, searchers_table
from sustainable.reporting.forecasting.decomposition import decompose
from sustainable.reporting.forecasting.run import accepted
from sustainable.reporting.forecasting.searching import summarise_searches
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate, Ratio

PARAMETERS = replace(COMMON, bootstrap_resamples=500)
PEAKS = {"fp32": 1e11, "bf16": 4e11}  # FLOP/s
SEEDS, WINDOWS = (1, 2, 3, 4, 5), 200
COSTS = {  # configuration: runtime, hash, CPU time relative to the baseline
    "baseline": ("torch-eager", "aaaa", 1.0),
    "onnxruntime": ("onnxruntime", "aaaa", 0.5),
    "openvino": ("openvino", "aaaa", 0.6),
    "manual_pruning": ("torch-eager", "bbbb", 0.4),
    "ppo_stepwise": ("onnxruntime", "cccc", 0.02),
    "oracle": ("onnxruntime", "cccc", 0.02),
    "logistic_last_day": ("numpy", "dddd", 0.001),
    "baseline_twin": ("torch-eager", "aaaa", 1.0),
}
SLOW = ("onnxruntime", "cccc", 0.2)
WHOLE = {"baseline", "onnxruntime", "openvino", "baseline_twin"}
COUNTED = dict.fromkeys(
    ("parameters", "nonzero", "int8_parameters", "size_bytes", "proxy_parameters", "proxy_flops"), 100
)


def make_rows(blocks=15, costs=COSTS, profile="paper", flagged=()):
    """Rows in which a forecast costs as `costs` says, at both batch sizes, with 0.5 % of noise."""
    rng = np.random.default_rng(0)
    rows = []
    for block in range(blocks):
        for size in (1, 64):
            for key, (runtime, sha, cost) in costs.items():
                cost *= 1 + 0.005 * rng.standard_normal()
                rows.append(
                    {
                        "configuration": key, "block": block, "batch_size": size, "profile": profile,
                        "training_seed": SEEDS[block % 5], "runtime": runtime, "precision": "fp32",
                        "name": f"name of {key}", "weights_sha256": sha, **COUNTED,
                        "flops": 8 if key == "logistic_last_day" else 1_000_000,
                        "parameters": 100 if key in WHOLE else 50,
                        "cpu_time_ms": cost, "latency_ms": cost, "energy_mwh": 2 * cost, "meter": "m",
                        "cpu_evidence": "modelled-load", "ram_evidence": "modelled-constant",
                        "flags": "waited" if (block, key) in flagged else None,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def make_hits(**lost):
    """Networks right on 70 % of windows, frugal forecasters on 40 %, or with `lost` windows fewer."""
    lost = dict.fromkeys(("logistic_last_day", "majority", "persistence"), 60) | lost
    rows = []
    for seed in SEEDS:
        for window in range(WINDOWS):
            row = {"training_seed": seed, "first_day": window}
            for key in (*COSTS, "majority", "persistence"):
                row[key] = int(window < 140 - lost.get(key, 0) + (seed == 1))
            rows.append(row)
    return pd.DataFrame(rows)


@cache
def as_made():
    return summarise_audited(make_rows(), make_hits(), PEAKS, PARAMETERS)


def summarised(rows=None, **lost):
    if rows is None and not lost:
        return as_made()
    return summarise_audited(make_rows() if rows is None else rows, make_hits(**lost), PEAKS, PARAMETERS)


def make_searches(ours=20, rival=5):
    """Three searchers over six seeds: each finds the optimum (reward 4) after so many evaluations.

    The one of another space has three seeds and finds only the reward 3, which is a tie.
    """
    searches = (("random", rival, 4.0, 6), ("ppo_stepwise", ours, 4.0, 6), ("ppo_published", 2, 3.0, 3))
    rows = [
        {"searcher": name, "seed": seed, "evaluation": at, "reward": reward, "distinct": 60}
        | {"tie": int(reward >= 3), "test_reward": 2 * reward}
        for name, found, best, seeds in searches
        for seed in range(seeds)
        for at, reward in ((1, 1.0), (found + seed % 3, best))
    ]
    choices = {
        "task": "lake",
        "tuned_on": "pond",
        "budgets": {"0.05": 6, "0.5": 50, "0.6": 60},
        "main_budget": 50,
        "groups": {"random": "ranked", "ppo_stepwise": "ranked", "ppo_published": "other space"},
        "space": {
            "best_reward": 4.0,
            "worst_reward": -2.0,
            "best_test_reward": 9.0,
            "ties": [{}, {}],
        },
        "choices": {"oracle": {"reward": 4.0}},
    }
    costs = {name: {"cpu_time_s": 0.1, "cpu_j": None} for name, *_ in searches}
    return summarise_searches(pd.DataFrame(rows), choices, costs, PARAMETERS)


def make_candidates():
    widths = np.array([8, 16, 32, 64, 128, 256])
    flops = np.concatenate([widths**2, widths**2])
    table = pd.DataFrame({"family": "grid", "flops": flops, "precision": "fp32"})
    table["runtime"] = ["torch-eager"] * 6 + ["onnxruntime"] * 6
    for name in ("parameters", "size_bytes", "proxy_flops", "proxy_parameters"):
        table[name] = flops
    table["sparsity"] = 1 - flops / flops.max()
    table["validation_accuracy"] = np.linspace(0.6, 0.7, 12)
    for size in (1, 64):
        table[f"cpu_time_ms_batch_{size}"] = flops.astype(float)
    return table


def claims_of(audited, searching=None, within=(0.93, 0.97), between=(4.0, 5.0), fresh=True, retest=0.99):
    """Judge C1 to C5. `within`, `between`: the intervals of C4; `retest`: that of the quieter target."""
    names = ("fp32 on openvino", "int8 on openvino")
    ranking = Ranking(
        proxies={"flops": {64: Estimate(0.5, 0.4, 0.6, 12)}},
        within={name: {64: Estimate(sum(within) / 2, *within, 12)} for name in names},
        retest={names[0]: {64: retest}, names[1]: {64: min(retest or 0.0, 0.8)}},
        at_equal_operations={64: Ratio(sum(between) / 2, *between, 12)},
    )
    task = task_of(audited, searching, ranking=ranking, fresh=fresh)
    return judged(AUDITED_CLAIMS, tasks={"lake": task}, parameters=PARAMETERS)


def task_of(audited=None, searching=None, **others):
    """The summaries of one task, as far as they are given."""
    found = {"audited": audited or summarised(), "searching": searching or make_searches()}
    return SimpleNamespace(name="lake", title="Lake", **found, **others)


def study_of(task):
    return SimpleNamespace(tasks={task.name: task}, labels={key: key for key in task.audited.lines})


def test_ratios_have_training_seeds_as_their_unit():
    line = summarised().lines["ppo_stepwise"]
    for size in (1, 64):
        timing = line.timings[size]
        assert timing.ratio.n == 5
        assert timing.ratio.low < 0.02 < timing.ratio.high
        assert timing.to_uncompressed.estimate == pytest.approx(0.04, rel=0.01)
        assert timing.energy.estimate == pytest.approx(timing.ratio.estimate)
        assert timing.attained == pytest.approx(1e6 / (0.02 / 1000) / 1e11, rel=0.01)


def test_a_share_is_that_of_the_ceiling_of_its_precision():
    rows = make_rows()
    rows.loc[rows["configuration"] == "manual_pruning", "precision"] = "bf16"
    rows.loc[rows["configuration"] == "openvino", "precision"] = "int8"
    lines = summarised(rows).lines
    fp32, bf16 = (lines[name].timings[64].attained for name in ("baseline", "manual_pruning"))
    assert fp32 == pytest.approx(1e6 / (1.0 / 1000) / 1e11, rel=0.01)
    assert bf16 == pytest.approx(1e6 / (0.4 / 1000) / 4e11, rel=0.01)
    assert lines["openvino"].timings[64].attained is None  # no ceiling of int8 was measured


def test_no_row_exceeds_the_ceiling():
    rows = make_rows()
    fast = rows["configuration"] == "oracle"
    rows.loc[fast, "flops"] = 2_500_000  # in 0.02 ms: 1.25 times the peak rate
    with pytest.raises(UserError, match=r"'oracle' at batch 1 reaches 12\d% of the core's peak rate in fp32"):
        summarised(rows)
    rows.loc[fast, "flops"] = 1_900_000
    assert 0.9 < summarised(rows).lines["oracle"].timings[1].attained < 1


def test_rows_with_a_ceiling_of_one_library_have_no_share():
    assert peak_rates({"flops_per_s": 1.0, "bytes_per_s": 1.0}) == {}
    best = {"flops_per_s": 2.0, "library": "numpy", "shape": [1, 1, 1], "by_library": {"numpy": 2.0}}
    assert peak_rates({"flops_per_s": 2.0, "fp32": best, "bf16": None, "no_bf16": "none"}) == {"fp32": 2.0}
    assert peak_rates({"fp32": best, "int8": best | {"flops_per_s": 8.0}}) == {"fp32": 2.0, "int8": 8.0}
    audited = summarise_audited(make_rows(), make_hits(), {}, PARAMETERS)
    shares = {timing.attained for line in audited.lines.values() for timing in line.timings.values()}
    assert shares == {None}
    assert formats.ceiling_share(None) == "ceiling not comparable"
    assert formats.ceiling_share(0.5) == "50.0 %"


def test_the_best_uncompressed_runtime_is_found_at_every_batch_size():
    rows = make_rows()
    quick = (rows["configuration"] == "openvino") & (rows["batch_size"] == 1)
    rows.loc[quick, "cpu_time_ms"] /= 2
    audited = summarised(rows)
    assert audited.quickest == {1: "openvino", 64: "onnxruntime"}
    assert audited.lines["ppo_stepwise"].timings[1].to_uncompressed.estimate == pytest.approx(
        0.02 / 0.3, rel=0.01
    )


def test_accuracy_differences_by_hand():
    line = summarised(ppo_stepwise=3).lines["ppo_stepwise"]
    assert line.over_seeds.estimate == pytest.approx(-3 / WINDOWS)
    assert line.over_seeds.low == pytest.approx(-3 / WINDOWS)  # every seed loses the same three windows
    assert line.crossed.low < -3 / WINDOWS < line.crossed.high
    assert summarised().lines["oracle"].same_as == "ppo_stepwise"


def test_a_lost_or_doubled_row_names_its_cell():
    rows = make_rows()
    with pytest.raises(UserError, match="block 0, configuration 'baseline', batch_size 64 occurs 0 times"):
        summarised(rows.drop(rows.index[len(COSTS)]))
    with pytest.raises(UserError, match="occurs 2 times"):
        summarised(pd.concat([rows, rows.tail(1)]))


def test_a_large_saving_at_equal_accuracy_is_confirmed():
    claims = claims_of(summarised())
    assert (claims["C1"].verdict, claims["C2"].verdict) == (CONFIRMED, CONFIRMED)
    assert "A/A control" in claims["C1"].reason


def test_too_little_saving_or_too_much_loss_refutes():
    slow = make_rows(costs=COSTS | {"ppo_stepwise": SLOW})
    assert claims_of(summarised(slow))["C1"].verdict == REFUTED
    slower = make_rows(costs=COSTS | {"ppo_stepwise": ("onnxruntime", "cccc", 0.6)})
    assert claims_of(summarised(slower))["C2"].verdict == REFUTED
    assert claims_of(summarised(ppo_stepwise=20))["C1"].parts == {
        "Lake, CPU time": CONFIRMED,
        "Lake, accuracy": REFUTED,
    }
    assert claims_of(summarised(ppo_stepwise=3))["C1"].verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("trivial", "name"),
    [
        ("persistence", "persistence"),
        ("majority", "majority"),
        ("logistic_last_day", "Logistic regression, last step"),
    ],
)
def test_a_gate_that_a_frugal_forecaster_passes_decides_nothing(trivial, name):
    claim = claims_of(summarised(**{trivial: 0}))["C1"]
    assert claim.parts == {"Lake, CPU time": CONFIRMED, "Lake, accuracy": INCONCLUSIVE}
    assert f"cannot tell: {name} would pass" in claim.reason


def test_too_few_blocks_or_clean_blocks_decide_nothing():
    assert claims_of(summarised(make_rows(blocks=10)))["C1"].verdict == INCONCLUSIVE
    flagged = {(block, "ppo_stepwise") for block in range(15)}
    assert claims_of(summarised(make_rows(flagged=flagged)))["C1"].verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("ours", "rival", "verdict"), [(20, 5, REFUTED), (5, 20, CONFIRMED), (9, 9, INCONCLUSIVE)]
)
def test_the_searcher_claim_follows_the_curves(ours, rival, verdict):
    assert claims_of(summarised(), make_searches(ours, rival))["C3"].verdict == verdict


def test_settings_that_were_tuned_on_the_task_itself_decide_nothing():
    searching = make_searches(ours=5, rival=20)
    same = replace(searching, choices=searching.choices | {"tuned_on": "lake"})
    assert claims_of(summarised(), same)["C3"].verdict == INCONCLUSIVE


def test_wrong_refutations_add_up_over_tasks():
    """With 10 and 20 %, at least one of two tasks refutes wrongly in 1 - 0.9 x 0.8 = 28 %."""
    tasks = {
        name: task_of(searching=replace(make_searches(), false_refutations=Estimate(rate, 0.0, 1.0, 100)))
        for name, rate in (("lake", 0.1), ("sea", 0.2))
    }
    claim = judged(AUDITED_CLAIMS[2:3], tasks=tasks, parameters=PARAMETERS)["C3"]
    assert claim.reason.endswith("at least one task would refute the claim in 28.0 % of simulations.")


def test_a_saving_against_the_fastest_runtime_exceeds_the_noise_and_holds_without_flagged_windows():
    saving = COSTS | {"ppo_stepwise": ("onnxruntime", "cccc", 0.5 * 0.97)}
    assert claims_of(summarised(make_rows(costs=saving)))["C2"].verdict == CONFIRMED
    noisy = saving | {
        "baseline_twin": ("torch-eager", "aaaa", 1.05)
    }  # the control shows 5 % where nothing is
    assert claims_of(summarised(make_rows(costs=noisy)))["C2"].verdict == INCONCLUSIVE
    turned = make_rows(costs=saving, flagged={(block, "ppo_stepwise") for block in range(12)})
    clean = turned["configuration"].eq("ppo_stepwise") & turned["flags"].isna()
    turned.loc[clean, "cpu_time_ms"] *= 1.2  # without flagged windows it costs more
    audited = summarised(turned)
    timing = audited.lines["ppo_stepwise"].timings[1]
    assert timing.to_uncompressed_clean.estimate == pytest.approx(0.97 * 1.2, rel=0.01)
    assert claims_of(audited)["C2"].verdict == INCONCLUSIVE


def test_regret_by_hand():
    searching = make_searches(ours=20, rival=5)
    random = searching.lines["random"]
    assert random.curve.mean[0] == 3.0
    assert random.curve.mean[-1] == 0.0
    # the optimum is found after 5, 6 or 7 evaluations: 4, 5 or 6 of 50 cost 3 nats each
    assert random.mean_regret.estimate == pytest.approx(3 * 5 / 50)
    assert (random.near, random.near_after, random.found.estimate) == (6, 6.0, 1.0)
    assert random.against.estimate == pytest.approx(3 * 15 / 50)
    assert random.adjusted_p < 1e-6  # the difference is the same for every seed
    assert searching.best is random
    assert (searching.task, searching.ties, searching.budget) == ("lake", 2, 50)
    assert not random.is_rl
    assert searching.lines["ppo_stepwise"].is_rl


def test_every_budget_is_read_from_one_search():
    searching = make_searches(ours=20, rival=5)
    random, ours = (searching.lines[name] for name in ("random", "ppo_stepwise"))
    assert searching.budgets == {6: 0.05, 50: 0.5, 60: 0.6}
    early, late = random.at[6], random.at[50]
    # the optimum is found after 5, 6 or 7 evaluations: after 6 by four of six seeds
    assert early.regret.estimate == pytest.approx(3 * 2 / 6)
    assert early.normalised.estimate == pytest.approx(1 / 6)  # rewards range from -2 to 4
    assert early.tied.estimate == pytest.approx(4 / 6)
    assert (late.regret.estimate, late.tied.estimate) == (0.0, 1.0)
    # four seeds are ahead of ours, two are even
    assert early.rank.estimate == pytest.approx((4 * 1 + 2 * 1.5) / 6)
    assert ours.at[6].rank.estimate == pytest.approx((4 * 2 + 2 * 1.5) / 6)
    assert late.rank.estimate == ours.at[50].rank.estimate == 1.5
    # test rewards are twice the rewards: 9 - 8 or 9 - 2
    assert early.test_regret.estimate == pytest.approx((4 * 1 + 2 * 7) / 6)


def test_a_searcher_of_another_space_is_shown_apart():
    searching = make_searches()
    other = searching.lines["ppo_published"]
    assert [line.name for line in searching.of("ranked")] == ["random", "ppo_stepwise"]
    assert [line.name for line in searching.rivals] == ["random"]
    assert (other.seeds, other.adjusted_p, other.at[50].rank) == (3, None, None)
    assert (other.found.estimate, other.at[50].tied.estimate) == (0.0, 1.0)
    assert "ppo_published" not in claims_of(summarised(), searching)["C3"].values["lake"]


def test_the_table_of_budgets_names_the_task_and_what_it_was_tuned_on():
    table = budgets_table(study_of(task_of(searching=make_searches())), PARAMETERS)
    assert table.printed(table.rows[0])[0].text.startswith("Lake, 6 seeds, tuned on pond")
    assert len(table.rows) == 1 + 3 * 2


def test_the_table_of_searchers_has_a_part_per_group():
    table = searchers_table(study_of(task_of()), PARAMETERS)
    firsts = [table.printed(row)[0].text for row in table.rows]
    about = "50 evaluations, 2 ties with the oracle, tuned on pond"
    assert firsts == [
        f"Lake: searchers of the same space (6 seeds; {about})",
        "random search",
        "PPO, step by step",
        f"Lake: search another space, not ranked (3 seeds; {about})",
        "PPO, published actions",
    ]


def test_a_claim_needs_every_task():
    """The weakest verdict of the tasks is the claim's, and its parts say which task it is."""
    good, slow = task_of(fresh=True), task_of(summarised(make_rows(costs=COSTS | {"ppo_stepwise": SLOW})))
    slow.name, slow.title, slow.fresh = "sea", "Sea", True
    claim = judged(AUDITED_CLAIMS[:1], tasks={"lake": good, "sea": slow}, parameters=PARAMETERS)["C1"]
    assert claim.verdict == REFUTED
    assert claim.parts == {
        "Lake, CPU time": CONFIRMED,
        "Lake, accuracy": CONFIRMED,
        "Sea, CPU time": REFUTED,
        "Sea, accuracy": CONFIRMED,
    }
    assert claim.reason.startswith("Lake: ") and " Sea: " in claim.reason
    assert claim.values["sea"]["choice"]["name"] == "name of ppo_stepwise"


def test_seeds_that_chose_do_not_confirm_accuracy():
    claim = claims_of(summarised(), fresh=False)["C1"]
    assert claim.parts == {"Lake, CPU time": CONFIRMED, "Lake, accuracy": INCONCLUSIVE}
    assert "also chose the deployment" in claim.reason


@pytest.mark.parametrize(
    ("within", "between", "verdict"),
    [
        ((0.91, 0.95), (3.0, 4.0), CONFIRMED),
        ((0.5, 0.8), (3.0, 4.0), REFUTED),
        ((0.85, 0.95), (3.0, 4.0), INCONCLUSIVE),
        ((0.91, 0.95), (1.1, 1.5), REFUTED),
        ((0.91, 0.95), (1.5, 2.5), INCONCLUSIVE),
    ],
)
def test_the_proxy_claim_follows_both_intervals(within, between, verdict):
    assert claims_of(summarised(), within=within, between=between)["C4"].verdict == verdict


@pytest.mark.parametrize("retest", [0.89, None])
def test_times_that_a_second_timing_would_reorder_decide_nothing(retest):
    claim = claims_of(summarised(), within=(0.5, 0.8), retest=retest)["C4"]
    assert claim.parts == {"Lake, ranks widths": INCONCLUSIVE, "Lake, does not rank runtimes": CONFIRMED}
    assert "no cell can tell" in claim.reason
    assert "int8 on openvino, batch 64: 0.65 (a second timing: 0." in claim.reason


def test_the_cells_that_can_tell_decide_alone():
    claim = claims_of(summarised(), within=(0.91, 0.95), retest=0.95)["C4"]
    assert claim.verdict == CONFIRMED
    assert "cannot tell, because the times are too noisy: int8 on openvino, batch 64: 0.93" in claim.reason
    assert claim.values["lake"]["retest"]["int8 on openvino"] == {"64": 0.8}


def test_equal_operations_on_two_targets_by_hand():
    table = make_candidates().assign(width_0=[8, 16, 32, 64, 128, 256] * 2, width_1=8)
    table.loc[6:, "cpu_time_ms_batch_64"] *= 3
    ranking = summarise_ranking(table, (64,), PARAMETERS)
    assert ranking.at_equal_operations[64].estimate == pytest.approx(3.0)
    assert {name: one[64].estimate for name, one in ranking.within.items()} == {
        "fp32 on onnxruntime": pytest.approx(1.0),
        "fp32 on torch-eager": pytest.approx(1.0),
    }
    masked = table.assign(family="masked", cpu_time_ms_batch_64=1.0)
    again = summarise_ranking(pd.concat([table, masked]), (64,), PARAMETERS)
    assert again.within == ranking.within  # masked networks are not searched


def test_a_saving_is_the_product_of_its_factors_in_either_order():
    deployments = {  # configuration: deployment, CPU time
        "baseline": ("256x256 fp32 torch-eager", 12.0),
        "openvino": ("256x256 fp32 openvino", 6.0),
        "chosen_widths": ("32x16 fp32 torch-eager", 4.0),
        "chosen_fp32": ("32x16 fp32 openvino", 1.0),
        "ppo_stepwise": ("32x16 bf16 openvino", 1.5),
        "baseline_twin": ("256x256 fp32 torch-eager", 12.0),
    }
    rows = pd.DataFrame(
        {"configuration": key, "block": block, "batch_size": 1, "training_seed": block % 2, "cpu_time_ms": ms}
        for block in range(4)
        for key, (_, ms) in deployments.items()
    )
    names = {key: name for key, (name, _) in deployments.items()}
    ways = decompose(rows, names, (1,), 0.95)
    assert [[one.factor.estimate for one in way.factors] for way in ways] == [
        pytest.approx([2.0, 6.0, 2 / 3]),
        pytest.approx([3.0, 4.0, 2 / 3]),
    ]
    assert [way.whole.estimate for way in ways] == pytest.approx([8.0, 8.0])
    assert [one.share for one in ways[0].factors] == pytest.approx([1 / 2, 1 / 12, 1 / 8])
    assert decompose(rows, names | {"openvino": "another"}, (1,), 0.95)[0].order[0] == "widths"
    assert (
        decompose(rows, {key: name for key, name in names.items() if key != "chosen_fp32"}, (1,), 0.95) == []
    )


@pytest.mark.parametrize(("lost", "verdict"), [(60, CONFIRMED), (-60, REFUTED), (0, INCONCLUSIVE)])
def test_the_network_must_beat_every_frugal_forecaster(lost, verdict):
    frugal = dict.fromkeys(("logistic_last_day", "majority", "persistence"), lost)
    assert claims_of(summarised(**frugal))["C5"].verdict == verdict


def test_a_network_that_was_broken_must_fail_at_the_gate():
    hits = make_hits().assign(broken_masked=lambda table: table["baseline"])
    gate = summarise_gate(hits, 0.02, 0.95)
    assert (role_of("broken_masked"), gate.wrongly_passing) == ("broken network", ["broken_masked"])
    assert gate.verdict_on("ppo_stepwise") == INCONCLUSIVE
    failing = summarise_gate(hits.assign(broken_masked=0, continued=hits["baseline"]), 0.02, 0.95)
    assert failing.lines["continued"].passes  # as it may: it is no control
    assert failing.wrongly_passing == []
    assert failing.verdict_on("ppo_stepwise") == CONFIRMED
    assert failing.lines["broken_masked"].difference.estimate == pytest.approx(-0.701)  # 140.2 of 200 windows


def test_proxies_that_order_alike_agree_and_sparsity_is_turned_round():
    agreement = proxy_agreement(make_candidates(), (1, 64), PARAMETERS)
    for proxy in ("flops", "sparsity"):
        assert agreement[proxy][64].estimate == pytest.approx(1.0)


def test_refused_candidates_are_in_no_correlation():
    whole = make_candidates()
    table = whole.assign(refused=None)
    assert accepted(table).equals(table)
    table.loc[3, "refused"] = "seed 1: a logit is 0.86 off"
    table.loc[3, ["cpu_time_ms_batch_1", "cpu_time_ms_batch_64", "sparsity", "parameters"]] = np.nan
    left = accepted(table)
    assert left["flops"].to_list() == whole["flops"].drop(3).to_list()
    for proxies in proxy_agreement(left, (1, 64), PARAMETERS).values():
        assert {size: one.n for size, one in proxies.items()} == {1: 11, 64: 11}


def test_hits_stand_by_seed_and_window():
    table = hits_by_seed(make_hits().sample(frac=1, random_state=0), "baseline")
    assert table.shape == (5, WINDOWS)
    assert table.sum(axis=1).tolist() == [141, 140, 140, 140, 140]


def test_what_was_invested_is_paid_back():
    rows = make_rows()
    even = pay_back_audited(rows, "ppo_stepwise", "baseline", 64, 98.0, PARAMETERS)
    assert even.inferences == pytest.approx(98_000 / 0.98, rel=0.01)
    assert pay_back_audited(rows, "baseline_twin", "baseline", 64, 98.0, PARAMETERS).inferences is None


def test_repair_lines_name_the_commonest_pick():
    rows = [
        {"variant": "v", "seed": seed, "names": names, "ties": ties, "models": 1,
         "cpu_time_ratio_batch_64": 0.5, "test_accuracy_difference": 0.01}
        for seed, (names, ties) in enumerate([("Q", 1), ("Q", 1), ("P10+Q P20+Q", 2)])
    ]  # fmt: skip
    (line,) = repair_lines(pd.DataFrame(rows), (64,), 0.95)
    assert (line["picks"], line["on"], line["seeds"], line["ties"]) == (["Q"], 2, 3, [1, 2])
    assert line["ratios"][64].estimate == pytest.approx(0.5)


def test_controls_are_compared_at_their_widths_alone():
    rows = [
        {"method": method, "width_0": width, "width_1": width, "seed": seed,
         "validation_loss_before": 0.7, "validation_loss": 0.6 + seed / 100}
        for method, width in (("l1", 64), ("l1", 8), ("scratch", 64))
        for seed in (1, 2)
    ]  # fmt: skip
    lines = control_lines(pd.DataFrame(rows), 0.95)
    assert [(line["widths"], line["method"]) for line in lines] == [("64x64", "l1"), ("64x64", "scratch")]
    assert lines[0]["loss"].estimate == pytest.approx(0.615)
