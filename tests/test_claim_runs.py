"""What a claim needs to be decided here: its stages suffice, none is superfluous, a kill loses nothing."""

import json
import sys
from types import SimpleNamespace

import pytest
import yaml

from imports import STAGES
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import write_text
from sustainable.core.hashing import file_sha256
from sustainable.core.parameters import read_section
from sustainable.policies.benchmark.bench import PolicyBenchmarkParameters
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import Declaration
from sustainable.tools import claim as script
from sustainable.verification.claim import runs as claim_runs
from sustainable.verification.claim.runs import (
    CONTRADICTED,
    OPEN,
    REPRODUCED,
    ClaimFolder,
    ClaimPlan,
    Shipped,
    compare_values,
    compare_verdicts,
    origins,
    plan_of,
    stages_of,
)
from sustainable.verification.folders import COPIED, copy, merge
from sustainable.verification.lock import declared_stages, inside
from sustainable.verification.place import TASKS, read_claims

ROOT = STAGES.parent
WEIGHTS = ("data/models/published/baseline", "data/models/policies")


class WithWeights(Shipped):
    """As if the weights were shipped that are small enough."""

    def holds(self, output):
        return output in WEIGHTS or super().holds(output)


class WithoutWeights(Shipped):
    def holds(self, output):
        return not output.startswith("data/models") and super().holds(output)


@pytest.fixture(scope="module", params=[WithWeights, WithoutWeights])
def shipped(request):
    return request.param(ROOT)


def missing(plan, shipped, steps):
    """What is not there when a step begins, if `steps` run in the project with what is shipped; and what
    decides and was not made."""
    pipeline = shipped.pipeline
    every = [out for stage in pipeline.values() for out in stage.outputs]
    there, made, lacking = {out for out in every if shipped.holds(out)}, set(), []
    for step in steps:
        for path in pipeline[step].data:  # code and templates are in git
            parts = [out for out in every if inside(out, path) or inside(path, out)]
            if not (all(part in there for part in parts) if parts else (ROOT / path).exists()):
                lacking.append((step, path))
        made |= set(pipeline[step].outputs)
        there |= made
    return lacking + [path for path in plan.declaration.decided_by if path not in made]


def test_every_claim_that_is_shipped_can_be_run():
    assert list(DECLARATIONS) == list(read_claims(ROOT / "data/reference/claims.json"))


def test_every_stage_is_declared(shipped):
    texts = [(ROOT / name).read_text() for name in ("dvc.yaml", "params.yaml")]
    declared = declared_stages(ROOT, *map(yaml.safe_load, texts))
    for name in DECLARATIONS:
        assert set(plan_of(name, shipped).steps) <= declared.keys(), name


@pytest.mark.parametrize("name", DECLARATIONS)
def test_the_stages_suffice_and_none_is_superfluous(shipped, name):
    plan = plan_of(name, shipped)
    assert missing(plan, shipped, plan.steps) == []
    for left_out in plan.stages:
        assert missing(plan, shipped, [step for step in plan.steps if step != left_out]), left_out


def on_tasks(*stages):
    return [f"{stage}@{task}" for stage in stages for task in TASKS]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["A1"], ["preprocess@published", "benchmark@published"]),
        (["A2", "A3"], ["preprocess@published", "benchmark@published", "benchmark@remeasured"]),
        (["A4", "A5"], ["preprocess@published", "rl_search@published"]),
        (["C1", "C2", "C5"], on_tasks("preprocess", "confirm", "benchmark")),
        (["C3"], on_tasks("compare_searchers")),
        (["C4"], on_tasks("preprocess", "train_baseline", "shrink", "candidates")),
        (["B1", "B2", "B3", "B4", "F1", "F9"], ["compress_policies", "benchmark_policies"]),
        (["F3", "F5"], ["compress_policies"]),
        (["F12", "F16"], []),
    ],
)
def test_few_stages_run_where_the_small_weights_are_shipped(names, expected):
    for name in names:
        assert sorted(plan_of(name, WithWeights(ROOT)).stages) == sorted(expected), name


