"""Shared by the tests. The determinism settings come first: numpy and torch read them when loaded."""

import sustainable.core.determinism as determinism  # isort: skip

import gc
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from filelock import FileLock

from sustainable.core.effort import LOG
from sustainable.core.errors import exit_on_error
from sustainable.tools import profiles

ROOT = Path(__file__).parent.parent

determinism.use_deterministic_torch()
gc.disable()  # until everything is loaded, see `pytest_collection_finish`


PIPELINE_FILES = ("test_pipeline.py", "test_pipeline_faults.py", "test_policy_pipeline.py")
"""Only tests of these files use the fixture `pipeline`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the small pipeline first: they take longest."""
    items.sort(key=lambda item: item.path.name not in PIPELINE_FILES)
    strays = [item.nodeid for item in items if uses_pipeline(item) and item.path.name not in PIPELINE_FILES]
    assert not strays, f"move to {PIPELINE_FILES[0]}, so that the pipeline runs once: {strays}"


def pytest_collection_finish() -> None:
    """Leave the libraries and all tests out of every later garbage collection."""
    gc.freeze()
    gc.enable()


def uses_pipeline(item: pytest.Item) -> bool:
    return "pipeline" in getattr(item, "fixturenames", [])


@pytest.fixture(autouse=True)
def no_outside_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests neither see nor touch the user's CodeCarbon settings."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def project() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


PARTS = {
    "sustainable.reporting.forecasting.hosts": "rankings",
    "sustainable.reporting.forecasting.results": "summarise_rows",
    "sustainable.reporting.forecasting.summary": "summarise_task",
    "sustainable.reporting.policies.hosts": "with_windows",
    "sustainable.reporting.policies.summary": "summarise_policies",
}
"""The slow parts of a report, by the module that calls them. Most survive an edit of a single file."""


@pytest.fixture(scope="session")
def shared_reports(shared_folder: Path) -> Iterator[None]:
    """Compute a report on equal rows, and each of its parts, once for all tests and processes."""
    from sustainable.core.hashing import file_sha256
    from sustainable.reporting.evidence import FOLDERS
    from sustainable.verification.tiers import shipped

    def read_by(data: Path, published: Path, params: Path, hosts: Path) -> Any:
        rows = [path for folder in FOLDERS for path in sorted((data / folder).rglob("*.*"))]
        names = [name for path in rows if (name := str(path.relative_to(data))) not in shipped.SUMMARIES]
        others = published, params, *sorted(hosts.rglob("*.*"))
        return [(name, file_sha256(data / name)) for name in names], [file_sha256(path) for path in others]

    with pytest.MonkeyPatch.context() as patch:
        for module, name in PARTS.items():
            part = getattr(importlib.import_module(module), name)
            patch.setattr(f"{module}.{name}", computed_once(part, shared_folder))
        patch.setattr(shipped, "report_on", computed_once(shipped.report_on, shared_folder, read_by))
        yield


def computed_once(function: Any, folder: Path, read_by: Callable[..., Any] = lambda *given: given) -> Any:
    """A pure function whose results are kept in `folder`; `read_by` says what a result depends on."""
    import cloudpickle

    def known(*given: Any) -> Any:
        key = hashlib.sha256(cloudpickle.dumps(read_by(*given))).hexdigest()[:16]
        stored = folder / f"{function.__name__}-{key}"
        with FileLock(f"{stored}.lock"):
            if not stored.exists():
                stored.write_bytes(cloudpickle.dumps(function(*given)))
        return cloudpickle.loads(stored.read_bytes())  # of this session, not an artifact

    return known


@pytest.fixture(scope="session")
def shipped_report(shared_reports: None) -> Any:
    """The report on the shipped rows; not to be changed."""
    from sustainable.verification.place import Place
    from sustainable.verification.tiers.shipped import report_of

    place = Place(ROOT)
    return report_of(place, place.reference)


