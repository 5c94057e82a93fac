"""The tables of study B's teaching notebook."""

from collections.abc import Sequence
from functools import partial
from operator import methodcaller

from sustainable.policies.published.rule import FINDINGS, NotebookRule
from sustainable.reporting.formats import declared_percent, interval_text, share_text
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.policies.notebook import CONTROL, PUBLISHED, Notebook
from sustainable.reporting.tables import BLANK, Column, ReportTable, Row, rows_of

CHANGES = {
    "size": "size",
    "energy": "net energy",
    "gross": "energy with idle",
    "performance": "return",
    "policy_time": "policy time",
    "steps": "steps",
}
CHANGE_TEXT = partial(interval_text, digits=0, as_percent=True, sign=True)
REPAIRED = {
    PUBLISHED: "nothing: repaired only so far that it runs",
    CONTROL: "every model is a copy of the baseline",
    "real compression": "int8 kernels (PTDQ), and units that are removed",
    "real size": "bytes as stored, in place of counted parameters",
    "cleared history": "each test counts its own episodes",
    "real environment": "Hopper and a trained policy",
    "real meter": "this host's meter",
    "all repaired": "all of these repairs",
}


def notebook_tables(
    notebook: Notebook, rule: NotebookRule, parameters: ReportParameters
) -> Sequence[ReportTable]:
    """Declare what the rule says by arm, and the changes of every test."""
    return arms_table(notebook, rule, parameters), tests_table(notebook, parameters)


def arms_table(notebook: Notebook, rule: NotebookRule, parameters: ReportParameters) -> ReportTable:
    caption = (
        "The notebook's rule, by what was changed: for how many seeds its findings hold (size: smaller "
        "models do not save energy; drop: energy falls where the return falls by "
        f"{declared_percent(rule.return_drop)}; overhead: a compressed policy takes longer), and for how "
        f"many it prints CONFIRMED ({rule.findings} findings hold), with Wilson's "
        f"{declared_percent(parameters.confidence)} interval. For nothing: the first finding holds although "
        "no model has shrunk. Idle: tests without any net energy."
    )
    seeds = partial(Column, group="Seeds for which it holds")
    columns = (
        Column("Arm", of=lambda line: line.arm),
        Column("What is changed", of=lambda line: REPAIRED.get(line.arm, ""), width=0.2),
        Column("Seeds", of=lambda line: line.seeds),
        *(seeds(name, of=methodcaller("holding", name)) for name in FINDINGS),
        seeds("for nothing", of=lambda line: line.vacuous),
        Column("CONFIRMED", format=share_text, of=lambda line: line.validated or BLANK),
        Column("Idle", of=lambda line: f"{line.idle_above} of {line.tests}"),
        Column("Evidence", page="html", of=lambda line: notebook.evidence[line.arm]),
    )
    return ReportTable("notebook_arms", caption, columns, rows_of(notebook.arms.values(), columns))


def tests_table(notebook: Notebook, parameters: ReportParameters) -> ReportTable:
    caption = (
        "Change of each test of the notebook relative to its baseline, as it computes them: means over "
        f"seeds, with {declared_percent(parameters.confidence)} intervals (Student's t). The return is that "
        "of all episodes so far, unless the history is cleared. Net energy: without that of the idle host. "
        "Energies are estimates, unless a counter measured them."
    )
    columns = (
        Column("Arm"),
        Column("Test"),
        *(Column(header, format=CHANGE_TEXT) for header in CHANGES.values()),
    )
    rows: list[Row] = []
    for before, line in zip([None, *notebook.tests], notebook.tests, strict=False):
        arm = line.arm if before is None or line.arm != before.arm else BLANK
        values = [arm, line.test, *(line.changes[name] for name in CHANGES)]
        rows.append(Row(values, space=bool(arm and rows)))
    return ReportTable("notebook_tests", caption, columns, rows)
