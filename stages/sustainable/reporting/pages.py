"""The report: both studies computed from their rows, and the pages that print them."""

import base64
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sustainable.core.errors import UserError
from sustainable.core.files import existing, one_line, write_text
from sustainable.core.parameters import read_section, read_tasks
from sustainable.reporting.claims import judge_claims
from sustainable.forecasting.search.objective import DeploymentReward
from sustainable.reporting.declaration import Analysis, Claim
from sustainable.reporting.evidence import minutes_of, rows_sha256
from sustainable.reporting.forecasting.audited import peak_rates
from sustainable.reporting.forecasting.ceilings import same_host
from sustainable.reporting.forecasting.hosts import Folders, judge_tables
from sustainable.reporting.forecasting.run import Run, read_run
from sustainable.reporting.forecasting.source import read_published
from sustainable.reporting.forecasting import summary as study_a
from sustainable.reporting.forecasting.tables import forecasting_tables
from sustainable.reporting.forecasting.transfer import candidates_on
from sustainable.reporting.forecasting.transfer_tables import transfer_tables
from sustainable.reporting.measured_rows import stamp_of
from sustainable.reporting.host_folders import read_hosts
from sustainable.reporting.hosts_tables import hosts_tables
from sustainable.reporting.over_hosts import judge_over_hosts
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.published import read_citation
from sustainable.policies.published.rule import NotebookRule
from sustainable.reporting.policies.hosts import judge_hosts
from sustainable.reporting.policies.notebook_tables import notebook_tables
from sustainable.reporting.policies.run import PoliciesRun, read_policies_run
from sustainable.reporting.policies.source import read_published_policies
from sustainable.reporting.policies.source_tables import source_tables
from sustainable.reporting.policies import summary as study_b
from sustainable.reporting.policies.tables import policies_tables
from sustainable.reporting.tables import ReportTable, short_claims_table
from sustainable.reporting.templates import Latex, render_html, render_latex
from sustainable.reporting.webpage.entries import claim_groups
from sustainable.reporting.webpage.values import webpage_values
from sustainable.reporting.wording import story_values


ASSETS = (
    "webpage/page.css",
    "webpage/page.js",
    "vega/vega.min.js",
    "vega/vega-lite.min.js",
    "vega/LICENSES.txt",
)
"""Files beside the templates that the HTML report embeds as they are."""
SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)
"""A comment for which a browser's tools would request a file."""
TURNED = (
    "blocks", "audited_latex", "repairs", "searchers", "layerwise", "policies", "policies_savings",
    "policies_split", "policies_survival", "policies_libraries", "policies_memory", "policies_scores",
    "policies_hosts", "policies_audit", "notebook_tests", "transfer", "targets_hosts", "ceilings_hosts",
)  # fmt: skip
"""Tables that are too wide for an upright page of the paper."""
VERDICTS_CAPTION = (
    "Study A: what its source and its later version claim (A), and what this artifact claims (C), with the "
    "verdict that a rule computes from the rows, and the verdicts on the parts of a claim. Rules and reasons "
    "are in the appendix."
)
POLICY_VERDICTS_CAPTION = (
    "Study B: what its source claims (B1 to B4 in its sentences, B5 counted from its table, B6 of the course "
    "notebook about it), with the verdict that a rule computes from the rows, and the verdicts on the parts "
    "of a claim. Rules and reasons are in the appendix."
)


@dataclass(frozen=True)
class Findings:
    """Everything that is computed from a run, before it is printed."""

    forecasting: study_a.Forecasting
    policies: study_b.Policies
    judged: Sequence[Claim]  # every claim and finding of both studies

    def claims(self, letters: str) -> list[Claim]:
        """The claims whose ids begin with one of `letters`."""
        return [claim for claim in self.judged if claim.id[0] in letters]

    @property
    def stamp(self) -> str:
        """What must be written across every page; empty if the rows are evidence."""
        audited = [task.audited for task in self.forecasting.tasks.values()]
        return stamp_of([*self.forecasting.results.values(), *audited, self.policies])


@dataclass(frozen=True)
class Report:
    """A run, what was computed from it, and what the templates print."""

    run: Run
    policies_run: PoliciesRun
    published_policies: Mapping[str, Any]
    found: Findings
    values: Mapping[str, Any]  # by the names that the templates use; `tables` among them


