"""Stage tune_searchers: tune the ranked searchers on one task's table, to judge them on that of another."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import read_rows, write_json
from sustainable.core.parameters import read_section
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters, TuningParameters
from sustainable.forecasting.search.tuning import tune_all


def main() -> None:
    arguments = stage_arguments(__doc__, "params candidates tuned", text="task")
    parameters = read_section(arguments.params, "compare_searchers", SearchersParameters)
    tuning = read_section(arguments.params, "tune_searchers", TuningParameters)
    use_deterministic_torch()
    landscape = Landscape.of_table(read_rows(arguments.candidates, ["family"]), parameters.reward)
    write_json(arguments.tuned, tune_all(arguments.task, landscape, parameters, tuning))


if __name__ == "__main__":
    run_stage(main)
