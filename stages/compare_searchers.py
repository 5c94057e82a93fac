"""Stage compare_searchers: run every searcher with the same budget on the table of candidates."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import read_rows, write_json, write_rows
from sustainable.core.parameters import read_section
from sustainable.energy.choice import MeterParameters
from sustainable.forecasting.search.comparison import (
    describe_choices,
    improvement_rows,
    search_all,
    search_costs,
)
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters


def main() -> None:
    arguments = stage_arguments(__doc__, "params candidates improvements choices cost")
    parameters = read_section(arguments.params, "compare_searchers", SearchersParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    use_deterministic_torch()
    landscape = Landscape.of_table(read_rows(arguments.candidates, ["family"]), parameters.reward)
    searches = search_all(landscape, parameters)
    first = [search for search in searches if search.seed == parameters.first_seed]
    write_json(arguments.cost, search_costs(landscape, parameters, metering, first))
    write_rows(arguments.improvements, improvement_rows(searches))
    write_json(arguments.choices, describe_choices(landscape, parameters.budget, first))


if __name__ == "__main__":
    run_stage(main)