@contextmanager
def summarised(data: Path) -> Iterator[None]:
    """Turn what goes wrong with rows that pass every schema into `UserError`, which names the place in the
    code: such rows were not made together, or the code is at fault."""
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = ([frame for frame in frames if "sustainable" in Path(frame.filename).parts] or frames)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        raise UserError(
            f"{data}: the files cannot be summarised together ({type(error).__name__}: "
            f"{one_line(error)[:200]}, in {where}); restore them from git, or run `dvc repro`; if they are "
            "untouched, this is a fault of the code"
        ) from error


def report_on(data: Path, published: Path, params: Path, hosts: Path) -> Report:
    """Read the run in the folder `data`, judge it, and collect what is printed.

    `hosts`: folder of rows from other hosts, see `read_hosts`. CITATION.cff stands above the folder of
    `published`.
    """
    with summarised(data):
        return _report_on(data, published, params, hosts)


def _report_on(data: Path, published: Path, params: Path, hosts: Path) -> Report:
    parameters = read_section(params, "report", ReportParameters)
    sources = read_published(published), read_published_policies(published)
    run, policies_run = read_run(data, read_tasks(params)), read_policies_run(data)
    analysis, study = _analyse(run, policies_run, sources, parameters)
    statements = sources[0]["claims"] | sources[1]["claims"]
    folders = read_hosts(hosts)
    others = judge_hosts(folders, policies_run, analysis, statements)
    conditions = _conditions(run, policies_run)
    judged = judge_claims(analysis, statements)
    tables = judge_tables(Folders(data, hosts), analysis, statements)
    windows = {host.name: host.twice for host in others}
    by_host = {own.name: windows.get(own.name, {}) | tables.get(own.name, {}) for own in folders}
    over_hosts = judge_over_hosts(judged, by_host, conditions)
    found = Findings(study, analysis.policies, over_hosts)
    forecaster = _forecaster_tables(run, found, sources[0], parameters)
    forecaster += _tables_by_host(run, study, params, hosts)
    agents = _agents_tables(found, sources[1], parameters)
    agents += source_tables(sources[1], policies_run.table)
    agents += hosts_tables(found.judged, folders, others, conditions)
    agents += notebook_tables(found.policies.notebook, NotebookRule(**sources[1]["notebook"]), parameters)
    values = {
        **study_a.forecasting_values(run, study, sources[0], parameters),
        **study_b.policies_values(policies_run, found.policies),
        **webpage_values(run, study, found.judged, params, parameters),
        **story_values(study, found.policies, sources[1], parameters.confidence),
        **_judged_values(found, forecaster, agents),
        "citation": read_citation(published.parents[1] / "CITATION.cff"),
        "rows_sha256": rows_sha256(data),
        "minutes": minutes_of(run, policies_run),
    }
    return Report(run, policies_run, sources[1], found, values)


def _analyse(
    run: Run,
    policies_run: PoliciesRun,
    sources: tuple[Mapping[str, Any], Mapping[str, Any]],
    parameters: ReportParameters,
) -> tuple[Analysis, study_a.Forecasting]:
    """Compute both studies from their rows: what the judges read, and all of study A."""
    study = study_a.summarise_forecasting(run, sources[0], parameters)
    policies = study_b.summarise_policies(policies_run, NotebookRule(**sources[1]["notebook"]), parameters)
    computed = (study.results, run.actions, run.best, study.tasks)
    source = study.source, study.discovery, study.layerwise
    return Analysis(*computed, policies, *source, parameters), study


def _forecaster_tables(
    run: Run, found: Findings, published: Mapping[str, Any], parameters: ReportParameters
) -> list[ReportTable]:
    claims = found.claims("AC")
    return [
        short_claims_table("verdicts", VERDICTS_CAPTION, claims),
        *forecasting_tables(run, found.forecasting, claims, published, parameters),
    ]


def _agents_tables(
    found: Findings, published: Mapping[str, Any], parameters: ReportParameters
) -> list[ReportTable]:
    claims = found.claims("B")
    return [
        short_claims_table("policies_verdicts", POLICY_VERDICTS_CAPTION, claims),
        *policies_tables(found.policies, claims, found.claims("F"), published, parameters),
    ]


