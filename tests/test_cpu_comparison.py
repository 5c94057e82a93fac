"""The comparison of CPUs: what it reports, and that it can fail. Nothing is emulated or trained here."""

import json
import os
import subprocess
import sys

import pytest
import torch

from sustainable.core.tensors import write_tensors
from sustainable.measuring.process import PINNED
from sustainable.tools import cpu
from sustainable.verification.cpu.comparison import (
    Leg,
    LegOutcome,
    compare,
    differing,
    first_difference,
    judge_leg,
    legs,
    run,
    tensors_of,
)

SEEN = {"maker": "AMD", "avx512": True, "aten": "AVX2", "glibc": "glibc 2.36"}
WEIGHTS = {"bias": torch.tensor([1.0, 2.0]), "weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}


def outcome(leg, hashes=None):
    return LegOutcome(
        leg, "reference", result={"seen": SEEN, "hashes": hashes or {"windows": "aa", "GRU": "bb"}}
    )


def store(folder, name, weights=None):
    write_tensors(
        tensors_of(name, folder), {f"GRU/{key}": value for key, value in (weights or WEIGHTS).items()}
    )


def worker(path, monkeypatch, script):
    """A program that stands in for Python with the worker."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_subjects_with_another_hash_or_none_are_named_in_order():
    expected = {"windows": "aa", "GRU": "bb", "Hopper": "cc"}
    assert differing(expected, dict(expected)) == []
    assert differing(expected, expected | {"GRU": "bc"}) == ["GRU"]
    assert differing(expected, {"GRU": "bb", "more": "dd"}) == ["windows", "Hopper", "more"]


def test_a_difference_is_told_by_tensor_share_and_size():
    other = {"bias": WEIGHTS["bias"], "weight": torch.tensor([[1.0, 2.5], [3.0, 3.0]])}
    assert first_difference(WEIGHTS, other) == {
        "tensor": "weight",
        "differing": 2,
        "elements": 6,
        "largest": 1.0,
    }
    assert first_difference(WEIGHTS, {"bias": WEIGHTS["bias"]})["tensor"] == "weight"
    assert first_difference(WEIGHTS, WEIGHTS | {"weight": torch.zeros(3)})["largest"] is None


def test_another_weight_is_reported_and_fails(tmp_path):
    store(tmp_path, "native")
    store(tmp_path, "EPYC", WEIGHTS | {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.5]])})
    judged = judge_leg(
        outcome(Leg("EPYC", "same", cpu="EPYC"), {"windows": "aa", "GRU": "bc"}),
        outcome(Leg("native", "reference")).result,
        tmp_path,
    )
    assert judged.verdict == "different" and not judged.as_expected
    assert judged.differences == [
        {"subject": "GRU", "tensor": "weight", "differing": 1, "elements": 6, "largest": 0.5}
    ]
    told = cpu.findings([judged])[1].strip()
    assert told == "GRU: first in weight; 16.67% of elements, by at most 5.0e-01"
    assert cpu.wrong([judged]) == ["EPYC"]


def test_a_tampered_hash_is_reported(tmp_path):
    for name in ("native", "native again"):
        store(tmp_path, name)
    tampered = outcome(Leg("native again", "same"), {"windows": "aa", "GRU": "b0"})
    judged = judge_leg(tampered, outcome(Leg("native", "reference")).result, tmp_path)
    assert judged.verdict == "different" and not judged.as_expected
    assert "no tensor does" in cpu.findings([judged])[1]


def test_a_control_that_agrees_fails(tmp_path):
    control = outcome(Leg("native, no pins", "different", pins=False))
    judged = judge_leg(control, outcome(Leg("native", "reference")).result, tmp_path)
    assert judged.verdict == "same" and cpu.wrong([judged]) == ["native, no pins"]
    assert "WRONG" in cpu.findings([judged])[0]


def test_without_the_emulator_a_leg_is_skipped_and_no_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    emulated = run(Leg("Haswell", "same", cpu="Haswell"), tmp_path, tmp_path, tmp_path, 1.0)
    assert emulated.verdict == "skipped" and not emulated.as_expected
    assert "skipped: " in cpu.findings([emulated])[0] and "install qemu-user" in emulated.problem
    reference = outcome(Leg("native", "reference"))
    again = judge_leg(outcome(Leg("native again", "same")), reference.result, tmp_path)
    last = cpu.conclusion([reference, again, emulated], 60.0)
    assert last == "agree: native; native again. NOT SHOWN, as skipped: Haswell (1.0 minutes)"
    document = cpu.document([reference, again, emulated], {}, 60.0)
    assert document["passed"] and not document["complete"] and document["skipped"] == ["Haswell"]


def test_a_leg_that_dies_fails_and_so_does_what_it_would_be_held_against(tmp_path, monkeypatch):
    worker(tmp_path / "python", monkeypatch, "echo broken >&2; exit 3")
    ran = compare(
        [Leg("native", "reference"), Leg("native again", "same")], tmp_path, tmp_path, tmp_path, 1, 9.0
    )
    assert [one.verdict for one in ran] == ["failed", "failed"] and ran[0].problem == "broken"
    assert cpu.conclusion(ran, 0.0).startswith("FAILED: native; native again")


def test_a_leg_that_takes_too_long_fails(tmp_path, monkeypatch):
    worker(tmp_path / "python", monkeypatch, "exec sleep 5")
    late = run(Leg("native", "reference"), tmp_path, tmp_path, tmp_path, 0.2)
    assert late.verdict == "failed" and "not finished within" in late.problem


def test_legs_start_without_the_pins_of_this_process(tmp_path, monkeypatch):
    assert set(PINNED) <= os.environ.keys()  # the tests are pinned
    hashes = '{"cbwr": "%s", "libc": "%s", "asked": "%s"}'
    said = 'printf \'{"seen": {}, "hashes": ' + hashes + '}\' "$MKL_CBWR" "$GLIBC_TUNABLES" "$3"'
    worker(tmp_path / "python", monkeypatch, said)
    leg = Leg("native", "reference", pins=False, environment={"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA"})
    ran = run(leg, tmp_path, tmp_path, tmp_path, 9.0)
    assert ran.result["hashes"] == {"cbwr": "", "libc": "glibc.cpu.hwcaps=-FMA", "asked": "--no-pins"}


def test_the_emulated_control_is_a_cpu_of_the_other_maker():
    assert [leg.name for leg in legs("GenuineIntel") if leg.cpu and not leg.pins] == ["EPYC, no pins"]
    assert [leg.name for leg in legs("AuthenticAMD") if leg.cpu and not leg.pins] == ["Haswell, no pins"]
    names = {leg.name for leg in legs("AuthenticAMD")}
    assert all(leg.against in names for leg in legs("AuthenticAMD"))


@pytest.mark.parametrize("pins", [True, False])
def test_the_control_really_runs_without_the_pins(project, pins):
    code = (
        f"from sustainable.verification.cpu.computation import set_pins; set_pins({pins}); import os;"
        "from sustainable.core.determinism import use_deterministic_torch; import json;"
        "print(json.dumps(dict(os.environ)))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in PINNED}
    clean["PYTHONPATH"] = str(project / "stages")
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert set(PINNED) & json.loads(done.stdout).keys() == (set(PINNED) if pins else set())


def test_the_script_writes_its_findings_and_fails_where_a_leg_is_wrong(tmp_path, monkeypatch, capsys):
    reference, wrong = (
        outcome(Leg("native", "reference")),
        LegOutcome(Leg("EPYC", "same", cpu="EPYC"), "failed", "died"),
    )
    monkeypatch.setattr(cpu, "compare", lambda *_: [reference, wrong])
    monkeypatch.setattr(sys, "argv", ["cpu.py", "--out", str(tmp_path / "cpu.json")])
    with pytest.raises(SystemExit) as ended:
        cpu.main()
    assert ended.value.code == 1
    written = json.loads((tmp_path / "cpu.json").read_text())
    assert not written["passed"] and [leg["verdict"] for leg in written["legs"]] == ["reference", "failed"]
    assert "FAILED: died" in capsys.readouterr().out
