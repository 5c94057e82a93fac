"""Stage compress_policies: quantize and prune every policy in all ways, and evaluate the results."""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import read_json, write_json, write_rows
from sustainable.core.parameters import read_profile, read_section
from sustainable.core.tasks import collect
from sustainable.energy.choice import MeterParameters
from sustainable.energy.cost import total_cost
from sustainable.policies.compression.evaluation import CompressParameters
from sustainable.policies.compression.tasks import compress_policies
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan


def main() -> None:
    arguments = stage_arguments(__doc__, "params policies table work prepared returns cost")
    parameters = read_section(arguments.params, "compress_policies", CompressParameters)
    training = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    common = {"study": "B", "profile": read_profile(arguments.params)}
    random_returns = {
        (entry["environment"], entry["algorithm"]): entry["random_return"]
        for entry in read_json(arguments.table)
    }
    records, files = compress_policies(
        plan(training), arguments.policies, random_returns, parameters, metering, arguments.work
    )
    write_rows(arguments.returns, [common | row for record in records for row in record["rows"]])
    write_json(arguments.cost, total_cost([record["cost"] for record in records]))
    collect(files, arguments.prepared, arguments.work)


if __name__ == "__main__":
    run_stage(main)
