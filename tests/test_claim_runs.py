"""What a claim needs to be decided here: its stages suffice, none is superfluous, a kill loses nothing."""

import json
import sys
from types import SimpleNamespace

import pytest
import yaml

from imports import STAGES
from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import write_json
from sustainable.core.parameters import read_section
from sustainable.policies.benchmark.deployments import PolicyBenchmarkParameters
from sustainable.tools import claim as script
from sustainable.verification.claim import runs as claim_runs
from sustainable.verification.claim.efforts import (
    DECLARED_MIB,
    DVC_S,
    WITNESS,
    Effort,
    cut_shares,
    foretell,
    found_efforts,
    shipped_efforts,
)
from sustainable.verification.claim.runs import (
    EVIDENCE,
    ClaimFolder,
    Evidence,
    Plan,
    Shipped,
    origins,
    plan_of,
    read_claims,
    stages_of,
)
from sustainable.verification.claim.verdicts import CONTRADICTED, OPEN, REPRODUCED, figures, outcome
from sustainable.verification.folders import copy
from sustainable.verification.lock import declared_stages, inside

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
        for path in pipeline[step].inputs:
            parts = [out for out in every if inside(out, path) or inside(path, out)]
            if not (all(part in there for part in parts) if parts else (ROOT / path).exists()):
                lacking.append((step, path))
        made |= set(pipeline[step].outputs)
        there |= made
    return lacking + [path for path in plan.evidence.decides if path not in made]


def test_every_claim_that_is_shipped_can_be_run():
    assert set(EVIDENCE) == set(read_claims(ROOT / "data/reference/claims.json"))


def test_every_stage_is_declared(shipped):
    texts = [(ROOT / name).read_text() for name in ("dvc.yaml", "params.yaml")]
    declared = declared_stages(ROOT, *map(yaml.safe_load, texts))
    for name in EVIDENCE:
        assert set(plan_of(name, shipped).steps) <= declared.keys(), name


@pytest.mark.parametrize("name", EVIDENCE)
def test_the_stages_suffice_and_none_is_superfluous(shipped, name):
    plan = plan_of(name, shipped)
    assert missing(plan, shipped, plan.steps) == []
    for left_out in plan.stages:
        assert missing(plan, shipped, [step for step in plan.steps if step != left_out]), left_out


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["A1"], ["preprocess@published", "benchmark@published"]),
        (["A2", "A3"], ["preprocess@published", "benchmark@published", "benchmark@remeasured"]),
        (["A4", "A5"], ["preprocess@published", "rl_search@published"]),
        (["C1", "C2", "C5"], ["preprocess@audited", "train_baseline@audited", "shrink", "benchmark@audited"]),
        (["C3"], ["compare_searchers"]),
        (["C4"], ["preprocess@audited", "train_baseline@audited", "shrink", "candidates"]),
        (["B1", "B2", "B3", "B4", "F1", "F9"], ["compress_policies", "benchmark_policies"]),
        (["F3", "F5"], ["compress_policies"]),
        (["F12", "F16"], []),
    ],
)
def test_few_stages_run_where_the_small_weights_are_shipped(names, expected):
    for name in names:
        assert plan_of(name, WithWeights(ROOT)).stages == expected, name


def test_weights_that_are_not_shipped_are_trained():
    stages = stages_of(EVIDENCE["A5"].decides, WithoutWeights(ROOT))
    assert stages == ["preprocess@published", "train_baseline@published", "rl_search@published"]


def test_what_is_shipped_and_what_is_made_here_is_told():
    found = origins(plan_of("A1", WithWeights(ROOT)), WithWeights(ROOT))
    assert found["data/benchmark/published.csv"] == "recomputed here"
    assert found["data/processed/published/windows.safetensors"] == "recomputed here"
    assert found["data/search/published/best_action.json"] == "shipped"
    assert "data/raw/seattle-weather.csv" not in found


def test_of_a_cut_stage_only_what_decides_is_taken():
    shipped = WithWeights(ROOT)
    evidence = Evidence(("data/benchmark/memory.csv",), ("data/policies/returns.csv",), {"a": 1})
    found = origins(Plan("B3", evidence, ["compress_policies", "benchmark_policies"]), shipped)
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
    assert "'A9' is no claim; there are A1, A2" in said
    assert "F16" in said


def judged(verdict, evidence="CPU time: clock"):
    return {"verdict": verdict, "evidence": evidence, "reason": "Because.", "values": {}}


@pytest.mark.parametrize(
    ("shipped", "here", "status", "begins"),
    [
        ("confirmed", "confirmed", REPRODUCED, "reproduced: confirmed"),
        ("inconclusive", "inconclusive", REPRODUCED, "reproduced: inconclusive"),
        ("confirmed", "refuted", CONTRADICTED, "contradicted: refuted here, confirmed"),
        ("refuted", "confirmed", CONTRADICTED, "contradicted: confirmed here, refuted"),
        ("refuted", "inconclusive", OPEN, "undecided here: inconclusive, and refuted in the shipped run. B"),
        ("confirmed", "not testable on this host", OPEN, "undecided here: not testable on this host"),
        ("not testable on this host", "refuted", OPEN, "decided here: refuted"),
        ("not testable on this host", "inconclusive", OPEN, "undecided in both"),
    ],
)
def test_verdicts_are_compared(shipped, here, status, begins):
    found = outcome(judged(shipped), judged(here))
    assert found[0] == status
    assert found[1].startswith(begins)