def test_weights_that_are_not_shipped_are_trained():
    stages = stages_of(DECLARATIONS["A5"].decided_by, WithoutWeights(ROOT))
    assert stages == ["preprocess@published", "train_baseline@published", "rl_search@published"]


def test_what_is_shipped_and_what_is_made_here_is_told():
    found = origins(plan_of("A1", WithWeights(ROOT)), WithWeights(ROOT))
    assert found["data/benchmark/published.csv"] == "recomputed here"
    assert found["data/processed/published/windows.safetensors"] == "recomputed here"
    assert found["data/search/published/best_action.json"] == "shipped"
    assert "data/raw/seattle-weather.csv" not in found


def test_of_a_cut_stage_only_what_decides_is_taken():
    shipped = WithWeights(ROOT)
    declaration = Declaration(
        id="B3",
        source="study_b",
        rule="a rule",
        judge=None,
        decided_by=("data/benchmark/memory.csv",),
        also_reads=("data/policies/returns.csv",),
        cut={"a": 1},
    )
    found = origins(ClaimPlan(declaration, ["compress_policies", "benchmark_policies"]), shipped)
    assert found["data/benchmark/memory.csv"] == "recomputed here"
    assert found["data/policies/returns.csv"] == "shipped"
    assert found["data/models/quantized_policies"] == "recomputed here"


def test_an_unknown_claim_is_one_line_that_lists_them(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["claim.py", "A9"])
    with pytest.raises(SystemExit) as stopped:
        exit_on_error(script.main)
    said = capsys.readouterr().err
    assert stopped.value.code == 1
    assert said.count("\n") == 1
    assert "A9: unknown claim; name one of A1 to A8, C1 to C5, B1 to B6, F1 to F16" in said


def test_a_missing_shipped_file_is_restored_from_git_and_not_computed_again(tmp_path):
    rows = tmp_path / "data/reference/benchmark/weather.csv"
    write_text(rows, "a row")
    write_text(tmp_path / "data/SHA256SUMS", f"{file_sha256(rows)}  data/reference/benchmark/weather.csv\n")
    Shipped(tmp_path).check()
    assert Shipped(tmp_path).changed() == []
    rows.write_text("another row")
    assert Shipped(tmp_path).changed() == ["data/reference/benchmark/weather.csv"]
    rows.unlink()
    with pytest.raises(UserError, match=r"git checkout -- data/reference/benchmark/weather\.csv"):
        Shipped(tmp_path).check()


def judged(verdict, evidence="CPU time: clock"):
    return {"verdict": verdict, "evidence": evidence, "reason": "Because.", "values": {}}


@pytest.mark.parametrize(
    ("shipped", "here", "status", "begins"),
    [
        ("confirmed", "confirmed", REPRODUCED, "reproduced: confirmed"),
        ("inconclusive", "inconclusive", REPRODUCED, "reproduced: inconclusive"),
        ("confirmed", "refuted", CONTRADICTED, "contradicted: refuted here, confirmed"),
        ("refuted", "confirmed", CONTRADICTED, "contradicted: confirmed here, refuted"),
        ("refuted", "inconclusive", OPEN, "undecided here: inconclusive; refuted in the shipped run. B"),
        ("confirmed", "not testable on this host", OPEN, "undecided here: not testable on this host"),
        ("not testable on this host", "refuted", OPEN, "decided here: refuted"),
        ("not testable on this host", "inconclusive", OPEN, "undecided in both"),
    ],
)
def test_verdicts_are_compared(shipped, here, status, begins):
    found = compare_verdicts(judged(shipped), judged(here))
    assert found[0] == status
    assert found[1].startswith(begins)


def test_a_claim_about_a_host_is_not_contradicted_by_another_kind_of_cpu():
    pair, why = (judged("confirmed"), judged("refuted")), "bf16 needs instructions"
    kinds = "amd-zen5 here, amd-zen3 there"
    found = compare_verdicts(*pair, host_dependent=why, kinds=kinds)
    sentence = "refuted here, confirmed in the shipped run. Both stand, because bf16 needs instructions"
    assert found == (OPEN, f"another kind of CPU ({kinds}): {sentence}")
    assert compare_verdicts(*pair, host_dependent=why)[0] == CONTRADICTED  # the same kind
    assert compare_verdicts(*pair, kinds=kinds)[0] == CONTRADICTED  # about the method
    assert compare_verdicts(pair[0], pair[0], host_dependent=why, kinds=kinds)[0] == REPRODUCED


