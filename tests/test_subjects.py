"""Choices become deployed models; an invalid choice is reported in one line; controls are not timed."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.energy.choice import Chosen
from sustainable.energy.stand_ins import FakeMeter
from sustainable.forecasting.benchmark import protocol
from sustainable.forecasting.benchmark.blocks import BlocksParameters
from sustainable.forecasting.benchmark.choices import Deployment, deployed_widths, resolve
from sustainable.forecasting.benchmark.runs import RunsParameters
from sustainable.forecasting.benchmark.subjects import Sources, hits_table, make_subjects
from sustainable.forecasting.compression.actions import Configuration
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.model.frugal import frugal_predictions
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    correct,
    gru_parameter_count,
    logits_of,
    save_forecaster,
    sequence_flops,
)
from sustainable.measuring.blocks import IDLE
from sustainable.measuring.roofline import Ceiling, Roofline

DAYS, FEATURES = 4, 3
BASELINE = Deployment((6, 6), "fp32", "torch-eager")
POINTS = {
    "oracle": {"width_0": 4, "width_1": 2, "precision": "int8", "runtime": "torch-eager", "reward": 1.5},
    "ppo_stepwise": {"width_0": 6, "width_1": 6, "precision": "fp32", "runtime": "onnxruntime"},
    "best_uncompressed": {"width_0": 6, "width_1": 6, "precision": "fp32", "runtime": "openvino"},
}


def windows(count, seed):
    """Windows whose last day tells, with noise, what follows."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, count)
    inputs = rng.random((count, DAYS, FEATURES), dtype=np.float32)
    inputs[:, -1, 1] += target
    return Windows(inputs, target, rng.integers(0, 2, count), np.arange(100, 100 + count))


TRAIN, TEST = windows(80, 0), windows(25, 1)
INPUTS, TARGET = torch.from_numpy(TEST.inputs), torch.from_numpy(TEST.target)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained networks of two seeds, a narrow one of each, and one that stands for longer training."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (9, 10):
        torch.manual_seed(seed)
        full = WeatherGRU(Architecture(FEATURES, 6, 2, 0.2))
        narrow = LayeredGRU(LayeredArchitecture(FEATURES, (4, 2), 0.2))
        save_forecaster(folder / "baseline" / f"seed_{seed}.safetensors", full)
        save_forecaster(folder / "narrow" / "l1" / "4x2" / f"seed_{seed}.safetensors", narrow)
        longer = LayeredGRU(LayeredArchitecture(FEATURES, (6, 6), 0.2))
        save_forecaster(folder / "narrow" / "continued" / "6x6" / f"seed_{seed}.safetensors", longer)
    return folder


@pytest.fixture
def sources(models, tmp_path):
    """With a file of choices as the search writes it."""
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"choices": POINTS}))
    return Sources(models, path, tmp_path / "exports", TRAIN)


def make(sources, choices, seed=9):
    resolved = {name: resolve(choice, sources.choices) for name, choice in choices.items()}
    return make_subjects(resolved, sources, seed, INPUTS, TARGET, 8)


def test_sources_know_the_networks_that_there_are(sources):
    assert sources.seeds() == [9, 10]
    assert sources.narrow(9, (4, 2)).widths == (4, 2)
    whole, same = sources.narrow(10, (6, 6)), sources.baseline(10)
    assert torch.equal(whole.readout.weight, same.readout.weight)  # nothing is pruned: the baseline itself
    assert not torch.equal(whole.readout.weight, sources.baseline(9).readout.weight)
    with pytest.raises(UserError, match=r"narrow/l1/5x5/seed_9\.safetensors: missing"):
        sources.narrow(9, (5, 5))


def test_choices_of_the_search_become_what_they_name(sources):
    subjects = make(sources, {"baseline": BASELINE} | {name: name for name in POINTS})
    assert list(subjects) == ["baseline", *POINTS]
    for name, point in POINTS.items():
        deployed, labels = subjects[name].deployed, subjects[name].labels
        assert (deployed.precision, deployed.runtime) == (point["precision"], point["runtime"])
        assert (labels["precision"], labels["runtime"]) == (point["precision"], point["runtime"])
        widths = point["width_0"], point["width_1"]
        assert (labels["width_0"], labels["width_1"]) == widths
        assert labels["name"] == f"{widths[0]}x{widths[1]} {point['precision']} {point['runtime']}"
        assert labels["parameters"] == gru_parameter_count(FEATURES, widths)
        assert labels["flops"] == sequence_flops(FEATURES, widths, DAYS)
    assert subjects["oracle"].labels["int8_parameters"] > 0
    (export,) = sources.cache.iterdir()  # both runtimes use one file
    for name in ("ppo_stepwise", "best_uncompressed"):
        assert subjects[name].labels["size_bytes"] == export.stat().st_size


