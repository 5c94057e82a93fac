"""Every runtime acts as eager PyTorch does; unsupported pairs and wrong deployments are refused."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.td3.policies import Actor as SquashedActor

from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.policies.compression import onnx_models, onnx_static, runtimes, saved
from sustainable.policies.compression.accounting import module_sha256, size_bytes, stored_tensors
from sustainable.policies.compression.onnx_models import (
    INT8_PRODUCTS,
    check_integer_products,
    to_int8_onnx,
    to_onnx,
)
from sustainable.policies.compression.runtimes import (
    EXAMPLES,
    SUPPORTED,
    TOLERANCE,
    check_deployed,
    deploy_actor,
    examples_of,
    in_numpy,
    in_onnxruntime,
    make_act,
)
from sustainable.policies.compression.saved import load_saved, save_deployed
from sustainable.policies.compression.sb3_policy import PredictingActor
from sustainable.policies.compression.static_int8 import QATParameters, prepare_int8
from sustainable.policies.compression.variants import Variant, compress
from sustainable.policies.policy import CLIP, Actor, ActorArchitecture, batch_outputs, to_action

BOUNDS = {"low": (-1.0, -2.0, -0.5), "high": (1.0, 2.0, 3.0)}
KINDS = {
    "discrete": {"activation": "tanh"},
    "gaussian": {"activation": "tanh", **BOUNDS},
    "squashed": {"activation": "relu", **BOUNDS, "squashed": True},
}
VARIANTS = [
    Variant("none"),
    Variant("ptdq"),
    Variant("ptsq"),
    Variant("qat"),
    Variant("unstructured", "l1", 0.5),
    Variant("structured", "l2", 0.5),
    Variant("mixed", "l1", 0.5),
]
PAIRS = [(variant, runtime) for runtime in SUPPORTED for variant in VARIANTS]
GOOD = [(variant, runtime) for variant, runtime in PAIRS if variant.method in SUPPORTED[runtime]]
BAD = [pair for pair in PAIRS if pair not in GOOD]


def named(value):
    return value.name if isinstance(value, Variant) else value


def actor_of(kind, seed=0, hidden=(16, 12)):
    torch.manual_seed(seed)
    actor = Actor(ActorArchitecture(5, 3, hidden, **KINDS[kind])).eval()
    actor.mean.copy_(torch.randn(5))
    actor.scale.copy_(torch.rand(5) + 0.5)
    with torch.no_grad():
        actor.layers[-1].weight.mul_(4.0)  # so that some values are beyond the bounds
    return actor


def states_of(actor, count=40, seed=3):
    return actor.mean.numpy() + np.random.default_rng(seed).standard_normal((count, 5)) / actor.scale.numpy()


@pytest.fixture(scope="module", params=KINDS)
def actor(request):
    return actor_of(request.param)


@pytest.fixture(scope="module")
def prepared(actor):
    return prepare_int8(actor, states_of(actor, 300), 0, QATParameters(5, 32, 1e-3))


@pytest.mark.parametrize(("variant", "runtime"), GOOD, ids=named)
def test_every_supported_pair_acts_as_eager_pytorch(actor, prepared, tmp_path, variant, runtime):
    deployed = deploy_actor(actor, variant, runtime, prepared, tmp_path)
    module, states = compress(actor, variant, prepared), states_of(actor)
    expected = np.concatenate([batch_outputs(module, state[None]) for state in states])
    computed = deployed.outputs(states)
    assert (deployed.variant, deployed.runtime) == (variant, runtime)
    assert computed.dtype == np.float32
    assert computed.shape == (40, 3)
    limit = 2e-6 if variant.precision == "fp32" else 0.1  # far below the tolerance
    if runtime == "onnxruntime" and variant.method in ("ptsq", "qat"):
        limit = 0.3  # the outputs of torch's tanh saturate on CPUs without VNNI, those of ours do not
    assert np.abs(computed - expected).max() <= limit * np.abs(expected).max()
    for state, outputs in zip(states, computed, strict=True):
        action, from_outputs = deployed.act(state), to_action(actor.architecture, outputs)
        if actor.architecture.discrete:
            assert type(action) is int
            assert action == from_outputs
        else:
            assert action.dtype == np.float32
            assert np.allclose(action, from_outputs, rtol=0, atol=1e-5)
    if runtime != "onnxruntime" or variant.method not in ("ptdq", "mixed"):
        assert deployed.weights_sha256 == module_sha256(module)  # one model in every runtime
    assert module_sha256(deployed.module) == module_sha256(module)


def test_static_int8_in_onnx_runtime_computes_what_torch_does(monkeypatch, tmp_path):
    """With torch's 8-bit tanh, and weights too small to saturate, all outputs are within one step of int8."""
    monkeypatch.setattr(onnx_static, "TANH", (2 / 256, 128))
    actor = actor_of("gaussian", hidden=(8, 8))
    states = states_of(actor, 100)
    numbers = prepare_int8(actor, states, 0, QATParameters(5, 32, 1e-3))
    step = stored_tensors(compress(actor, Variant("ptsq"), numbers))["network.5.output_scale"].item()
    computed = [
        deploy_actor(actor, Variant("ptsq"), runtime, numbers, tmp_path).outputs(states)
        for runtime in ("torch-eager", "onnxruntime")
    ]
    assert np.abs(computed[0] - computed[1]).max() <= 1.01 * step
    assert np.abs(computed[0] - computed[1]).mean() <= 0.1 * step


