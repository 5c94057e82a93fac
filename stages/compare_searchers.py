"""Stage compare_searchers: run every searcher with the same budget on one task's table of candidates."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import read_rows, write_json, write_rows
from sustainable.core.parameters import read_section
from sustainable.energy.choice import MeterParameters
from sustainable.forecasting.search.comparison import (
    Task,
    describe_choices,
    improvement_rows,
    search_all,
    search_costs,
)
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters
from sustainable.forecasting.search.space import describe_space
from sustainable.forecasting.search.tuned import use_tuned


def main() -> None:
    paths = "params candidates tuned improvements choices cost"
    arguments = stage_arguments(__doc__, paths, text="task")
    parameters = read_section(arguments.params, "compare_searchers", SearchersParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    use_deterministic_torch()
    parameters, tuned_on = use_tuned(parameters, arguments.tuned, arguments.task)
    table = read_rows(arguments.candidates, ["family"])
    landscape = Landscape.of_table(table, parameters.reward)
    space = describe_space(table, landscape, parameters.reward)
    searches = search_all(landscape, parameters)
    first = [search for search in searches if search.seed == parameters.first_seed]
    write_json(arguments.cost, search_costs(landscape, parameters, metering, first))
    write_rows(arguments.improvements, improvement_rows(searches, space))
    task = Task(arguments.task, landscape, space, tuned_on)
    write_json(arguments.choices, describe_choices(task, parameters, first))


if __name__ == "__main__":
    run_stage(main)
