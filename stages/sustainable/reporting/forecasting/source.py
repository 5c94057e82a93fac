"""What the source published, in its own units, and how far our run of its benchmark is from that."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from typing_extensions import TypedDict

from sustainable.core import documents
from sustainable.core.documents import problem_in
from sustainable.core.errors import UserError
from sustainable.core.reading import damaged
from sustainable.reporting.forecasting.results import Results
from sustainable.reporting.measured_rows import BASELINE
from sustainable.reporting.names import forecaster_name
from sustainable.reporting.published import read_source
from sustainable.statistics import Summary

NEEDED = (
    "units", "configurations", "later_version", "claims", "best_action", "best_reward", "test_accuracy",
    "test_windows", "data",
)  # fmt: skip
UNITS = {
    "accuracy": "share",
    "energy": "Wh per pass",
    "co2": "kg per pass",
    "latency": "ms per forecast",
    "parameters": "millions",
    "flops": "G per forecast",
}
"""The unit of each published quantity; the source prints its energy as mWh, see "
"`PublishedNumbers.mislabelled`."""
JOULES_PER_WH = 3600.0


class SourceTable(TypedDict):
    """What tells the table of the source from another."""

    days: int
    ranges: dict[str, float]  # largest minus smallest value, by feature


@dataclass(frozen=True)
class PublishedLine:
    """The published figures of one configuration, per forecast."""

    label: str
    accuracy: Summary
    latency_ms: Summary
    energy_uwh: Summary
    co2_ug: Summary
    intensity: float  # kg CO2 per kWh that energy and CO2 imply
    intensity_as_printed: float  # the same, if the energy were in mWh as its label says
    power_w: float  # energy of a pass over the time of a pass


@dataclass(frozen=True)
class Gap:
    """How far our run of a configuration is from the published one: factors, ours over theirs."""

    label: str
    latency: float
    power: float
    energy: float  # latency x power
    published_w: float
    own_w: float


@dataclass(frozen=True)
class PublishedNumbers:
    """The source's numbers."""

    lines: Mapping[str, PublishedLine]
    later: Mapping[str, Mapping[str, float]]  # the later version's table, by searcher
    best_reward: float
    best_action: int

    @property
    def mislabelled(self) -> float:
        """The factor between the printed unit of energy and the computed one."""
        line = self.lines[BASELINE]
        return line.intensity_as_printed / line.intensity

    def claimed(self, key: str, quantity: str) -> float:
        """Return the published ratio of a configuration to the baseline: `energy_uwh` or `latency_ms`."""
        own, base = (getattr(self.lines[name], quantity).mean for name in (key, BASELINE))
        return float(own / base)


def read_published(path: Path) -> dict[str, Any]:
    """Read the numbers of study A's source; see `read_source`.

    Raises `UserError` for a quantity without the unit that `UNITS` has for it.
    """
    content = read_source(path, "study_a", NEEDED)
    if problem := problem_in(content, documents.PublishedNumbers):
        raise damaged(path, f"study_a.{problem}")
    if problem := problem_in(content["data"], SourceTable):
        raise damaged(path, f"study_a.data.{problem}")
    for entry in content["configurations"].values():
        for name in entry:
            unit = content["units"].get(name)
            if unit is None or unit != UNITS.get(name):
                raise UserError(
                    f"{path}: study_a.units.{name}: a published number needs its unit, "
                    f"{UNITS.get(name, 'one that is known')!r} (found {unit!r})"
                )
    return content


def published_numbers(published: Mapping[str, Any]) -> PublishedNumbers:
    """Convert the content of paper/published.yaml to figures per forecast."""
    windows = int(published["test_windows"])
    lines = {name: _line(name, entry, windows) for name, entry in published["configurations"].items()}
    rest = float(published["best_reward"]), int(published["best_action"])
    return PublishedNumbers(lines, published["later_version"], *rest)


def _line(key: str, entry: Mapping[str, Any], windows: int) -> PublishedLine:
    energy, co2, latency = (entry[name][0] for name in ("energy", "co2", "latency"))
    return PublishedLine(
        label=forecaster_name(key),
        accuracy=_summary(entry["accuracy"], 1.0),
        latency_ms=_summary(entry["latency"], 1.0),
        energy_uwh=_summary(entry["energy"], 1e6 / windows),
        co2_ug=_summary(entry["co2"], 1e9 / windows),
        intensity=co2 / (energy / 1e3),
        intensity_as_printed=co2 / (energy / 1e6),
        power_w=energy * JOULES_PER_WH / (latency / 1e3 * windows),
    )


def _summary(pair: tuple[float, float], factor: float) -> Summary:
    """Read a mean and a standard deviation; the source does not give the number of values."""
    return Summary(pair[0] * factor, pair[1] * factor, 0)


def gaps(source: PublishedNumbers, results: Results) -> dict[str, Gap]:
    """Compare the configurations that both have; empty for those whose energy is missing."""
    found = {}
    for key, line in source.lines.items():
        latency, energy = (results.lines[key].outcomes[name].mean for name in ("latency_ms", "energy_mwh"))
        published, printed = line.latency_ms.mean, line.energy_uwh.mean
        if latency is None or energy is None or not published or not printed:
            continue
        own_w = energy * JOULES_PER_WH / latency  # mWh per forecast over ms per forecast
        ratio = latency / published, own_w / line.power_w, 1e3 * energy / printed
        found[key] = Gap(line.label, *ratio, line.power_w, own_w)
    return found


def reward_groups(actions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first action of each group of actions with equal rewards, its `label`, and their `count`."""
    quantized, pruned = actions["quantization"], actions["pruning"] > 0
    groups = {"none": ~quantized & ~pruned, "pruned": ~quantized & pruned, "quantized": quantized}
    return [
        {"label": label, "count": int(mask.sum()), **actions[mask].iloc[0]} for label, mask in groups.items()
    ]


def refuse_other_data(described: Mapping[str, Any], source: SourceTable) -> None:
    """Raise `UserError` if the published protocol ran on another table than the source's.

    The pages print its numbers in sentences about the source. `described`: preprocess.json.
    """
    ranges = {name: float(scale["range"]) for name, scale in described.get("scale", {}).items()}
    same = described["rows"] == source["days"] and ranges.keys() == source["ranges"].keys()
    if not (same and all(math.isclose(ranges[name], value) for name, value in source["ranges"].items())):
        raise UserError(
            "params.yaml: protocols.published.csv: not the table of the source, of which the pages speak; "
            "restore it, and use `make assess-data` for a table of your own"
        )
