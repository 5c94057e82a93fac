"""Unstructured pruning sets exactly so many weights to zero, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sustainable.compression.weights import prune_weights
from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.model.gru import Architecture, LayeredArchitecture, LayeredGRU, WeatherGRU

shares = st.floats(0.0, 0.95)
quick = settings(max_examples=40, deadline=None)


def network(widths=(5, 3), seed=0):
    torch.manual_seed(seed)
    return LayeredGRU(LayeredArchitecture(2, widths, 0.0))


def matrices(model):
    return {name: value.detach() for name, value in model.named_parameters() if "weight" in name}


def zeros(tensor):
    return int((tensor == 0).sum())


@quick
@given(shares, st.integers(0, 50))
def test_each_matrix_loses_its_own_share(share, seed):
    pruned = prune_weights(network(seed=seed), share, "layer")
    for matrix in matrices(pruned).values():
        assert zeros(matrix) == round(share * matrix.numel())


@quick
@given(shares, st.integers(0, 50))
def test_all_matrices_together_lose_the_share(share, seed):
    found = matrices(prune_weights(network(seed=seed), share, "global")).values()
    assert sum(map(zeros, found)) == round(share * sum(matrix.numel() for matrix in found))


@quick
@given(shares, st.sampled_from(["layer", "global"]))
def test_the_smallest_go_first_and_the_others_stay(share, scope):
    model = network()
    before, after = matrices(model), matrices(prune_weights(model, share, scope))
    groups = [[name] for name in before] if scope == "layer" else [list(before)]
    for group in groups:
        old = torch.cat([before[name].flatten() for name in group])
        new = torch.cat([after[name].flatten() for name in group])
        gone = new == 0
        assert torch.equal(new[~gone], old[~gone])
        if gone.any() and not gone.all():
            assert old[gone].abs().max() <= old[~gone].abs().min()


def test_both_scopes_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, -0.2], [0.3, -0.4]]))
        model[1].weight.copy_(torch.tensor([[5.0, -6.0], [7.0, 8.0]]))
    by_layer = prune_weights(model, 0.5, "layer")
    assert by_layer[0].weight.tolist() == [[0.0, 0.0], [pytest.approx(0.3), pytest.approx(-0.4)]]
    assert by_layer[1].weight.tolist() == [[0.0, 0.0], [7.0, 8.0]]
    overall = prune_weights(model, 0.5, "global")
    assert overall[0].weight.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert overall[1].weight.tolist() == [[5.0, -6.0], [7.0, 8.0]]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_biases_stay_and_the_original_is_left_alone(scope):
    model = network()
    before = tensors_sha256(model.state_dict())
    pruned = prune_weights(model, 0.7, scope)
    for name, value in pruned.named_parameters():
        if "bias" in name:
            assert torch.equal(value, dict(model.named_parameters())[name]), name
    assert tensors_sha256(pruned.state_dict()) != before
    assert tensors_sha256(model.state_dict()) == before


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_no_share_is_no_change(scope):
    model = network()
    pruned = prune_weights(model, 0.0, scope)
    assert pruned is not model
    assert tensors_sha256(pruned.state_dict()) == tensors_sha256(model.state_dict())


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_stacked_network_is_pruned_as_the_layered_one(scope):
    torch.manual_seed(0)
    model = WeatherGRU(Architecture(2, 4, 2, 0.0)).eval()
    pruned = prune_weights(model, 0.5, scope)
    total = sum(matrix.numel() for matrix in matrices(model).values())
    assert sum(map(zeros, matrices(pruned).values())) == total // 2  # every matrix here is of even size
    # the masked weights are those that it computes with
    windows = torch.rand(3, 4, 2)
    assert not torch.equal(pruned(windows), model(windows))
    copied = WeatherGRU(model.architecture).eval()
    copied.load_state_dict(pruned.state_dict())
    assert torch.equal(copied(windows), pruned(windows))