def _judged_values(
    found: Findings, forecaster: Sequence[ReportTable], agents: Sequence[ReportTable]
) -> dict[str, Any]:
    """Collect the claims, the tables of both studies, and the stamp across them."""
    tables = {
        table.name: replace(table, stamp=found.stamp, turned=table.name in TURNED)
        for table in (*forecaster, *agents)
    }
    return {
        "claims": {claim.id: claim for claim in found.judged},
        "a_claims": found.claims("AC"),
        "b_claims": found.claims("B"),
        "turned_a": [table.name for table in forecaster if table.name in TURNED],
        "turned_b": [table.name for table in agents if table.name in TURNED],
        "tables": tables,
        "stamp": found.stamp,
    }


def _tables_by_host(run: Run, study: study_a.Forecasting, params: Path, hosts: Path) -> list[ReportTable]:
    """The tables of candidates on several hosts, of the task that other hosts have timed."""
    reward = read_section(params, "compare_searchers", DeploymentReward, "reward")
    by_task = {name: candidates_on(hosts, name) for name in run.tasks}
    name = max(by_task, key=lambda task: len(by_task[task]))
    task = study.tasks[name]
    sizes = task.audited.batch_sizes
    own, ceilings = run.tasks[name], dict[str, float]()
    if same_host(own.candidates_host, own.conditions["host"]):
        ceilings = peak_rates(own.conditions["frozen"]["roofline"])
    return transfer_tables(task.title, own.candidates, by_task[name], reward, sizes, ceilings)


def _conditions(run: Run, policies_run: PoliciesRun) -> dict[str, Any]:
    """The conditions of every table of measurements, by name."""
    tasks = {name: task.conditions for name, task in run.tasks.items()}
    return {**run.conditions, **tasks, "policies": policies_run.conditions}


def write_pages(templates: Path, out: Path, values: Mapping[str, Any], pictures: Sequence[str]) -> None:
    """Write every table, the paper's source and the HTML report; `pictures` name the figures in `out`."""
    for name, text in latex_pages(templates, values).items():
        write_text(out / name, text)
    write_text(out / "report.html", html_page(templates, out / "figures", values, pictures))


def html_page(templates: Path, figures: Path, values: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """Render the HTML report; its tables and pictures are in the page itself."""
    shown = {name: base64.b64encode((figures / f"{name}.png").read_bytes()).decode() for name in pictures}
    tables = {name: table.on("html") for name, table in values["tables"].items() if table.page != "latex"}
    groups = claim_groups(values["judged"], list(tables), pictures)
    printed = {"tables": tables, "pictures": shown, "claim_groups": groups, "assets": read_assets(templates)}
    return render_html(templates, "report.html.j2", {**values, **printed})


def read_assets(templates: Path) -> dict[str, Markup]:
    """Read `ASSETS` by file name, for a page that requests nothing. Raises `UserError` if one is missing."""
    texts = {path: existing(templates / path).read_text(encoding="utf-8") for path in ASSETS}
    return {Path(path).name: Markup(SOURCE_MAP.sub("", text)) for path, text in texts.items()}


def latex_pages(templates: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """Render the paper's source and its tables, by path in the folder `paper`."""
    return {path: render_latex(templates, *source) for path, source in latex_sources(values).items()}


def latex_sources(values: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Name the template of every LaTeX page and the values that it prints, by path in the folder `paper`."""
    pages: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for table in values["tables"].values():
        if table.page != "html":
            shown = table.on("latex")
            printed = {"table": shown, "alignment": Latex(shown.alignment)}
            pages[f"tables/{table.name}.tex"] = ("table.tex.j2", printed)
    return pages | {"paper.tex": ("paper.tex.j2", values)}


def metrics_of(found: Findings) -> dict[str, Any]:
    """Collect verdicts and the main numbers by configuration, for `dvc metrics`."""
    return {
        "verdicts": {claim.id: claim.verdict for claim in found.judged},
        **study_a.forecasting_metrics(found.forecasting),
        "policies": study_b.policies_metrics(found.policies),
    }
