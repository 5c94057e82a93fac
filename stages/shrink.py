"""Stage shrink: prune and fine-tune the baselines to narrower forecasters, and train their controls."""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.parameters import read_section
from sustainable.core.tasks import collect
from sustainable.energy.choice import MeterParameters
from sustainable.energy.cost import total_cost
from sustainable.forecasting.compression.shrinking import ShrinkParameters
from sustainable.forecasting.model.gru import trained_in
from sustainable.forecasting.narrow import make_all_narrow


def main() -> None:
    arguments = stage_arguments(__doc__, "params windows baselines work models history cost", text="task")
    parameters = read_section(arguments.params, "shrink", ShrinkParameters, arguments.task)
    metering = read_section(arguments.params, "metering", MeterParameters)
    baselines = trained_in(arguments.baselines)
    records, files = make_all_narrow(baselines, parameters, metering, arguments.windows, arguments.work)
    write_rows(arguments.history, [record["made"] for record in records])
    write_json(arguments.cost, total_cost([record["cost"] for record in records]))
    collect(files, arguments.models, arguments.work)


if __name__ == "__main__":
    run_stage(main)
