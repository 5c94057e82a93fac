"""The forecast of durations: shipped efforts, scaled by what the parameters ask for and by the host."""

import json
from copy import deepcopy

import pytest
import yaml

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.forecasting.compression.runtimes import TARGETS
from sustainable.reporting.claims import DECLARATIONS
from sustainable.verification.claim.forecast import (
    DVC_S,
    MEASURING,
    REFERENCE_TRAINING,
    Effort,
    forecast_efforts,
    measure_slowdown,
    recorded_efforts,
    reference_cpu_s,
    shipped_cores,
    shipped_efforts,
    shipped_parameters,
)
from sustainable.verification.claim.workload import (
    EPOCH_S,
    FINE_TUNE_EPOCH_S,
    SMALLEST_SHARE,
    TARGET_COUNT,
    WORK,
)
from sustainable.verification.folders import merge
from sustainable.verification.lock import declared_stages

ROOT = STAGES.parent
REFERENCE = ROOT / "data/reference"
SHIPPED = shipped_efforts(REFERENCE)
CORES = shipped_cores(REFERENCE)


@pytest.fixture
def params():
    """As the shipped run had them."""
    return deepcopy(dict(shipped_parameters(REFERENCE)))


def seconds(params, slowdown=1.0, cores=CORES):
    efforts = forecast_efforts(SHIPPED, REFERENCE, params, slowdown, cores)
    return {effort.stage: effort.wall_s - DVC_S for effort in efforts}


def test_every_stage_has_a_forecast():
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].keys()
    assert {stage.partition("@")[0] for stage in SHIPPED} == declared
    assert WORK.keys() <= declared


def test_the_work_of_every_part_is_known():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    declared = declared_stages(ROOT, yaml.safe_load((ROOT / "dvc.yaml").read_text()), params)
    for stage in declared:
        name, _, part = stage.partition("@")
        if name in WORK:
            assert 0 < WORK[name](params, part, 2) <= WORK[name](params, part, 1), stage
    assert len(TARGETS) == TARGET_COUNT


def test_fresh_networks_take_what_their_baselines_and_deployments_take():
    """One of 256 units in 2 epochs, and in half of 4 fine-tuning epochs that and one of almost no units."""
    recipe = {"epochs": 2, "patience_epochs": 2}
    params = {
        "train_baseline": {"weather": {"hidden": 256, "layers": 2, "seeds": [1], "recipe": recipe}},
        "shrink": {"weather": {"fine_tune": {"epochs": 4}}},
        "benchmark": {"weather": {"configurations": {"baseline": {"widths": [256, 256]}, "best": "oracle"}}},
        "confirm": {"seeds": [7, 8, 9]},
    }
    baselines, fine_tuning = 3 * 2 * EPOCH_S, 3 * 4 / 2 * FINE_TUNE_EPOCH_S
    assert WORK["confirm"](params, "weather", 1) == pytest.approx(baselines + fine_tuning)
    params["benchmark"]["weather"]["configurations"]["small"] = {"widths": [1, 1]}
    added = SMALLEST_SHARE * fine_tuning
    assert WORK["confirm"](params, "weather", 1) == pytest.approx(baselines + fine_tuning + added, rel=1e-3)


def test_the_same_run_on_the_same_host_takes_as_long(params):
    for stage, wall_s in seconds(params).items():
        expected = SHIPPED[stage].wall_s
        if stage == REFERENCE_TRAINING:  # others used that host meanwhile
            expected = min(expected, reference_cpu_s(REFERENCE))
        assert wall_s == pytest.approx(expected)


def test_a_slower_host_takes_longer_to_compute_and_not_to_measure(params):
    before, after = seconds(params), seconds(params, slowdown=3.0)
    for stage in before:
        expected = 1.0 if stage.partition("@")[0] in MEASURING else 3.0
        assert after[stage] == pytest.approx(expected * before[stage])


def test_more_cores_help_the_stages_that_share_them(params):
    before, after = seconds(params), seconds(params, cores=2 * CORES)
    assert after["shrink@weather"] == pytest.approx(before["shrink@weather"] / 2)
    assert after["confirm@mnist1d"] == pytest.approx(before["confirm@mnist1d"] / 2)
    assert after["train_policies"] == pytest.approx(before["train_policies"] / 2)
    assert after["train_baseline@published"] == before["train_baseline@published"]  # one seed
    assert after["benchmark@weather"] == before["benchmark@weather"]


