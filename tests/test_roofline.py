"""The ceilings by hand, and that they are numbers. How high they are depends on the host."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from sustainable.measuring import roofline
from sustainable.measuring.roofline import NO_BF16, measure_roofline

FP32 = {
    "torch": roofline._torch,
    "numpy": roofline._numpy,
    "onnxruntime": roofline._onnxruntime,
    "openvino": roofline._openvino,
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(roofline, "SHAPES", ((16, 16, 16), (4, 8, 32)))
    monkeypatch.setattr(roofline, "TRIAD_ELEMENTS", 1000)
    monkeypatch.setattr(roofline, "PRODUCT_S", 0.002)
    monkeypatch.setattr(roofline, "TRIAD_S", 0.002)


def test_the_highest_rate_of_all_libraries_and_shapes_counts(monkeypatch):
    """The products are 8192 and 2048 operations; a + s * b reads two and writes one of 1000 x 4 bytes."""
    seconds = iter([0.5, 0.4, 0.25, 0.5, 0.5, 0.5, 0.05, 0.5, 0.5, 0.02, 0.5, 0.5, 0.125])

    def takes(run, measured_s):
        run()
        return next(seconds)

    monkeypatch.setattr(roofline, "_best_s", takes)
    monkeypatch.setattr(roofline, "has_bf16", lambda: False)
    found = measure_roofline()
    assert found.flops_per_s == found.fp32.flops_per_s == 2048 / 0.05
    assert (found.fp32.library, found.fp32.shape) == ("onnxruntime", (4, 8, 32))
    assert found.fp32.by_library == {
        "torch": 8192 / 0.5,
        "numpy": 8192 / 0.4,
        "onnxruntime": 2048 / 0.05,
        "openvino": 8192 / 0.5,
    }
    assert found.int8.flops_per_s == 8192 / 0.02
    assert found.bytes_per_s == 12_000 / 0.125


def test_without_bfloat16_there_is_a_reason_instead_of_a_rate(monkeypatch):
    monkeypatch.setattr(roofline, "has_bf16", lambda: False)
    found = measure_roofline()
    assert (found.bf16, found.no_bf16) == (None, NO_BF16)


def test_with_bfloat16_its_ceiling_is_apart(monkeypatch):
    """Torch multiplies bfloat16 on every processor; here it stands for one that does it natively."""
    monkeypatch.setattr(roofline, "has_bf16", lambda: True)
    monkeypatch.setattr(roofline, "_openvino_bf16", roofline._torch_bf16)
    found = measure_roofline()
    assert set(found.bf16.by_library) == {"torch", "openvino"}
    assert found.bf16.flops_per_s == max(found.bf16.by_library.values())
    assert found.no_bf16 is None


def test_ceilings_are_positive_numbers_and_keep_their_keys(monkeypatch):
    """Tests run with the determinism pins, under which OpenVINO has no bfloat16 product."""
    monkeypatch.setattr(roofline, "_openvino_bf16", roofline._torch_bf16)
    document = json.loads(json.dumps(asdict(measure_roofline())))
    assert {"flops_per_s", "bytes_per_s", "fp32", "bf16", "no_bf16", "int8"} == set(document)
    for rate in (document["flops_per_s"], document["bytes_per_s"], *document["fp32"]["by_library"].values()):
        assert math.isfinite(rate)
        assert rate > 0


@pytest.mark.parametrize("library", FP32)
def test_every_library_computes_the_product(library):
    values = np.random.default_rng(1)
    left, right = values.random((3, 5), dtype=np.float32), values.random((5, 4), dtype=np.float32)
    product = FP32[library](left, right)()
    if library in ("onnxruntime", "openvino"):  # these return a collection of outputs
        product = product[0]
    assert np.allclose(np.asarray(product), left @ right, rtol=0, atol=1e-5)


@pytest.mark.parametrize("multiply", [roofline._torch_int8, roofline._onnxruntime_int8])
def test_int8_products_are_exact(multiply):
    """0, 1/127 and 1 are stored as 0, 1 and 127."""
    left = np.array([[0, 1, 1 / 127], [1, 1, 1]], dtype=np.float32)
    right = np.array([[1, 0], [1 / 127, 1], [1, 1]], dtype=np.float32)
    product = multiply(left, right)()
    product = product[0] if isinstance(product, list) else product
    assert np.asarray(product).tolist() == [[254, 16256], [32385, 32258]]


def test_the_shortest_timed_run_counts(monkeypatch):
    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock, took = Clock(), []
    durations = iter([0.001, 0.004, 0.003, 0.002, 0.006, 99.0])

    def run():
        took.append(next(durations))
        clock.now += took[-1]

    monkeypatch.setattr(roofline, "time", clock)
    assert roofline._best_s(run, 0.01) == pytest.approx(0.002)
    assert len(took) == 5  # one that is not timed, then 15 ms, more than the 10 that are measured
