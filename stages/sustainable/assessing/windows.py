"""Measure deployed models in randomised blocks, with an A/A twin of the baseline and idle windows."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from sustainable.assessing.examples import Examples
from sustainable.assessing.runtimes import DeployedModel, Session
from sustainable.core.errors import UserError
from sustainable.core.journal import RowJournal
from sustainable.core.progress import progress
from sustainable.energy.choice import Chosen
from sustainable.energy.meter import Meter
from sustainable.measuring import blocks
from sustainable.measuring.blocks import IDLE, WindowParameters
from sustainable.measuring.process import frequency_mhz, neighbours_load, now, temperature_c
from sustainable.measuring.rows import energy_columns

BASELINE, TWIN = "baseline", "baseline_twin"
DISTINCT_CALLS = 256
"""Calls with different inputs that a window repeats."""
LATENCY_S = 0.5
FEWEST_LATENCIES, MOST_LATENCIES = 20, 2000

Calls = Callable[[int], None]
"""Run a number of calls, one example batch after the other."""


@dataclass(frozen=True)
class Measured:
    """The rows of all windows, and what was fixed before measuring."""

    rows: list[dict[str, Any]]
    meter_overhead: float  # cost of an empty metering (95th percentile), as a share of a window
    latency_ms: Mapping[str, Mapping[str, float]]  # p50, p95 and p99 of a call, by configuration


def measure(
    deployments: Mapping[str, DeployedModel],
    examples: Examples,
    parameters: WindowParameters,
    chosen: Chosen,
    journal: RowJournal,
) -> Measured:
    """Measure every deployment once per block, and append one row per window to `journal`.

    The first deployment is the baseline. A journal with rows is continued at the next window, with its own
    number of calls.
    """
    sessions = {key: deployment.session for key, deployment in deployments.items()}
    sessions[TWIN] = sessions[BASELINE]
    calls = {key: make_calls(session, examples) for key, session in sessions.items()}
    blocks.throw_away(chosen.make)
    print("warming up", flush=True)
    blocks.warm_up({key: _one_call(run) for key, run in calls.items()}, parameters)
    frozen = _measure_windows(calls, parameters, chosen, journal)
    rows = [_labels(deployments, row["configuration"]) | row for row in blocks.last_tries(journal.rows[1:])]
    latencies = {key: _latency(session, examples) for key, session in sessions.items() if key != TWIN}
    return Measured(rows, frozen["meter_overhead_p95"], latencies)


def _measure_windows(
    calls: Mapping[str, Calls], parameters: WindowParameters, chosen: Chosen, journal: RowJournal
) -> Mapping[str, Any]:
    """Append the windows that `journal` lacks; return its first entry, which was fixed before measuring."""
    if not journal.rows:
        journal.append(_freeze(calls, parameters, chosen.make))
    frozen, done = journal.rows[0], len(journal.rows) - 1
    schedule = blocks.design([*calls, IDLE], parameters.blocks, parameters.seed)
    if done:
        print(f"resuming after {done} windows", flush=True)
    left = blocks.to_measure(schedule, journal.rows, parameters.repeats)
    for window in progress(left, "measuring", len(schedule), done, "windows"):
        count = frozen["calls"].get(window.item, 0)
        row = _window(window.item, calls.get(window.item), count, parameters, chosen)
        journal.append(
            {"configuration": window.item, "block": window.block, "position": window.position, **row}
        )
    return frozen


def make_calls(session: Session, examples: Examples) -> Calls:
    """Return what runs calls of a session, on inputs that are prepared now."""
    prepared = [session.prepare(batch) for batch in examples.batches[:DISTINCT_CALLS]]
    run = session.run

    def calls(count: int) -> None:
        for given in islice(cycle(prepared), count):
            run(given)

    return calls


def _one_call(calls: Calls) -> Callable[[], None]:
    return lambda: calls(1)


def _freeze(
    calls: Mapping[str, Calls], parameters: WindowParameters, make_meter: Callable[[], Meter]
) -> dict[str, Any]:
    """Calibrate the number of calls of a window, and measure the meter's overhead; both are kept.

    Raises `UserError` if the overhead is too high.
    """
    counts = {}
    for key, run in calls.items():
        call_s = blocks.seconds_per_pass(_one_call(run), parameters.window_s / 2)
        counts[key] = blocks.loops_for(parameters.window_s, call_s)
    # the limit is judged here: the shared error names a key of params.yaml, which is not used
    overhead = blocks.meter_overhead(replace(parameters, overhead_limit=1 - 1e-9), make_meter, "windows")
    if overhead > parameters.overhead_limit:
        raise UserError(
            f"reading the energy meter takes {100 * overhead:.1f} % of a window (limit "
            f"{100 * parameters.overhead_limit:g} %); use --thorough, or --no-energy for CPU time only"
        )
    return {"calls": counts, "meter_overhead_p95": overhead}


def _window(
    name: str, calls: Calls | None, count: int, parameters: WindowParameters, chosen: Chosen
) -> dict[str, Any]:
    """Meter one window of `count` calls; sleep in the idle window."""
    meter = chosen.make()
    before = now()
    meter.start()
    if calls is None:
        time.sleep(parameters.window_s)
    else:
        calls(count)
    reading = meter.stop()
    others = neighbours_load(before, now())
    costs = energy_columns(reading, max(1, count))
    return {
        "loops": count,
        "threads": parameters.threads,
        "neighbours_load": others,
        "frequency_mhz": frequency_mhz(),
        "temperature_c": temperature_c(),
        "flags": blocks.flags_of(name, reading.cpu_time_s / reading.wall_time_s, others, parameters),
        "meter_reason": chosen.reason,
        **costs,
        "latency_ms": 1000 * reading.wall_time_s / count if count else None,
    }


def _labels(deployments: Mapping[str, DeployedModel], configuration: str) -> dict[str, Any]:
    """Return the columns that are the same in all rows of a configuration."""
    deployment = deployments.get(BASELINE if configuration == TWIN else configuration)
    if deployment is None:
        return dict.fromkeys(("model", "runtime", "precision", "weights_sha256", "file_sha256", "size_bytes"))
    model = deployment.model
    return {
        "model": model.name,
        "runtime": deployment.target.runtime,
        "precision": deployment.target.precision,
        "weights_sha256": model.weights_sha256,
        "file_sha256": model.sha256,
        "size_bytes": deployment.session.size_bytes,
    }


def _latency(session: Session, examples: Examples) -> dict[str, float]:
    """Return p50, p95 and p99 of the wall time of a call in ms; no meter runs meanwhile."""
    prepared = [session.prepare(batch) for batch in examples.batches[:DISTINCT_CALLS]]
    times: list[float] = []
    end = time.perf_counter() + LATENCY_S
    for given in islice(cycle(prepared), MOST_LATENCIES):
        if len(times) >= FEWEST_LATENCIES and time.perf_counter() > end:
            break
        start = time.perf_counter()
        session.run(given)
        times.append(1000 * (time.perf_counter() - start))
    return {f"p{q}": float(np.percentile(times, q)) for q in (50, 95, 99)}
