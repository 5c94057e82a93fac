"""Measure the designs of study B, here or on the nodes of a cluster, and put their records together.

`python -m` of this module measures one design, on a node.
"""

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sustainable.core.arguments import stage_arguments
from sustainable.core.cells import CellFiles, on_every_machine, run_cells
from sustainable.core.engine import has_nodes
from sustainable.core.errors import exit_on_error
from sustainable.core.files import existing, read_json, write_json
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.parameters import read_profile, read_section
from sustainable.core.tasks import finish
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.measuring.alone import end_with_parent, named_cpu, refuse_other_kinds, run_afresh
from sustainable.measuring.host import describe_host
from sustainable.measuring.process import Threads, settle
from sustainable.policies.benchmark.bench import Bench, PolicyBenchmarkParameters
from sustainable.policies.benchmark.deployments import PolicyFolders
from sustainable.policies.environments.guarded import FAULT, Record, caught
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan


def measure_designs(
    bench: Bench, parameters: PolicyBenchmarkParameters, metering: MeterParameters, params: Path
) -> dict[str, Record]:
    """Measure everything; return a record, or a fault, for each of `Bench.designs`.

    A record holds `rows`, `host` and, for windows, `frozen`. On a cluster, each design has a node for itself
    from its first block to its last; its rows and its record name that `node`. A design whose node is lost
    starts again from the beginning on another. This process must have the settings of measuring, and `params`
    is the file that holds the other arguments.
    """
    names = bench.designs(parameters)
    if not has_nodes():
        choose_meter(metering)  # one that cannot be used here ends the stage before anything is measured
        return {name: caught(measure_design, bench, name, parameters, metering) for name in names}
    refuse_other_kinds(dict(on_every_machine(named_cpu)))
    cells = [cell_of(bench, name, parameters, metering, params) for name in names]
    tasks, files = zip(*cells, strict=True)
    bench.records = [path for own in files for path in own.writes]
    records = run_cells(caught, tasks, "designs", files, alone=True)
    return {name: on_its_node(record) for name, record in zip(names, records, strict=True)}


def cell_of(
    bench: Bench, name: str, parameters: PolicyBenchmarkParameters, metering: MeterParameters, params: Path
) -> tuple[tuple[Any, ...], CellFiles]:
    """Return the task for `caught` that measures a design on a node, and its files.

    The record of a design that is done is kept. Journals do not travel: a design has one node.
    """
    reads = tuple(bench.files_of(name, parameters))
    hashes = [file_sha256(existing(path)) for path in reads]
    identity = fingerprint([bench.identity, asdict(parameters), asdict(metering), hashes])[:16]
    record = bench.folder / f"{name.replace(' ', '-')}-{identity}.json"
    paths = {
        "params": params,
        "policies": bench.sources.policies,
        "prepared": bench.sources.prepared,
        "exports": bench.sources.cache,
        "journals": bench.folder,
    }
    make = partial(on_this_node, name, paths, parameters.windows.threads, parameters.windows.keep_memory)
    settings = params, params.with_name("dvc.yaml")  # which names the sections of params.yaml
    return (finish, record, make), CellFiles((*settings, *reads), (record,))


def on_this_node(name: str, paths: Mapping[str, Path], threads: Threads, keep_memory: bool) -> Record:
    """Measure one design in a process of its own; `paths` are options of this module."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.json")
        options = [text for key, path in paths.items() for text in (f"--{key}", str(path))]
        run_afresh(threads, keep_memory, __spec__.name, [*options, "--record", str(record), "--design", name])
        return dict(read_json(record))


def measure_design(
    bench: Bench, name: str, parameters: PolicyBenchmarkParameters, metering: MeterParameters
) -> Record:
    """Measure one design in this process."""
    threads = settle(parameters.windows.threads)
    chosen = choose_meter(metering)
    record = bench.measure_design(name, parameters, chosen.make)
    host = describe_host() | threads | {"meter": chosen.name, "meter_reason": chosen.reason}
    return record | {"host": host, "node": platform.node()}


def on_its_node(record: Record) -> Record:
    """Return a record whose rows name its node."""
    if FAULT in record:
        return record
    return record | {"rows": [row | {"node": record["node"]} for row in record["rows"]]}


def conditions_of(records: Mapping[str, Record]) -> dict[str, Any]:
    """Return policies.conditions.json: the host, what was frozen and, on a cluster, every node.

    Raises `UserError` if the nodes have different kinds of CPU.
    """
    hosts = {record["node"]: record["host"] for record in records.values()}
    refuse_other_kinds(hosts)
    frozen = {name: record["frozen"] for name, record in records.items() if "frozen" in record}
    conditions = {"host": next(iter(hosts.values())), "frozen": frozen}
    return conditions | {"nodes": hosts} if has_nodes() else conditions


def main() -> None:
    end_with_parent()
    paths = "params policies prepared exports journals record"
    arguments = stage_arguments(__doc__, paths, text="design")
    parameters = read_section(arguments.params, "benchmark_policies", PolicyBenchmarkParameters)
    training = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    sources = PolicyFolders(arguments.policies, arguments.prepared, arguments.exports)
    identity = [asdict(metering), read_profile(arguments.params)]
    bench = Bench(plan(training), sources, arguments.journals, identity)
    write_json(arguments.record, measure_design(bench, arguments.design, parameters, metering))


if __name__ == "__main__":
    exit_on_error(main)
