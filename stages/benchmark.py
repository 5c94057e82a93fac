"""Stage benchmark: the configurations become raw measured rows. Runs without the determinism pins."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sustainable.artifact.errors import UserError, exit_on_error
from sustainable.artifact.files import read_json, write_json, write_rows
from sustainable.artifact.hashing import file_sha256, fingerprint
from sustainable.artifact.journal import RowJournal
from sustainable.artifact.parameters import read_profile, read_section
from sustainable.compression.accounting import account
from sustainable.compression.configuration import Configuration, compress
from sustainable.energy.codecarbon import CodeCarbonMeter, CodeCarbonParameters
from sustainable.energy.host import describe_host
from sustainable.energy.published import BenchmarkParameters, measure_runs
from sustainable.forecaster import load_forecaster, sequence_flops
from sustainable.weather import load_windows


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "benchmark", BenchmarkParameters, arguments.protocol)
    metering = read_section(arguments.params, "metering", CodeCarbonParameters)
    profile = read_profile(arguments.params)
    test = load_windows(arguments.windows)["test"]
    inputs, target = torch.from_numpy(test.inputs), torch.from_numpy(test.target)
    configurations = resolve(parameters, arguments.best)
    base = load_forecaster(arguments.weights)
    models = {name: compress(base, chosen, inputs[:1]) for name, chosen in configurations.items()}
    constant = {"study": "A", "protocol": arguments.protocol, "profile": profile, "runtime": "torch-eager"}
    constant |= {"flops": sequence_flops(base.architecture, inputs.shape[1])}
    labels = {name: constant | label(configurations[name], model, inputs) for name, model in models.items()}
    identity = {"parameters": asdict(parameters), "metering": asdict(metering), "profile": profile}
    inputs_read = [file_sha256(path) for path in (arguments.windows, arguments.weights, arguments.best)]
    journal = RowJournal(arguments.journal, fingerprint([identity, inputs_read]))
    host = describe_host()
    measure_runs(models, inputs, target, parameters, lambda: CodeCarbonMeter(metering), journal, labels)
    write_json(arguments.host, host)
    write_rows(arguments.rows, journal.rows)
    journal.discard()


def resolve(parameters: BenchmarkParameters, best: Path) -> dict[str, Configuration]:
    """The configurations by name, the searcher's choice put in its place."""
    found: dict[str, Configuration] = {}
    for name, configuration in parameters.configurations.items():
        found[name] = searched(best) if configuration == "search" else configuration
    first = next(iter(found))
    if found[first] != Configuration():
        raise UserError(f"benchmark: configurations: {first}: the first must be the uncompressed baseline")
    return found


def searched(best: Path) -> Configuration:
    seen = read_json(best).get("best_seen", {})
    if "action" not in seen:
        raise UserError(f"{best}: best_seen.action is missing; run `dvc repro rl_search` again")
    return Configuration.of_action(seen["action"])


def label(configuration: Configuration, model: nn.Module, inputs: torch.Tensor) -> dict[str, Any]:
    """The columns that do not change between runs."""
    counted = account(model, inputs.shape[1], inputs.shape[2])
    return {
        "name": configuration.name,
        "pruning": configuration.pruning,
        "quantization": configuration.quantization,
        "precision": "int8" if counted.int8_parameters else "fp32",
        **asdict(counted),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--best", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--host", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
