"""Tune the searchers of study A on the table of one task, to judge them on that of another.

The file that this writes is the option --tuned of stages/compare_searchers.py.
"""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.errors import exit_on_error
from sustainable.core.files import read_rows, write_json
from sustainable.core.parameters import read_section
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters
from sustainable.forecasting.search.tuning import tune_all


def main() -> None:
    arguments = stage_arguments(__doc__, "params candidates tuned", text="task")
    parameters = read_section(arguments.params, "compare_searchers", SearchersParameters)
    use_deterministic_torch()
    landscape = Landscape.of_table(read_rows(arguments.candidates, ["family"]), parameters.reward)
    write_json(arguments.tuned, tune_all(arguments.task, landscape, parameters))


if __name__ == "__main__":
    exit_on_error(main)
