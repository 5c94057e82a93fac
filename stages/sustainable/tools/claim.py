"""Decide one claim on this machine: run only the stages that it needs, in a folder of their own, on a copy of
the rest of the shipped run, and print the verdict beside the shipped one.

Exit status: 0 the shipped verdict; 1 the opposite one, or a user's mistake (one line); 3 undecided here or in
the shipped run, or no run can test the claim.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import write_json
from sustainable.reporting.claims import claim_ranges, claims_markdown
from sustainable.verification.claim.forecast import (
    Effort,
    forecast_efforts,
    measure_slowdown,
    recorded_efforts,
)
from sustainable.verification.claim.runs import (
    STATE,
    ClaimFolder,
    ClaimPlan,
    Shipped,
    State,
    origins,
    plan_of,
)
from sustainable.verification.claim.verdicts import OPEN, compare_values, compare_verdicts
from sustainable.verification.folders import merge
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import ROOT

FOLDER, RESULT = Path(".claims"), "result.json"
SHOWN = 20
"""Values that are printed; `RESULT` has all of them."""


def main() -> None:
    arguments = parse_arguments()
    shipped = Shipped(ROOT)
    if arguments.list:
        print(claims_markdown(shipped.claims), end="")
        return
    if arguments.claim is None:
        raise UserError(f"no claim is named; name one of {claim_ranges()}")
    plan = plan_of(arguments.claim, shipped)
    claim = shipped.claims[plan.claim]
    print(f"{plan.claim}: {claim['statement']}\nshipped verdict: {claim['verdict']}", flush=True)
    if not plan.stages:
        print(f"{plan.claim} not testable: {plan.declaration.untestable}")
        sys.exit(OPEN)
    shipped.check()
    run = ClaimFolder(shipped, arguments.folder or FOLDER / plan.claim, plan)
    state = prepare_run(run, arguments.fresh)
    announce(run, state)
    run.run(state)
    sys.exit(conclude(run, state))


def prepare_run(run: ClaimFolder, fresh: bool) -> State:
    """Continue an earlier run of the same files, or set up the folder."""
    state = None if fresh else run.earlier()
    if state is None:
        if (run.folder / STATE).is_file():
            print(f"{run.folder}: starting over" + ("" if fresh else ", because the project has changed"))
        return run.begin([asdict(effort) for effort in forecast_plan(run.plan, run.shipped)])
    if state.done == run.plan.steps:
        print(f"this claim has run before, in {run.folder}; --fresh runs it again")
    return state


def forecast_plan(plan: ClaimPlan, shipped: Shipped) -> list[Effort]:
    """What each step will take here."""
    print("timing a few training steps, to forecast the run", flush=True)
    params = read_yaml(ROOT / "params.yaml")
    merge(params, plan.declaration.cut)
    return forecast_efforts(plan.steps, shipped.folder, params, measure_slowdown(shipped.folder))


def announce(run: ClaimFolder, state: State) -> None:
    """Print what will run, how long it takes, and what is used as shipped."""
    plan, efforts = run.plan, forecast_of(state)
    print(f"\nruns here, in {run.folder} (a forecast):")
    for effort in efforts:
        done = "  (done)" if effort.stage in state.done else ""
        print(f"  {effort.stage:<26}{effort.wall_s / 60:6.1f} min{effort.memory_mib:8.0f} MiB{done}")
    print(f"  {'together':<26}{minutes(efforts):6.1f} min{peak(efforts):8.0f} MiB at most")
    if plan.declaration.cut:
        print(
            f"  shortened: everything is left out that {', '.join(plan.declaration.decided_by)} does not need"
        )
    given = [path for path, origin in origins(plan, run.shipped).items() if origin == "shipped"]
    print("used as shipped: " + (", ".join(given) or "nothing"))
    if any(step.startswith("benchmark") for step in plan.steps):
        print("this measures: leave the machine idle meanwhile")


def conclude(run: ClaimFolder, state: State) -> int:
    """Print and write the result; gives the exit status."""
    plan = run.plan
    there, here = run.shipped.claims[plan.claim], run.judged()
    status, sentence = compare_verdicts(there, here)
    efforts, recorded = forecast_of(state), recorded_efforts(run.folder)
    took = [recorded[step] for step in plan.steps if step in recorded]
    origin = origins(plan, run.shipped)
    result = {
        "claim": plan.claim,
        "status": status,
        "outcome": sentence,
        "shipped": there,
        "here": here,
        "origins": origin,
        "forecast": {"minutes": minutes(efforts), "memory_mib": peak(efforts)},
        "measured": {"minutes": sum(state.wall_s.values()) / 60, "memory_mib": peak(took)},
        "sittings": state.sittings,
    }
    write_json(run.folder / RESULT, result)
    print(f"\n{plan.claim}: {there['statement']}\nrule: {here['rule']}\n")
    for path, where in origin.items():
        print(f"  {where:<16} {path}")
    print_values(compare_values(there, here), run.folder / RESULT)
    print(f"\nshipped: {there['verdict']}. {there['reason']}\nhere:    {here['verdict']}. {here['reason']}")
    print_effort(result)
    print(f"{plan.claim} {sentence}")
    return status


def print_values(values: Sequence[tuple[str, str, str]], result: Path) -> None:
    """The first values, side by side."""
    if not values:
        return
    same = sum(there == here for _, there, here in values)
    print(f"\n  {f'value ({same} of {len(values)} equal)':<44} {'shipped':<30} here")
    for name, there, here in values[:SHOWN]:
        print(f"  {name:<44} {there:<30} {here}")
    if len(values) > SHOWN:
        print(f"  and {len(values) - SHOWN} more, see {result}")


def print_effort(result: dict[str, Any]) -> None:
    """What the run was expected to take, and took."""
    forecast, measured = result["forecast"], result["measured"]
    sittings = f" in {result['sittings']} sittings" if result["sittings"] > 1 else ""
    print(
        f"\nforecast {forecast['minutes']:.1f} min, {forecast['memory_mib']:.0f} MiB; "
        f"took {measured['minutes']:.1f} min, {measured['memory_mib']:.0f} MiB{sittings}"
    )


def forecast_of(state: State) -> list[Effort]:
    """What each step was expected to take."""
    return [Effort(**entry) for entry in state.forecast]


def minutes(efforts: Sequence[Effort]) -> float:
    return sum(effort.wall_s for effort in efforts) / 60


def peak(efforts: Sequence[Effort]) -> float:
    return max((effort.memory_mib for effort in efforts), default=0.0)


def parse_arguments() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claim", nargs="?", help=claim_ranges())
    parser.add_argument("--list", action="store_true", help="print all claims as a Markdown table")
    parser.add_argument("--fresh", action="store_true", help="start over, whatever an earlier run has left")
    parser.add_argument("--folder", type=Path, help="where to run (default: .claims/<claim>)")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
