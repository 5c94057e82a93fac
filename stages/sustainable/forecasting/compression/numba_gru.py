"""A forecaster compiled by numba: one call computes all layers and days.

At batch 1 most of a forecast's CPU time is spent between the small operations of a GRU, not in them.
Compiled, the operations follow each other without an interpreter. Products of matrices go to BLAS. The code
is compiled once per process, for all widths and batch sizes. `runtimes` imports this module only when it is
needed, because numba takes long to import.
"""

import numba
import numpy as np
from torch import Tensor, nn

from sustainable.forecasting.compression.runtimes import Deployed, Run, by_batch_size, shape_of_logits
from sustainable.forecasting.model.gru import LayeredGRU

Layer = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Weights of the inputs [inputs + 1, 3 units] and of the states [units + 1, 3 units], the biases as last row.
Then working memory: the products of the inputs [days n, 3 units], the products of the states [n, 3 units],
and the states [days + 1, n, units + 1]. Their last column is 1, which adds the biases."""

compiled = numba.njit(fastmath=True, error_model="numpy")


@compiled
def tanh(x: np.float32) -> np.float32:
    """Approximate tanh by a quotient of polynomials, with Eigen's coefficients (error below 1e-6).

    It has no branches, so the compiler computes several values at once. The library's tanh is one call each.
    """
    x = min(max(x, np.float32(-7.905311)), np.float32(7.905311))
    y = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * y + np.float32(2.00018790482477e-13)
    p = p * y + np.float32(-8.60467152213735e-11)
    p = p * y + np.float32(5.12229709037114e-08)
    p = p * y + np.float32(1.48572235717979e-05)
    p = p * y + np.float32(6.37261928875436e-04)
    p = p * y + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * y + np.float32(1.18534705686654e-04)
    q = q * y + np.float32(2.26843463243900e-03)
    q = q * y + np.float32(4.89352518554385e-03)
    return x * p / q


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """Compute the logistic function."""
    half = np.float32(0.5)
    value: np.float32 = half + half * tanh(half * x)
    return value


@compiled
def update_state(projected: np.ndarray, product: np.ndarray, old: np.ndarray, new: np.ndarray) -> None:
    """Compute one state `new` [units + 1] in place, from `old` and both products [3 units] of its day.

    The indices are unsigned: numba checks signed ones for wrap-around, which keeps the loop scalar.
    """
    units = np.uintp(old.shape[0] - 1)
    for unit in range(units):
        reset = sigmoid(projected[unit] + product[unit])
        update = sigmoid(projected[units + unit] + product[units + unit])
        last = np.uintp(2) * units + unit
        candidate = tanh(projected[last] + reset * product[last])
        new[unit] = candidate + update * (old[unit] - candidate)


@compiled
def run_layer(inputs: np.ndarray, layer: Layer) -> None:
    """Compute the states of all days in place; `inputs` [days n, inputs + 1] with a last column of 1."""
    input_weights, state_weights, projected, product, states = layer
    n = product.shape[0]
    np.dot(inputs, input_weights, projected)
    for day in range(states.shape[0] - 1):
        if n == 1:  # BLAS is faster if it is told that this is a vector
            np.dot(states[day, 0], state_weights, product[0])
        else:
            np.dot(states[day], state_weights, product)
        for row in range(n):
            update_state(projected[day * n + row], product[row], states[day, row], states[day + 1, row])


@compiled
def run_network(
    windows: np.ndarray,
    layers: tuple[Layer, ...],
    readout: np.ndarray,
    inputs: np.ndarray,
    logits: np.ndarray,
) -> None:
    """Compute `logits` [n, outputs] in place from `windows` [n, days, features].

    `readout` [units + 1, outputs] ends with the biases; `inputs` [days, n, features + 1] is working memory
    with a last column of 1.
    """
    n, days, features = windows.shape
    for day in range(days):
        for row in range(n):
            for feature in range(features):
                inputs[day, row, feature] = windows[row, day, feature]
    below = inputs
    for layer in layers:
        run_layer(below.reshape(days * n, below.shape[2]), layer)
        below = layer[4][1:]  # the first state is the initial one, zero
    np.dot(below[days - 1], readout, logits)


def deploy_in_numba(model: LayeredGRU) -> Deployed:
    """Deploy a forecaster in numba. The first call in a process compiles for some seconds.

    The compiled code runs on one thread, BLAS on as many as the environment of the process allows.
    """

    def make(shape: tuple[int, ...]) -> Run:
        n, days, features = shape
        layers = tuple(layer_memory(layer, n, days) for layer in model.layers)
        readout = np.ascontiguousarray(with_bias(model.readout.weight, model.readout.bias))
        inputs = np.ones((days, n, features + 1), np.float32)
        logits = np.zeros((n, readout.shape[1]), np.float32)
        shaped = logits.reshape(shape_of_logits(model, n))

        def run(windows: np.ndarray) -> np.ndarray:
            run_network(windows, layers, readout, inputs, logits)
            return shaped

        run(np.zeros(shape, np.float32))  # compiles
        return run

    return Deployed(*by_batch_size(make), model, "fp32", "numba")


def layer_memory(layer: nn.Module, n: int, days: int) -> Layer:
    """Return the weights of a layer and its working memory for `n` windows of `days`."""
    weights = {name.removesuffix("_l0"): value for name, value in layer.state_dict().items()}
    units = weights["weight_hh"].shape[1]
    states = np.zeros((days + 1, n, units + 1), np.float32)
    states[:, :, -1] = 1
    return (
        with_bias(weights["weight_ih"], weights["bias_ih"]),
        with_bias(weights["weight_hh"], weights["bias_hh"]),
        np.zeros((days * n, 3 * units), np.float32),
        np.zeros((n, 3 * units), np.float32),
        states,
    )


def with_bias(weight: Tensor, bias: Tensor) -> np.ndarray:
    """Return the transpose of `weight` [outputs, inputs] with `bias` [outputs] as the last row."""
    # contiguous rows: a vector times the matrix then reads it in order
    return np.ascontiguousarray(np.vstack([weight.detach().numpy().T, bias.detach().numpy()]))
