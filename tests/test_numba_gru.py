"""The forecaster compiled by numba agrees with eager PyTorch."""

import numpy as np
import pytest
import torch

from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.compression.runtimes import deploy, deploy_unchecked
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    layered,
    logits_of,
)

DAYS, FEATURES = 6, 3
WINDOWS = torch.randn(11, DAYS, FEATURES, generator=torch.Generator().manual_seed(0))


def made(*widths):
    torch.manual_seed(1)
    return LayeredGRU(LayeredArchitecture(FEATURES, widths, 0.2)).eval()


def eager(model, windows):
    return logits_of(model, windows, len(windows)).numpy()


@pytest.mark.parametrize("widths", [(7, 4), (1, 9), (32, 16), (5,), (3, 8, 2)])
@pytest.mark.parametrize("size", [1, 2, 11])
def test_any_widths_and_batch_size_give_the_outputs_of_eager(widths, size, tmp_path):
    model = made(*widths)
    deployed = deploy_unchecked(model, "fp32", "numba", DAYS, tmp_path)
    assert np.allclose(deployed.logits(WINDOWS, size), eager(model, WINDOWS), rtol=0, atol=1e-6)


def test_saturated_gates_agree(tmp_path):
    """Large inputs drive the gates to 0 and 1, where the approximation of tanh is cut off."""
    model, windows = made(7, 4), 1000 * WINDOWS
    deployed = deploy_unchecked(model, "fp32", "numba", DAYS, tmp_path)
    assert np.allclose(deployed.logits(windows, 11), eager(model, windows), rtol=0, atol=1e-5)


def test_the_approximation_of_tanh_is_close():
    from sustainable.forecasting.compression.numba_gru import tanh

    values = np.linspace(-12, 12, 20_001, dtype=np.float32)
    found = np.array([tanh(value) for value in values])
    assert np.abs(found - np.tanh(values.astype(np.float64))).max() < 1e-6


def test_a_call_sees_new_windows_and_forgets_the_last(tmp_path):
    """The states of a call stay in memory; the next call must not read them."""
    model = made(7, 4)
    deployed = deploy_unchecked(model, "fp32", "numba", DAYS, tmp_path)
    first, second = (deployed.prepare(part) for part in (WINDOWS[:5], WINDOWS[5:10]))
    once = deployed.run(first).copy()
    other = deployed.run(second).copy()
    assert not np.allclose(once, other, rtol=0, atol=1e-4)
    assert np.array_equal(deployed.run(first), once)


def test_a_stacked_network_has_the_hash_of_its_layered_copy(tmp_path):
    torch.manual_seed(2)
    stacked = WeatherGRU(Architecture(FEATURES, 6, 2, 0.2)).eval()
    deployed = deploy(stacked, "fp32", "numba", WINDOWS, tmp_path)
    assert tensors_sha256(deployed.model.state_dict()) == tensors_sha256(layered(stacked).state_dict())
    assert deployed.size_bytes is None
