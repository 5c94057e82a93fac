import json
from dataclasses import FrozenInstanceError
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT, read_profile, read_protocols, read_section, read_tasks
from sustainable.energy.choice import MeterParameters
from sustainable.forecasting.benchmark.blocks import BlocksParameters
from sustainable.forecasting.benchmark.candidates import CandidateParameters
from sustainable.forecasting.benchmark.choices import Deployment
from sustainable.forecasting.benchmark.runs import RunsParameters
from sustainable.forecasting.compression.runtimes import TARGETS
from sustainable.forecasting.compression.shrinking import ShrinkParameters, width_pairs
from sustainable.forecasting.confirmation import ConfirmParameters, refuse_used_seeds
from sustainable.forecasting.data.preprocessing import PreprocessParameters
from sustainable.forecasting.model.training import TrainingParameters
from sustainable.forecasting.repairs import RepairsParameters
from sustainable.forecasting.search.searchers import SearchersParameters, TuningParameters
from sustainable.policies.benchmark.bench import PolicyBenchmarkParameters
from sustainable.policies.compression.evaluation import CompressParameters
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan
from sustainable.reporting.forecasting.task import TITLES
from sustainable.reporting.parameters import ReportParameters
from sustainable.verification import place
from sustainable.verification.folders import merge

STAGES = {"stages": {"stage": {}}}


@dataclass(frozen=True, config=STRICT)
class Example:
    count: int
    rate: float = 0.5


@pytest.fixture
def written(tmp_path):
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
    protocols = {"published": {"csv": "a.csv"}}
    base = {
        "benchmarks": {},
        "metering": {},
        "profile": "paper",
        "protocols": protocols,
        "searched_tables": {},
        "tasks": {},
    }

    def write(section, **more):
        path = tmp_path / "params.yaml"
        path.write_text(
            section if isinstance(section, str) else yaml.safe_dump(base | {"stage": section} | more)
        )
        return path

    return write


def test_a_section_becomes_a_frozen_dataclass(written):
    path = written({"published": {"count": 3}})
    parameters = read_section(path, "stage", Example, "published")
    assert (parameters.count, parameters.rate) == (3, 0.5)
    with pytest.raises(FrozenInstanceError):
        parameters.count = 4
    assert read_profile(path) == "paper"
    assert read_protocols(path) == {"published": Path("a.csv")}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"count": 1, "cuont": 2}, r"stage\.published\.cuont: unknown key"),
        ({"cuont": 2}, r"stage\.published\.cuont: unknown key; did you mean count\?"),
        ({"other": 2}, r"stage\.published\.other: unknown key; remove it or correct its name"),
        ({}, r"stage\.published\.count: this key is missing"),
        ({"count": "three"}, r"stage\.published\.count: input should be a valid integer \(found 'three'\)"),
        ({"count": 1, "rate": "1e-4"}, r"rate: '1e-4' is text, not a number \(write 1\.0e-4"),
        ({"count": 1, "rate": float("inf")}, r"stage\.published\.rate"),
        ("text", r"stage\.published: "),
        (None, r"stage\.published: "),
    ],
)
def test_a_bad_key_is_named(written, section, message):
    with pytest.raises(UserError, match=message) as caught:
        read_section(written({"published": section}), "stage", Example, "published")
    assert "\n" not in str(caught.value)


def test_the_member_of_a_union_is_no_part_of_a_key(project, tmp_path):
    kind = Annotated[RunsParameters | BlocksParameters, Field(discriminator="method")]
    changed = with_value(project, tmp_path, "benchmark.weather.window_s", "long")
    with pytest.raises(UserError, match=r"benchmark\.weather\.window_s: 'long' is text, not a number"):
        read_section(changed, "benchmark", kind, "weather")


def with_value(project, tmp_path, key, value):
    """The project's parameters with another value."""
    content = yaml.safe_load((project / "params.yaml").read_text())
    *sections, last = key.split(".")
    reduce(getitem, sections, content)[last] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "dvc.yaml").write_text((project / "dvc.yaml").read_text())
    return tmp_path / "params.yaml"


def test_blocks_that_stand_once_read_the_same_under_either_version_of_yaml(project):
    text = (project / "params.yaml").read_text()
    ours, dvcs = yaml.safe_load(text), YAML(typ="safe").load(text)
    assert json.dumps(ours) == json.dumps(dvcs)


def test_a_profile_may_add_a_recipe_and_misspell_nothing():
    base = {"train_policies": {"seeds": [1], "recipes": {"A": {"PPO": {"steps": 1}}}}, "report": {"seed": 1}}
    shared = base["train_policies"]["recipes"]["A"]["PPO"]
    merge(base, {"train_policies": {"recipes": {"A": {"PPO": {"steps": 2}, "SAC": {}}, "B": {"PPO": {}}}}})
    assert base["train_policies"]["recipes"] == {"A": {"PPO": {"steps": 2}, "SAC": {}}, "B": {"PPO": {}}}
    assert shared == {"steps": 1}  # as YAML aliases share it with other sections
    for changes, key in (
        ({"reprot": {}}, "reprot"),
        ({"train_policies": {"seed": 1}}, "train_policies.seed"),
    ):
        with pytest.raises(KeyError, match=key):
            merge(base, changes)