SEARCHED = {
    "ppo_stepwise": {"width_0": 4, "width_1": 2, "precision": "bf16", "runtime": "openvino"},
    "oracle": {"width_0": 3, "width_1": 2, "precision": "fp32", "runtime": "numba"},
}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("ppo_stepwise", Deployment((4, 2), "bf16", "openvino")),
        ("chosen_fp32", Deployment((4, 2), "fp32", "openvino")),
        ("chosen_widths", Deployment((4, 2), "fp32", "torch-eager")),
        ("oracle", Deployment((3, 2), "fp32", "numba")),
        (BASELINE, BASELINE),
        ("logistic_window", "logistic_window"),
        ("continued", "continued"),
    ],
)
def test_a_choice_is_taken_apart_by_widths_runtime_and_precision(tmp_path, choice, expected):
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"choices": SEARCHED}))
    assert resolve(choice, path) == expected


def test_deployed_widths_are_those_of_networks_once_each(tmp_path):
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"choices": SEARCHED}))
    twin, narrow = BASELINE, Deployment((4, 2), "fp32", "onnxruntime")
    choices = [BASELINE, "chosen_fp32", "oracle", "chosen_widths", narrow, "logistic_last_day", twin]
    assert deployed_widths([*choices, Configuration(0.5, False)], path) == [(6, 6), (4, 2), (3, 2)]
    with pytest.raises(UserError, match=r"choices\.best_uncompressed is not a deployment"):
        deployed_widths(["best_uncompressed"], path)


def test_steps_on_the_way_to_the_choice_are_deployed_as_they_are_named(sources):
    sources.choices.write_text(json.dumps({"choices": {"ppo_stepwise": POINTS["oracle"]}}))
    names = ("chosen_widths", "ppo_stepwise")
    subjects = make(sources, {"baseline": BASELINE} | {name: name for name in names})
    labels = [subjects[name].labels for name in names]
    assert [one["name"] for one in labels] == ["4x2 fp32 torch-eager", "4x2 int8 torch-eager"]
    assert subjects["chosen_widths"].deployed.precision == "fp32"


def test_controls_are_scored_and_not_timed(sources, tmp_path, monkeypatch):
    one = Ceiling(1.0, "torch", (1, 1, 1), {})
    roofline = Roofline(1.0, 1.0, one, None, "a test", one)
    monkeypatch.setattr(protocol, "measure_roofline", lambda: roofline)  # to measure it takes 15 seconds
    controls = {"continued": "continued", "broken_width": "width_1"}
    parameters = BlocksParameters(
        method="blocks", blocks=2, window_s=0.05, batch_sizes=[1, 8], threads=1, seed=5,
        keep_memory=False, warm_up_limit_s=0.1, warm_up_tolerance=0.5, overhead_limit=0.9,
        cpu_to_wall_floor=0.95, neighbours_limit=0.05, repeats=0, latency_calls=10,
        configurations={"baseline": BASELINE, "baseline_twin": BASELINE}, controls=controls,
        ceilings=True,
    )  # fmt: skip
    replicas = protocol.make_replicas(parameters, sources, INPUTS, TARGET, {})
    chosen, journal = Chosen(FakeMeter, "fake", "a test"), RowJournal(tmp_path / "journal", "work")
    rows, frozen = protocol.measure_as(parameters, replicas, INPUTS, TARGET, chosen, journal, {"study": "A"})
    timed = {"baseline", "baseline_twin"}
    assert {row["configuration"] for row in rows} == timed | {IDLE}
    assert {row["training_seed"] for row in rows} == {9, 10}
    assert frozen["loops"].keys() == frozen["latency"].keys() == timed
    assert frozen["roofline"]["flops_per_s"] == 1.0
    scored = protocol.make_replicas(parameters, sources, INPUTS, TARGET, {}, controls=True)
    hits = hits_table(scored, TRAIN, TEST)
    assert list(hits[0])[2:6] == ["baseline", "baseline_twin", *controls]
    assert [row["continued"] for row in hits] == [
        int(right) for seed in (9, 10) for right in correct(sources.continued(seed), INPUTS, TARGET, 25)
    ]
    labels = [scored[9][name].labels for name in ("baseline", *controls)]
    assert len({one["weights_sha256"] for one in labels}) == 3
    assert [one["name"] for one in labels[1:]] == ["continued", "width 1"]