@pytest.fixture(scope="session")
def pipeline(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This process's copy of a folder in which the whole pipeline, small, has run once (without git)."""
    built, folder = shared_folder / "built", tmp_path_factory.mktemp("pipeline") / "copy"
    with FileLock(shared_folder / "built.lock"):
        if not (built / "dvc.lock").exists():
            run_pipeline(built)
    shutil.copytree(built, folder, symlinks=True)
    return folder


LOADED = (
    "matplotlib.pyplot",
    "sustainable.forecasting.confirmation",
    "sustainable.forecasting.layerwise.search",
    "sustainable.forecasting.repairs",
    "sustainable.forecasting.search.comparison",
    "sustainable.policies.compression.tasks",
    "sustainable.policies.learning.tasks",
    "sustainable.reporting.pages",
)
"""Modules that load the libraries of all stages that are not measured."""


@contextmanager
def forking_python() -> Iterator[Path]:
    """A folder with a program `python` that starts stages with their libraries loaded, see forking.py."""
    script = str(Path(__file__).with_name("forking.py"))
    variables = os.environ | {"PYTHONPATH": str(ROOT / "stages")}
    with TemporaryDirectory() as name:
        python, address = Path(name, "python"), Path(name, "address")
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{script}" run "{address}" "$@"\n')
        python.chmod(0o755)
        with subprocess.Popen([sys.executable, script, "serve", address, *LOADED], env=variables) as server:
            try:
                while not address.exists():
                    assert server.poll() is None, "the libraries could not be loaded"
                    time.sleep(0.1)
                yield Path(name)
            finally:
                server.terminate()


def run_pipeline(folder: Path) -> None:
    """Run the audited tasks beside the rest, the rest in a folder of its own, and then the report on both."""
    import yaml

    other = folder.with_name("built_beside")
    for place in (folder, other):
        place.mkdir()
        profiles.prepare_profile(place)
    parameters = yaml.safe_load((folder / "params.yaml").read_text())
    audited = [f"benchmark@{task}" for task in parameters["tasks"]]
    audited += [f"compare_searchers@{table}" for table in parameters["searched_tables"]]
    rest = [f"benchmark@{name}" for name in parameters["benchmarks"] if name not in parameters["tasks"]]
    rest += ["layerwise_search", "benchmark_policies", "notebook"]
    with forking_python() as programs, ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(checked_repro, programs, max, folder, *audited, "repair_search"),
            pool.submit(checked_repro, programs, min, other, *rest),
        ]
        for run in runs:
            run.result()
    join_runs(folder, other)
    done = profiles.repro(folder, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def checked_repro(programs: Path, which: Callable[..., int], folder: Path, *targets: str) -> None:
    """Run on one core (the first or the last): the stages then start no workers, which load everything again.

    On Linux a thread has cores of its own, and a program that it starts inherits them.
    """
    os.sched_setaffinity(0, [which(os.sched_getaffinity(0))])
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def join_runs(folder: Path, other: Path) -> None:
    """Add to `folder` what DVC made in `other`, so that it is as if one run had made everything."""
    import yaml

    lock, added = (yaml.safe_load((place / "dvc.lock").read_text()) for place in (folder, other))
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock | {"stages": lock["stages"] | added["stages"]}))
    efforts = [(place / LOG).read_text() for place in (folder, other)]
    for made in ("data", ".dvc/cache"):
        shutil.copytree(other / made, folder / made, dirs_exist_ok=True)
    (folder / LOG).write_text("".join(efforts))


@pytest.fixture
def stage_main(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], None]]:
    """The `main` of a stage, with paths replaced, for this process: another would load all libraries anew.

    It neither restarts nor pins the process, and starts no workers.
    """

    def prepared(name: str, replaced: dict[str, str]) -> Callable[[], None]:
        module = importlib.import_module(name)
        for own in {"start_afresh", "settle"} & vars(module).keys():
            monkeypatch.setattr(module, own, lambda *_: {})
        monkeypatch.setattr("sustainable.core.parallel.available_cores", lambda: 1)
        monkeypatch.setattr(sys, "argv", stage_command(pipeline, name, replaced)[1:])
        monkeypatch.chdir(pipeline)
        main: Callable[[], None] = module.main
        return main

    return prepared


@pytest.fixture
def stop_stage(
    stage_main: Callable[..., Callable[[], None]], capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """Run a stage that must stop with an error, in this process (see `stage_main`)."""

    def run(name: str, replaced: dict[str, str]) -> SimpleNamespace:
        main = stage_main(name, replaced)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            exit_on_error(main)
        return SimpleNamespace(returncode=stopped.value.code, stderr=capsys.readouterr().err)

    return run


def stage_command(folder: Path, name: str, replaced: dict[str, str], key: str = "") -> list[str]:
    """The command of a stage for its part `key` (the first one if not given), `replaced` giving other
    arguments."""
    import yaml

    from sustainable.verification.lock import filled

    stage = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][name]
    context: dict[str, Any] = {}
    if "foreach" in stage:
        parts = stage["foreach"]
        if isinstance(parts, str):  # the name of a section of the parameters
            parts = yaml.safe_load((folder / "params.yaml").read_text())[parts.strip("${}")]
        key = key or next(iter(parts))
        context = {"key": key, "item": parts[key]}
    elif "matrix" in stage:
        context = {"item": {axis: values[0] for axis, values in stage["matrix"].items()}}
    words = filled(stage.get("do", stage)["cmd"], context).split()
    return [sys.executable, *(replaced.get(word, word) for word in words[1:])]


@pytest.fixture
def changed_params(pipeline: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Paths of a params.yaml with one key changed (None removes it)."""

    import yaml

    def change(*keys_and_value: Any) -> dict[str, str]:
        *keys, value = keys_and_value
        content = yaml.safe_load((pipeline / "params.yaml").read_text())
        section = content
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        shutil.copy(pipeline / "dvc.yaml", tmp_path)
        return {"params.yaml": str(tmp_path / "params.yaml")}

    return change


def results_of(pipeline: Path, tmp_path: Path) -> Path:
    """A copy of what the report reads."""
    folder = tmp_path / "data"
    skipped = shutil.ignore_patterns("*.safetensors", "checkpoints", "processed", "raw")
    return Path(shutil.copytree(pipeline / "data", folder, ignore=skipped))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
