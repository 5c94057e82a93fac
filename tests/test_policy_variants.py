"""Compressed actors: sizes by formula, exact compaction, real int8 layers, and checks that fail."""

import copy
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import nn

from sustainable.compression import CompressionError
from sustainable.compression.quantization import QUANTIZED_LINEAR, STATIC_LINEAR
from sustainable.core.errors import UserError
from sustainable.core.tensors import write_tensors
from sustainable.policies.compression import static_int8, variants
from sustainable.policies.compression.accounting import (
    count_nonzero,
    count_parameters,
    memory_bytes,
    module_sha256,
    size_bytes,
    stored_tensors,
)
from sustainable.policies.compression.static_int8 import (
    LEVELS,
    Prepared,
    QATParameters,
    StaticActor,
    check_static_int8,
    distillation_loss,
    load_prepared,
    prepare_int8,
    save_prepared,
    to_static,
)
from sustainable.policies.compression.variants import (
    Variant,
    compress,
    keep_units,
    kept_widths,
    parameter_count,
    prune_units,
    unit_norms,
)
from sustainable.policies.policy import Actor, ActorArchitecture, batch_outputs

quick = settings(max_examples=25, deadline=None)
hiddens = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
kinds = st.sampled_from(["tanh", "relu"])
BOUNDS = {"low": (-1.0, -1.0, -1.0), "high": (1.0, 1.0, 1.0)}
QAT = QATParameters(steps=60, batch_size=64, learning_rate=1e-3)
INT8 = [Variant("ptdq"), Variant("ptsq"), Variant("qat"), Variant("mixed", "l1", 0.5)]
ALL = [Variant(), Variant("unstructured", "l2", 0.5), Variant("structured", "l1", 0.5), *INT8]


def actor_of(hidden=(16, 12), activation="tanh", seed=0, **rest):
    """An actor with drawn weights and statistics; `rest` as in `ActorArchitecture`."""
    torch.manual_seed(seed)
    actor = Actor(ActorArchitecture(5, 3, hidden, activation, **rest)).eval()
    actor.mean.copy_(torch.randn(5))
    actor.scale.copy_(torch.rand(5) + 0.5)
    return actor


def states_of(actor, count=600, seed=1):
    drawn = np.random.default_rng(seed).standard_normal((count, 5)) / actor.scale.numpy()
    return (actor.mean.numpy() + drawn).astype(np.float32)


@pytest.fixture(scope="module", params=["tanh", "relu"])
def actor(request):
    return actor_of(activation=request.param, **BOUNDS)


@pytest.fixture(scope="module")
def states(actor):
    return states_of(actor)


@pytest.fixture(scope="module")
def prepared(actor, states):
    return prepare_int8(actor, states, 7, QAT)


def mask_units(actor, kept):
    """The reference for compaction: a copy of full size in which nothing reads the other units."""
    masked = copy.deepcopy(actor)
    for indices, reader in zip(kept, masked.layers[1:], strict=True):
        unread = torch.ones(reader.in_features, dtype=torch.bool)
        unread[indices] = False
        with torch.no_grad():
            reader.weight[:, unread] = 0.0
    return masked


def masks(module):
    return {name: value == 0 for name, value in stored_tensors(module).items() if name.endswith("weight")}


# --- variants


