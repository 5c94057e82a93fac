"""Every runtime agrees with eager PyTorch, and a runtime that ignores the requested precision is refused."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from sustainable.compression import CompressionError
from sustainable.compression.quantization import quantize_dynamic_int8, to_bfloat16
from sustainable.core.determinism import PINS
from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.compression import onnx_export
from sustainable.forecasting.compression.onnx_export import cached_gru_onnx, gru_to_onnx
from sustainable.forecasting.compression.runtimes import (
    LOGIT_TOLERANCE,
    TARGETS,
    Deployed,
    checked_logits,
    deploy,
    deploy_in_onnxruntime,
    deploy_in_openvino,
    deploy_in_torch,
)
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    logits_of,
)

DAYS, FEATURES = 6, 3
WINDOWS = torch.rand(11, DAYS, FEATURES, generator=torch.Generator().manual_seed(0))
PINNED = [pair for pair in TARGETS if pair != ("bf16", "openvino")]
"""The pins of the determinism hold in these tests, and under them oneDNN has no bfloat16 GRU."""


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return LayeredGRU(LayeredArchitecture(FEATURES, (7, 4), 0.2)).eval()


@pytest.fixture(scope="module")
def stacked():
    torch.manual_seed(2)
    return WeatherGRU(Architecture(FEATURES, 6, 2, 0.2)).eval()


def eager(model, windows=WINDOWS):
    return logits_of(model, windows, len(windows)).numpy()


def named(precision, outputs, runtime="torch-eager"):
    """A deployment by hand that gives these outputs, whatever it is asked."""
    return Deployed(lambda windows: windows, lambda _: outputs, nn.Identity(), precision, runtime)


@pytest.mark.parametrize(("precision", "runtime"), PINNED)
@pytest.mark.parametrize("kind", ["model", "stacked"])
def test_every_target_computes_what_eager_fp32_computes(kind, precision, runtime, tmp_path, request):
    model = request.getfixturevalue(kind)
    deployed = deploy(model, precision, runtime, WINDOWS, tmp_path)
    assert (deployed.precision, deployed.runtime) == (precision, runtime)
    expected = eager(model)
    found = deployed.logits(WINDOWS, 5)  # batches of 5, 5 and 1
    assert found.dtype == np.float32
    assert found.shape == (11,)
    furthest = np.abs(found - expected).max()
    limit = {"fp32": 1e-6, "bf16": 0.02, "int8": 0.02}[precision]  # far inside what a deployment may be off
    assert furthest < limit <= LOGIT_TOLERANCE[precision]
    assert furthest > 0 or precision == "fp32"


@pytest.mark.parametrize(("precision", "runtime"), PINNED)
def test_every_target_computes_all_logits_of_three_classes(precision, runtime, tmp_path):
    torch.manual_seed(3)
    model = LayeredGRU(LayeredArchitecture(FEATURES, (7, 4), 0.2, classes=3)).eval()
    found = deploy(model, precision, runtime, WINDOWS, tmp_path).logits(WINDOWS, 5)
    assert found.shape == (11, 3)
    assert np.abs(found - eager(model)).max() < {"fp32": 1e-6, "bf16": 0.02, "int8": 0.02}[precision]


def test_precisions_are_what_they_are_called(model, tmp_path):
    types = {
        precision: {value.dtype for value in deploy(model, precision, "torch-eager", WINDOWS, tmp_path)
                    .model.parameters()}
        for precision in ("fp32", "bf16")
    }  # fmt: skip
    assert types == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}
    by_hand = quantize_dynamic_int8(model)
    int8 = deploy(model, "int8", "torch-eager", WINDOWS, tmp_path)
    with torch.inference_mode():
        assert int8.logits(WINDOWS, 11).tolist() == by_hand(WINDOWS).tolist()


@pytest.mark.parametrize(
    ("precision", "runtime"), [("int8", "onnxruntime"), ("bf16", "onnxruntime"), ("int8", "openvino")]
)
def test_a_pair_that_would_be_silently_fp32_is_not_offered(model, tmp_path, precision, runtime):
    with pytest.raises(CompressionError, match=f"{runtime} has no {precision} kernel for a GRU"):
        deploy(model, precision, runtime, WINDOWS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_outputs_are_refused(model):
    expected = eager(model)
    assert np.abs(expected).max() < 1  # so that the limit is the tolerance itself
    for precision, tolerance in LOGIT_TOLERANCE.items():
        checked_logits(named(precision, expected + 0.9 * tolerance), WINDOWS, expected)
        with pytest.raises(CompressionError, match=f"{precision} on torch-eager: a logit is .* off"):
            checked_logits(named(precision, expected + 1.1 * tolerance), WINDOWS, expected)


def test_the_tolerance_grows_with_the_largest_logit():
    expected = np.array([0.0, -20.0], dtype=np.float32)
    windows = WINDOWS[:2]
    checked_logits(named("bf16", expected + np.float32(1.9)), windows, expected)
    with pytest.raises(CompressionError, match=r"a logit is 2\.1 off, 2 is allowed"):
        checked_logits(named("bf16", expected + np.float32(2.1)), windows, expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_outputs_are_refused(model, precision, bad):
    expected = eager(model)
    outputs = expected.copy()
    outputs[3] = bad
    with pytest.raises(CompressionError, match="off"):
        checked_logits(named(precision, outputs), WINDOWS, expected)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_precision_that_was_ignored_is_refused(model, precision):
    expected = eager(model)
    checked_logits(named("fp32", expected), WINDOWS, expected)
    with pytest.raises(CompressionError, match="the precision was ignored"):
        checked_logits(deploy_in_torch(model, precision), WINDOWS, expected)


def test_a_model_without_parameters_cannot_be_bfloat16():
    with pytest.raises(CompressionError, match="the model has no parameters"):
        to_bfloat16(nn.ReLU())


def test_bfloat16_does_not_change_the_original(model):
    before = tensors_sha256(model.state_dict())
    converted = to_bfloat16(model)
    assert converted(WINDOWS).dtype == torch.float32
    assert tensors_sha256(model.state_dict()) == before


def test_the_exported_bytes_are_always_the_same(model):
    content = gru_to_onnx(model, DAYS)
    assert gru_to_onnx(model, DAYS) == content
    copied = LayeredGRU(model.architecture)
    copied.load_state_dict(model.state_dict())
    assert gru_to_onnx(copied, DAYS) == content
    with torch.no_grad():
        copied.layers[1].bias_hh_l0[2] += 0.1
    assert gru_to_onnx(copied, DAYS) != content


def test_the_exported_graph_declares_its_input_and_output(model):
    graph = onnx.load_from_string(gru_to_onnx(model, DAYS)).graph
    sizes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (graph.input[0], graph.output[0])
    ]
    assert (graph.input[0].name, graph.output[0].name) == ("windows", "logits")
    assert sizes == [["n", DAYS, FEATURES], ["n"]]
    assert [node.op_type for node in graph.node].count("GRU") == 2
    stored = sum(np.prod(value.dims) for value in graph.initializer if "axis" not in value.name)
    assert stored == sum(parameter.numel() for parameter in model.parameters())


def test_an_export_is_named_by_its_weights_and_made_once(model, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(onnx_export, "gru_to_onnx", lambda *given: made.append(given) or gru_to_onnx(*given))
    content = cached_gru_onnx(model, DAYS, tmp_path / "cache")
    name = f"{tensors_sha256(model.state_dict())}-{DAYS}-{onnx_export.OPSET}.{onnx_export.IR_VERSION}.onnx"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [name]
    assert cached_gru_onnx(model, DAYS, tmp_path / "cache") == content == gru_to_onnx(model, DAYS)
    assert len(made) == 1
    cached_gru_onnx(model, DAYS + 1, tmp_path / "cache")  # the length of a window is in the graph
    other = LayeredGRU(model.architecture)
    cached_gru_onnx(other, DAYS, tmp_path / "cache")
    assert len(made) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_both_runtimes_use_one_export(model, tmp_path):
    for runtime in ("onnxruntime", "openvino"):
        deployed = deploy(model, "fp32", runtime, WINDOWS, tmp_path)
        (path,) = tmp_path.iterdir()
        assert deployed.size_bytes == path.stat().st_size
    assert deploy(model, "fp32", "torch-eager", WINDOWS, tmp_path).size_bytes is None


@pytest.mark.parametrize("make", [deploy_in_onnxruntime, deploy_in_openvino])
def test_one_exported_model_takes_any_batch_size(model, make):
    deployed = make(gru_to_onnx(model, DAYS), "fp32", model)
    expected = eager(model)
    for size in (1, 5, 2, 11):
        found = deployed.run(deployed.prepare(WINDOWS[:size]))
        assert np.shape(found) == (size,)
        assert np.allclose(found, expected[:size], rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [deploy_in_onnxruntime, deploy_in_openvino])
def test_logits_of_earlier_batches_are_not_overwritten(model, make):
    """A runtime may hand out the same memory again; the batches of one call must not share it."""
    deployed = make(gru_to_onnx(model, DAYS), "fp32", model)
    assert np.allclose(deployed.logits(WINDOWS, 1), eager(model), rtol=0, atol=1e-6)
    assert np.allclose(deployed.logits(WINDOWS, 4), eager(model), rtol=0, atol=1e-6)


def test_gates_are_reordered_and_reset_after_the_product():
    """A GRU with one unit by hand: ONNX Runtime must agree with the formula of PyTorch's documentation."""
    tiny = LayeredGRU(LayeredArchitecture(1, (1,), 0.0)).eval()
    with torch.no_grad():
        for parameter, values in zip(
            tiny.layers[0].parameters(),
            ([0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [0.1, 0.2, 0.3], [-0.4, 0.6, 0.9]),
            strict=True,
        ):
            parameter.copy_(torch.tensor(values).view_as(parameter))
        tiny.readout.weight.fill_(2.0)
        tiny.readout.bias.fill_(-0.5)

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    state = 0.0
    for day in (0.3, -1.2, 0.8):
        reset = sigmoid(0.5 * day + 0.1 + 1.5 * state - 0.4)
        update = sigmoid(-1.0 * day + 0.2 + 0.25 * state + 0.6)
        new = np.tanh(2.0 * day + 0.3 + reset * (-0.75 * state + 0.9))
        state = (1 - update) * new + update * state
    windows = torch.tensor([[[0.3], [-1.2], [0.8]]])
    deployed = deploy_in_onnxruntime(gru_to_onnx(tiny, 3), "fp32", tiny)
    assert deployed.logits(windows, 1)[0] == pytest.approx(2 * state - 0.5, abs=1e-6)
    assert eager(tiny, windows)[0] == pytest.approx(2 * state - 0.5, abs=1e-6)


def test_openvino_runs_the_gru_in_the_requested_precision(model, monkeypatch):
    """Told fp32 it takes fp32; a GRU in another type than the asked one is refused."""
    deploy_in_openvino(gru_to_onnx(model, DAYS), "fp32", model)
    compile_model = openvino.Core.compile_model

    def told_fp32(core, network, device, settings):
        assert settings["INFERENCE_PRECISION_HINT"] == "bf16"
        return compile_model(core, network, device, settings | {"INFERENCE_PRECISION_HINT": "f32"})

    monkeypatch.setattr(openvino.Core, "compile_model", told_fp32)
    with pytest.raises(CompressionError, match="OpenVINO runs the GRU in f32, not in bf16"):
        deploy_in_openvino(gru_to_onnx(model, DAYS), "bf16", model)


def test_a_graph_without_a_gru_is_not_taken_for_one(model):
    content = onnx_of_a_relu_alone()
    with pytest.raises(CompressionError, match="no recurrent node"):
        deploy_in_openvino(content, "fp32", model)


def onnx_of_a_relu_alone():
    x = onnx.helper.make_tensor_value_info("windows", onnx.TensorProto.FLOAT, ["n", 2])
    y = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["windows"], ["logits"])], "relu", [x], [y])
    built = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    return built.SerializeToString()


