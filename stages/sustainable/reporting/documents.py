"""What is rendered into the project's own documents: headline and figure, verdicts, and the stages' times.

A block stands between two markers. All blocks are renewed when the shipped run is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, replacing, write_text
from sustainable.reporting.headline import PICTURE, headline_figure, headline_markdown
from sustainable.reporting.pages import Report
from sustainable.reporting.style import NO_TRACES

README, EXPERIMENTS = "README.md", "paper/EXPERIMENTS.md"
BLOCKS = {"headline": README, "verdicts": EXPERIMENTS, "stages": EXPERIMENTS}
"""The document of each rendered block."""


def write_documents(root: Path, reference: Path, report: Report) -> None:
    """Renew the blocks and `paper/headline.png` in the project `root`, whose shipped run is `reference`."""
    found = report.found
    if found.stamp:
        raise UserError(f"headline: these rows are no evidence ({found.stamp}); use a run of profile paper")
    claims = [asdict(claim) for claim in found.judged]
    for name, block in rendered_blocks(claims, read_json(reference / "effort.json")).items():
        document = root / BLOCKS[name]
        write_text(document, with_block(name, document.read_text(encoding="utf-8"), block))
    figure = headline_figure(found.forecasting.tasks, found.policies)
    with replacing(root / PICTURE) as temporary:
        figure.savefig(temporary, format="png", metadata=NO_TRACES["png"])
    plt.close(figure)


def rendered_blocks(
    claims: Sequence[Mapping[str, Any]], efforts: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Every block, from the claims of claims.json and the stages of effort.json."""
    return {
        "headline": headline_markdown(claims),
        "verdicts": verdicts_markdown(claims),
        "stages": stages_markdown(efforts),
    }


def verdicts_markdown(claims: Sequence[Mapping[str, Any]]) -> str:
    """The claims as a table: what each says, its verdict with those on its parts, and on which hosts."""
    lines = ["| claim | verdict | hosts |", "|---|---|---|"]
    for claim in claims:
        parts = "; ".join(f"{name}: {verdict}" for name, verdict in sorted(claim["parts"].items()))
        verdict = f"**{claim['verdict']}**" + (f" ({parts})" if parts else "")
        cells = (f"{claim['id']}: {claim['statement']}", verdict, _hosts(claim))
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _hosts(claim: Mapping[str, Any]) -> str:
    others = [f"{name} {host['verdict']}" for name, host in claim["hosts"].items()]
    return "; ".join([f"this run {claim['this_run']}", *others]) if others else claim["scope"]


def stages_markdown(efforts: Sequence[Mapping[str, Any]]) -> str:
    """The minutes and the largest memory of every stage, with the minutes of its parts."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for effort in efforts:
        stages.setdefault(effort["stage"].partition("@")[0], []).append(effort)
    lines = ["| stage | minutes | of which | MiB |", "|---|---|---|---|"]
    for name, parts in stages.items():
        named = [(part["stage"].partition("@")[2], _minutes([part])) for part in parts]
        of_which = ", ".join(f"{part} {minutes}" for part, minutes in named if part)
        memory = max(part["memory_mib"] for part in parts)
        lines.append(f"| `{name}` | {_minutes(parts)} | {of_which} | {memory:,.0f} |")
    return "\n".join([*lines, f"| all | {_minutes(efforts)} | | |"])


def _minutes(efforts: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(effort['wall_s'] for effort in efforts) / 60:.1f}"


def rendered_block(name: str, text: str) -> str:
    """The rendered block in the `text` of its document; raises `UserError` if it has no markers."""
    begin, end = _markers(name)
    parts = text.split(begin)
    if len(parts) != 2 or parts[1].count(end) != 1:
        raise UserError(f"{BLOCKS[name]}: needs {begin} and then {end}, once each; restore them from git")
    return parts[1].split(end)[0].strip()


def with_block(name: str, text: str, block: str) -> str:
    """The `text` of a document with a new block."""
    rendered_block(name, text)
    begin, end = _markers(name)
    before, after = text.split(begin)[0], text.split(end)[1]
    return f"{before}{begin}\n{block}\n{end}{after}"


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