def test_the_published_way_measures_the_network_of_the_first_seed(sources):
    parameters = RunsParameters(
        method="runs", runs=2, order="fixed", loader=False, batch_size=8, metered_batches=1, threads=1,
        keep_memory=False, seed=1, configurations=dict.fromkeys(("baseline", "twin"), Configuration()),
    )  # fmt: skip
    replicas = protocol.make_replicas(parameters, sources, INPUTS, TARGET, {"study": "A"})
    assert {seed: list(subjects) for seed, subjects in replicas.items()} == {9: ["baseline", "twin"]}
    assert replicas[9]["twin"].labels["study"] == "A"


def test_broken_networks_are_broken_as_their_names_say(sources):
    kinds = ("random_weights", "masked_90", "width_1")
    subjects = make(sources, {"baseline": BASELINE} | {f"broken_{kind}": kind for kind in kinds})
    whole, other, masked, narrow = (subject.labels for subject in subjects.values())
    assert other["weights_sha256"] != whole["weights_sha256"]
    assert other["parameters"] == masked["parameters"] == whole["parameters"]
    assert masked["nonzero"] < 0.5 * whole["nonzero"]  # biases are not masked
    assert narrow["parameters"] == gru_parameter_count(FEATURES, (1, 1))
    again = make(sources, {"baseline": BASELINE, "broken": "random_weights"})["broken"]
    assert again.labels["weights_sha256"] == other["weights_sha256"]  # drawn from the training seed


def test_a_regression_on_all_days_reads_them(sources):
    subject = make(sources, {"baseline": BASELINE, "all": "logistic_window"})["all"]
    model = LogisticRegression(max_iter=1000).fit(TRAIN.inputs.reshape(80, -1), TRAIN.target)
    expected = model.decision_function(TEST.inputs.reshape(25, -1))
    assert np.allclose(subject.deployed.logits(INPUTS, 6), expected, atol=1e-5)
    assert subject.labels["parameters"] == DAYS * FEATURES + 1


def test_a_subject_computes_with_the_network_of_its_seed(sources):
    for seed in (9, 10):
        subjects = make(sources, {"baseline": BASELINE, "best": "ppo_stepwise"}, seed)
        network = sources.baseline(seed)
        expected = logits_of(network, INPUTS, 25).numpy()
        for subject in subjects.values():
            assert np.allclose(subject.deployed.logits(INPUTS, 7), expected, rtol=0, atol=1e-6)
            assert subject.hits.tolist() == correct(network, INPUTS, TARGET, 25).tolist()


def test_a_published_configuration_is_compressed_as_published(sources):
    subjects = make(
        sources, {"a": Configuration(), "p": Configuration(0.5, False), "q": Configuration(0.0, True)}
    )
    a, p, q = (subjects[name].labels for name in "apq")
    assert [labels["name"] for labels in (a, p, q)] == ["FP32", "P50", "Q"]
    assert a["weights_sha256"] == p["weights_sha256"] != q["weights_sha256"]
    assert [(labels["pruning"], labels["quantization"]) for labels in (a, p, q)] == [
        (0.0, False), (0.5, False), (0.0, True),
    ]  # fmt: skip
    assert [labels["precision"] for labels in (a, p, q)] == ["fp32", "fp32", "int8"]


def test_the_published_search_is_read_from_its_best_action(sources):
    sources.choices.write_text(json.dumps({"best_seen": {"action": 11, "reward": 2.5}}))
    subjects = make(sources, {"baseline": Configuration(), "agent": "search"})
    assert subjects["agent"].labels["name"] == "P30+Q"


def oracle(**changes):
    """A file of choices with one point, changed so that it is none; `None` removes a key."""
    point = {key: value for key, value in (POINTS["oracle"] | changes).items() if value is not None}
    return json.dumps({"choices": {"oracle": point}})


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"choices": {}}',
        '{"choices": []}',
        '{"choices": {"oracle": null}}',
        '{"choices": {"oracle": "256x256"}}',
        oracle(width_1=None),
        oracle(width_0=0),
        oracle(width_0="4"),
        oracle(precision="fp8"),
        oracle(runtime="tflite"),
    ],
)
def test_damaged_choices_are_one_clear_line(sources, content):
    if content is None:
        sources.choices.unlink()
    else:
        sources.choices.write_text(content)
    with pytest.raises(UserError) as caught:
        make(sources, {"baseline": BASELINE, "best": "oracle"})
    message = str(caught.value)
    assert message.startswith(f"{sources.choices}: ")
    assert "\n" not in message
    assert "dvc repro" in message


