"""What to deploy: the recommendation against exhaustive search, values by hand, and bad input."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from imports import STAGES
from sustainable.core.errors import UserError, exit_on_error
from sustainable.reporting.forecasting.recommendation import (
    Choices,
    Cost,
    Deployable,
    choices_of,
    default_floor,
    front_of,
    ratio_interval,
    recommend,
    steps_of,
)
from sustainable.reporting.forecasting.run import read_task
from sustainable.tools import recommend as tool

ROOT = STAGES.parent


def candidate(name, accuracy, cpu_time_ms, *, error=0.01, trivial=False, at_most=False, test=None):
    cost = Cost(cpu_time_ms, error, 5, at_most)
    test = accuracy if test is None else test
    return Deployable(name, "runtime", "fp32", accuracy, test, {1: cost}, trivial=trivial)


FULL = candidate("full", 0.90, 10.0)
QUICK = candidate("full, quick", 0.90, 5.0)
SMALL = candidate("small", 0.85, 1.0, test=0.79)
WORSE = candidate("worse", 0.84, 2.0)
RULE = candidate("rule", 0.60, 0.001, trivial=True, at_most=True)


@pytest.fixture
def choices():
    return Choices(
        task="task",
        candidates=[WORSE, FULL, SMALL, RULE, QUICK],
        baseline=FULL,
        uncompressed={1: QUICK},
        left_out={},
        invested_cpu_s={"training": 100.0, "search": 800.0},
        confidence=0.95,
        host={"cpu": "a CPU", "isa": "AVX2", "threads": 1},
        energy_evidence="modelled-load",
    )


@pytest.fixture(scope="module", params=["weather", "mnist1d"])
def shipped(request):
    return tool.read_choices(ROOT / "data/reference", ROOT / "params.yaml", request.param)[0]


def test_the_shipped_answers_are_those_of_exhaustive_search(shipped):
    """Every candidate is tried: none at or above the floor is cheaper, or as cheap and more accurate."""
    rng = np.random.default_rng(0)
    highest = max(one.validation_accuracy for one in shipped.candidates)
    for floor, rate in zip(rng.uniform(0, highest, 200), 10 ** rng.uniform(-3, 4, 200), strict=True):
        size = int(rng.choice(shipped.batch_sizes))
        answer = recommend(shipped, floor, rate, size)
        kept = [one for one in shipped.candidates if one.validation_accuracy >= floor]
        costs = {id(one): one.costs[size].cpu_time_ms for one in kept}
        choice = answer.choice.candidate
        assert choice in kept
        for other in kept:
            assert costs[id(choice)] <= costs[id(other)]
            if costs[id(choice)] == costs[id(other)]:
                assert choice.validation_accuracy >= other.validation_accuracy
        others = [one for one in kept if one is not choice]
        assert (answer.runner_up is None) == (not others)
        if answer.runner_up is not None:
            assert answer.runner_up.cost.cpu_time_ms == min(costs[id(one)] for one in others)
        even = answer.choice.break_even.inferences
        days = answer.days(even)
        assert days is None or days * rate * 24 * 3600 == pytest.approx(even)


def test_the_steps_hold_every_answer(shipped):
    """The page looks up the first step at or above the floor; it must say what `recommend` says."""
    rng = np.random.default_rng(1)
    for size in shipped.batch_sizes:
        steps = list(steps_of(shipped, size))
        assert [upto for upto, _ in steps] == sorted(upto for upto, _ in steps)
        for floor in [*rng.uniform(0, steps[-1][0], 100), *(upto for upto, _ in steps)]:
            said = next(answer for upto, answer in steps if floor <= upto)
            expected = recommend(shipped, floor, 1.0, size)
            assert (said.choice, said.runner_up) == (expected.choice, expected.runner_up)


def test_persistence_is_a_candidate_of_the_weather_and_costs_at_most_a_regression():
    weather, _ = tool.read_choices(ROOT / "data/reference", ROOT / "params.yaml", "weather")
    rules = {one.name: one for one in weather.candidates if one.trivial}
    persistence = rules["persistence (tomorrow is like today)"]
    regression = rules["logistic regression on the last step"]  # reads the same day as persistence
    for size in weather.batch_sizes:
        assert persistence.costs[size].at_most
        assert not regression.costs[size].at_most
        assert persistence.costs[size].cpu_time_ms == regression.costs[size].cpu_time_ms


def test_a_table_that_was_timed_once_has_answers_without_intervals():
    run = read_task(ROOT / "data/reference", "mnist1d")
    errors = [name for name in run.candidates if name.startswith("cpu_time_se_")]
    once = replace(run, candidates=run.candidates.assign(**dict.fromkeys(errors, math.nan)))
    choices = choices_of("mnist1d", once, 1, 0.95)
    answer = recommend(choices, 0.8, 1.0, 1)
    assert answer.choice.saving.interval is None
    assert answer.within_noise is None
    assert "timed only once" in answer.choice.break_even.reason
    json.dumps(tool.answer_document(answer, choices), allow_nan=False)


def test_values_by_hand(choices):
    answer = recommend(choices, 0.80, 4.0, 1)
    assert (answer.choice.candidate, answer.runner_up.candidate) == (SMALL, WORSE)
    assert answer.choice.saving.share == pytest.approx(0.9)
    assert answer.choice.over_uncompressed.share == pytest.approx(0.8)
    assert answer.choice.break_even.inferences == pytest.approx(900_000 / 9)  # 900 s over 9 ms each
    assert answer.days(100_000) == pytest.approx(100_000 / 4 / 86_400)
    assert answer.cores(answer.choice.cost) == pytest.approx(0.004)
    assert answer.misses_on_test  # 0.79 on the test windows
    assert answer.within_noise is False


def test_the_interval_is_students():
    """Two errors of 3 and 4 % make one of 5 %; with 5 readings t is 2.776."""
    low, high = ratio_interval(Cost(1.0, 0.03, 5), Cost(2.0, 0.04, 9), 0.95)
    assert math.log(high / 0.5) == pytest.approx(2.776 * 0.05, rel=1e-3)
    assert low * high == pytest.approx(0.25)
    assert ratio_interval(Cost(1.0, None, 1), Cost(2.0, 0.04, 9), 0.95) is None


def test_the_interval_of_the_break_even_holds_the_noise_of_both(choices):
    even = recommend(choices, 0.80, 1.0, 1).choice.break_even
    half = 2.776 * math.hypot(0.01 * 1.0, 0.01 * 10.0)
    assert even.low == pytest.approx(900_000 / (9 + half), rel=1e-3)
    assert even.high == pytest.approx(900_000 / (9 - half), rel=1e-3)


def test_a_trivial_forecaster_is_an_answer_and_has_repaid_at_once(choices):
    answer = recommend(choices, 0.5, 1.0, 1)
    assert answer.choice.candidate is RULE
    assert answer.choice.break_even.inferences == 0
    assert answer.choice.saving.at_least


def test_of_equal_costs_the_more_accurate_is_chosen(choices):
    twin = replace(SMALL, name="a", validation_accuracy=0.86)
    both = replace(choices, candidates=[SMALL, twin, FULL])
    answer = recommend(both, 0.80, 1.0, 1)
    assert answer.choice.candidate is twin
    assert answer.within_noise is True


def test_what_saves_nothing_for_certain_is_never_paid_back(choices):
    noisy = candidate("noisy", 0.95, 9.0, error=0.2)
    dear = replace(choices, candidates=[FULL, noisy])
    assert "not reached" in recommend(dear, 0.92, 1.0, 1).choice.break_even.reason
    alone = replace(choices, candidates=[FULL])
    answer = recommend(alone, 0.9, 1.0, 1)
    assert answer.runner_up is None
    assert "it is the baseline" in answer.choice.break_even.reason
    assert answer.choice.saving.interval == (0.0, 0.0)


def test_the_front_holds_what_nothing_beats(choices):
    assert front_of(choices, 1) == [RULE, SMALL, QUICK]


def test_the_default_floor_is_the_baseline_less_the_margin(choices):
    assert default_floor(choices, 0.02) == pytest.approx(0.88)


@pytest.mark.parametrize(
    ("floor", "rate", "size", "message"),
    [
        (0.91, 1.0, 1, r"task: no candidate reaches the accuracy floor 0\.91; .* full.*, has 0\.9000"),
        (68, 1.0, 1, "accuracy floor 68: it must lie between 0 and 1"),
        (float("nan"), 1.0, 1, "accuracy floor nan"),
        (0.8, 0.0, 1, "rate 0: requests per second must be a number above 0"),
        (0.8, -1.0, 1, "rate -1: "),
        (0.8, float("inf"), 1, "rate inf: "),
        (0.8, 1.0, 3, "batch size 3: not measured; name one of 1"),
    ],
)
def test_bad_input_is_named(choices, floor, rate, size, message):
    with pytest.raises(UserError, match=message):
        recommend(choices, floor, rate, size)


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["recommend", *arguments])
        status = 0
        try:
            exit_on_error(tool.main)
        except SystemExit as stopped:
            status = stopped.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_the_command_answers_people_and_machines_alike(command):
    options = ("--task", "mnist1d", "--accuracy-floor", "0.75", "--rate", "10")
    status, text, _ = command(*options)
    assert status == 0
    status, answer, _ = command(*options, "--json")
    document = json.loads(answer)
    assert f"Deploy: {document['choice']['name']}\n" in text
    assert f"Runner-up: {document['runner_up']['name']}\n" in text
    assert f"{100 * document['choice']['saving']['share']:.2f} %" in text
    assert document["choice"]["validation_accuracy"] >= 0.75
    assert document["host"]["cpu"] in text
    assert "measure where you deploy" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "tides"], "tides: unknown task; name one of weather, mnist1d"),
        (["--rate", "0"], "rate 0"),
        (["--accuracy-floor", "0.99"], "no candidate reaches"),
        (["--data", "nowhere"], "missing"),
    ],
)
def test_a_mistake_is_one_line(command, options, message):
    status, out, err = command(*options)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert message in err