@pytest.mark.parametrize(
    ("given_", "name", "precision"),
    [
        ({"method": "none"}, "none", "fp32"),
        ({"method": "ptdq", "norm": None, "share": 0.0}, "ptdq", "int8"),
        ({"method": "qat"}, "qat", "int8"),
        ({"method": "unstructured", "norm": "l1", "share": 0.5}, "unstructured_l1_50", "fp32"),
        ({"method": "structured", "norm": "l2", "share": 0.05}, "structured_l2_5", "fp32"),
        ({"method": "structured", "norm": "l2", "share": 0.55}, "structured_l2_55", "fp32"),
        ({"method": "mixed", "norm": "l1", "share": 0.7}, "mixed_l1_70", "int8"),
        ({"method": "mixed", "norm": "l1", "share": 0.125}, "mixed_l1_12.5", "int8"),
    ],
)
def test_variants_are_read_from_parameters_and_named(given_, name, precision):
    variant = TypeAdapter(Variant).validate_json(json.dumps(given_))  # as parameters are read
    assert (variant.name, variant.precision) == (name, precision)
    assert {variant: 1}[Variant(**given_)] == 1  # hashable


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"method": "structured", "norm": "l1"}, "needs a norm, and a share above 0"),
        ({"method": "mixed", "share": 0.5}, "needs a norm, and a share above 0"),
        ({"method": "ptdq", "share": 0.5}, "takes neither norm nor share"),
        ({"method": "none", "norm": "l1"}, "takes neither norm nor share"),
        ({"method": "structured", "norm": "l1", "share": 1.0}, "less than 1"),
        ({"method": "structured", "norm": "l1", "share": -0.1}, "greater than or equal to 0"),
        ({"method": "structured", "norm": "l3", "share": 0.5}, "'l1' or 'l2'"),
        ({"method": "pruning"}, "'none', 'ptdq'"),
        ({"method": "none", "ratio": 0.5}, "[Uu]nexpected"),
        ({"method": "unstructured", "norm": "l1", "share": "0.5"}, "valid number"),
    ],
)
def test_an_invalid_variant_is_refused(given_, problem):
    with pytest.raises(ValidationError, match=problem):
        TypeAdapter(Variant).validate_json(json.dumps(given_))


# --- structured pruning


@quick
@given(hiddens, kinds, st.integers(0, 99), st.data())
def test_removing_units_that_nothing_reads_changes_no_output(hidden, activation, seed, data):
    actor = actor_of(hidden, activation, seed)
    kept = [
        torch.tensor(sorted(data.draw(st.sets(st.integers(0, units - 1), min_size=1)))) for units in hidden
    ]
    masked, compacted = mask_units(actor, kept), keep_units(actor, kept)
    states = states_of(actor, 20, seed)
    assert masked.architecture.hidden == hidden
    assert compacted.architecture.hidden == tuple(map(len, kept))
    assert np.abs(batch_outputs(masked, states) - batch_outputs(compacted, states)).max() < 1e-5
    already = keep_units(masked, kept)  # in `masked` their outgoing weights are zero
    assert module_sha256(already) == module_sha256(compacted)


@quick
@given(hiddens, st.floats(0.01, 0.99), st.sampled_from(["l1", "l2"]), st.integers(0, 9))
def test_the_remaining_parameters_follow_the_formula(hidden, share, norm, seed):
    actor, widths = actor_of(hidden, seed=seed), kept_widths(hidden, share)
    assert all(1 <= width <= units for width, units in zip(widths, hidden, strict=True))
    if widths == hidden:
        with pytest.raises(CompressionError, match="removes no unit"):
            prune_units(actor, norm, share)
        return
    pruned = compress(actor, Variant("structured", norm, share))
    layers = (5, *widths, 3)
    assert count_parameters(pruned) == sum(a * b + b for a, b in pairwise(layers)) == parameter_count(layers)
    assert count_nonzero(pruned) == count_parameters(pruned)
    for depth, width in enumerate(widths):  # the rows that stay are those of the largest norms, in order
        largest = unit_norms(actor, depth, norm).topk(width).indices.sort().values
        assert torch.equal(pruned.layers[depth].bias, actor.layers[depth].bias[largest])


def test_units_with_the_smallest_incoming_norm_are_removed():
    """By hand: L1 norms are 3, 2.5 and 1, L2 norms 2.12, 2.5 and 1; the single kept unit differs."""
    actor = Actor(ActorArchitecture(2, 1, (3,), "relu")).eval()
    with torch.no_grad():
        actor.layers[0].weight.copy_(torch.tensor([[1.5, -1.5], [2.5, 0.0], [0.0, 1.0]]))
        actor.layers[0].bias.copy_(torch.tensor([0.1, 0.2, 99.0]))  # biases do not count
        actor.layers[1].weight.copy_(torch.tensor([[10.0, 20.0, 30.0]]))
    assert unit_norms(actor, 0, "l1").tolist() == [3.0, 2.5, 1.0]
    assert unit_norms(actor, 0, "l2").tolist() == pytest.approx([4.5**0.5, 2.5, 1.0])
    for norm, row, bias, column in (("l1", [1.5, -1.5], 0.1, 10.0), ("l2", [2.5, 0.0], 0.2, 20.0)):
        pruned = prune_units(actor, norm, 0.6)
        assert pruned.layers[0].weight.tolist() == [row]
        assert pruned.layers[0].bias.tolist() == pytest.approx([bias])
        assert pruned.layers[1].weight.tolist() == [[column]]
    assert kept_widths((3, 1, 64, 10), 0.9) == (1, 1, 6, 1)


