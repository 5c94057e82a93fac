"""Stage train_policies: train or take the policy of every environment, algorithm and seed."""

import sustainable.core.determinism  # noqa: F401  isort: skip  (before numpy and torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.parameters import read_section
from sustainable.core.tasks import collect
from sustainable.energy.choice import MeterParameters
from sustainable.energy.cost import total_cost
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan
from sustainable.policies.learning.tasks import announce_faults, policies_table, train_policies
from sustainable.policies.learning.training import check_settings

CURVE = ("environment", "algorithm", "seed", "step", "episode_return", "episode_length")


def main() -> None:
    arguments = stage_arguments(__doc__, "params actors work models learning table cost")
    parameters = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    cells = plan(parameters)
    for cell in cells:
        check_settings(cell)  # before anything is trained
    announce_faults(cells)
    records, files = train_policies(cells, parameters, metering, arguments.actors, arguments.work)
    points = [point for record in records for point in record["curve"]]
    write_rows(arguments.learning, [{name: point[name] for name in CURVE} for point in points])
    write_json(arguments.cost, total_cost([cost for record in records for cost in record["costs"]]))
    write_json(arguments.table, policies_table(cells, records, parameters))
    collect(files, arguments.models, arguments.work)


if __name__ == "__main__":
    run_stage(main)
