"""The source's numbers with their units, and what our rows say beside them."""

from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from judging import PARAMETERS, analysis_of
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.forecasting.conditions import STEPS, summarise_steps
from sustainable.reporting.forecasting.layerwise import summarise_layerwise
from sustainable.reporting.forecasting.layerwise_claims import judge_operations, lies_between, welch
from sustainable.reporting.forecasting.source import (
    gaps,
    published_numbers,
    read_published,
    refuse_other_data,
)
from sustainable.reporting.judging import above
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED, Estimate, Ratio
from test_reporting import make_rows, summarised


@pytest.fixture(scope="module")
def published(project):
    return read_published(project / "paper/published.yaml")


def test_the_unit_of_energy_by_hand(published):
    line = published_numbers(published).lines["baseline"]
    assert line.energy_uwh.mean == pytest.approx(6.17, abs=0.005)  # 1.771 mWh over 287 windows
    assert line.intensity == pytest.approx(0.139, abs=0.0005)  # 2.46e-7 kg over 1.771e-6 kWh
    assert line.intensity_as_printed == pytest.approx(138.9, abs=0.05)
    assert published_numbers(published).mislabelled == pytest.approx(1000)
    assert line.co2_ug.mean == pytest.approx(0.857, abs=0.0005)
    # 1.771 mWh are 6.3756 J, and a pass takes 287 x 0.4261 ms
    assert line.power_w == pytest.approx(6.3756 / 0.12229, rel=1e-3)


def test_the_claimed_ratios_follow_from_the_table(published):
    source = published_numbers(published)
    assert source.claimed("manual_quantization", "energy_uwh") == pytest.approx(1.016, abs=5e-4)
    assert source.claimed("agent_optimized", "energy_uwh") == pytest.approx(1 - 0.037, abs=5e-4)
    assert source.claimed("agent_optimized", "latency_ms") == pytest.approx(1 - 0.043, abs=5e-4)


@pytest.mark.parametrize(("unit", "found"), [(None, "None"), ("mWh", "'mWh'")])
def test_a_number_without_its_unit_is_refused(published, tmp_path, unit, found):
    units = {name: value for name, value in published["units"].items() if name != "energy"}
    units |= {"energy": unit} if unit else {}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"study_a": published | {"units": units}}))
    with pytest.raises(UserError, match=rf"units\.energy: .*needs its unit, 'Wh per pass' \(found {found}\)"):
        read_published(tmp_path / "p.yaml")


def test_the_pages_speak_of_the_table_of_the_source_only(project, published):
    described = read_json(project / "data/reference/metrics/published/preprocess.json")
    refuse_other_data(described, published["data"])
    longer, other = described | {"rows": 2191}, described | {"scale": {"height": {"minimum": 0, "range": 1}}}
    for stranger in (longer, other, {"rows": 1461}):
        with pytest.raises(UserError, match=r"protocols\.published\.csv: not the table of the source"):
            refuse_other_data(stranger, published["data"])


def test_the_gap_is_one_of_latency_times_one_of_power(published):
    found = gaps(published_numbers(published), summarised(make_rows()))
    assert list(found) == list(published["configurations"])
    for gap in found.values():
        assert gap.energy == pytest.approx(gap.latency * gap.power)
        assert gap.power == pytest.approx(gap.own_w / gap.published_w)
    assert found["baseline"].own_w == pytest.approx(3.6)  # 0.001 mWh in 1 ms
    assert found["baseline"].latency == pytest.approx(1 / 0.4261, rel=0.01)


def test_each_step_has_its_conditions_and_the_ratio_of_int8():
    rows = {name: make_rows(blocks=12).assign(batch_size=64 + place) for place, name in enumerate(STEPS)}
    steps = summarise_steps(rows, PARAMETERS)
    assert [step.changed for step in steps] == list(STEPS.values())
    assert [step.batch_size for step in steps] == list(range(64, 64 + len(STEPS)))
    assert all(step.int8.low < 0.5 < step.int8.high or abs(step.int8.estimate - 0.5) < 0.01 for step in steps)
    assert all(step.twin.low < 1 < step.twin.high for step in steps)


