"""Measure a model of your own as this project measures its own: which runtime and precision costs least?

The model is a torch.export program (.pt2), a TorchScript file or an ONNX file, never a pickle; or
`module:function`, which builds an nn.Module. The report is written into the folder of --out. A killed run
continues where it stopped.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Literal

from sustainable.core.errors import UserError, exit_on_error
from sustainable.measuring.process import start_afresh

RUNTIMES = ("onnxruntime", "openvino")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    _add_models(made)
    _add_measurement(made)
    policy = made.add_argument_group("policies", "--model is a Stable-Baselines3 zip archive or an ONNX file")
    policy.add_argument("--environment", help="the Gymnasium environment in which the policy acts, by its id")
    policy.add_argument("--activation", choices=("tanh", "relu"), help="of the actor's hidden units")
    policy.add_argument("--statistics", type=Path, help=".npz with mean and var of VecNormalize")
    return made


def _add_models(made: argparse.ArgumentParser) -> None:
    """Add what is assessed, and where the report goes."""
    add = made.add_argument
    repeatable = partial(add, action="append", default=[])
    add("--model", required=True, help="a .pt2, TorchScript or .onnx file, or module:function")
    add("--inputs", type=Path, help=".npz with one array [n, ...] per input of the model, or .npy")
    add("--target", type=Path, help=".npy [n]: classes as integers, or numbers; judges accuracy or error")
    repeatable("--variant", metavar="NAME=MODEL", help="a compressed version; repeatable")
    repeatable(
        "--compressor",
        metavar="MODULE:FUNCTION",
        help="takes and returns an nn.Module; or the name of an entry point; repeatable",
    )
    add("--out", type=Path, default=Path("assess"), help="folder of the report (default: assess)")


def _add_measurement(made: argparse.ArgumentParser) -> None:
    """Add how it is measured and judged."""
    add, runtimes = made.add_argument, ",".join(RUNTIMES)
    pace = made.add_mutually_exclusive_group()
    pace.add_argument("--quick", action="store_true", help="about two minutes (default)")
    pace.add_argument("--thorough", action="store_true", help="20 blocks of longer windows, for a paper")
    add("--batch-size", type=_positive, help="examples of a call (default: the model's own, or 1)")
    add("--threads", type=_positive, default=1, help="threads of every runtime (default: 1)")
    add("--runtimes", default=runtimes, help=f"beside the model's own (default: {runtimes})")
    add("--margin", type=_share, help="largest loss that is not inferior: of accuracy, or share of the error")
    add("--threshold", type=float, default=0.0, help="a single output above it means class 1 (default: 0)")
    add("--rate", type=_amount, help="requests per second, for the break-even in days")
    spent = "CPU seconds that making the variants took (default: 0)"
    add("--invested", type=_amount, default=0.0, help=spent)
    add("--output", help="the output of an ONNX model that counts")
    add("--no-energy", action="store_true", help="read CPU time only, even if there is an energy counter")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def named(pairs: list[str]) -> dict[str, str]:
    """Return what `NAME=MODEL` options say, by name."""
    parts = [pair.partition("=") for pair in pairs]
    wrong = [pair for pair, (name, _, path) in zip(pairs, parts, strict=True) if not (name and path)]
    names = [name for name, _, _ in parts]
    if wrong:
        raise UserError(f"--variant {wrong[0]}: write NAME=FILE, such as --variant pruned=pruned.pt2")
    if len(set(names)) < len(names) or "baseline" in names:
        raise UserError("--variant: every variant needs a name of its own, other than baseline")
    return {name: path for name, _, path in parts}


def main() -> None:
    arguments = parser().parse_args()
    variants = named(arguments.variant)
    runtimes = tuple(filter(None, arguments.runtimes.split(",")))
    if unknown := sorted(set(runtimes) - set(RUNTIMES)):
        raise UserError(f"--runtimes {unknown[0]}: choose among {', '.join(RUNTIMES)}")
    if arguments.inputs is None and arguments.environment is None:
        raise UserError("--inputs is missing: example inputs for a model; or --environment, for a policy")
    start_afresh(arguments.threads, keep_memory=True)  # before the libraries read the environment
    if arguments.environment:
        run_policy(arguments)
    else:
        run_model(arguments, variants, runtimes)
    print(f"report (open in a browser)  {arguments.out / 'report.html'}")
    for name in ("rows.csv", "claims.json", "table.tex", "cpu_time.png", "cpu_time.pdf", "host.json"):
        print(f"{'':28}{arguments.out / name}")


def run_policy(arguments: argparse.Namespace) -> None:
    from sustainable.assessing.policies import assess_policy

    mode: Literal["quick", "thorough"] = "thorough" if arguments.thorough else "quick"
    path, folder = Path(arguments.model), arguments.out
    assess_policy(path, arguments.environment, folder, mode, arguments.activation, arguments.statistics)


def run_model(arguments: argparse.Namespace, variants: dict[str, str], runtimes: tuple[str, ...]) -> None:
    from sustainable.assessing.rows import Request
    from sustainable.assessing.run import measure_and_report
    from sustainable.assessing.settings import AssessSettings

    settings = AssessSettings(
        mode="thorough" if arguments.thorough else "quick",
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        runtimes=runtimes,
        margin=arguments.margin,
        threshold=arguments.threshold,
        rate=arguments.rate,
        invested_cpu_s=arguments.invested,
        output=arguments.output,
        energy=not arguments.no_energy,
    )
    request = Request(
        arguments.model, arguments.inputs, arguments.target, variants, arguments.compressor, settings
    )
    measure_and_report(request, arguments.out)


if __name__ == "__main__":
    exit_on_error(main)