@pytest.mark.parametrize(
    ("stage", "section", "changes"),
    [
        ("train_baseline@published", "train_baseline", {"published": {"recipe": {"epochs": 163}}}),
        ("shrink@weather", "shrink", {"weather": {"widths": [256, 64, 8]}}),
        ("confirm@mnist1d", "confirm", {"seeds": [11, 12]}),
        ("candidates@mnist1d", "candidates", {"rounds": 1}),
        ("tune_searchers@weather", "tune_searchers", {"settings": 2}),
        ("compare_searchers@mnist1d", "compare_searchers", {"seeds": 10}),
        ("benchmark@remeasured", "benchmark", {"remeasured": {"blocks": 10}}),
        ("benchmark@weather", "benchmark", {"weather": {"window_s": 1.0}}),
        ("train_policies", "train_policies", {"seeds": [11]}),
        ("compress_policies", "compress_policies", {"shares": [0.5]}),
        ("benchmark_policies", "benchmark_policies", {"windows": {"blocks": 6}}),
    ],
)
def test_less_is_asked_for_and_takes_less(params, stage, section, changes):
    before = seconds(params)
    merge(params[section], changes)
    after = seconds(params)
    assert after[stage] < 0.7 * before[stage]
    unaffected = {"preprocess@weather", "report", "rl_search@published"}
    assert {stage: after[stage] for stage in unaffected} == {stage: before[stage] for stage in unaffected}


@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_a_smoke_run_takes_minutes_and_a_full_run_days(profile):
    asked = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(asked, yaml.safe_load((ROOT / f"stages/profiles/{profile}.yaml").read_text()))
    hours = sum(seconds(asked).values()) / 3600
    assert (0.02 < hours < 0.3) if profile == "smoke" else (24 < hours < 300)


@pytest.mark.parametrize("name", ["B3", "F9"])
def test_a_shortened_claim_takes_its_share(params, name):
    before = seconds(params)
    merge(params, DECLARATIONS[name].cut)
    after = seconds(params)
    for stage in ("compress_policies", "benchmark_policies"):
        assert 0 < after[stage] < 0.5 * before[stage]


def test_another_part_stands_in_for_one_without_a_shipped_time(params):
    """A new task is forecast from another task's time, by how much more it asks for."""
    for section in ("train_baseline", "shrink"):
        params[section]["lake"] = deepcopy(params[section]["weather"])
    known = next(stage for stage in SHIPPED if stage.startswith("shrink@"))
    lake, other = forecast_efforts(["shrink@lake", known], REFERENCE, params, 1.0)
    ratio = WORK["shrink"](params, "lake", 2) / WORK["shrink"](params, known.partition("@")[2], 2)
    assert lake.wall_s - DVC_S == pytest.approx(ratio * (other.wall_s - DVC_S))
    assert lake.memory_mib == other.memory_mib


def test_a_stage_without_a_shipped_time_is_named(params):
    with pytest.raises(UserError, match=r"effort\.json: stage polish is missing; restore"):
        forecast_efforts(["polish"], REFERENCE, params, 1.0)


def test_of_a_stage_that_ran_twice_the_last_counts(tmp_path):
    log = tmp_path / "data/checkpoints/effort.jsonl"
    log.parent.mkdir(parents=True)
    lines = [{"stage": "shrink", "wall_s": wall, "memory_mib": 5.0} for wall in (1.0, 2.0)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"stage": "cut')
    assert recorded_efforts(tmp_path) == {"shrink": Effort("shrink", 2.0, 5.0)}
    assert recorded_efforts(tmp_path / "nowhere") == {}
    (tmp_path / "effort.json").write_text('[{"stage": "shrink"}]')
    with pytest.raises(UserError, match=r"effort\.json: not a list of stages"):
        shipped_efforts(tmp_path)


def test_the_host_is_timed_by_training_steps():
    assert 0.01 < measure_slowdown(REFERENCE) < 100