@pytest.mark.parametrize(("variant", "runtime"), GOOD, ids=named)
def test_a_saved_deployment_acts_as_before_in_its_runtime(actor, prepared, tmp_path, variant, runtime):
    deployed = deploy_actor(actor, variant, runtime, prepared, tmp_path)
    save_deployed(tmp_path / "saved", deployed)
    act = load_saved(tmp_path / "saved")
    for state in states_of(actor, 10):
        assert np.array_equal(act(state), deployed.act(state))
    size = (tmp_path / "saved").stat().st_size
    assert size == deployed.size_bytes


def test_a_damaged_or_missing_deployment_is_one_line(actor, tmp_path):
    save_deployed(tmp_path / "saved", deploy_actor(actor, Variant(), "torch-eager", None, tmp_path))
    (tmp_path / "saved").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"saved: not a safetensors file"):
        load_saved(tmp_path / "saved")
    with pytest.raises(UserError, match=r"nowhere\.json"):
        load_saved(tmp_path / "nowhere")


def test_a_deployment_that_loads_as_another_is_not_saved(actor, monkeypatch, tmp_path):
    other = actor_of("gaussian", seed=1)
    monkeypatch.setattr(saved, "restored", lambda architecture, tensors: other)
    deployed = deploy_actor(actor, Variant(), "torch-eager", None, tmp_path)
    with pytest.raises(CompressionError, match="none on torch-eager: not the same after loading"):
        save_deployed(tmp_path / "saved", deployed)


@pytest.mark.parametrize(("variant", "runtime"), BAD, ids=named)
def test_unsupported_pairs_are_refused(actor, prepared, tmp_path, variant, runtime):
    with pytest.raises(
        CompressionError, match=f"{runtime} does not support {variant.name} .it supports: none, "
    ):
        deploy_actor(actor, variant, runtime, prepared, tmp_path)
    assert not list(tmp_path.iterdir())


def test_each_runtime_supports_the_documented_number_of_methods():
    assert {runtime: len(methods) for runtime, methods in SUPPORTED.items()} == {
        "torch-eager": 7,
        "sb3-predict": 3,
        "onnxruntime": 7,
        "numpy": 3,
    }


@pytest.mark.parametrize("runtime", SUPPORTED)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_actions_are_not_overwritten_by_later_calls(actor, tmp_path, runtime, kind):
    deployed = deploy_actor(actor, Variant(), runtime, None, tmp_path)
    states = states_of(actor).astype(kind)
    before = states.copy()
    actions = [deployed.act(state) for state in states]
    assert [np.array(action).tolist() for action in actions] == [
        np.array(deployed.act(state)).tolist() for state in states
    ]
    assert np.array_equal(states, before)  # nor are observations
    if not actor.architecture.discrete:
        low, high = np.array(BOUNDS["low"]), np.array(BOUNDS["high"])
        assert all(((low <= action) & (action <= high)).all() for action in actions)


