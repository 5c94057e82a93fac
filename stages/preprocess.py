"""Stage preprocess: make scaled windows of a CSV, split into train, validation and test."""

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json
from sustainable.core.parameters import read_section
from sustainable.forecasting.data.preprocessing import PreprocessParameters, preprocess
from sustainable.forecasting.data.windows import save_windows


def main() -> None:
    arguments = stage_arguments(__doc__, "params csv windows metrics", text="protocol")
    parameters = read_section(arguments.params, "preprocess", PreprocessParameters, arguments.protocol)
    parts, described = preprocess(arguments.csv, parameters)
    save_windows(arguments.windows, parts)
    write_json(arguments.metrics, described)
    print(", ".join(f"{name}: {len(part)} windows" for name, part in parts.items()))


if __name__ == "__main__":
    run_stage(main)