def test_a_claim_that_only_counts_must_come_out_alike():
    found = outcome(judged("inconclusive", "exact count"), judged("confirmed", "exact count"))
    assert found[0] == CONTRADICTED


def test_figures_stand_side_by_side():
    def values(estimate, extra):
        ratio = {"estimate": estimate, "low": 0.25, "high": 1.0, "n": 3}
        return {"values": {"part": {"ratio": ratio}, "ties": [8, 9], "whole": None} | extra}

    assert figures(values(0.5, {}), values(2.0, {"more": True})) == [
        ("more", "none", "True"),
        ("ties", "8, 9", "8, 9"),
        ("whole", "none", "none"),
        ("part.ratio", "0.5 [0.25, 1]", "2 [0.25, 1]"),
    ]


STEPS = ("preprocess@audited", "train_baseline@audited", "benchmark@audited")


def test_a_forecast_scales_what_computes_and_not_what_measures(tmp_path):
    efforts = [("train_baseline@audited", 60.0, 400.0), ("benchmark@audited", 600.0, 500.0)]
    efforts = [dict(zip(("stage", "wall_s", "memory_mib"), one, strict=True)) for one in efforts]
    write_json(tmp_path / "effort.json", efforts)
    write_json(tmp_path / "metrics/published/training_cost.json", {"cpu_time_s": 100.0})
    write_json(tmp_path / "benchmark/policies.conditions.json", {"host": {"cores_logical": 2}})
    here_s = {WITNESS: 300.0, "preprocess@audited": 3.0, "report": 40.0}  # a third as fast, twice the cores
    found = foretell(Plan("C1", Evidence(), STEPS), tmp_path, here_s, 4, ROOT / "params.yaml")
    assert [effort.wall_s - DVC_S for effort in found] == [3.0, 90.0, 600.0, 40.0]
    assert [effort.memory_mib for effort in found] == [DECLARED_MIB, 400.0, 500.0, DECLARED_MIB]


def test_a_cut_takes_its_share():
    stages = ["compress_policies", "benchmark_policies"]
    params = ROOT / "params.yaml"
    shares = cut_shares(Plan("B3", EVIDENCE["B3"], stages), params)
    assert set(shares) == set(stages)
    assert all(0 < share < 0.5 for share in shares.values())
    assert cut_shares(Plan("B1", EVIDENCE["B1"], stages), params) == {}


def test_of_a_stage_that_ran_twice_the_last_counts(tmp_path):
    log = tmp_path / "data/checkpoints/effort.jsonl"
    log.parent.mkdir(parents=True)
    lines = [{"stage": "shrink", "wall_s": wall, "memory_mib": 5.0} for wall in (1.0, 2.0)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"stage": "cut')
    assert found_efforts(tmp_path) == {"shrink": Effort("shrink", 2.0, 5.0)}
    assert found_efforts(tmp_path / "nowhere") == {}
    assert shipped_efforts(tmp_path) == {}
    (tmp_path / "effort.json").write_text('[{"stage": "shrink"}]')
    with pytest.raises(UserError, match=r"effort\.json: no list of stages"):
        shipped_efforts(tmp_path)


@pytest.mark.parametrize("name", ["B3", "F9"])
def test_a_cut_leaves_what_decides_as_it_is(tmp_path, name):
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    claim_runs.merge(parameters, EVIDENCE[name].cut)
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
    rows = "benchmark/audited.csv"
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
    assert again.found()["verdict"] == "refuted"
    assert folder_of(tmp_path, "A5").earlier() == state
    again.begin([])
    assert not journal.exists()


def test_an_earlier_run_of_other_files_does_not_count(stand_in, tmp_path):
    root = tmp_path / "project"
    for name in (*claim_runs.COPIED, "data/reference", ".dvc/config", "dvc.lock"):
        copy(ROOT / name, root / name)
    run = folder_of(tmp_path, "C3", root)
    run.run(run.begin([]))
    assert folder_of(tmp_path, "C3", root).earlier() is not None
    (root / "data/reference/search/candidates.csv").write_text("another table\n")
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


def test_a_claim_that_no_row_tells_takes_the_report_alone(monkeypatch, capsys, tmp_path):
    here_s = dict.fromkeys(Shipped(ROOT).pipeline, 1.0)
    monkeypatch.setattr(script, "forecast_here", lambda project: here_s)
    folder = tmp_path / "claim"
    monkeypatch.setattr(sys, "argv", ["claim.py", "F12", "--folder", str(folder)])
    for said in ("together", "this has run before"):
        with pytest.raises(SystemExit) as stopped:
            script.main()
        assert stopped.value.code == REPRODUCED
        printed = capsys.readouterr().out
        assert said in printed
        assert "F12 reproduced: not testable on this host here as in the shipped run" in printed
    result = json.loads((folder / script.RESULT).read_text())
    assert result["here"] == result["shipped"]
    assert result["found"]["minutes"] > 0