@pytest.mark.parametrize("runtime", SUPPORTED)
def test_far_observations_are_clipped_in_every_runtime(actor, tmp_path, runtime):
    deployed = deploy_actor(actor, Variant(), runtime, None, tmp_path)
    far, edge = (
        actor.mean.numpy() + sign * times / actor.scale.numpy()
        for sign, times in ((1.0, 1e5), (1.0, CLIP))
    )  # fmt: skip
    assert np.allclose(*deployed.outputs(np.stack([far, edge])), rtol=1e-5, atol=1e-5)


def test_an_observation_that_hardly_varies_is_scaled_alike(tmp_path):
    """Some observations of a robot are constant. Their deviation comes from the epsilon only, so that scaling
    multiplies their last digits by 10,000."""
    actor = actor_of("gaussian")
    actor.mean.copy_(torch.tensor([0.0, 1.1, -3.3, 0.7, 100.1]))
    actor.scale.copy_(torch.tensor([1.0, 1e4, 1e4, 1.0, 1e4]))
    for runtime in SUPPORTED:
        deploy_actor(actor, Variant(), runtime, None, tmp_path)


def test_examples_are_drawn_with_the_actors_statistics(actor):
    examples = examples_of(actor)
    assert examples.shape == (EXAMPLES, 5)
    assert np.array_equal(examples, examples.astype(np.float32))
    assert np.array_equal(examples, examples_of(actor))
    scaled = (examples - actor.mean.numpy()) * actor.scale.numpy()
    assert np.abs(scaled.mean(axis=0)).max() < 0.5
    assert np.abs(scaled.std(axis=0) - 1).max() < 0.3


# --- each runtime


