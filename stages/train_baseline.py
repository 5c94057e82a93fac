"""Stage train_baseline: train the GRU forecaster with every seed, and score it and the frugal forecasters."""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.parameters import read_section
from sustainable.core.tasks import collect
from sustainable.energy.choice import MeterParameters
from sustainable.energy.cost import total_cost
from sustainable.forecasting.baselines import (
    frugal_scores,
    summarise_baselines,
    train_baselines,
    weights_file,
)
from sustainable.forecasting.data.windows import load_windows
from sustainable.forecasting.model.training import TrainingParameters


def main() -> None:
    arguments = stage_arguments(
        __doc__, "params windows checkpoints weights history metrics cost", text="protocol"
    )
    parameters = read_section(arguments.params, "train_baseline", TrainingParameters, arguments.protocol)
    metering = read_section(arguments.params, "metering", MeterParameters)
    records = train_baselines(parameters, metering, arguments.windows, arguments.checkpoints)
    frugal = frugal_scores(load_windows(arguments.windows))
    write_rows(arguments.history, [row for record in records for row in record["history"]])
    write_json(arguments.cost, total_cost([sitting for record in records for sitting in record["sittings"]]))
    write_json(arguments.metrics, {"forecasters": frugal} | summarise_baselines(records))
    trained = [weights_file(arguments.checkpoints, seed) for seed in parameters.seeds]
    collect({path.name: path for path in trained}, arguments.weights, arguments.checkpoints)


if __name__ == "__main__":
    run_stage(main)