def test_a_deployment_that_no_runtime_offers_is_one_clear_line(sources):
    sources.choices.write_text(oracle(precision="int8", runtime="onnxruntime"))
    with pytest.raises(UserError, match="onnxruntime has no int8 kernel") as caught:
        make(sources, {"baseline": BASELINE, "best": "oracle"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", [None, 16, -1, "11", 1.0, [3]])
def test_a_damaged_action_is_one_clear_line(sources, action):
    sources.choices.write_text(json.dumps({"best_seen": {"action": action}}))
    with pytest.raises(UserError, match=r"best_seen\.action is .*dvc repro rl_search") as caught:
        make(sources, {"baseline": Configuration(), "agent": "search"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "first",
    [
        Configuration(0.5, False),
        Configuration(0.0, True),
        Deployment((4, 2), "fp32", "torch-eager"),
        Deployment((6, 6), "int8", "torch-eager"),
        Deployment((6, 6), "fp32", "onnxruntime"),
        "oracle",
        "logistic_last_day",
    ],
)
def test_the_first_must_be_the_uncompressed_baseline(sources, first):
    with pytest.raises(UserError, match="configurations: it: the first must be the uncompressed baseline"):
        make(sources, {"it": first, "baseline": BASELINE})


def test_the_first_may_be_the_baseline_under_either_name(sources):
    for first in (Configuration(), BASELINE):
        subjects = make(sources, {"it": first, "twin": first})
        assert subjects["it"].labels == subjects["twin"].labels
        assert (
            subjects["it"].deployed is not subjects["twin"].deployed
        )  # the twin goes through everything itself


def test_the_logistic_subject_decides_as_sklearn_does(sources):
    subject = make(sources, {"baseline": BASELINE, "logistic": "logistic_last_day"})["logistic"]
    model = LogisticRegression(max_iter=1000).fit(TRAIN.inputs[:, -1], TRAIN.target)
    logits = subject.deployed.logits(INPUTS, 6)
    assert logits.dtype == np.float32
    assert np.allclose(logits, model.decision_function(TEST.inputs[:, -1]), rtol=0, atol=1e-5)
    said = model.predict(TEST.inputs[:, -1])
    assert ((logits > 0) == said).all()
    assert subject.hits.tolist() == (said == TEST.target).tolist()
    assert 0 < said.mean() < 1  # it says both
    assert subject.labels["parameters"] == FEATURES + 1
    assert subject.labels["flops"] == 2 * FEATURES
    assert (subject.labels["runtime"], subject.labels["precision"]) == ("numpy", "fp32")


def test_all_subjects_have_the_columns_of_the_counts(sources):
    """Rows of one table: what is counted of one is counted of all."""
    choices = {"baseline": BASELINE, "oracle": "oracle", "published": Configuration(0.3, True)}
    subjects = make(sources, choices | {"logistic": "logistic_last_day"})
    counted = {
        "name", "runtime", "precision", "weights_sha256", "parameters", "nonzero", "int8_parameters",
        "size_bytes", "proxy_parameters", "proxy_flops", "flops",
    }  # fmt: skip
    for subject in subjects.values():
        assert counted <= subject.labels.keys()
        assert len(subject.hits) == len(TEST)


def test_hits_have_a_row_a_seed_and_window(sources):
    choices = {"baseline": BASELINE, "oracle": "oracle"}
    subjects = {seed: make(sources, choices, seed) for seed in (9, 10)}
    rows = hits_table(subjects, TRAIN, TEST)
    assert [(row["training_seed"], row["first_day"]) for row in rows] == [
        (seed, day) for seed in (9, 10) for day in range(100, 125)
    ]
    frugal = frugal_predictions(TRAIN, TEST)
    assert list(rows[0]) == ["training_seed", "first_day", *choices, *frugal]
    for number, row in enumerate(rows):
        seed, window = (9, 10)[number // 25], number % 25
        for name, subject in subjects[seed].items():
            assert row[name] == int(subject.hits[window])
        for name, said in frugal.items():
            assert row[name] == int(said[window] == TEST.target[window])
    assert {type(value) for row in rows for value in row.values()} == {int}


def test_a_frugal_forecaster_that_was_measured_stands_once_in_the_hits(sources):
    subjects = {9: make(sources, {"baseline": BASELINE, "logistic_last_day": "logistic_last_day"})}
    rows = hits_table(subjects, TRAIN, TEST)
    assert list(rows[0]) == [
        "training_seed", "first_day", "baseline", "logistic_last_day", "majority", "persistence",
        "logistic_window",
    ]  # fmt: skip
    said = frugal_predictions(TRAIN, TEST)["logistic_last_day"]
    assert [row["logistic_last_day"] for row in rows] == (said == TEST.target).astype(int).tolist()


def test_what_was_measured_keeps_its_name_in_the_hits(sources):
    subjects = {9: make(sources, {"baseline": BASELINE, "persistence": Configuration()})}
    rows = hits_table(subjects, TRAIN, TEST)
    said = frugal_predictions(TRAIN, TEST)["persistence"] == TEST.target
    assert (
        [row["persistence"] for row in rows] == [row["baseline"] for row in rows] != said.astype(int).tolist()
    )
