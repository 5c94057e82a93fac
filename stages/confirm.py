"""Stage confirm: train a task's baseline and the networks of its choices again, with fresh seeds."""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

from dataclasses import asdict

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import file_sha256, fingerprint
from sustainable.core.parameters import read_section
from sustainable.core.tasks import collect
from sustainable.energy.choice import MeterParameters
from sustainable.energy.cost import total_cost
from sustainable.forecasting.baselines import summarise_baselines
from sustainable.forecasting.benchmark.blocks import BlocksParameters
from sustainable.forecasting.benchmark.choices import deployed_widths
from sustainable.forecasting.compression.shrinking import ShrinkParameters
from sustainable.forecasting.confirmation import (
    ConfirmParameters,
    refuse_used_seeds,
    shrink_fresh,
    train_fresh,
)
from sustainable.forecasting.model.training import TrainingParameters


def main() -> None:
    arguments = stage_arguments(
        __doc__, "params windows choices work models history metrics cost", text="task"
    )
    fresh = read_section(arguments.params, "confirm", ConfirmParameters)
    training = read_section(arguments.params, "train_baseline", TrainingParameters, arguments.task)
    shrinking = read_section(arguments.params, "shrink", ShrinkParameters, arguments.task)
    benchmark = read_section(arguments.params, "benchmark", BlocksParameters, arguments.task)
    metering = read_section(arguments.params, "metering", MeterParameters)
    refuse_used_seeds(fresh.seeds, training.seeds)
    widths = deployed_widths(benchmark.configurations.values(), arguments.choices)
    full = (training.hidden,) * training.layers
    trained, baselines = train_fresh(
        fresh.seeds, training, metering, arguments.windows, arguments.work / "training"
    )
    identity = fingerprint([asdict(shrinking), *map(file_sha256, (arguments.windows, *baselines.values()))])
    shrunk, files = shrink_fresh(
        baselines, widths, full, shrinking, metering, arguments.windows, arguments.work / identity[:16]
    )
    costs = [sitting for record in trained for sitting in record["sittings"]]
    write_json(arguments.cost, total_cost([*costs, *(record["cost"] for record in shrunk)]))
    write_json(arguments.metrics, summarise_baselines(trained))
    write_rows(arguments.history, [record["made"] for record in shrunk])
    files |= {f"baseline/{path.name}": path for path in baselines.values()}
    collect(files, arguments.models, arguments.work)


if __name__ == "__main__":
    run_stage(main)
