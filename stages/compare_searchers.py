"""Stage compare_searchers: every searcher with the same budget on the table of candidates."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.effort import run_stage
from sustainable.core.files import read_rows, write_json, write_rows
from sustainable.core.parallel import in_parallel
from sustainable.core.parameters import read_section
from sustainable.core.progress import progress
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.cost import total_cost
from sustainable.forecasting.search.comparison import Search, describe_choices, improvement_rows, run_search
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "compare_searchers", SearchersParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    use_deterministic_torch()
    landscape = Landscape.of_table(read_rows(arguments.candidates, ["family"]), parameters.reward)
    searches = search_all(landscape, parameters)
    first = [search for search in searches if search.seed == parameters.first_seed]
    cost = own_costs(landscape, parameters, metering, first)
    write_rows(arguments.improvements, improvement_rows(searches))
    write_json(arguments.choices, describe_choices(landscape, parameters.budget, first))
    write_json(arguments.cost, cost)


def search_all(
    landscape: Landscape, parameters: SearchersParameters, workers: int | None = None
) -> list[Search]:
    """Every searcher with every seed, side by side over the cores."""
    seeds = range(parameters.first_seed, parameters.first_seed + parameters.seeds)
    tasks = [
        (landscape, parameters.budget, name, seed, own)
        for name, own in parameters.searchers.by_name().items()
        for seed in seeds
    ]
    return list(in_parallel(run_search, tasks, "searching", workers))


def own_costs(
    landscape: Landscape, parameters: SearchersParameters, metering: MeterParameters, first: list[Search]
) -> dict[str, Any]:
    """What each searcher costs by itself, without the measurements: its first search again, alone."""
    costs = {}
    pairs = list(zip(first, parameters.searchers.by_name().items(), strict=True))
    for search, (name, own) in progress(pairs, "metering", len(pairs)):
        meter = choose_meter(metering).make()
        meter.start()
        again = run_search(landscape, parameters.budget, name, search.seed, own)
        cost = total_cost([asdict(meter.stop())])
        if again != search:
            raise RuntimeError(f"{name}: the same seed has searched differently in another process")
        costs[name] = cost | {"evaluations": search.distinct, "steps": search.steps}
    return costs


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "candidates", "improvements", "choices", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
