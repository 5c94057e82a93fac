"""Stage rl_search: PPO searches for the best of the 16 published compressions."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.parameters import read_section
from sustainable.energy.choice import MeterParameters
from sustainable.forecasting.data.windows import load_windows
from sustainable.forecasting.model.gru import load_forecaster, trained_in
from sustainable.forecasting.published.evaluation import evaluation_part
from sustainable.forecasting.published.search import SearchParameters, search_as_published


def main() -> None:
    arguments = stage_arguments(
        __doc__, "params windows models actions discovery curve best cost", text="protocol"
    )
    parameters = read_section(arguments.params, "rl_search", SearchParameters, arguments.protocol)
    metering = read_section(arguments.params, "metering", MeterParameters)
    use_deterministic_torch()
    part = evaluation_part(
        load_windows(arguments.windows), parameters.evaluation, f"rl_search.{arguments.protocol}"
    )
    model = load_forecaster(next(iter(trained_in(arguments.models).values())))
    result = search_as_published(model, part, parameters, metering)
    write_rows(arguments.actions, result.actions)
    write_rows(arguments.discovery, result.discovery)
    write_rows(arguments.curve, result.curve)
    write_json(arguments.best, result.best)
    write_json(arguments.cost, result.cost)


if __name__ == "__main__":
    run_stage(main)
