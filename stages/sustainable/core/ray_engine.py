"""Run cells on a Ray cluster: the running one at `RAY_ADDRESS`, or one that is started on this machine.

Files travel with their SHA-256 and are checked on arrival, and so are values. A cell whose worker or node is
lost starts again elsewhere; deterministic cells then give the same files. Cells run under the settings of
`core.determinism`, on every node.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sustainable.core.cells import CellFiles
from sustainable.core.errors import UserError
from sustainable.core.files import one_line, write_bytes
from sustainable.core.parallel import available_cores
from sustainable.core.pins import PINS
from sustainable.core.progress import progress
from sustainable.core.remote import Delivery, check_file, installed_versions, pack, run_cell, value_hash

try:
    import ray
    from ray.exceptions import NodeDiedError, RayError, RayTaskError, TaskUnschedulableError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError:
    raise UserError(
        "SUSTAINABLE_ENGINE=ray: Ray is not installed (requirements-ray.txt); run `make setup ENGINE=ray`, "
        "or leave the variable out"
    ) from None

T = TypeVar("T")

STAGES = Path(__file__).resolve().parents[2]
MACHINE, SHARE = "machine", 0.001
"""Every node offers one `machine`. A cell takes a small share of it, and one that must be alone takes all."""
QUEUED_PER_CORE = 3
"""Cells that are sent in advance, so that no core waits and the files of few cells are in memory."""
SILENT = {"RAY_USAGE_STATS_REPORT_URL": "none", "http_proxy": "127.0.0.1:9"}
"""Environment of a cluster that is started here. Otherwise Ray would ask cloud services where it runs even
with its statistics off, and could report that they are off. Nothing listens at this port of this machine."""
ANSWER_S = 5.0
"""Seconds in which a cluster must accept a connection."""


def run_cells(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    what: str,
    files: Sequence[CellFiles],
    alone: bool = False,
) -> Iterator[T]:
    """As `core.cells.run_cells`, on the cluster."""
    connect()
    remote = ray.remote(_run_on_node).options(
        scheduling_strategy="SPREAD", num_cpus=1, resources=_share_of_machine(alone)
    )
    sent: dict[Path, Any] = {}

    def submit(index: int) -> Any:
        task, own = tasks[index], files[index]
        references = [_send(path, sent) for path in _existing(own)]
        writes = [_relative(path).as_posix() for path in own.writes]
        return remote.remote(installed_versions(), function, task, references, writes)

    return progress(_in_order(submit, len(tasks), what), what, len(tasks))


def on_every_node(function: Callable[..., T], *arguments: Any) -> list[T]:
    """Return `function(*arguments)` of every node that answers."""
    connect()
    remote = ray.remote(_call)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    started = [
        remote.options(num_cpus=0, scheduling_strategy=place).remote(function, arguments) for place in places
    ]
    answers: list[T] = []
    for reference in started:
        with suppress(NodeDiedError, TaskUnschedulableError):  # a node that is lost runs no cells either
            answers.append(_get(reference, function.__name__))
    return answers


@cache
def connect() -> None:
    """Connect to the cluster at `RAY_ADDRESS`, or start one here; raises `UserError` if nothing answers."""
    address = os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"address": address, "logging_level": logging.WARNING}
    if address == "local":
        options |= {"num_cpus": available_cores(), "resources": {MACHINE: 1}}
        options |= {"include_dashboard": False}
    elif address != "auto":
        _refuse_silent(address)
    code = {"working_dir": str(STAGES), "excludes": ["**/__pycache__"], "env_vars": dict(PINS)}
    try:
        with _environment(SILENT if address == "local" else {}):
            ray.init(runtime_env=code, **options)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no Ray cluster can be used: {one_line(error)}; if its nodes share a "
            "token (~/.ray/auth_token), set RAY_AUTH_MODE=token"
        ) from None


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while; processes that are started meanwhile keep them."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
        os.environ.update({name: before[name] for name in changes if name in before})


def _refuse_silent(address: str) -> None:
    """Raise `UserError` at once if nothing listens: Ray itself would try for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"RAY_ADDRESS={address}: not an address; give host:port, auto or local")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: nothing answers there ({one_line(error)}); start Ray on that machine "
            "(`ray start --head`), or leave the variable out"
        ) from None


def _share_of_machine(alone: bool) -> dict[str, float]:
    offered = MACHINE in ray.cluster_resources()
    if alone and not offered:
        raise UserError(
            "these cells must run alone on a machine, and no node of the cluster offers one; start each with "
            f"""`ray start --resources='{{"{MACHINE}": 1}}'`"""
        )
    return {MACHINE: 1.0 if alone else SHARE} if offered else {}


def _run_on_node(
    versions: Mapping[str, str],
    function: Callable[..., Any],
    task: tuple[Any, ...],
    references: Sequence[Any],
    writes: Sequence[str],
) -> Delivery:
    """Fetch the files by reference, and run the cell."""
    return run_cell(versions, function, task, ray.get(list(references)), writes)


def _call(function: Callable[..., T], arguments: Sequence[Any]) -> T:
    return function(*arguments)


def _existing(files: CellFiles) -> list[Path]:
    return [path for path in dict.fromkeys((*files.reads, *files.writes)) if path.is_file()]


def _relative(path: Path) -> Path:
    """Return `path`, which must have the same meaning on another machine."""
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{path}: the files of a cell are named relative to the working folder")
    return path


def _send(path: Path, sent: dict[Path, Any]) -> Any:
    """Return a reference to a file in the cluster's memory; `sent` holds those of earlier cells."""
    if path not in sent:
        sent[path] = ray.put(pack(_relative(path)))
    return sent[path]


def _in_order(submit: Callable[[int], Any], count: int, what: str) -> Iterator[Any]:
    """Yield the values of all cells in their order. The files of each are written as soon as it is done."""
    numbers, values = iter(range(count)), {}
    ahead = QUEUED_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
    running = {submit(index): index for index in islice(numbers, ahead)}
    try:
        for index in range(count):
            while index not in values:
                done, _ = ray.wait(list(running), num_returns=1)
                values[running[done[0]]] = _receive(done[0], what)
                del running[done[0]]
                running |= {submit(number): number for number in islice(numbers, 1)}
            yield values.pop(index)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _receive(reference: Any, what: str) -> Any:
    """Wait for a cell, check what it sent, write its files, and return its value."""
    try:
        delivery: Delivery = _get(reference, what)
    except RayError as error:
        raise _lost(error, what) from None
    if value_hash(delivery.value) != delivery.value_hash:
        raise UserError(f"{what}: a result from {delivery.node} was damaged on its way; run the stage again")
    for file in delivery.files:
        check_file(file)
        write_bytes(_relative(Path(file.path)), file.content)
    return delivery.value


def _get(reference: Any, what: str) -> Any:
    """Wait for a value; an exception of the function that computes it is raised as it was."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause: BaseException | None = error.cause
        raise cause or _lost(error, what) from None


def _lost(error: RayError, what: str) -> UserError:
    return UserError(
        f"{what}: the cluster lost a worker or a node and could not replace it ({type(error).__name__}: "
        f"{one_line(error)}); cells that are done are kept: run it again"
    )
