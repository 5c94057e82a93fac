"""Stage layerwise_search: the later version's search for zeros per layer, with several searchers."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.errors import UserError
from sustainable.core.files import write_rows
from sustainable.core.parameters import read_section
from sustainable.forecasting.data.windows import load_windows
from sustainable.forecasting.layerwise.search import LayerwiseParameters, search_layers
from sustainable.forecasting.model.gru import WeatherGRU, load_forecaster, trained_in


def main() -> None:
    arguments = stage_arguments(__doc__, "params windows models searches plans")
    parameters = read_section(arguments.params, "layerwise_search", LayerwiseParameters)
    use_deterministic_torch()
    parts = load_windows(arguments.windows)
    model = load_forecaster(next(iter(trained_in(arguments.models).values())))
    if not isinstance(model, WeatherGRU):
        raise UserError(f"{arguments.models}: layerwise_search needs a network with one stacked GRU")
    searches, plans = search_layers(model, parts["validation"], parts["test"], parameters)
    write_rows(arguments.searches, searches)
    write_rows(arguments.plans, plans)


if __name__ == "__main__":
    run_stage(main)
