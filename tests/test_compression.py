import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sustainable.compression import CompressionError
from sustainable.compression.quantization import quantize_dynamic_int8
from sustainable.forecasting.compression.accounting import account, model_tensors, ptflops_macs
from sustainable.forecasting.compression.actions import ACTION_COUNT, Configuration, compress_forecaster
from sustainable.forecasting.model.gru import Architecture, WeatherGRU

EXAMPLE = torch.zeros(1, 5, 3)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return WeatherGRU(Architecture(features=3, hidden=6, layers=2, dropout=0.0)).eval()


def weights(model, pruning=0.0, quantization=False):
    return account(
        compress_forecaster(model, Configuration(pruning, quantization), EXAMPLE), 5, 3
    ).weights_sha256


@given(st.integers(0, ACTION_COUNT - 1))
def test_an_action_codes_tenths_and_quantization(action):
    configuration = Configuration.of_action(action)
    assert round(configuration.pruning * 10) == action % 8
    assert configuration.quantization == (action >= 8)


def test_names_and_the_published_choice():
    assert Configuration.of_action(11) == Configuration(0.3, True)
    names = [Configuration.of_action(action).name for action in (0, 5, 8, 11)]
    assert names == ["FP32", "P50", "Q", "P30+Q"]
    with pytest.raises(ValueError, match="action 16"):
        Configuration.of_action(16)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.7])
def test_published_pruning_returns_the_baseline_itself(model, ratio):
    assert weights(model, ratio) == weights(model)
    assert weights(model, ratio, True) == weights(model, 0.0, True) != weights(model)


def test_compressing_leaves_the_original_alone(model):
    before = weights(model)
    compress_forecaster(model, Configuration(0.5, True), EXAMPLE)
    assert weights(model) == before


def test_quantized_outputs_are_close_and_not_equal(model):
    inputs = torch.rand(20, 5, 3)
    exact, coarse = model(inputs), compress_forecaster(model, Configuration(0.0, True), EXAMPLE)(inputs)
    assert 0 < (exact - coarse).abs().max() < 0.05


def test_a_quantizer_that_does_nothing_is_an_error():
    with pytest.raises(CompressionError, match="the whole model"):
        quantize_dynamic_int8(nn.Sequential(nn.Conv1d(1, 1, 1)))


def test_counts_by_hand():
    model = WeatherGRU(Architecture(features=3, hidden=6, layers=2, dropout=0.0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        model.readout.weight[0, :2] = 0.0
    total = 18 * (3 + 6) + 2 * 18 + 18 * (6 + 6) + 2 * 18 + 6 + 1
    dense = account(model, 5, 3)
    assert (dense.parameters, dense.nonzero, dense.int8_parameters) == (total, total - 2, 0)
    assert dense.proxy_parameters == total
    assert dense.size_bytes > 4 * total
    small = account(compress_forecaster(model, Configuration(0.0, True), EXAMPLE), 5, 3)
    assert small.parameters == total
    assert small.int8_parameters == total - 4 * 18 - 1  # weights, not biases
    assert small.nonzero == total - 2
    assert (small.proxy_parameters, small.proxy_flops) == (0, 0)  # what the published study rewarded


def test_the_hash_covers_every_number_that_a_quantized_model_computes_with(model):
    quantized = compress_forecaster(model, Configuration(0.0, True), EXAMPLE)
    tensors = model_tensors(quantized)
    scales = [name for name in tensors if name.endswith(".scale")]
    assert len(scales) == 5  # two weights a GRU layer, one readout
    assert all(int(value) == 0 for name, value in tensors.items() if name.endswith(".zero"))
    changed = WeatherGRU(model.architecture)
    changed.load_state_dict(model.state_dict())
    with torch.no_grad():
        changed.gru.bias_hh_l1[3] += 0.1
    assert weights(changed, 0.0, True) != weights(model, 0.0, True)


def test_a_model_that_ptflops_cannot_run_is_an_error_and_not_zero():
    with pytest.raises(CompressionError, match="ptflops"):
        ptflops_macs(nn.Linear(7, 1), 5, 3)