def test_an_actor_without_hidden_layers_has_no_units_to_prune():
    with pytest.raises(CompressionError, match="removes no unit"):
        compress(actor_of(()), Variant("structured", "l1", 0.5))


# --- unstructured pruning


@quick
@given(st.floats(0.1, 0.9), st.integers(0, 99))
def test_both_norms_rank_single_weights_alike(share, seed):
    actor = actor_of(seed=seed)
    pruned = [compress(actor, Variant("unstructured", norm, share)) for norm in ("l1", "l2")]
    assert module_sha256(pruned[0]) == module_sha256(pruned[1])
    for name, mask in masks(pruned[0]).items():
        before = stored_tensors(actor)[name]
        assert int(mask.sum()) == round(share * mask.numel())
        assert before[mask].abs().max() <= before[~mask].abs().min()
    assert count_parameters(pruned[0]) == count_parameters(actor)
    assert size_bytes(pruned[0]) == size_bytes(actor)  # a zero takes as many bytes as any other number
    assert count_nonzero(pruned[0]) == count_nonzero(actor) - sum(
        int(m.sum()) for m in masks(pruned[0]).values()
    )


def test_a_share_below_one_weight_is_refused():
    with pytest.raises(CompressionError, match="compression changed nothing"):
        compress(actor_of((2,)), Variant("unstructured", "l1", 0.01))


# --- int8


def test_dynamic_int8_has_int8_kernels_and_one_byte_per_weight(actor):
    for variant, widths in ((Variant("ptdq"), (5, 16, 12, 3)), (Variant("mixed", "l2", 0.5), (5, 8, 6, 3))):
        module = compress(actor, variant)
        assert sum(isinstance(part, QUANTIZED_LINEAR) for part in module.modules()) == 3
        assert not any(type(part) is nn.Linear for part in module.modules())
        assert count_parameters(module) == parameter_count(widths)
        tensors = stored_tensors(module)
        assert {tensors[f"layers.{depth}.weight"].dtype for depth in range(3)} == {torch.int8}
        weights, biases = sum(a * b for a, b in pairwise(widths)), sum(widths[1:])
        assert memory_bytes(module) == weights + 4 * biases + 3 * (4 + 1) + 2 * 5 * 4  # scales; statistics
    assert compress(actor, Variant("none")) is actor


def test_mixed_is_dynamic_int8_of_the_pruned_actor(actor):
    by_hand = compress(prune_units(actor, "l1", 0.5), Variant("ptdq"))
    assert module_sha256(compress(actor, Variant("mixed", "l1", 0.5))) == module_sha256(by_hand)


@pytest.mark.parametrize("method", ["ptsq", "qat"])
def test_static_int8_is_close_to_fp32_on_its_calibration_states(actor, states, prepared, method):
    module = compress(actor, Variant(method), prepared)
    expected, outputs = batch_outputs(actor, states), batch_outputs(module, states)
    assert outputs.dtype == np.float32
    assert outputs.shape == expected.shape
    assert sum(isinstance(part, STATIC_LINEAR) for part in module.modules()) == 3
    assert count_parameters(module) == count_parameters(actor)
    again = compress(actor, Variant(method), prepared)
    assert module_sha256(again) == module_sha256(module)
    assert batch_outputs(again, states).tolist() == outputs.tolist()
    error = np.sqrt(np.mean((outputs - expected) ** 2)) / np.abs(expected).max()
    if actor.architecture.activation == "tanh" and not has_vnni() and error >= 0.03:
        pytest.xfail("without VNNI, 16-bit sums saturate after a quantized tanh: a known fault")
    assert 0 < error < 0.03


