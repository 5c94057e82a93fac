"""Decide one claim on this machine: run only the stages that it needs, in a folder of their own, on a copy of
the rest of the shipped run, and print the verdict beside the shipped one.

Exit status: 0 the shipped verdict; 1 the opposite one, or a user's mistake (one line); 3 undecided here or in
the shipped run, another verdict on a claim about another kind of CPU, or no run can test the claim.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.files import write_json
from sustainable.reporting.claims import claim_ranges, claims_markdown
from sustainable.verification.claim import forecast, runs
from sustainable.verification.claim.runs import ClaimFolder, Shipped, State
from sustainable.verification.folders import merge
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import ROOT, verdict_of_run

FOLDER, RESULT = Path(".claims"), "result.json"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("claim", nargs="?", help=claim_ranges())
    parser.add_argument("--list", action="store_true", help="print all claims as a Markdown table")
    parser.add_argument("--fresh", action="store_true", help="start over, whatever an earlier run has left")
    parser.add_argument("--folder", type=Path, help="where to run (default: .claims/<claim>)")
    arguments, shipped = parser.parse_args(), Shipped(ROOT)
    if arguments.list:
        print(claims_markdown(shipped.claims), end="")
        return
    if arguments.claim is None:
        raise UserError(f"no claim is named; name one of {claim_ranges()}")
    plan = runs.plan_of(arguments.claim, shipped)
    name, claim = plan.declaration.id, shipped.claims[plan.declaration.id]
    print(f"{name}: {claim['statement']}\nshipped verdict: {verdict_of_run(claim)}", flush=True)
    print(claim["scope"], flush=True)
    if not plan.stages:
        print(f"{name} not testable: {plan.declaration.untestable}")
        sys.exit(runs.OPEN)
    shipped.check()
    run = ClaimFolder(shipped, arguments.folder or FOLDER / name, plan)
    state = prepare_run(run, arguments.fresh)
    announce(run, state)
    run.run(state)
    sys.exit(conclude(run, state))


def prepare_run(run: ClaimFolder, fresh: bool) -> State:
    """Continue an earlier run of the same files, or set up the folder."""
    state = None if fresh else run.earlier()
    if state is not None:
        if state.done == run.plan.steps:
            print(f"this claim has run before, in {run.folder}; --fresh runs it again")
        return state
    if (run.folder / runs.STATE).is_file():
        print(f"{run.folder}: starting over" + ("" if fresh else ", because the project has changed"))
    print("timing a few training steps, to forecast the run", flush=True)
    params, reference = read_yaml(ROOT / "params.yaml"), run.shipped.reference
    merge(params, run.plan.declaration.cut)
    slowdown = forecast.measure_slowdown(reference)
    efforts = forecast.forecast_efforts(run.plan.steps, reference, params, slowdown)
    return run.begin([asdict(effort) for effort in efforts])


def announce(run: ClaimFolder, state: State) -> None:
    """Print what will run, how long it takes, and what is used as shipped."""
    declaration, efforts = run.plan.declaration, [forecast.Effort(**entry) for entry in state.forecast]
    print(f"\nruns here, in {run.folder} (a forecast):")
    for effort in efforts:
        done = "  (done)" if effort.stage in state.done else ""
        print(f"  {effort.stage:<26}{effort.wall_s / 60:6.1f} min{effort.memory_mib:8.0f} MiB{done}")
    total = summed(efforts)
    print(f"  {'together':<26}{total['minutes']:6.1f} min{total['memory_mib']:8.0f} MiB at most")
    if declaration.cut:
        print(f"  shortened: everything is left out that {', '.join(declaration.decided_by)} does not need")
    given = [path for path, origin in runs.origins(run.plan, run.shipped).items() if origin == "shipped"]
    print("used as shipped: " + (", ".join(given) or "nothing"))
    if any(step.startswith("benchmark") for step in run.plan.steps):
        print("this measures: leave the machine idle meanwhile")


def conclude(run: ClaimFolder, state: State) -> int:
    """Print and write the result; gives the exit status."""
    name, recorded = run.plan.declaration.id, forecast.recorded_efforts(run.folder)
    there, here = run.shipped.claims[name], run.judged()
    status, sentence = run.compared()
    expected = summed([forecast.Effort(**entry) for entry in state.forecast])
    measured = summed([recorded[step] for step in run.plan.steps if step in recorded])
    measured["minutes"] = sum(state.wall_s.values()) / 60
    origin = runs.origins(run.plan, run.shipped)
    result = {
        "claim": name, "status": status, "outcome": sentence, "shipped": there, "here": here,
        "origins": origin, "forecast": expected, "measured": measured, "sittings": state.sittings,
    }  # fmt: skip
    write_json(run.folder / RESULT, result)
    print(f"\n{name}: {there['statement']}\nrule: {here['rule']}")
    for where, own in (("shipped", there), ("here", here)):
        print(f"{where + ':':<8} {verdict_of_run(own)}. {own['reason']}")
    values = runs.compare_values(there, here)
    same = sum(shipped == own for _, shipped, own in values)
    print(f"{same} of {len(values)} values are equal; all are in {run.folder / RESULT}")
    sittings = f" in {state.sittings} sittings" if state.sittings > 1 else ""
    print(
        f"forecast {expected['minutes']:.1f} min, {expected['memory_mib']:.0f} MiB; "
        f"took {measured['minutes']:.1f} min, {measured['memory_mib']:.0f} MiB{sittings}"
    )
    print(f"{name} {sentence}\nopen {run.folder / 'paper/report.html'}, the report with this run's rows")
    return status


def summed(efforts: Sequence[forecast.Effort]) -> dict[str, float]:
    """Minutes of all stages, and the largest memory of one."""
    peak = max((effort.memory_mib for effort in efforts), default=0.0)
    return {"minutes": sum(effort.wall_s for effort in efforts) / 60, "memory_mib": peak}


if __name__ == "__main__":
    exit_on_error(main)