def test_what_other_hosts_turned_is_compared_as_it_was_on_the_run():
    shipped = judged("inconclusive") | {"this_run": "confirmed"}
    here = judged("inconclusive") | {"this_run": "refuted"}
    assert compare_verdicts(shipped, here)[0] == CONTRADICTED


def test_claims_about_a_host_run_whole_so_that_the_host_is_recorded():
    assert not [name for name, own in DECLARATIONS.items() if own.host_dependent and own.cut]


def test_a_claim_that_only_counts_must_come_out_alike():
    found = compare_verdicts(judged("inconclusive", "exact count"), judged("confirmed", "exact count"))
    assert found[0] == CONTRADICTED


def test_figures_stand_side_by_side():
    def values(estimate, extra):
        ratio = {"estimate": estimate, "low": 0.25, "high": 1.0, "n": 3}
        return {"values": {"part": {"ratio": ratio}, "ties": [8, 9], "whole": None} | extra}

    assert compare_values(values(0.5, {}), values(2.0, {"more": True})) == [
        ("more", "none", "True"),
        ("ties", "8, 9", "8, 9"),
        ("whole", "none", "none"),
        ("part.ratio", "0.5 [0.25, 1]", "2 [0.25, 1]"),
    ]


@pytest.mark.parametrize("name", ["B3", "F9"])
def test_a_cut_leaves_what_decides_as_it_is(tmp_path, name):
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(parameters, DECLARATIONS[name].cut)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    copy(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    whole, left = (
        read_section(path / "params.yaml", "benchmark_policies", PolicyBenchmarkParameters)
        for path in (ROOT, tmp_path)
    )
    assert whole.windows == left.windows
    part = {"B3": "memory", "F9": "workload"}[name]
    assert getattr(whole, part) == getattr(left, part)
    cells = {(name, cell) for name, cells in parameters["train_policies"]["cells"].items() for cell in cells}
    for used in (left.workload, left.memory):
        assert (used.algorithm, used.environment) in cells


@pytest.fixture
def stand_in(monkeypatch):
    """`dvc repro` without DVC: notes what is asked, fails where told to, and reports the shipped claims."""
    asked = SimpleNamespace(steps=[], failing=set(), seen={})

    def repro(folder, *arguments, **options):
        assert arguments[:2] == ("-s", "-f")
        step = arguments[2]
        asked.steps.append(step)
        asked.seen[step] = (folder / "params.yaml").read_bytes()
        if step in asked.failing:
            return SimpleNamespace(returncode=1)
        if step == "benchmark_policies":
            for name in ("policies", "memory"):
                (folder / f"data/benchmark/{name}.csv").write_text("made here\n")
        if step == "report":
            (folder / "paper").mkdir(exist_ok=True)
            copy(ROOT / "data/reference/claims.json", folder / "paper/claims.json")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(claim_runs, "repro", repro)
    return asked


def folder_of(tmp_path, name, root=ROOT):
    shipped = Shipped(root)
    return ClaimFolder(shipped, tmp_path / name, plan_of(name, shipped))


def test_a_run_that_stops_goes_on_where_it_was(stand_in, tmp_path):
    run = folder_of(tmp_path, "A5")
    state = run.begin([])
    assert (run.folder / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
    rows = "benchmark/weather.csv"
    assert (run.folder / "data" / rows).read_bytes() == (ROOT / "data/reference" / rows).read_bytes()
    stand_in.failing = {"rl_search@published"}
    with pytest.raises(UserError, match="stage rl_search@published failed"):
        run.run(state)
    journal = run.folder / "data/checkpoints/journal"
    journal.parent.mkdir(parents=True)
    journal.write_text("a row")
    stand_in.failing, before = set(), list(stand_in.steps)
    again = folder_of(tmp_path, "A5")
    state = again.earlier()
    again.run(state)
    assert before == run.plan.steps[: run.plan.steps.index("rl_search@published") + 1]
    assert stand_in.steps[len(before) :] == ["rl_search@published", "report"]
    assert (state.done, state.sittings) == (run.plan.steps, 2)
    assert journal.is_file()
    assert again.judged()["verdict"] == "refuted"
    assert folder_of(tmp_path, "A5").earlier() == state
    again.begin([])
    assert not journal.exists()


def test_an_earlier_run_of_other_files_does_not_count(stand_in, tmp_path):
    root = tmp_path / "project"
    for name in (*COPIED, "data/reference", ".dvc/config", "dvc.lock"):
        copy(ROOT / name, root / name)
    run = folder_of(tmp_path, "C3", root)
    run.run(run.begin([]))
    assert folder_of(tmp_path, "C3", root).earlier() is not None
    (root / "data/reference/search/weather/candidates.csv").write_text("another table\n")
    assert folder_of(tmp_path, "C3", root).earlier() is None


def test_a_cut_run_reports_on_the_shipped_rest(stand_in, tmp_path):
    run = folder_of(tmp_path, "B3")
    run.run(run.begin([]))
    assert (run.folder / "data/benchmark/memory.csv").read_text() == "made here\n"
    shipped = (ROOT / "data/reference/benchmark/policies.csv").read_bytes()
    assert (run.folder / "data/benchmark/policies.csv").read_bytes() == shipped
    params = (ROOT / "params.yaml").read_bytes()
    assert stand_in.seen["report"] == params != stand_in.seen["benchmark_policies"]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    run = folder_of(tmp_path, "A5")
    run.folder.mkdir()
    (run.folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not the folder of an earlier run"):
        run.begin([])
    assert (run.folder / "thesis.txt").exists()


@pytest.mark.parametrize(("changed", "advice"), [([], "the same command continues"), (["x.csv"], "-- x.csv")])
def test_a_stage_that_fails_on_changed_rows_says_how_to_restore_them(
    stand_in, tmp_path, monkeypatch, changed, advice
):
    monkeypatch.setattr(Shipped, "changed", lambda self: changed)
    run = folder_of(tmp_path, "C3")
    stand_in.failing = {"report"}
    with pytest.raises(UserError, match=f"stage report failed .*{advice}"):
        run.run(run.begin([]))


def test_a_claim_runs_is_compared_and_is_not_run_twice(stand_in, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(script.forecast, "measure_slowdown", lambda reference: 1.0)
    monkeypatch.setattr(Shipped, "check", lambda self: None)
    folder, verdict = tmp_path / "claim", Shipped(ROOT).claims["C3"]["verdict"]
    monkeypatch.setattr(sys, "argv", ["claim.py", "c3", "--folder", str(folder)])
    for said in ("together", "this claim has run before"):
        with pytest.raises(SystemExit) as stopped:
            script.main()
        assert stopped.value.code == REPRODUCED
        printed = capsys.readouterr().out
        assert said in printed
        *_, decided, advice = printed.splitlines()
        assert decided == f"C3 reproduced: {verdict} here and in the shipped run"
        assert advice.startswith(f"open {folder}/paper/report.html")
        assert len(printed.rpartition("\nC3: ")[2].splitlines()) <= 12
    result = json.loads((folder / script.RESULT).read_text())
    assert result["here"] == result["shipped"]
    assert result["forecast"]["minutes"] > 1
    assert sorted(stand_in.steps[:-1]) == sorted(on_tasks("compare_searchers"))
    assert stand_in.steps[-1] == "report"


def test_a_claim_that_no_row_tests_is_answered_without_a_run(stand_in, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["claim.py", "F12", "--folder", str(tmp_path / "claim")])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == OPEN
    assert "F12 not testable: no row counts cache misses" in capsys.readouterr().out
    assert stand_in.steps == []
    assert not (tmp_path / "claim").exists()
