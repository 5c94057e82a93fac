"""Stage repair_search: repeat the published search with its flaws repaired one at a time."""

from sustainable.core.determinism import use_deterministic_torch  # isort: skip  (before torch)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import read_rows, write_rows
from sustainable.core.parameters import read_section
from sustainable.core.progress import progress
from sustainable.forecasting.benchmark.subjects import Sources
from sustainable.forecasting.data.windows import load_windows
from sustainable.forecasting.repairs import REPAIR_VARIANTS, RepairsParameters, repair_row, try_actions

COLUMNS_NEEDED = ("family", "width_0", "width_1", "precision", "runtime")


def main() -> None:
    arguments = stage_arguments(__doc__, "params windows models candidates repairs")
    parameters = read_section(arguments.params, "repair_search", RepairsParameters)
    use_deterministic_torch()
    parts = load_windows(arguments.windows)
    costs = read_rows(arguments.candidates, COLUMNS_NEEDED)
    sources = Sources(arguments.models, arguments.candidates, arguments.models, parts["train"])
    seeds, rows = sources.seeds(), []
    for seed in progress(seeds, "seeds", len(seeds)):
        tried = {prunes: try_actions(sources, seed, parts, costs, prunes) for prunes in (False, True)}
        rows += [
            {"seed": seed} | repair_row(tried[variant.prunes], variant, parameters)
            for variant in REPAIR_VARIANTS
        ]
    write_rows(arguments.repairs, rows)


if __name__ == "__main__":
    run_stage(main)