@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_a_profile_gives_valid_parameters_for_every_stage(project, tmp_path, profile):
    content = yaml.safe_load((project / "params.yaml").read_text())
    merge(content, yaml.safe_load((project / f"stages/profiles/{profile}.yaml").read_text()))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "dvc.yaml").write_text((project / "dvc.yaml").read_text())
    assert read_profile(tmp_path / "params.yaml") == profile
    assert plan(read_section(tmp_path / "params.yaml", "train_policies", PolicyTrainingParameters))
    for task in read_tasks(tmp_path / "params.yaml"):
        confirmed_by_fresh_seeds(tmp_path / "params.yaml", task)
        what_the_benchmark_deploys_is_made_and_offered(tmp_path / "params.yaml", task)
    for stage, kind in (
        ("candidates", CandidateParameters),
        ("tune_searchers", TuningParameters),
        ("compare_searchers", SearchersParameters),
        ("compress_policies", CompressParameters),
        ("benchmark_policies", PolicyBenchmarkParameters),
        ("report", ReportParameters),
    ):
        read_section(tmp_path / "params.yaml", stage, kind)


TASKS = {"sea": {"tuned_on": "lake"}, "lake": {"tuned_on": "sea"}}
WATERS = {name: {"csv": "a.csv"} for name in TASKS}


def test_every_task_is_tuned_on_another(written):
    assert read_tasks(written({}, tasks=TASKS, protocols=WATERS)) == {"sea": "lake", "lake": "sea"}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "tasks: names with a tuned_on each are needed, found {}"),
        (["sea"], "tasks: names with a tuned_on each are needed"),
        (TASKS | {"sky": {"tuned_on": "sea"}}, r"tasks\.sky: protocols has no such name"),
        (TASKS | {"sea": {}}, r"tasks\.sea: tuned_on: another task is needed, found {}"),
        (TASKS | {"sea": None}, r"tasks\.sea: tuned_on: another task is needed, found None"),
        (TASKS | {"sea": {"tuned_on": "sea"}}, r"tasks\.sea: tuned_on: another task is needed"),
        (TASKS | {"sea": {"tuned_on": "sky"}}, r"tasks\.sea: tuned_on: another task is needed"),
        (TASKS | {"sea": {"tuned_on": ["lake"]}}, r"tasks\.sea: tuned_on: another task is needed"),
        (TASKS | {"sea": {"tuned_on": "lake", "csv": "a"}}, r"tasks\.sea: tuned_on: another task is needed"),
    ],
)
def test_a_task_that_cannot_be_tuned_elsewhere_is_named(written, tasks, message):
    with pytest.raises(UserError, match=message) as caught:
        read_tasks(written({}, tasks=tasks, protocols=WATERS))
    assert "\n" not in str(caught.value)


def test_bad_files_and_sections_are_named(written, tmp_path):
    with pytest.raises(UserError, match=r"stage\.weather: this section is missing"):
        read_section(written({"published": {}}), "stage", Example, "weather")
    with pytest.raises(UserError, match="stagee: unknown section"):
        read_section(written({}, stagee={}), "stage", Example)
    with pytest.raises(UserError, match="not valid YAML"):
        read_section(written("a: [1"), "stage", Example)
    with pytest.raises(UserError, match="sections are needed"):
        read_section(written("- 1"), "stage", Example)
    with pytest.raises(UserError, match="profile: 'papre' is none of paper, full, smoke"):
        read_profile(written({}, profile="papre"))
    with pytest.raises(UserError, match=r"protocols.one: csv: the path of a CSV file is needed, found .*7"):
        read_protocols(written({}, protocols={"one": {"csv": 7}}))
    with pytest.raises(UserError, match="protocols: names with a csv each are needed"):
        read_protocols(written({}, protocols=["one"]))
    with pytest.raises(UserError, match="missing; run from the project's folder"):
        read_profile(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("stage", "kind", "key", "value"),
    [
        ("preprocess", PreprocessParameters, "test_share", 1.0),
        ("preprocess", PreprocessParameters, "features", []),
        ("train_baseline", TrainingParameters, "recipe.epochs", 0),
        ("train_baseline", TrainingParameters, "recipe.optimizer", "SGD"),
        ("train_baseline", TrainingParameters, "dropout", 1.0),
        ("train_baseline", TrainingParameters, "seeds", []),
        ("benchmark", RunsParameters, "runs", 1),
        ("benchmark", RunsParameters, "configurations", {"baseline": {"pruning": "half"}}),
        ("shrink", ShrinkParameters, "widths", []),
        ("shrink", ShrinkParameters, "equal_shares", [1.0]),
        ("shrink", ShrinkParameters, "controls.distillation_share", 0.0),
        ("shrink", ShrinkParameters, "controls.methods", ["l1"]),
        ("benchmark", BlocksParameters, "controls", {"broken": "width_2"}),
        ("benchmark", BlocksParameters, "configurations.oracle", "continued"),  # a control, not measured
    ],
)
def test_the_projects_parameters_are_valid_and_their_ranges_are_checked(
    project, tmp_path, stage, kind, key, value
):
    part = "weather" if kind in (ShrinkParameters, BlocksParameters) else "published"
    read_section(project / "params.yaml", stage, kind, part)
    changed = with_value(project, tmp_path, f"{stage}.{part}.{key}", value)
    with pytest.raises(UserError, match=rf"{stage}\.{part}\.{key}"):
        read_section(changed, stage, kind, part)