def test_numpy_by_hand():
    """Two observations, two hidden units, two outputs."""
    for activation, function in (("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))):
        actor = Actor(ActorArchitecture(2, 2, (2,), activation)).eval()
        weights = [
            ("layers.0", [[0.5, -1.0], [2.0, 0.25]], [0.1, -0.2]),
            ("layers.1", [[1.0, 3.0], [-2.0, 0.5]], [0.3, 0.4]),
        ]
        state = actor.state_dict() | {"mean": torch.tensor([1.0, -1.0]), "scale": torch.tensor([2.0, 0.5])}
        for name, weight, bias in weights:
            state |= {f"{name}.weight": torch.tensor(weight), f"{name}.bias": torch.tensor(bias)}
        actor.load_state_dict(state)
        x, y = (1.5 - 1.0) * 2.0, (0.2 + 1.0) * 0.5
        a, b = function(0.5 * x - y + 0.1), function(2.0 * x + 0.25 * y - 0.2)
        assert in_numpy(actor)(np.array([1.5, 0.2])) == pytest.approx(
            [a + 3.0 * b + 0.3, -2.0 * a + 0.5 * b + 0.4], rel=1e-6
        )


def test_a_deployment_keeps_its_weights_when_the_actor_changes(tmp_path):
    actor = actor_of("gaussian")
    states = states_of(actor)
    for runtime in ("numpy", "onnxruntime", "sb3-predict"):
        deployed = deploy_actor(actor, Variant(), runtime, None, tmp_path)
        before = deployed.outputs(states)
        with torch.no_grad():
            actor.layers[0].weight.add_(1.0)
            actor.mean.add_(1.0)
        assert np.array_equal(deployed.outputs(states), before)


@pytest.mark.parametrize("kind", KINDS)
def test_sb3_is_called_through_predict(kind, monkeypatch):
    actor = actor_of(kind)
    state = torch.get_rng_state()
    predicting = PredictingActor(actor)
    assert torch.equal(torch.get_rng_state(), state)  # building a policy draws weights
    assert type(predicting.policy) is (SquashedActor if kind == "squashed" else ActorCriticPolicy)
    calls = []
    predict = type(predicting.policy).predict

    def spy(policy, observation, **rest):
        calls.append((observation, rest))
        return predict(policy, observation, **rest)

    monkeypatch.setattr(type(predicting.policy), "predict", spy)
    observation = states_of(actor)[0]
    predicting.act(observation)
    ((normalised, rest),) = calls
    assert rest == {"deterministic": True}
    assert normalised.dtype == np.float32
    expected = (observation - actor.mean.numpy()) * actor.scale.numpy()
    assert np.allclose(normalised, expected, rtol=1e-5, atol=1e-6)


def test_the_exported_graph_is_small_and_deterministic(actor):
    content = to_onnx(actor)
    assert to_onnx(actor) == content
    graph = onnx.load_from_string(content).graph
    kind = {"tanh": "Tanh", "relu": "Relu"}[actor.architecture.activation]
    kinds = [node.op_type for node in graph.node]
    assert kinds == ["Sub", "Mul", "Clip", "Gemm", kind, "Gemm", kind, "Gemm"]
    assert (graph.input[0].name, graph.output[0].name) == ("observations", "outputs")
    session = onnxruntime.InferenceSession(content)
    states = states_of(actor).astype(np.float32)
    batch = session.run(None, {"observations": states})[0]  # any number of rows
    assert np.allclose(batch, batch_outputs(actor, states), rtol=0, atol=1e-5)


def test_the_int8_graph_has_only_integer_products(actor, tmp_path):
    built = onnx.load_from_string(to_int8_onnx(actor))
    kinds = [node.op_type for node in built.graph.node]
    assert sum(kind in INT8_PRODUCTS for kind in kinds) == 3
    assert not {"MatMul", "Gemm"} & set(kinds)
    int8 = [value for value in built.graph.initializer if value.data_type == onnx.TensorProto.INT8]
    sizes = sorted(int(np.prod(value.dims)) for value in int8 if value.dims)
    assert [size for size in sizes if size > 1] == sorted([5 * 16, 16 * 12, 12 * 3])
    assert to_int8_onnx(actor) == to_int8_onnx(actor)
    outputs = in_onnxruntime(to_int8_onnx(actor), actor.architecture)(states_of(actor)[0])
    assert not np.array_equal(outputs, batch_outputs(actor, states_of(actor)[:1])[0])


def test_an_onnx_quantizer_that_skips_products_is_detected(actor, tmp_path, monkeypatch):
    with pytest.raises(CompressionError, match="ONNX: 0 of 3 layers are int8, 3 in floating point"):
        check_integer_products(onnx.load_from_string(to_onnx(actor)), 3)
    monkeypatch.setattr(
        onnx_models, "quantize_dynamic", lambda source, target, **_: target.write_bytes(source.read_bytes())
    )
    with pytest.raises(CompressionError, match="ONNX: 0 of 3 layers are int8"):
        deploy_actor(actor, Variant("ptdq"), "onnxruntime", None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_exports_are_cached_by_everything_that_determines_them(tmp_path, monkeypatch):
    exports = []
    monkeypatch.setattr(onnx_models, "to_onnx", lambda actor: exports.append(actor) or to_onnx(actor))
    tanh, cache = actor_of("gaussian"), tmp_path / "cache"
    relu = Actor(replace(tanh.architecture, activation="relu")).eval()
    relu.load_state_dict(tanh.state_dict())
    for actor, count in ((tanh, 1), (tanh, 1), (relu, 2), (actor_of("gaussian", seed=1), 3)):
        deployed = deploy_actor(actor, Variant(), "onnxruntime", None, cache)
        assert len(exports) == len(list(cache.iterdir())) == count
    assert deployed.size_bytes in {path.stat().st_size for path in cache.iterdir()}
    int8 = deploy_actor(tanh, Variant("ptdq"), "onnxruntime", None, cache)
    (path,) = (path for path in cache.iterdir() if "int8" in path.name)
    assert onnxruntime.__version__ in path.name
    assert int8.size_bytes == path.stat().st_size
    assert int8.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (
        int8.weights_sha256 != deploy_actor(tanh, Variant("ptdq"), "torch-eager", None, cache).weights_sha256
    )


def test_sizes_are_those_of_the_stored_tensors(actor, tmp_path):
    for runtime in ("torch-eager", "sb3-predict", "numpy"):
        dense, masked, small = (
            deploy_actor(actor, variant, runtime, None, tmp_path).size_bytes
            for variant in (Variant(), VARIANTS[4], VARIANTS[5])
        )
        assert dense == masked == size_bytes(actor) > small


def test_onnxruntime_has_one_thread(actor, monkeypatch):
    sessions, create = [], onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda content, options, **rest: sessions.append(options) or create(content, options, **rest),
    )
    in_onnxruntime(to_onnx(actor), actor.architecture)
    assert (sessions[0].intra_op_num_threads, sessions[0].inter_op_num_threads) == (1, 1)


LIBRARIES = """
import sys
from pathlib import Path
import torch
from sustainable.policies.compression.runtimes import deploy_actor
from sustainable.policies.compression.variants import Variant
from sustainable.policies.policy import Actor, ActorArchitecture

torch.manual_seed(0)
actor = Actor(ActorArchitecture(5, 3, (4,), "tanh")).eval()
for runtime in ("numpy", "torch-eager", "onnxruntime", "onnxruntime", "sb3-predict"):
    deploy_actor(actor, Variant(), runtime, None, Path(sys.argv[1]))
    print(*sorted({"onnx", "onnxruntime", "stable_baselines3"} & sys.modules.keys()))
"""


def test_a_runtime_loads_no_other_runtimes_library(project, tmp_path):
    """The library of ONNX is needed once, for the export; the second process finds the model in the cache."""
    deploy_actor_in_another_process(project, tmp_path)
    lines = deploy_actor_in_another_process(project, tmp_path)
    assert lines == ["", "", "onnxruntime", "onnxruntime", "onnxruntime stable_baselines3"]


def deploy_actor_in_another_process(project, cache):
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES, cache],
        env=os.environ | {"PYTHONPATH": str(project / "stages")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- wrong deployments


def test_outputs_beyond_the_tolerance_are_refused(actor, prepared, tmp_path):
    examples = examples_of(actor)
    for variant in (Variant(), Variant("ptsq")):
        deployed = deploy_actor(actor, variant, "torch-eager", prepared, tmp_path)
        allowed = TOLERANCE[variant.precision] * max(1.0, np.abs(deployed.outputs(examples)).max())
        for factor, fine in ((0.9, True), (1.1, False)):
            infer = lambda row, shift=factor * allowed, by=deployed.infer: by(row) + np.float32(shift)  # noqa: E731
            off = replace(deployed, infer=infer, act=make_act(actor.architecture, infer))
            if fine:
                check_deployed(off, actor, examples)
                continue
            with pytest.raises(CompressionError, match=f"{variant.name} on torch-eager: an output is .* off"):
                check_deployed(off, actor, examples)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_outputs_are_refused(actor, tmp_path, bad):
    deployed = deploy_actor(actor, Variant(), "numpy", None, tmp_path)
    with pytest.raises(CompressionError, match="none on numpy: an output is"):
        check_deployed(
            replace(deployed, infer=lambda row: np.full(3, bad, np.float32)), actor, examples_of(actor)
        )


def test_outputs_of_another_shape_are_refused(actor, tmp_path):
    deployed = deploy_actor(actor, Variant(), "numpy", None, tmp_path)
    with pytest.raises(CompressionError, match="an output is inf off"):
        check_deployed(replace(deployed, infer=lambda row: np.zeros(1)), actor, examples_of(actor))


def test_actions_that_are_not_those_of_the_outputs_are_refused(actor, tmp_path):
    deployed = deploy_actor(actor, Variant(), "numpy", None, tmp_path)
    right = deployed.act
    for act in (
        (lambda row: (right(row) + 1) % 3) if actor.architecture.discrete else lambda row: right(row) + 0.1,
        (lambda row: int(deployed.infer(row).argmin()))
        if actor.architecture.discrete
        else lambda row: deployed.infer(row)[:1],
    ):
        with pytest.raises(CompressionError, match=r"none on numpy: the action is .*, its outputs mean"):
            check_deployed(replace(deployed, act=act), actor, examples_of(actor))


def test_a_runtime_that_computes_another_actor_is_refused(tmp_path, monkeypatch):
    actor, other = actor_of("gaussian"), actor_of("gaussian", seed=1)
    monkeypatch.setattr(runtimes, "exported", lambda *_: to_onnx(other))
    with pytest.raises(CompressionError, match="none on onnxruntime: an output is"):
        deploy_actor(actor, Variant(), "onnxruntime", None, tmp_path)
