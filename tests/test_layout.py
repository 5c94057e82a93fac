"""The project's own rules: what depends on what, and that dvc.yaml tells DVC all of it."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from imports import STAGES, library_files, modules_of

PIPELINE = yaml.safe_load((STAGES.parent / "dvc.yaml").read_text())["stages"]
FORBIDDEN = {  # part of the library: what it must not import
    "artifact": {
        "weather",
        "forecaster",
        "training",
        "frugal",
        "statistics",
        "compression",
        "search",
        "energy",
        "reporting",
    },
    "statistics.py": {"weather", "forecaster", "compression", "search", "energy", "reporting", "artifact"},
    "weather.py": {"forecaster", "training", "statistics", "compression", "search", "energy", "reporting"},
    "compression": {"energy", "search", "reporting", "training"},
    "search": {"energy", "reporting", "training"},
    "energy": {"reporting", "search", "training"},
}


def body(name):
    """A stage as it is declared, whether it stands alone, in a matrix or under foreach."""
    return PIPELINE[name].get("do", PIPELINE[name])


@pytest.mark.parametrize("name", PIPELINE)
def test_dvc_lists_exactly_the_library_files_that_a_stage_loads(name):
    script = STAGES / f"{name}.py"
    listed = {dep for dep in body(name)["deps"] if dep.startswith("stages/")}
    loaded = {str(path.relative_to(STAGES.parent)) for path in {script, *library_files(script)}}
    assert listed == loaded


@pytest.mark.parametrize("name", PIPELINE)
def test_dvc_lists_exactly_the_parameters_that_a_stage_reads(name):
    text = (STAGES / f"{name}.py").read_text()
    sections = set(re.findall(r'read_section\(arguments\.params, "(\w+)"', text))
    sections |= {"profile"} if "read_profile" in text else set()
    listed = body(name)["params"]
    if listed == [{"params.yaml": None}]:
        return  # all of it
    assert {section.split(".")[0] for section in listed} == sections


@pytest.mark.parametrize("name", PIPELINE)
def test_every_path_of_a_command_is_declared(name):
    stage = body(name)
    declared = [*stage["deps"]]
    for kind in ("outs", "metrics", "plots"):
        declared += [next(iter(out)) if isinstance(out, dict) else out for out in stage.get(kind, [])]
    free = r"params|checkpoints|journal|work|exports|models|data|out\b"  # not outputs, or folders of many
    for path in re.findall(rf"--(?!{free})[\w-]+ (\S+/\S+)", stage["cmd"]):
        assert path in declared, path


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_point_one_way(part):
    base = STAGES / "sustainable" / part
    for path in [base] if base.suffix else base.rglob("*.py"):
        used = {name.split(".")[1] for name in modules_of(path) if "." in name}
        assert not used & FORBIDDEN[part], path


def test_stages_import_no_other_stage():
    stages = {script.stem for script in STAGES.glob("*.py")}
    for script in STAGES.rglob("*.py"):
        tree = ast.parse(script.read_text())
        used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        used |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert not used & stages, script


def test_nothing_is_unpickled_and_no_address_or_machine_is_named(project):
    here = "|".join(re.escape(str(folder)) for folder in (project, Path.home()))
    bad = re.compile(rf"pickle\.load|weights_only=False|yaml\.load\(|{here}|https?://")
    for path in [
        *STAGES.rglob("*.py"),
        project / "Makefile",
        project / "params.yaml",
        project / "requirements.txt",
    ]:
        assert not bad.search(path.read_text()), path


def test_every_requirement_is_pinned(project):
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (project / name).read_text().splitlines():
            assert not line or line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_make_alone_lists_every_command(project):
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=project, capture_output=True, text=True, check=True
    )
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    phony = re.search(r"^\.PHONY: (.*)$", (project / "Makefile").read_text(), re.MULTILINE)
    assert listed == {*phony.group(1).split(), "claim-%"}


def test_tool_configuration_parses(project):
    assert tomllib.loads((project / "pyproject.toml").read_text())["tool"]["mypy"]["strict"]
