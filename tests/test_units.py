"""Units are removed exactly: what is left computes what the masked network computed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sustainable.compression import CompressionError
from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.compression.units import keep_gru_units, prune_gru_units, unit_importance
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    gru_parameter_count,
    layered,
    logits_of,
    sequence_flops,
)

FEATURES, DAYS = 3, 4
WINDOWS = torch.rand(6, DAYS, FEATURES, generator=torch.Generator().manual_seed(0))


def network(widths, seed=0, features=FEATURES):
    torch.manual_seed(seed)
    return LayeredGRU(LayeredArchitecture(features, tuple(widths), 0.0)).eval()


def mask_gru_units(model, kept):
    """A copy of full size with zero weights on the outputs of all units but `kept`."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    last = len(model.widths) - 1
    for depth, units in enumerate(kept):
        removed = torch.ones(model.widths[depth], dtype=torch.bool)
        removed[units] = False
        reader = "readout.weight" if depth == last else f"layers.{depth + 1}.weight_ih_l0"
        for name in (f"layers.{depth}.weight_hh_l0", reader):
            weights[name][:, removed] = 0.0
    masked = LayeredGRU(model.architecture)
    masked.load_state_dict(weights)
    return masked.train(model.training)


def outputs(model):
    return logits_of(model, WINDOWS, len(WINDOWS))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@st.composite
def networks_with_kept_units(draw):
    """A random network of one to three layers, and which units of each to keep."""
    widths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    kept = [sorted(draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=width))) for width in widths]
    return network(widths, draw(st.integers(0, 1000))), [torch.tensor(units) for units in kept]


quick = settings(max_examples=40, deadline=None)


@quick
@given(networks_with_kept_units())
def test_masked_and_compacted_networks_agree(case):
    model, kept = case
    small = keep_gru_units(model, kept)
    assert small.widths == tuple(len(units) for units in kept)
    assert torch.allclose(outputs(mask_gru_units(model, kept)), outputs(small), rtol=0, atol=1e-6)


@quick
@given(networks_with_kept_units())
def test_units_that_nothing_reads_can_go(case):
    """When the other units' outgoing weights are zero, removing them changes no output."""
    model, kept = case
    with torch.no_grad():
        for depth, units in enumerate(kept):
            gone = [unit for unit in range(model.widths[depth]) if unit not in units.tolist()]
            last = depth == len(kept) - 1
            reader = model.readout.weight if last else model.layers[depth + 1].weight_ih_l0
            model.layers[depth].weight_hh_l0[:, gone] = 0.0
            reader[:, gone] = 0.0
    assert torch.allclose(outputs(model), outputs(keep_gru_units(model, kept)), rtol=0, atol=1e-6)


@quick
@given(networks_with_kept_units())
def test_parameters_are_counted_before_and_after(case):
    model, kept = case
    assert count(model) == gru_parameter_count(FEATURES, model.widths)
    assert count(keep_gru_units(model, kept)) == gru_parameter_count(FEATURES, [len(units) for units in kept])


def test_parameters_by_hand():
    # 3 gates x 2 units x (3 inputs + 2 states) + 2 x 6 biases, 3 x 1 x (2 + 1) + 2 x 3, readout 1 + 1
    assert gru_parameter_count(3, (2, 1)) == 30 + 12 + 9 + 6 + 2
    assert gru_parameter_count(4, (256, 256)) == 596_225  # as published


