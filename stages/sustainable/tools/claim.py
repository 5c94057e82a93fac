"""One claim decided on this machine: the stages that it needs are run here, in a folder of their own, beside
the rest of the shipped run, and its verdict is printed beside the shipped one.

Exit status: 0 the shipped verdict; 1 the opposite one (or a user's mistake, as one line); 3 one of the two
runs could not decide, which is neither a pass nor a contradiction.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.errors import exit_on_error
from sustainable.core.files import write_json
from sustainable.core.parallel import available_cores
from sustainable.verification.claim.efforts import (
    Effort,
    forecast_here,
    foretell,
    found_efforts,
)
from sustainable.verification.claim.runs import STATE, ClaimFolder, Plan, Shipped, State, origins, plan_of
from sustainable.verification.claim.verdicts import figures, outcome

ROOT = Path(__file__).resolve().parents[3]
FOLDER, RESULT = Path(".claims"), "result.json"
SHOWN = 20
"""Figures that are printed; all of them stand in `RESULT`."""


def main() -> None:
    arguments = parse_arguments()
    shipped = Shipped(ROOT)
    plan = plan_of(arguments.claim, shipped)
    folder = arguments.folder or FOLDER / plan.claim
    run = ClaimFolder(shipped, folder, plan)
    claim = shipped.claims[plan.claim]
    print(f"{plan.claim}: {claim['statement']}\nshipped verdict: {claim['verdict']}", flush=True)
    state = None if arguments.fresh else run.earlier()
    if state is None:
        if (folder / STATE).is_file():
            print(f"{folder} is made anew" + ("" if arguments.fresh else ": the project has changed since"))
        state = run.begin([asdict(effort) for effort in foretold(plan, shipped)])
    elif state.done == plan.steps:
        print(f"this has run before, in {folder}; --fresh runs it again")
    announce(plan, shipped, folder, state)
    run.run(state)
    sys.exit(conclude(run, state))


def foretold(plan: Plan, shipped: Shipped) -> list[Effort]:
    """What each step will take here."""
    print("timing a few training steps, to foretell how long it takes", flush=True)
    return foretell(plan, shipped.folder, forecast_here(ROOT), available_cores(), ROOT / "params.yaml")


def announce(plan: Plan, shipped: Shipped, folder: Path, state: State) -> None:
    """What will be run, how long it takes, and what is taken as it was shipped."""
    efforts = efforts_of(state)
    print(f"\nto run here, in {folder} (a forecast):")
    for effort in efforts:
        done = "  (done)" if effort.stage in state.done else ""
        print(f"  {effort.stage:<26}{effort.wall_s / 60:6.1f} min{effort.memory_mib:8.0f} MiB{done}")
    print(f"  {'together':<26}{minutes(efforts):6.1f} min{peak(efforts):8.0f} MiB at most")
    if plan.evidence.cut:
        print("  cut short: " + ", ".join(plan.evidence.decides) + " as always, all else left out")
    given = [path for path, origin in origins(plan, shipped).items() if origin == "shipped"]
    print("shipped, and taken as it is: " + (", ".join(given) or "nothing"))
    if any(step.startswith("benchmark") for step in plan.steps):
        print("leave the machine alone meanwhile: this measures")


def conclude(run: ClaimFolder, state: State) -> int:
    """Print and write what was found; gives the exit status."""
    plan, shipped = run.plan, run.shipped
    there, here = shipped.claims[plan.claim], run.found()
    status, sentence = outcome(there, here)
    efforts, found = efforts_of(state), found_efforts(run.folder)
    took = [found[step] for step in plan.steps if step in found]
    origin = origins(plan, shipped)
    write_json(
        run.folder / RESULT,
        {
            "claim": plan.claim,
            "status": status,
            "outcome": sentence,
            "shipped": there,
            "here": here,
            "origins": origin,
            "foretold": {"minutes": minutes(efforts), "memory_mib": peak(efforts)},
            "found": {"minutes": sum(state.wall_s.values()) / 60, "memory_mib": peak(took)},
            "sittings": state.sittings,
        },
    )
    print(f"\n{plan.claim}: {there['statement']}\nrule: {there['rule']}\n")
    for path, where in origin.items():
        print(f"  {where:<16} {path}")
    show(figures(there, here), run.folder / RESULT)
    print(f"\nshipped: {there['verdict']}. {there['reason']}\nhere:    {here['verdict']}. {here['reason']}")
    print(
        f"\nforetold {minutes(efforts):.1f} min, {peak(efforts):.0f} MiB; "
        f"found {sum(state.wall_s.values()) / 60:.1f} min, {peak(took):.0f} MiB"
        + (f" in {state.sittings} sittings" if state.sittings > 1 else "")
    )
    print(f"{plan.claim} {sentence}")
    return status


def show(values: Sequence[tuple[str, str, str]], result: Path) -> None:
    """The first figures, side by side."""
    if not values:
        return
    same = sum(there == here for _, there, here in values)
    print(f"\n  {f'figure ({same} of {len(values)} alike)':<44} {'shipped':<30} here")
    for name, there, here in values[:SHOWN]:
        print(f"  {name:<44} {there:<30} {here}")
    if len(values) > SHOWN:
        print(f"  and {len(values) - SHOWN} more, see {result}")


def efforts_of(state: State) -> list[Effort]:
    """What was foretold, by step."""
    return [Effort(**entry) for entry in state.foretold]


def minutes(efforts: Sequence[Effort]) -> float:
    return sum(effort.wall_s for effort in efforts) / 60


def peak(efforts: Sequence[Effort]) -> float:
    return max((effort.memory_mib for effort in efforts), default=0.0)


def parse_arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claim", help="A1 to A5, B1 to B4, C1 to C5, F1 to F16")
    parser.add_argument("--fresh", action="store_true", help="start anew, whatever an earlier run has left")
    parser.add_argument("--folder", type=Path, help="where (default: .claims/<claim>)")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