def has_vnni():
    """Whether this CPU sums int8 products in 32 bits."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").is_file() else []
    return {"avx512_vnni", "avx_vnni"} & set(flags)


def test_the_static_actor_uses_the_given_ranges(actor, states, prepared):
    tensors = stored_tensors(to_static(actor, prepared.ranges))
    low, high = prepared.ranges[0].tolist()
    assert float(tensors["network.0.scale"]) == pytest.approx((high - low) / LEVELS, rel=1e-6)
    scales = [float(value) for name, value in tensors.items() if name.endswith("output_scale")]
    spans = ((prepared.ranges[1:, 1] - prepared.ranges[1:, 0]) / LEVELS).tolist()
    assert scales == pytest.approx(spans, rel=1e-6)
    zeros = [int(value) for name, value in tensors.items() if name.endswith("output_zero")]
    assert zeros == [round(-LEVELS * float(a) / float(b - a)) for a, b in prepared.ranges[1:]]


def test_int8_weights_and_scales_are_stored_without_loss(actor, prepared):
    """The int8 values times their scales are the weights that the kernel uses, to the last bit."""
    for variant in (Variant("ptdq"), Variant("ptsq")):
        module = compress(actor, variant, prepared)
        tensors = stored_tensors(module)
        for name, part in module.named_modules():
            if isinstance(part, STATIC_LINEAR):
                scales = tensors[f"{name}.weight.scales"].reshape(-1, 1)
                rebuilt = tensors[f"{name}.weight"].float() * scales
                assert torch.equal(rebuilt, part.weight().dequantize())
                assert not tensors[f"{name}.weight.zeros"].any()


def test_ranges_cover_the_scaled_observations(actor, states, prepared):
    scaled = actor.scaled(torch.from_numpy(states))
    low, high = prepared.ranges[0].tolist()
    assert -5 < low < -2 < 2 < high < 5
    assert float(((scaled < low) | (scaled > high)).float().mean()) < 0.01
    if actor.architecture.activation == "relu":
        assert prepared.ranges[1:3, 0].tolist() == [0.0, 0.0]  # behind the ReLU


def test_scaling_stays_in_floating_point_and_is_clipped(actor, prepared):
    module = compress(actor, Variant("ptsq"), prepared)
    far = (actor.mean + 1e6 / actor.scale).numpy()[None]
    farther = (actor.mean + 1e9 / actor.scale).numpy()[None]
    assert batch_outputs(module, far).tolist() == batch_outputs(module, farther).tolist()


def test_distillation_brings_a_student_closer_to_its_teacher():
    actor = actor_of((32, 32), **BOUNDS)
    with torch.no_grad():
        for layer in actor.layers:
            layer.weight.mul_(2.5)  # so that int8 loses something
    result = prepare_int8(actor, states_of(actor, 2000), 0, QATParameters(150, 256, 1e-4))
    assert 0 < result.losses[1] < 0.95 * result.losses[0]


def test_static_int8_computes_under_deterministic_torch(actor, states, prepared):
    """That mode refuses the kernel, so it is left for the call and restored afterwards."""
    module = compress(actor, Variant("ptsq"), prepared)
    assert torch.are_deterministic_algorithms_enabled()
    strict = batch_outputs(module, states)
    assert torch.are_deterministic_algorithms_enabled()
    torch.set_deterministic_debug_mode("default")
    try:
        free = [batch_outputs(module, states) for _ in range(3)]
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_deterministic_debug_mode("error")
    assert all(outputs.tolist() == strict.tolist() for outputs in free)


@pytest.mark.parametrize("rest", [{}, BOUNDS, {**BOUNDS, "squashed": True}])
def test_the_seed_determines_the_training(rest):
    actor = actor_of((8,), **rest)
    states, steps = states_of(actor, 200), QATParameters(10, 32, 1e-3)
    first, same, other = (prepare_int8(actor, states, seed, steps) for seed in (3, 3, 4))
    assert torch.equal(first.trained_ranges, same.trained_ranges)
    assert all(torch.equal(first.trained[name], same.trained[name]) for name in first.trained)
    assert not torch.equal(first.trained["layers.0.weight"], other.trained["layers.0.weight"])
    assert torch.equal(first.ranges, other.ranges)  # calibration draws nothing


def test_distillation_losses_by_hand():
    outputs, target = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 5.0]])
    continuous = ActorArchitecture(5, 2, (), "tanh", (-1.0, -1.0), (1.0, 1.0))
    assert float(distillation_loss(continuous, outputs, target)) == 2.5  # (1 + 4) / 2
    squashed = replace(continuous, squashed=True)
    by_hand = np.mean((np.tanh([1.0, 3.0]) - np.tanh([2.0, 5.0])) ** 2)
    assert float(distillation_loss(squashed, outputs, target)) == pytest.approx(by_hand)
    discrete = ActorArchitecture(5, 2, (), "tanh")
    p, q = np.exp([2.0, 5.0]) / np.exp([2.0, 5.0]).sum(), np.exp([1.0, 3.0]) / np.exp([1.0, 3.0]).sum()
    assert float(distillation_loss(discrete, outputs, target)) == pytest.approx(
        float((p * np.log(p / q)).sum()), rel=1e-5
    )
    assert float(distillation_loss(discrete, target + 7.0, target)) == pytest.approx(0.0, abs=1e-6)


# --- what is stored


def test_saving_and_loading_ranges_and_weights_is_exact(actor, states, prepared, tmp_path):
    path = tmp_path / "prepared.safetensors"
    save_prepared(path, prepared)
    loaded = load_prepared(path)
    assert (loaded.actor_sha256, loaded.losses) == (prepared.actor_sha256, prepared.losses)
    for variant in (Variant("ptsq"), Variant("qat")):
        before, after = (compress(actor, variant, source) for source in (prepared, loaded))
        assert module_sha256(before) == module_sha256(after)
        assert batch_outputs(before, states).tolist() == batch_outputs(after, states).tolist()
    content = path.read_bytes()
    save_prepared(path, loaded)
    assert path.read_bytes() == content


def test_a_file_without_ranges_raises_one_clear_error(actor, tmp_path):
    path = tmp_path / "prepared.safetensors"
    with pytest.raises(UserError, match="missing"):
        load_prepared(path)
    write_tensors(path, actor.state_dict())
    with pytest.raises(UserError, match=r"prepared\.safetensors: not the ranges .*losses.* delete it"):
        load_prepared(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_prepared(path)


@pytest.mark.parametrize("variant", ALL, ids=lambda variant: variant.name)
def test_compressing_leaves_the_original_alone(actor, prepared, variant):
    before = module_sha256(actor)
    module = compress(actor, variant, prepared)
    assert module_sha256(actor) == before == prepared.actor_sha256
    assert not module.training
    assert (module_sha256(module) == before) == (variant.method == "none")


def test_hashes_differ_if_outputs_can_differ(actor, prepared):
    hashes = [module_sha256(compress(actor, variant, prepared)) for variant in ALL]
    assert len(set(hashes)) == len(ALL)
    moved = prepared.ranges.clone()
    moved[2, 1] *= 1.01  # the range of one activation
    assert module_sha256(to_static(actor, moved)) != module_sha256(to_static(actor, prepared.ranges))
    scaled = actor_of(activation=actor.architecture.activation, **BOUNDS)
    assert module_sha256(scaled) == module_sha256(actor)
    scaled.scale[1] *= 1.01
    assert module_sha256(scaled) != module_sha256(actor)


def test_int8_saves_three_of_four_bytes_per_weight():
    actor = actor_of((64, 64))
    dense, int8, half = (
        size_bytes(compress(actor, v)) for v in (Variant(), Variant("ptdq"), Variant("structured", "l1", 0.5))
    )
    weights = 5 * 64 + 64 * 64 + 64 * 3
    assert 3 * weights - 600 < dense - int8 <= 3 * weights  # three of four bytes; scales have names
    assert dense - half == pytest.approx(
        4 * (parameter_count((5, 64, 64, 3)) - parameter_count((5, 32, 32, 3))), abs=40
    )


# --- checks that fail


@pytest.mark.parametrize("method", ["ptsq", "qat"])
def test_static_int8_needs_ranges_of_this_actor(actor, prepared, method):
    with pytest.raises(CompressionError, match=f"{method}: ranges from states are needed"):
        compress(actor, Variant(method))
    with pytest.raises(CompressionError, match=f"{method}: the ranges were prepared for another actor"):
        compress(actor_of(seed=9), Variant(method), prepared)


@pytest.mark.parametrize("variant", [Variant("ptdq"), Variant("mixed", "l1", 0.5)])
def test_a_quantizer_that_skips_layers_is_detected(actor, monkeypatch, variant):
    monkeypatch.setattr(variants, "quantize_dynamic_int8", lambda model: model)
    with pytest.raises(CompressionError, match=f"{variant.name}: 0 of 3 layers are int8"):
        compress(actor, variant)


def test_a_conversion_that_skips_layers_is_detected(actor, prepared, monkeypatch):
    quietly = static_int8._quietly
    convert = static_int8.STATIC.convert
    monkeypatch.setattr(
        static_int8,
        "_quietly",
        lambda function, network: network if function is convert else quietly(function, network),
    )
    with pytest.raises(CompressionError, match="0 of 3 layers are int8, 3 are in floating point"):
        compress(actor, Variant("ptsq"), prepared)


def test_a_floating_point_layer_beside_int8_layers_is_detected(actor, prepared):
    module = to_static(actor, prepared.ranges)
    check_static_int8(module, 3)
    with pytest.raises(CompressionError, match="3 of 3 layers are int8, 1 are in floating point"):
        check_static_int8(StaticActor(actor, nn.Sequential(module.network, nn.Linear(3, 3))), 3)
    with pytest.raises(CompressionError, match="3 of 4"):
        check_static_int8(module, 4)


def test_ranges_of_another_shape_are_refused(actor, prepared):
    with pytest.raises(CompressionError, match=r"ranges \(3, 2\) are not those of 3 layers"):
        to_static(actor, prepared.ranges[:3])
    for bad in (prepared.ranges.flip(1), prepared.ranges * float("nan")):
        with pytest.raises(CompressionError, match="are not those of 3 layers"):
            to_static(actor, bad)


def test_training_that_changes_nothing_is_detected(actor, states, prepared, monkeypatch):
    untrained = Prepared(
        prepared.actor_sha256, prepared.ranges, actor.state_dict(), prepared.ranges, (1.0, 1.0)
    )
    with pytest.raises(CompressionError, match="nothing was trained"):
        compress(actor, Variant("qat"), untrained)
    with pytest.raises(CompressionError, match=r"qat: .*Missing key"):
        compress(actor, Variant("qat"), replace(untrained, trained={}))
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    with pytest.raises(CompressionError, match="QAT did not train the actor"):
        prepare_int8(actor, states, 0, QAT)


def test_a_saturated_actor_has_nothing_to_learn():
    actor = actor_of((8,), **BOUNDS, squashed=True)
    with torch.no_grad():
        actor.layers[-1].weight.zero_()
        actor.layers[-1].bias.fill_(50.0)  # tanh(50) is 1 in float32, and its gradient 0
    states = states_of(actor, 200)
    saturated = prepare_int8(actor, states, 0, QATParameters(5, 32, 1e-3))
    assert saturated.losses == (0.0, 0.0)
    assert all(torch.equal(saturated.trained[name], value) for name, value in actor.state_dict().items())
    acts = compress(actor, Variant("qat"), saturated)
    assert torch.equal(torch.tanh(acts(torch.from_numpy(states))), torch.ones(200, 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_invalid_states_are_refused(actor, states, bad):
    broken = states.copy()
    broken[3, 2] = bad
    with pytest.raises(CompressionError, match=r"states \(600, 5\) are not finite rows of 5"):
        prepare_int8(actor, broken, 0, QAT)
    with pytest.raises(CompressionError, match=r"\(600, 4\)"):
        prepare_int8(actor, states[:, :4], 0, QAT)
    with pytest.raises(CompressionError, match=r"\(0, 5\)"):
        prepare_int8(actor, states[:0], 0, QAT)


def test_pruning_that_prunes_nothing_is_detected(actor, monkeypatch):
    monkeypatch.setattr(variants, "prune_weights", lambda model, share, scope: model)
    with pytest.raises(CompressionError, match=r"layers\.0\.weight has 0 zeros of 80 weights"):
        compress(actor, Variant("unstructured", "l1", 0.5))
    monkeypatch.setattr(variants, "keep_units", lambda model, kept: model)
    with pytest.raises(CompressionError, match=r"339 parameters are left, 123 make hidden layers \(8, 6\)"):
        compress(actor, Variant("structured", "l1", 0.5))
    monkeypatch.setattr(variants, "prune_units", lambda model, norm, share: model)
    with pytest.raises(CompressionError, match="structured_l1_50: compression changed nothing"):
        compress(actor, Variant("structured", "l1", 0.5))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": 0.0}, {"batch_size": 0}, {"epochs": 1}])
def test_invalid_training_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        QATParameters(**({"steps": 1, "batch_size": 1, "learning_rate": 1e-3} | wrong))
