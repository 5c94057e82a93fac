"""Assessing a model of your own: refused files, checks of rows, comparisons, and a whole small run."""

import io
import json
import math
import pickle
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sustainable.assessing import run as running
from sustainable.assessing.changes import Counts, change_of
from sustainable.assessing.compressors import apply_compressor, build_module, load_function
from sustainable.assessing.examples import cut_examples, read_arrays, read_target
from sustainable.assessing.model import from_module, load_model, tensors_hash
from sustainable.assessing.onnx_forms import onnx_flops, to_int8
from sustainable.assessing.quality import judge_quality, scores
from sustainable.assessing.rows import Request
from sustainable.assessing.runtimes import Target, check_output, disagreement, stored_precision, targets_of
from sustainable.assessing.screening import file_kind, screen_exported_program
from sustainable.assessing.settings import MODES, AssessSettings
from sustainable.compression import CompressionError
from sustainable.core.errors import UserError
from sustainable.energy.choice import Chosen
from sustainable.energy.meter import COUNTER, Reading, SpanClock
from sustainable.measuring.roofline import Ceiling, Roofline
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, REFUTED
from sustainable.tools import assess as tool

RUNTIMES = ("onnxruntime", "openvino")
BOOTSTRAP = (0.95, 500, 0)


def mlp(seed=0, inputs=4, units=8, outputs=3):
    """An ONNX network of two layers, whose weights depend on the seed only."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w0": rng.standard_normal((inputs, units)).astype("f"),
        "b0": rng.standard_normal(units).astype("f"),
        "w1": rng.standard_normal((units, outputs)).astype("f"),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["product"]),
        helper.make_node("Add", ["product", "b0"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "w1"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inputs]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", outputs]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def folder(tmp_path):
    """A network, the same with other names of weights, a narrower network, and examples."""
    onnx.save(mlp(), tmp_path / "net.onnx")
    renamed = mlp()
    for value in renamed.graph.initializer:
        value.name += "_again"
    for node in renamed.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = name + "_again" if name in ("w0", "b0", "w1") else name
    onnx.save(renamed, tmp_path / "same.onnx")
    onnx.save(mlp(units=2), tmp_path / "narrow.onnx")
    examples = np.random.default_rng(1).standard_normal((40, 4))
    np.savez(tmp_path / "inputs.npz", x=examples)
    np.save(tmp_path / "target.npy", np.arange(40) % 3)
    return tmp_path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An exported program with a free batch size."""
    path = tmp_path_factory.mktemp("exported") / "linear.pt2"
    torch.manual_seed(0)
    program = torch.export.export(
        nn.Sequential(nn.Linear(4, 3), nn.Tanh()),
        (torch.zeros(2, 4),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(program, path)
    return path


def rewritten(path, member, change):
    """A copy of a zip archive in which `change` has edited the bytes of a member."""
    copy = path.with_name(f"changed{path.suffix}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(member) else content)
    return copy


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# files that are refused


def test_pickles_are_refused_by_what_they_are_whatever_their_name(tmp_path):
    (tmp_path / "plain.onnx").write_bytes(pickle.dumps({"weights": [1.0]}))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "saved.pt2")
    for name in ("plain.onnx", "saved.pt2"):
        with pytest.raises(UserError, match=r"this is a pickle, .*torch\.export\.save"):
            file_kind(tmp_path / name)


def test_a_missing_file_and_a_damaged_one_are_one_line(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        load_model(tmp_path / "none.onnx", "baseline")
    (tmp_path / "bad.onnx").write_bytes(b"certainly not a graph")
    with pytest.raises(UserError, match="ONNX") as problem:
        load_model(tmp_path / "bad.onnx", "baseline")
    assert "\n" not in str(problem.value)


def test_an_exported_program_is_known_and_keeps_its_free_batch(exported):
    model = load_model(exported, "baseline")
    assert (model.kind, model.runtime, model.parameters, model.fixed_batch) == (
        "pt2",
        "torch-eager",
        15,
        None,
    )
    assert model.inputs[0].shape == (None, 4)


@pytest.mark.parametrize(
    ("member", "old", "new", "problem"),
    [
        ("model.json", b"torch.ops.aten.linear.default", b"torch.hub.load", "not an operator"),
        ("model.json", b"torch.ops.aten.linear.default", b"torch.ops.mine.act", "not an operator"),
        ("model.json", b"torch.ops.aten.tanh.default", b"torch.ops.aten.from_file.x", "not an operator"),
        ("model.json", b"Symbol(", b"__import__(", "no arithmetic"),
        ("model.json", b"builtins.tuple", b"collections.defaultdict", "type collections.defaultdict"),
        ("weights_config.json", b'"use_pickle": false', b'"use_pickle": true', "is pickled"),
    ],
)  # fmt: skip
def test_parts_of_an_exported_program_that_python_would_execute_are_refused(
    exported, member, old, new, problem
):
    with zipfile.ZipFile(exported) as archive:
        name = next(name for name in archive.namelist() if name.endswith(member))
        assert old in archive.read(name)
    path = rewritten(exported, member, lambda content: content.replace(old, new))
    with pytest.raises(UserError, match=problem):
        screen_exported_program(path)


def test_example_inputs_that_are_a_pickle_are_not_unpickled(exported, tmp_path):
    buffer, trace = io.BytesIO(), tmp_path / "trace"
    torch.save(Bomb(trace), buffer)
    path = rewritten(exported, "sample_inputs/model.pt", lambda content: buffer.getvalue())
    with pytest.raises(UserError, match="pickle of other things than tensors"):
        load_model(path, "baseline")
    assert not trace.exists()


def test_torchscript_that_prints_or_runs_code_at_loading_is_refused(tmp_path):
    class Prints(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            print("here")
            return x + 1

    torch.jit.script(Prints()).save(tmp_path / "prints.pt")
    with pytest.raises(UserError, match="prints"):
        load_model(tmp_path / "prints.pt", "baseline")
    torch.jit.trace(nn.Linear(2, 1), torch.zeros(1, 2)).save(tmp_path / "linear.pt")
    model = load_model(tmp_path / "linear.pt", "baseline")
    assert (model.kind, model.parameters) == ("torchscript", 3)
    code = b"\ndef __setstate__(self, state):\n  pass\n"
    path = rewritten(tmp_path / "linear.pt", "linear.py", lambda content: content + code)
    with pytest.raises(UserError, match="__setstate__"):
        load_model(path, "baseline")


def test_an_onnx_model_is_cut_to_the_output_that_counts(folder):
    model = load_model(folder / "net.onnx", "baseline")
    assert [value.name for value in model.graph.graph.output] == ["logits"]  # the first floating-point output
    chosen = load_model(folder / "net.onnx", "baseline", "label")
    assert [value.name for value in chosen.graph.graph.output] == ["label"]
    with pytest.raises(UserError, match="computes no 'wrong'; its outputs are label, logits"):
        load_model(folder / "net.onnx", "baseline", "wrong")


def test_weights_in_other_files_are_refused(folder):
    big = mlp()
    onnx.save(big, folder / "big.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(UserError, match="weights are in other files"):
        load_model(folder / "big.onnx", "baseline")


# inputs


def test_inputs_that_do_not_fit_are_refused_with_what_the_model_takes(folder):
    model, source = load_model(folder / "net.onnx", "baseline"), folder / "inputs.npz"
    for arrays, problem in (
        ({"x": np.zeros((3, 5))}, r"float64 \[3, 5\], the model takes float32 \[any, 4\]"),
        ({"x": np.zeros((3, 4), int)}, "int64"),
        ({"x": np.zeros((3, 4)), "y": np.zeros((3, 1))}, r"2 arrays, but .* takes 1: x float32 \[any, 4\]"),
        ({"x": np.full((3, 4), np.nan)}, "NaN"),
        ({"x": np.zeros((0, 4))}, "same number of examples"),
    ):
        with pytest.raises(UserError, match=problem):
            cut_examples(model, arrays, source, None)


def test_examples_are_cut_into_whole_batches(folder):
    model, source = load_model(folder / "net.onnx", "baseline"), folder / "inputs.npz"
    arrays = read_arrays(source)
    one, seven = cut_examples(model, arrays, source, None), cut_examples(model, arrays, source, 7)
    assert (one.batch_size, one.count, seven.count, len(seven.batches)) == (1, 40, 35, 5)
    assert seven.batches[0][0].dtype == np.float32  # converted from double precision
    np.testing.assert_array_equal(seven.batches[1][0], arrays["x"][7:14].astype("f"))
    with pytest.raises(UserError, match="do not fill one batch of 41"):
        cut_examples(model, arrays, source, 41)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="not arrays of numbers"):
        read_arrays(tmp_path / "objects.npz")


def test_a_target_needs_one_value_per_example(folder):
    model = load_model(folder / "net.onnx", "baseline")
    examples = cut_examples(model, read_arrays(folder / "inputs.npz"), folder, 7)
    assert len(read_target(folder / "target.npy", examples)) == 35
    np.save(folder / "short.npy", np.arange(3))
    with pytest.raises(UserError, match="3 targets for 35 examples"):
        read_target(folder / "short.npy", examples)


# checks of rows


def test_random_undefined_and_misshapen_outputs_are_refused():
    good = np.array([[1.0], [2.0]])
    check_output(good, good.copy(), 2)
    for first, second, problem in (
        (good, good + 1e-9, "not deterministic"),
        (np.array([[np.nan], [1.0]]), good, "NaN or infinity"),
        (np.array(1.0), np.array(1.0), "one row per example"),
    ):
        with pytest.raises(CompressionError, match=problem):
            check_output(first, second, 2)


def test_disagreement_is_a_share_of_the_largest_output():
    expected, fp32 = np.array([[10.0, -20.0]]), Target("openvino", "fp32")
    assert disagreement(expected + 0.001, expected, fp32) == pytest.approx(0.001 / 20)
    with pytest.raises(CompressionError, match="disagrees"):
        disagreement(expected + 1, expected, fp32)
    assert disagreement(np.array([1, 2]), np.array([1, 1]), Target("openvino", "int8")) == 0.5
    with pytest.raises(CompressionError, match="precision was ignored"):
        disagreement(expected.copy(), expected, Target("onnxruntime", "int8", converts=True))


def test_only_the_baseline_is_converted(folder):
    model = load_model(folder / "net.onnx", "baseline")
    names = [target.name for target in targets_of(model, RUNTIMES, True)]
    assert names[:3] == ["onnxruntime fp32", "openvino fp32", "onnxruntime int8"]
    assert [target.name for target in targets_of(model, RUNTIMES, False)] == names[:2]
    assert [target.name for target in targets_of(model, (), True)] == names[:1]
    onnx.save(to_int8(model.graph), folder / "int8.onnx")
    assert "int8" in stored_precision(load_model(folder / "int8.onnx", "variant"))


def test_a_graph_without_int8_kernels_is_not_called_int8():
    node = helper.make_node("Tanh", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    graph = helper.make_graph([node], "tanh", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(CompressionError, match=r"no int8 kernel for them \(Tanh\)"):
        to_int8(model)


def test_operations_of_an_onnx_graph_are_those_of_its_products():
    # per example, two for each weight: 4 x 8 and 8 x 3
    assert onnx_flops(mlp(), {"x": np.zeros((5, 4), "f")}) == 5 * 2 * (4 * 8 + 8 * 3)


# comparisons


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=3), min_size=1, max_size=4), st.data()
)
def test_the_hash_of_weights_depends_on_values_and_not_on_order(values, data):
    tensors = [torch.tensor(row) for row in values]
    shuffled = data.draw(st.permutations(tensors))
    assert tensors_hash(tensors) == tensors_hash(shuffled)
    changed = [tensors[0] + 1, *tensors[1:]]
    assert tensors_hash(changed) != tensors_hash(tensors)


def test_what_a_variant_changed_is_said_in_words():
    counts = Counts(10, 10, 40, 20)
    outputs = np.array([[1.0, 2.0]])

    def sentence(weights, after, moved):
        models = (SimpleNamespace(weights_sha256="a"), SimpleNamespace(weights_sha256=weights))
        return change_of("v", counts, after, models, (outputs, outputs + moved)).sentence

    assert sentence("a", counts, 0.0).startswith("the same model")
    assert sentence("a", counts, 1e-7).startswith("the same model")  # rounding
    assert sentence("a", counts, 1.0).startswith("the weights are equal, and the computation")
    assert sentence("b", counts, 0.0).startswith("the weights differ, but every output is equal")
    assert sentence("b", replace(counts, nonzero=5), 1.0).startswith("more weights are zero, but none")
    assert sentence("b", replace(counts, flops=10), 1.0).startswith("another model, with fewer")
    assert sentence("b", counts, 1.0).startswith("other weights, and as many")


def test_scores_of_classes_and_of_numbers():
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    measure, right = scores(logits, np.array([1, 0, 0]), 0.0)
    assert (measure, right.tolist()) == ("accuracy", [1.0, 1.0, 0.0])
    assert scores(np.array([[-1.0], [2.0]]), np.array([0, 1]), 0.0)[1].tolist() == [1.0, 1.0]
    assert scores(np.array([[0.4], [0.6]]), np.array([0, 1]), 0.5)[1].tolist() == [1.0, 1.0]
    measure, errors = scores(np.array([[1.0], [2.0]]), np.array([0.5, 4.0]), 0.0)
    assert (measure, errors.tolist()) == ("mean absolute error", [0.5, 2.0])
    with pytest.raises(UserError, match="one class for each example"):
        scores(logits, np.array([[1, 0, 0]]), 0.0)


def test_not_inferior_means_that_the_whole_interval_is_within_the_margin():
    baseline = np.ones(1000)
    equal, worse, some = np.ones(1000), np.zeros(1000), np.ones(1000)
    some[:20] = 0.0  # a loss of exactly the margin: undecided
    verdicts = [
        judge_quality(own, baseline, "accuracy", 0.02, BOOTSTRAP).verdict for own in (equal, worse, some)
    ]
    assert verdicts == [CONFIRMED, REFUTED, INCONCLUSIVE]
    # an error that rises by 50 % is a loss, one that falls is none
    errors = np.full(100, 2.0)
    assert judge_quality(errors * 1.5, errors, "mean absolute error", 0.1, BOOTSTRAP).verdict == REFUTED
    assert judge_quality(errors / 2, errors, "mean absolute error", 0.1, BOOTSTRAP).verdict == CONFIRMED


# compressors


def test_compressors_are_named_by_module_and_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_compressors.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Linear(2, 1)\n"
        "def fails(model): raise ValueError('no luck')\n"
        "def number(model): return 3\n"
    )
    module = build_module("my_compressors:build")
    assert isinstance(module, nn.Linear)
    for name, problem in (
        ("my_compressors:fails", "failed: ValueError: no luck"),
        ("my_compressors:number", "returned int; it must return an nn.Module"),
        ("my_compressors:missing", "cannot be imported"),
        ("nowhere:f", "cannot be imported"),
        ("unknown", "nor an entry point of sustainable.compressors"),
    ):
        with pytest.raises(UserError, match=problem):
            apply_compressor(name, module)


def test_an_entry_point_of_an_installed_package_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_package.py").write_text("def halve(model): return model\n")
    information = tmp_path / "their_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[sustainable.compressors]\nhalve = their_package:halve\n")
    assert load_function("halve").__name__ == "halve"


def test_a_module_that_cannot_be_traced_says_why():
    class Branches(nn.Module):
        def forward(self, x):
            return x + 1 if float(x.sum()) > 0 else x - 1

    made = from_module(Branches(), "baseline", "test", (np.zeros((2, 3), "f"),))
    assert made.program is None
    assert made.no_program


# a whole run, small


@pytest.fixture
def small(monkeypatch):
    """Windows of milliseconds, no ceiling measured, and the process left as it is."""
    ceiling = Ceiling(1e12, "numpy", (1, 1, 1), {})
    roofline = Roofline(1e12, 1e10, ceiling, None, "no", ceiling)
    monkeypatch.setattr(running, "measure_roofline", lambda: roofline)
    monkeypatch.setattr(running, "settle", lambda threads: {"threads": threads})
    windows = replace(MODES["quick"], blocks=3, window_s=0.05, warm_up_limit_s=0.1, repeats=0)
    return AssessSettings(windows=windows, energy=False, runtimes=("onnxruntime",), rate=10.0)


def test_a_whole_assessment(folder, small):
    variants = {"same": str(folder / "same.onnx"), "narrow": str(folder / "narrow.onnx"), "gone": "gone.onnx"}
    request = Request(
        str(folder / "net.onnx"), folder / "inputs.npz", folder / "target.npy", variants, settings=small
    )
    out = folder / "out"
    results = running.measure_and_report(request, out)
    assert list(results.lines) == ["baseline", "onnxruntime int8", "same: onnxruntime", "narrow: onnxruntime"]
    rows = pd.read_csv(out / "rows.csv")
    assert rows.groupby("block")["configuration"].nunique().tolist() == [6, 6, 6]  # with twin and idle window
    assert [refusal.key for refusal in results.refused] == ["gone"]
    # the same model is named as such, and no difference from it is an effect
    assert results.changes["same"].same_model and not results.changes["narrow"].same_model
    assert results.lines["same: onnxruntime"].verdict == ""
    claims = {claim["id"]: claim for claim in json.loads((out / "claims.json").read_text())}
    assert [claims[name]["verdict"] for name in ("M1", "M2", "E1")] == [
        REFUTED, CONFIRMED, "not testable on this host",
    ]  # fmt: skip
    # too few blocks for a verdict: every page says so
    assert {claim["verdict"] for name, claim in claims.items() if name[0] == "T"} == {INCONCLUSIVE}
    page = (out / "report.html").read_text()
    assert "3 blocks: fewer than 12" in page and "data:image/png;base64," in page
    assert 'src="http' not in page and "gone.onnx: there is no such file" in page
    assert r"\begin{tabular}" in (out / "table.tex").read_text()
    assert (out / "cpu_time.pdf").stat().st_size and not (out / "journal.jsonl").exists()


def test_a_killed_assessment_continues_with_its_rows(folder, small, monkeypatch):
    request = Request(str(folder / "net.onnx"), folder / "inputs.npz", settings=replace(small, runtimes=()))
    out = folder / "out"

    def killed():
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(running, "measure_roofline", killed)  # after all windows, before the report
        with pytest.raises(KeyboardInterrupt):
            running.measure_and_report(request, out)
    lines = (out / "journal.jsonl").read_text().splitlines()
    (out / "journal.jsonl").write_text("\n".join(lines[:5]) + "\n")  # identity, frozen, three windows
    running.measure_and_report(request, out)
    kept = [json.loads(line)["wall_time_s"] for line in lines[2:5]]
    assert set(kept) <= set(pd.read_csv(out / "rows.csv")["wall_time_s"])


def test_a_compressor_that_changes_nothing_is_refused(exported, tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_op.py").write_text("def keep(model): return model\n")
    np.savez(tmp_path / "inputs.npz", x=np.random.default_rng(0).standard_normal((4, 4)).astype("f"))
    request = Request(
        str(exported),
        tmp_path / "inputs.npz",
        compressors=["no_op:keep"],
        settings=replace(small, runtimes=()),
    )
    results = running.measure_and_report(request, tmp_path / "out")
    assert list(results.lines) == ["baseline"]
    assert "changed nothing: the same model" in results.refused[0].reason
    assert results.lines["baseline"].counts == Counts(15, 15, 60, 2 * 4 * 3)


def test_a_random_model_is_refused_in_one_line(tmp_path, small):
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    program = torch.export.export(Noise(), (torch.zeros(2, 3),))
    torch.export.save(program, tmp_path / "noise.pt2")
    np.savez(tmp_path / "inputs.npz", x=np.zeros((4, 3), "f"))
    request = Request(str(tmp_path / "noise.pt2"), tmp_path / "inputs.npz", settings=small)
    with pytest.raises(UserError, match="not deterministic"):
        running.measure_and_report(request, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_old_processor_is_refused(monkeypatch):
    monkeypatch.setattr(running, "instruction_sets", lambda: "unknown")
    with pytest.raises(UserError, match="no AVX2"):
        running.refuse_old_processors()


def test_a_quick_run_with_many_rows_has_fewer_blocks():
    quick = AssessSettings()
    assert quick.windows_for(7).blocks == 12
    assert 4 <= quick.windows_for(30).blocks < 12
    assert replace(quick, mode="thorough").windows_for(30).blocks == 20


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model", "m.onnx"], "--inputs is missing"),
        (["--model", "m.onnx", "--inputs", "i.npz", "--variant", "x"], "write NAME=FILE"),
        (
            ["--model", "m.onnx", "--inputs", "i.npz", "--variant", "a=1", "--variant", "a=2"],
            "name of its own",
        ),
        (["--model", "m.onnx", "--inputs", "i.npz", "--runtimes", "tvm"], "choose among"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments, problem, monkeypatch):
    monkeypatch.setattr("sys.argv", ["assess", *arguments])
    monkeypatch.setattr(tool, "start_afresh", lambda *args, **kwargs: None)
    with pytest.raises(UserError, match=problem):
        tool.main()


def test_outputs_of_another_shape_cannot_be_compared():
    assert math.isinf(change_of(
        "v", Counts(1, 1, 4, 2), Counts(1, 1, 4, 2),
        (SimpleNamespace(weights_sha256="a"), SimpleNamespace(weights_sha256="b")),
        (np.zeros((2, 1)), np.zeros((2, 3))),
    ).difference)  # fmt: skip


def test_few_examples_without_a_change_do_not_prove_that_nothing_is_lost():
    ones = np.ones(50)
    quality = judge_quality(ones, ones, "accuracy", 0.02, BOOTSTRAP)
    assert quality.verdict == INCONCLUSIVE  # Wilson's interval for 0 of 50 reaches 7 %
    assert quality.difference.low == pytest.approx(-0.0713, abs=1e-4)


class Counter:
    """A counter of a processor that draws 10 W while it computes."""

    def start(self):
        self.clock = SpanClock()

    def stop(self):
        elapsed = self.clock.elapsed()
        joules = 10 * elapsed["cpu_time_s"]
        return Reading(**elapsed, cpu_j=joules, cpu_evidence=COUNTER, meter="rapl")


def test_with_a_counter_every_row_has_a_claim_about_energy(folder, small, monkeypatch):
    monkeypatch.setattr(running, "choose_counter", lambda energy: Chosen(Counter, "rapl", "a test"))
    request = Request(str(folder / "net.onnx"), folder / "inputs.npz", settings=small)
    results = running.measure_and_report(request, folder / "out")
    assert results.evidence == COUNTER
    (claim,) = [
        claim for claim in json.loads((folder / "out/claims.json").read_text()) if claim["id"][0] == "E"
    ]
    assert claim["statement"].startswith("A call of onnxruntime int8 takes less energy")
    assert claim["verdict"] == INCONCLUSIVE  # three blocks
    energy, time = (results.lines["onnxruntime int8"].__dict__[name] for name in ("energy", "to_baseline"))
    assert energy.ratio.estimate == pytest.approx(time.ratio.estimate)  # constant watts: energy is time
