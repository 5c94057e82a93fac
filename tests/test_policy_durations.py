"""The forecast of study B: sums that can be worked out by hand."""

import pytest

from sustainable.core.parameters import read_section
from sustainable.policies.benchmark.deployments import PolicyBenchmarkParameters
from sustainable.policies.compression.evaluation import CompressParameters
from sustainable.policies.durations import STARTING_S, STEPS_PER_S, seconds_by_stage, windows_s
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan


@pytest.fixture(scope="module")
def asked(request):
    params = request.config.rootpath / "params.yaml"
    return (
        read_section(params, "train_policies", PolicyTrainingParameters),
        read_section(params, "compress_policies", CompressParameters),
        read_section(params, "benchmark_policies", PolicyBenchmarkParameters),
    )


def test_every_window_counts_once(asked):
    windows = asked[2].windows
    places, window_s = 4, 1.2  # 1.8 s, and 0.2 s beside each: 2 s a window, 5 a block with the idle one
    warm_up = min(windows.warm_up_limit_s, 4.0)
    assert windows_s(windows, places, window_s) == pytest.approx(warm_up + windows.blocks * 5 * 2.0)


def test_training_is_shared_by_the_cores(asked):
    alone, shared = (seconds_by_stage(*asked, cores=cores)["train_policies"] for cores in (1, 2))
    steps_s = sum(cell.recipe.steps / STEPS_PER_S[cell.algorithm] for cell in plan(asked[0]))
    assert alone == pytest.approx(STARTING_S + steps_s)
    assert shared == pytest.approx(STARTING_S + steps_s / 2)


def test_study_b_fits_what_the_default_profile_promises(asked):
    assert sum(seconds_by_stage(*asked, cores=2).values()) < 30 * 60