@pytest.mark.parametrize(
    ("stage", "kind", "key", "value"),
    [
        ("confirm", ConfirmParameters, "seeds", [11]),
        ("tune_searchers", TuningParameters, "settings", 0),
        ("candidates", CandidateParameters, "batch_sizes", []),
        ("candidates", CandidateParameters, "masked_shares", [1.0]),
        ("repair_search", RepairsParameters, "test_windows", 0),
        ("train_policies", PolicyTrainingParameters, "learned_share", 0.0),
        ("train_policies", PolicyTrainingParameters, "seeds", []),
        ("compress_policies", CompressParameters, "shares", [1.0]),
        ("compress_policies", CompressParameters, "qat.steps", 0),
        ("benchmark_policies", PolicyBenchmarkParameters, "windows.blocks", 1),
        ("benchmark_policies", PolicyBenchmarkParameters, "workload.doses_us", [0.0]),
    ],
)
def test_sections_without_a_protocol_are_valid_and_their_ranges_are_checked(
    project, tmp_path, stage, kind, key, value
):
    read_section(project / "params.yaml", stage, kind)
    with pytest.raises(UserError, match=rf"{stage}\.{key}"):
        read_section(with_value(project, tmp_path, f"{stage}.{key}", value), stage, kind)


@pytest.mark.parametrize(
    ("stage", "kind", "key", "value", "message"),
    [
        ("train_policies", PolicyTrainingParameters, "cells.A2C", [], r"train_policies\.cells\.A2C"),
        ("compress_policies", CompressParameters, "others", [{"method": "ptdq", "share": 0.5}],
         "ptdq takes neither norm nor share"),
        ("benchmark_policies", PolicyBenchmarkParameters, "memory.configurations", ["baseline", "nothing"],
         "'nothing' is not among configurations"),
    ],
)  # fmt: skip
def test_names_that_study_b_does_not_know_are_one_line(project, tmp_path, stage, kind, key, value, message):
    with pytest.raises(UserError, match=message) as told:
        read_section(with_value(project, tmp_path, f"{stage}.{key}", value), stage, kind)
    assert "\n" not in str(told.value)


def confirmed_by_fresh_seeds(path, task):
    chosen = read_section(path, "train_baseline", TrainingParameters, task).seeds
    fresh = read_section(path, "confirm", ConfirmParameters).seeds
    refuse_used_seeds(fresh, chosen)
    assert read_section(path, "benchmark", BlocksParameters, task).blocks % len(fresh) == 0


def what_the_benchmark_deploys_is_made_and_offered(path, task):
    network = read_section(path, "train_baseline", TrainingParameters, task)
    full = (network.hidden,) * network.layers
    made = [full, *width_pairs(full, read_section(path, "shrink", ShrinkParameters, task))]
    configurations = read_section(path, "benchmark", BlocksParameters, task).configurations
    named = {name: one for name, one in configurations.items() if isinstance(one, Deployment)}
    assert next(iter(named)) == next(iter(configurations))
    assert named["baseline"] == named["baseline_twin"] == Deployment(full, "fp32", "torch-eager")
    for name, one in named.items():
        assert one.widths in made, name
        assert (one.precision, one.runtime) in TARGETS, name


@pytest.mark.parametrize("task", ["weather", "mnist1d"])
def test_what_is_chosen_is_confirmed_and_can_be_deployed(project, task):
    confirmed_by_fresh_seeds(project / "params.yaml", task)
    what_the_benchmark_deploys_is_made_and_offered(project / "params.yaml", task)


def test_shared_sections_are_valid(project):
    assert read_section(project / "params.yaml", "metering", MeterParameters).meter == "auto"
    assert 0.5 < read_section(project / "params.yaml", "report", ReportParameters).confidence < 1
    blocks = read_section(project / "params.yaml", "benchmark", BlocksParameters, "remeasured")
    assert blocks.window_s >= 2  # the shortest that the stage takes as evidence


def test_reports_and_checks_know_the_tasks_of_the_parameters(project):
    assert list(read_tasks(project / "params.yaml")) == list(TITLES) == list(place.TASKS)