def plans():
    """The dense plan gets 0.70 right; of the int8 plans, those with 0.2 and 0.6 of zeros keep it."""
    rows = [
        (0.0, 0.0, 0.0, False, 0.70, 0.0),
        (0.2, 0.2, 0.2, True, 0.70, 0.2),
        (0.3, 0.3, 0.3, True, 0.68, 0.3),
        (0.0, 0.9, 0.0, True, 0.695, 0.6),
        (0.9, 0.9, 0.9, True, 0.50, 0.9),
        (0.95, 0.95, 0.95, False, 0.70, 0.95),
    ]
    names = ("share_0", "share_1", "share_readout", "int8", "accuracy", "sparsity")
    return pd.DataFrame(rows, columns=names)


def searches():
    rows = [("ppo", 0, 0.6), ("ppo", 1, 0.62), ("tpe", 0, 0.3), ("tpe", 1, 0.28), ("tpe", 2, 0.32)]
    return pd.DataFrame(rows, columns=("searcher", "seed", "sparsity")).assign(
        evaluations=50, distinct=40, tied=[1, 2, 3, 4, 5], reward=3.0, test_accuracy_difference=-0.01
    )


def test_the_deepest_plans_that_keep_the_accuracy():
    found = summarise_layerwise(searches(), plans(), summarised(make_rows()), 0.01, 0.95)
    assert (found.plans, found.deepest_kept, found.deepest_equal) == (6, 0.6, 0.2)
    kept = found.kept_beyond(0.25, 0.95)  # of the int8 plans with 0.3, 0.6 and 0.9 of zeros, that with 0.6
    assert (kept.estimate, kept.n) == (pytest.approx(1 / 3), 3)
    assert found.kept_beyond(0.9, 0.95) is None
    assert found.answers["tpe"].tied == (3, 5)
    assert found.answers["tpe"].sparsities == (0.3, 0.28, 0.32)
    assert found.answers["ppo"].mean_sparsity.estimate == pytest.approx(0.61)


def test_welchs_interval_of_a_difference():
    found = welch([0.6, 0.62, 0.61], [0.3, 0.28, 0.32], 0.95)
    assert found.estimate == pytest.approx(0.31)
    assert found.low < 0.31 < found.high
    assert welch([0.6, 0.6], [0.6, 0.6], 0.95).estimate == 0.0


def test_verdicts_on_means_by_hand():
    def mean(low, high):
        return Estimate((low + high) / 2, low, high, 3)

    assert [above(mean(*ends), 0.0) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1))] == [
        CONFIRMED, REFUTED, INCONCLUSIVE,
    ]  # fmt: skip
    assert lies_between(mean(0.28, 0.32), 0.25, 0.35) == CONFIRMED
    assert lies_between(mean(0.1, 0.2), 0.25, 0.35) == REFUTED
    assert lies_between(mean(0.2, 0.3), 0.25, 0.35) == lies_between(None, 0.25, 0.35) == INCONCLUSIVE


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.3, 0.5, CONFIRMED), (0.97, 0.99, REFUTED)])
def test_zeros_are_judged_by_the_time_that_they_save(low, high, verdict):
    """The published cut is 0.373, so a ratio of 0.228 to 0.611 has its size; operations stay the same."""

    def compared(low, high):
        ratio = Ratio((low + high) / 2, low, high, 20)
        return {"cpu_time_ms": SimpleNamespace(ratio=ratio, clean=ratio, detectable=None)}

    lines = {
        key: SimpleNamespace(counts={"flops": 100}, compared=compared(low, high))
        for key in ("baseline", "zeros")
    }
    measured = SimpleNamespace(lines=lines, twin=compared(0.99, 1.01))
    later = {"ppo": {"flops_m": 37.3}, "baseline": {"flops_m": 100.0}}
    judgement = judge_operations(
        analysis_of(
            layerwise=SimpleNamespace(measured=measured),
            source=SimpleNamespace(later=later),
            parameters=PARAMETERS,
        )
    )
    assert judgement.verdict == judgement.parts["CPU time, size"] == verdict
    assert judgement.parts["CPU time, direction"] == CONFIRMED
    assert "executes 100 operations, that of the baseline 100" in judgement.reason