def test_kept_units_stay_in_their_order():
    """The strongest units are 3, 0, 2 in this order; they stand as 0, 2, 3."""
    model = network((4,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.readout.weight[0] = torch.tensor([5.0, 1.0, 2.0, 9.0])
        model.layers[0].bias_ih_l0.copy_(torch.arange(12.0))
        model.layers[0].weight_hh_l0.copy_(torch.arange(48.0).reshape(12, 4) / 1000)
    pruned = prune_gru_units(model, (3,), "l1")
    assert pruned.readout.weight[0].tolist() == [5.0, 2.0, 9.0]
    assert pruned.layers[0].bias_ih_l0.tolist() == [0, 2, 3, 4, 6, 7, 8, 10, 11]
    # row 2 of gate 1 is row 6 of the old matrix, whose columns 0, 2, 3 are 24, 26, 27
    assert pruned.layers[0].weight_hh_l0[4].tolist() == pytest.approx([0.024, 0.026, 0.027])


def by_hand():
    """One feature, and layers of two units and of one; most weights are zero."""
    model = network((2, 1), features=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        first, second = model.layers
        first.weight_ih_l0[:, 0] = torch.tensor([3.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        first.weight_hh_l0.copy_(torch.tensor([[1.0, 2], [-4, 0], [0, 0], [0, 0], [0, 0], [0, 0]]))
        first.bias_ih_l0.fill_(100.0)  # biases do not count
        second.weight_ih_l0.copy_(torch.tensor([[0.0, 1], [5, 0], [0, 0]]))
        second.weight_hh_l0[:, 0] = torch.tensor([0.0, -6.0, 0.0])
        model.readout.weight.fill_(-8.0)
    return model


def test_importance_by_hand():
    model = by_hand()
    # unit 0: in 3, 1, 2, out 1, -4, 5; unit 1: in 1, -4, out 2, 1; second layer: in 5, 1, -6, out -6, -8
    # (a weight of a unit to itself both comes in and goes out)
    assert unit_importance(model, 0, "l1").tolist() == [3 + 1 + 2 + 1 + 4 + 5, 1 + 4 + 2 + 1]
    squares = [9 + 1 + 4 + 1 + 16 + 25, 1 + 16 + 4 + 1]
    assert unit_importance(model, 0, "l2").square().tolist() == pytest.approx(squares)
    assert unit_importance(model, 1, "l1").tolist() == [5 + 1 + 6 + 6 + 8]
    assert unit_importance(model, 1, "l2").item() ** 2 == pytest.approx(25 + 1 + 36 + 36 + 64)


def test_norms_can_disagree_and_the_criterion_decides():
    """Unit 0 has one weight of 3, unit 1 has four of 1: L1 keeps the second, L2 the first."""
    model = network((2,), features=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.readout.weight[0, 0] = 3.0
        model.layers[0].weight_ih_l0[1] = torch.ones(4)
    assert prune_gru_units(model, (1,), "l1").readout.weight.item() == 0.0
    assert prune_gru_units(model, (1,), "l2").readout.weight.item() == 3.0


def test_random_importance_comes_from_the_generator_alone():
    model, other = network((8, 8), seed=1), network((8, 8), seed=2)

    def drawn(model, seed):
        return unit_importance(model, 0, "random", torch.Generator().manual_seed(seed)).tolist()

    assert drawn(model, 5) == drawn(model, 5) == drawn(other, 5) != drawn(model, 6)
    hashes = [
        tensors_sha256(
            prune_gru_units(model, (4, 4), "random", torch.Generator().manual_seed(seed)).state_dict()
        )
        for seed in (5, 5, 6)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@quick
@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.sampled_from(["l1", "l2", "random"]))
def test_pruning_to_the_same_widths_returns_the_same_network(widths, criterion):
    model = network(widths)
    pruned = prune_gru_units(model, widths, criterion)
    assert pruned is not model
    assert tensors_sha256(pruned.state_dict()) == tensors_sha256(model.state_dict())


def test_the_original_and_its_mode_are_left_alone():
    model = network((5, 4)).train()
    before = tensors_sha256(model.state_dict())
    pruned = prune_gru_units(model, (2, 3), "l1")
    masked = mask_gru_units(model, [torch.tensor([0]), torch.tensor([1])])
    assert pruned.training and masked.training and model.training
    assert not prune_gru_units(network((5, 4)), (2, 3), "l1").training
    with torch.no_grad():
        for changed in (pruned, masked, layered(model)):
            for parameter in changed.parameters():
                parameter.add_(1.0)
    assert tensors_sha256(model.state_dict()) == before


@pytest.mark.parametrize("widths", [(5, 5), (6, 4), (5,), (5, 4, 4)])
def test_units_that_are_not_there_cannot_be_kept(widths):
    with pytest.raises(CompressionError, match=r"cannot be cut from \(5, 4\)"):
        prune_gru_units(network((5, 4)), widths, "l1")


@quick
@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 100))
def test_a_layered_copy_is_the_stacked_network(hidden, layers, seed):
    torch.manual_seed(seed)
    stacked = WeatherGRU(Architecture(FEATURES, hidden, layers, 0.0)).eval()
    copied = layered(stacked)
    assert copied.widths == stacked.widths == (hidden,) * layers
    assert count(copied) == count(stacked) == gru_parameter_count(FEATURES, stacked.widths)
    assert torch.allclose(outputs(copied), outputs(stacked), rtol=0, atol=1e-6)
    assert torch.equal(outputs(layered(copied)), outputs(copied))


def test_a_layered_copy_keeps_the_mode_and_drops_out_between_the_layers_alone():
    torch.manual_seed(0)
    assert layered(WeatherGRU(Architecture(3, 4, 2, 0.5)).train()).training
    single = layered(WeatherGRU(Architecture(3, 4, 1, 0.5)).train())
    assert torch.equal(single(WINDOWS), single(WINDOWS))  # one layer: there is nothing between
    double = layered(WeatherGRU(Architecture(3, 4, 2, 0.5)).train())
    assert not torch.equal(double(WINDOWS), double(WINDOWS))
    assert torch.equal(outputs(double), outputs(double))


def test_flops_of_unequal_widths_by_hand():
    # a day: 2 x 3 x 5 x (4 + 5) and 2 x 3 x 2 x (5 + 2); seven days; readout 2 x 2
    assert sequence_flops(4, (5, 2), 7) == 7 * (270 + 84) + 4


@pytest.mark.parametrize("widths", [(5, 2), (2, 5), (3, 1, 4)])
def test_flops_as_torch_counts_them(widths):
    with FlopCounterMode(display=False) as counter:
        network(widths)(WINDOWS[:1])
    assert counter.get_total_flops() == sequence_flops(FEATURES, widths, DAYS)
