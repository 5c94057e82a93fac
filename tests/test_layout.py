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
LAYERS = (  # a module may import from its own room and from rooms in earlier rows
    {"core", "statistics"},
    {"compression", "energy"},
    {"measuring"},
    {"forecasting", "policies"},
    {"reporting"},
    {"assessing", "verification"},
    {"tools"},
)
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(path for path in (STAGES / "sustainable").rglob("*.py"))


def room_of(path):
    """The room of a library file: the first folder below `sustainable`, or the module itself."""
    return path.relative_to(STAGES / "sustainable").parts[0].removesuffix(".py")


def body(name):
    """A stage as it is declared, whether it stands alone, in a matrix or under foreach."""
    return PIPELINE[name].get("do", PIPELINE[name])


@pytest.mark.parametrize("name", PIPELINE)
def test_dvc_lists_exactly_the_code_that_a_stage_loads(name):
    listed = [dep for dep in body(name)["deps"] if dep.startswith("stages/")]
    script = STAGES / f"{name}.py"
    files = {script, *library_files(script)} - {STAGES / "sustainable/__init__.py"}
    loaded = {str(path.relative_to(STAGES.parent)) for path in files if path.name != "__init__.py"}
    uncovered = {file for file in loaded if not any(is_under(file, dep) for dep in listed)}
    unused = {dep for dep in listed if not any(is_under(file, dep) for file in loaded)}
    assert (uncovered, unused) == (set(), set())
    assert listed == sorted(listed)


def is_under(file, folder):
    return file == folder or file.startswith(f"{folder}/")


def test_package_files_hold_nothing_that_a_stage_could_depend_on():
    """Stages that list single files of a folder do not list its `__init__.py`. The library's own checks the
    interpreter, and changes no result."""
    for path in (STAGES / "sustainable").glob("*/**/__init__.py"):
        if path.parent.name != "compression" or path.parent.parent.name != "sustainable":
            assert len(ast.parse(path.read_text()).body) == 1, path


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(STAGES / "sustainable")))
def test_imports_point_one_way(path):
    own = room_of(path)
    used = {name.split(".")[1] for name in modules_of(path) if "." in name}
    assert not {room for room in used - {own} if own in LAYER_OF and LAYER_OF[room] >= LAYER_OF[own]}


def test_every_room_has_a_layer():
    assert {room_of(path) for path in MODULES} - {"__init__"} == set(LAYER_OF)


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
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-ray.txt"):
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
