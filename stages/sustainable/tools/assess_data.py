"""Ask study A's question of a daily table of your own: does compressing a forecaster save, what to deploy?

The table is a CSV with one row per day; a parameter file (YAML) names its columns, the target and the split.
The stages of study A's audited protocol run in a folder of their own, and the report says what they show. A
killed run continues where it stopped.
"""

import argparse
import shutil
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import read_json, write_text
from sustainable.core.parallel import available_cores
from sustainable.core.parameters import read_section
from sustainable.core.reading import one_line, parsed_yaml, read_text
from sustainable.verification.claim import forecast
from sustainable.verification.folders import copy, copy_project, merge, replaceable, repro
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import REFERENCE, ROOT

TASK, RECIPE, MEASURED_AS = "own", "weather", "mnist1d"
"""The table's name in the pipeline; the shipped tasks whose recipes, and whose configurations, it takes."""
CSV, TUNED = "data/raw/own.csv", f"search/{RECIPE}/tuned.json"
STAGES = ("preprocess", "train_baseline", "shrink", "candidates", "compare_searchers", "confirm", "benchmark")
TRAINING = ("train_baseline", "shrink", "confirm")
MODES = ROOT / "stages/profiles/own"
FIXED = {"layout": "daily", "scaled_over": "training_rows"}
"""What the audited protocol does not leave open."""
START_S = 8.0
"""Seconds in which a stage loads its libraries; a forecast that is scaled from long stages misses them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, required=True, help="the table: one row per day")
    parser.add_argument("--profile", type=Path, required=True, help="YAML: columns, target and split")
    parser.add_argument("--out", type=Path, default=Path("assess-data"), help="folder of the report")
    parser.add_argument("--thorough", action="store_true", help="as long as study A's own tasks, for a paper")
    arguments = parser.parse_args()
    assess_table(arguments.csv, arguments.profile, arguments.out, arguments.thorough)
    print(f"report (open in a browser)  {arguments.out / 'report.html'}")
    for name in ("claims.json", "rows.csv", "host.json", "table.tex", "cpu_time.png", "candidates.png"):
        print(f"{'':28}{arguments.out / name}")


def assess_table(csv: Path, profile: Path, out: Path, thorough: bool = False) -> None:
    """Run study A's audited stages on a table, and write the report into `out`.

    Raises `UserError` before anything is written for a table or a parameter file that cannot be used.
    """
    from sustainable.assessing.data import describe_table, write_data_report  # here: it takes seconds

    parameters = own_parameters(profile, thorough)
    daily = read_daily(profile, parameters)
    try:
        table = describe_table(csv, daily, parameters["report"]["audited"]["accuracy_margin"])
    except UserError as error:  # the stage that would say so reads another file
        raise UserError(str(error).replace("preprocess: ", f"{profile}: ")) from None
    print("\n".join(table.lines()), flush=True)
    print(forecast_line(parameters, table.parts["train"].windows, thorough), flush=True)
    run = out / "run"
    prepare(run, parameters, csv)
    if repro(run, f"benchmark@{TASK}").returncode:
        raise UserError("a stage did not finish, see above; the same command continues the run")
    write_data_report(run, TASK, table, out)


def own_parameters(profile: Path, thorough: bool) -> dict[str, Any]:
    """Return params.yaml for a run on the table that a parameter file describes."""
    parameters: dict[str, Any] = deepcopy(read_yaml(ROOT / "params.yaml"))
    choices = f"data/search/{TASK}/choices.json"
    parameters |= {
        "protocols": {TASK: {"csv": CSV}},
        "tasks": {TASK: {"tuned_on": RECIPE}},
        "searched_tables": {TASK: {"tuned_on": RECIPE, "csv": f"data/search/{TASK}/candidates.csv"}},
        "benchmarks": {TASK: {"protocol": TASK, "models": f"{TASK}/confirmed", "choices": choices}},
        "preprocess": {TASK: read_profile(profile)},
        "train_baseline": {TASK: parameters["train_baseline"][RECIPE]},
        "shrink": {TASK: parameters["shrink"][RECIPE]},
        "benchmark": {TASK: parameters["benchmark"][MEASURED_AS]},
    }
    merge(parameters, read_yaml(MODES / f"{'thorough' if thorough else 'small'}.yaml"))
    training = parameters["train_baseline"][TASK]
    configurations = parameters["benchmark"][TASK]["configurations"]
    for name, choice in configurations.items():
        if isinstance(choice, Mapping):  # the full network in some runtime; a search names the others
            configurations[name] = {**choice, "widths": [training["hidden"]] * training["layers"]}
    return parameters


def read_profile(profile: Path) -> dict[str, Any]:
    """Return the section `preprocess` that a parameter file gives; raises `UserError` if it gives none."""
    try:
        content = parsed_yaml(read_text(profile))
    except FileNotFoundError:
        example = MODES.relative_to(ROOT) / "lincoln.yaml"
        raise UserError(f"{profile}: missing; write one ({example} is an example)") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{profile}: not valid YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{profile}: keys with values are needed, such as `date: DATE`")
    split = content.get("split")
    split = split if isinstance(split, dict) else {}
    fixed = [*(key for key in FIXED if key in content), *(["split.method"] if "method" in split else [])]
    if fixed:
        raise UserError(f"{profile}: {fixed[0]}: the audited protocol sets it; remove it")
    section: dict[str, Any] = FIXED | content
    return section | ({"split": {"method": "chronological", **split}} if split else {})


def read_daily(profile: Path, parameters: Mapping[str, Any]) -> Any:
    """Return the checked parameters of the table; raises `UserError` with the key as the file has it."""
    from sustainable.forecasting.data.daily import DailyParameters  # here: it takes seconds

    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        shutil.copy(ROOT / "dvc.yaml", folder)
        write_text(path, yaml.safe_dump(dict(parameters), sort_keys=False))
        try:
            return read_section(path, "preprocess", DailyParameters, TASK)
        except UserError as error:
            raise UserError(str(error).replace(f"{path}: preprocess.{TASK}.", f"{profile}: ")) from None


def forecast_line(parameters: Mapping[str, Any], windows: int, thorough: bool) -> str:
    """Say how long the run will take here: what the shipped tasks took, scaled to what is asked for.

    `windows`: those of training.
    """
    reference = ROOT / REFERENCE
    shipped = int(read_json(reference / f"metrics/{RECIPE}/preprocess.json")["train"]["windows"])
    asked = {
        **parameters,
        **{name: {RECIPE: parameters[name][TASK]} for name in ("train_baseline", "shrink", "benchmark")},
    }
    stages, slowdown = [f"{name}@{RECIPE}" for name in STAGES], forecast.measure_slowdown(reference)
    seconds = sum(
        START_S + effort.wall_s * (windows / shipped if effort.stage.partition("@")[0] in TRAINING else 1)
        for effort in forecast.forecast_efforts(stages, reference, asked, slowdown)
    )
    size = "thorough" if thorough else "small"
    return (
        f"forecast: about {max(1, seconds / 60):.0f} minutes on this machine if it is idle "
        f"({available_cores()} cores, a {size} run). Run nothing else meanwhile. A killed run resumes."
    )


def prepare(run: Path, parameters: Mapping[str, Any], csv: Path) -> None:
    """Make `run` a copy of the pipeline with these parameters and this table.

    In an earlier run, what it made stays, and DVC runs again what differs.
    """
    if not replaceable(ROOT, run):
        raise UserError(f"{run}: not an earlier run of this tool; name another folder with --out (OUT=...)")
    copy_project(ROOT, run, {}, keep=True)
    copy(csv, run / CSV)
    copy(ROOT / REFERENCE / TUNED, run / "data" / TUNED)
    write_text(run / "params.yaml", yaml.safe_dump(dict(parameters), sort_keys=False))


if __name__ == "__main__":
    exit_on_error(main)