def test_threads_of_the_runtimes_are_one(model, monkeypatch):
    sessions, compiled = [], []
    create, compile_model = onnxruntime.InferenceSession, openvino.Core.compile_model
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda content, options, **rest: sessions.append(options) or create(content, options, **rest),
    )

    def keep(core, *given):
        compiled.append(compile_model(core, *given))
        return compiled[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", keep)
    deploy_in_onnxruntime(gru_to_onnx(model, DAYS), "fp32", model)
    deploy_in_openvino(gru_to_onnx(model, DAYS), "fp32", model)
    assert (sessions[0].intra_op_num_threads, sessions[0].inter_op_num_threads) == (1, 1)
    assert compiled[0].get_property("INFERENCE_NUM_THREADS") == 1


def test_a_kernel_that_the_processor_lacks_is_a_compression_error(model, tmp_path):
    """Under the pins oneDNN has no bfloat16 GRU, as on a processor without AVX-512: compiling fails."""
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    with pytest.raises(CompressionError):
        deploy(model, "bf16", "openvino", WINDOWS, tmp_path)


BF16 = """
import sys
from pathlib import Path
import torch
from sustainable.forecasting.compression.runtimes import deploy
from sustainable.forecasting.model.gru import LayeredArchitecture, LayeredGRU, logits_of

torch.manual_seed(1)
model = LayeredGRU(LayeredArchitecture(3, (7, 4), 0.2)).eval()
windows = torch.rand(11, 6, 3)
deployed = deploy(model, "bf16", "openvino", windows, Path(sys.argv[1]))
off = abs(deployed.logits(windows, 5) - logits_of(model, windows, 11).numpy()).max()
print(deployed.precision, deployed.runtime, deployed.logits(windows, 5).dtype, float(off))
"""


@pytest.mark.skipif(
    "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="the processor has no bfloat16",
)
def test_openvino_has_bfloat16_where_nothing_is_pinned(project, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in PINS}
    environment |= {"PYTHONPATH": str(project / "stages"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BF16, tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    precision, runtime, kind, off = done.stdout.split()
    assert (precision, runtime, kind) == ("bf16", "openvino", "float32")
    assert 0 < float(off) < 0.02
