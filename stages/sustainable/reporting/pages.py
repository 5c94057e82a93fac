"""The values that the templates print, and the pages that come of them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sustainable.core.files import write_text
from sustainable.core.parameters import read_section
from sustainable.reporting.forecasting.audited import (
    Audited,
    repair_lines,
    control_lines,
    pay_back_audited,
    proxy_agreement,
    summarise_audited,
)
from sustainable.reporting.claims import judge_claims
from sustainable.reporting.declaration import Analysis, Claim
from sustainable.reporting.forecasting.audited_claims import CHOICE
from sustainable.reporting.evidence import minutes_of, rows_sha256
from sustainable.reporting.policies.summary import (
    POLICY_TABLES,
    Policies,
    policies_metrics,
    policies_values,
    summarise_policies,
)
from sustainable.reporting.policies.run import PoliciesRun, read_policies_run, read_published_policies
from sustainable.reporting.forecasting.results import (
    BASELINE,
    POWER,
    ReportParameters,
    Results,
    accuracy_difference,
    pay_back,
    stamp_of,
    summarise_rows,
)
from sustainable.reporting.forecasting.run import WAYS, Run, read_published, read_run
from sustainable.reporting.forecasting.searching import NEAR, Searching, summarise_searches
from sustainable.reporting.templates import render_html, render_latex
from sustainable.statistics import Estimate, Summary

TABLES = (
    "results", "blocks", "accuracy", "latency", "models", "claims",
    "audited", "quality", "searchers", "repairs", "proxies", "controls", *POLICY_TABLES,
)  # fmt: skip
OWN_LABELS = {
    "published_choice": "Published choice",
    "baseline_twin": "Baseline again (A/A twin)",
    "onnxruntime": "ONNX Runtime, uncompressed",
    "openvino": "OpenVINO, uncompressed",
    "ppo_stepwise": "Step-by-step PPO's choice",
    "oracle": "Best of all candidates",
    "logistic_last_day": "Logistic regression",
}


@dataclass(frozen=True)
class Findings:
    """All that is computed from a run, before it is printed. `claims` are study A's, `policy_claims` study
    B's, and `policy_findings` its takeaways."""

    results: Mapping[str, Results]
    audited: Audited
    searching: Searching
    agreement: Mapping[str, Mapping[int, Estimate]]
    claims: Sequence[Claim]
    policies: Policies
    policy_claims: Sequence[Claim]
    policy_findings: Sequence[Claim]

    @property
    def judged(self) -> list[Claim]:
        """Every claim and finding of both studies."""
        return [*self.claims, *self.policy_claims, *self.policy_findings]

    @property
    def stamp(self) -> str:
        """What goes across every page; empty when the rows are evidence."""
        return stamp_of([*self.results.values(), self.audited, self.policies])


@dataclass(frozen=True)
class Report:
    """A run, what was found in it, and the `values` that every template prints."""

    run: Run
    policies_run: PoliciesRun
    published_policies: Mapping[str, Any]
    found: Findings
    labels: Mapping[str, str]
    values: Mapping[str, Any]


def report_on(data: Path, published: Path, params: Path) -> Report:
    """Read the run in the folder `data`, judge it, and gather what is printed of it."""
    parameters = read_section(params, "report", ReportParameters)
    source, second_source = read_published(published), read_published_policies(published)
    run, policies_run = read_run(data), read_policies_run(data)
    found = find(run, policies_run, source, second_source, parameters)
    labels = label_configurations([*found.results["published"].lines, *found.audited.lines], source)
    values = values_of(run, policies_run, found, source, second_source, labels, parameters)
    values |= {"rows_sha256": rows_sha256(data), "minutes": minutes_of(run, policies_run)}
    return Report(run, policies_run, second_source, found, labels, values)


def find(
    run: Run,
    policies_run: PoliciesRun,
    published: Mapping[str, Any],
    published_policies: Mapping[str, Any],
    parameters: ReportParameters,
) -> Findings:
    """Compute everything from the rows."""
    results = {way: summarise_rows(run.rows[way], run.hits[way], parameters) for way in WAYS}
    peak = run.conditions["audited"]["frozen"]["roofline"]["flops_per_s"]
    audited = summarise_audited(run.rows["audited"], run.hits["audited"], peak, parameters)
    costs = run.metrics["audited"]["searchers_cost"]
    searching = summarise_searches(run.improvements, run.choices, costs, parameters)
    agreement = proxy_agreement(run.candidates, audited.batch_sizes, parameters)
    policies = summarise_policies(policies_run, parameters)
    action = int(published["best_action"])
    analysis = Analysis(
        results, run.actions, run.best, audited, searching, agreement, policies, action, parameters
    )
    judged = judge_claims(analysis, published["claims"] | published_policies["claims"])
    study_a, study_b, takeaways = (
        [claim for claim in judged if claim.id[0] in letters] for letters in ("AC", "B", "F")
    )
    return Findings(results, audited, searching, agreement, study_a, policies, study_b, takeaways)


def label_configurations(keys: Sequence[str], published: Mapping[str, Any]) -> dict[str, str]:
    """The published names, and ours for what was added."""
    known = {key: said["label"] for key, said in published["configurations"].items()} | OWN_LABELS
    return {key: known.get(key, key.replace("_", " ")) for key in keys}


def values_of(
    run: Run,
    policies_run: PoliciesRun,
    found: Findings,
    published: Mapping[str, Any],
    published_policies: Mapping[str, Any],
    labels: Mapping[str, str],
    parameters: ReportParameters,
) -> dict[str, Any]:
    """What every template needs."""
    results = found.results
    baseline = run.metrics["published"]["baseline"]
    return {
        "results": results["published"],
        "remeasured": results["remeasured"],
        "claims": found.claims,
        "labels": labels,
        "published": published["configurations"],
        "published_accuracy": published["test_accuracy"],
        "published_windows": published["test_windows"],
        "energy": {
            way: {key: micro(line.outcomes["energy_mwh"]) for key, line in one.lines.items()}
            for way, one in results.items()
        },
        "stamp": found.stamp,
        "baseline": next(iter(baseline["seeds"].values())),
        "search": {"best": run.best, "cost": run.metrics["published"]["search_cost"]},
        "training": {"cost": run.metrics["published"]["training_cost"]},
        "parameters": parameters,
        "power": POWER,
        "rows_of_data": run.metrics["published"]["preprocess"]["rows"],
        "conditions": run.conditions["remeasured"],
        **_compared(run, results["remeasured"], parameters),
        **_audited_values(run, found, parameters),
        **policies_values(
            policies_run, found.policies, found.policy_claims, found.policy_findings, published_policies
        ),
    }


def _compared(run: Run, results: Results, parameters: ReportParameters) -> dict[str, Any]:
    """Accuracy against the baseline and persistence, and when the published search has paid for itself."""
    hits = {key: line.hits for key, line in results.lines.items()} | dict(results.frugal)
    references = ("baseline", "persistence")
    costs = (run.metrics["published"]["search_cost"], run.metrics["published"]["training_cost"])
    rows = run.rows["remeasured"]
    return {
        "accuracy": {
            key: {name: accuracy_difference(own, hits[name], parameters) for name in references}
            for key, own in hits.items()
        },
        "hits": {key: (int(own.sum()), len(own)) for key, own in hits.items()},
        "invested_cpu_s": sum(cost["cpu_time_s"] for cost in costs),
        "break_even": {
            key: {
                "CPU time": pay_back(rows, key, costs, "cpu_time_ms", parameters),
                "energy": pay_back(rows, key, costs, "energy_mwh", parameters),
            }
            for key in parameters.comparisons
        },
    }


def _audited_values(run: Run, found: Findings, parameters: ReportParameters) -> dict[str, Any]:
    sizes, metrics = found.audited.batch_sizes, run.metrics["audited"]
    invested = {
        "training": metrics["training_cost"]["cpu_time_s"],
        "pruning and fine-tuning": metrics["shrinking_cost"]["cpu_time_s"],
        "evaluating candidates": metrics["candidates_cost"]["cpu_time_s"],
        "the searcher itself": metrics["searchers_cost"][CHOICE]["cpu_time_s"],
    }
    models = run.rows["audited"]
    return {
        "audited": found.audited,
        "searching": found.searching,
        "near": NEAR,
        "agreement": found.agreement,
        "repairs": repair_lines(run.repairs, sizes, parameters.confidence),
        "controls": control_lines(run.narrow, parameters.confidence),
        "quality": metrics["baseline"],
        "split": metrics["preprocess"],
        "leaks": run.metrics["published"]["preprocess"]["shared_rows"],
        "candidates": len(run.candidates),
        "refused": run.refused,
        "roofline": run.conditions["audited"]["frozen"]["roofline"],
        "audited_conditions": run.conditions["audited"],
        "invested": invested,
        "audited_pay_back": [
            {
                "against": reference,
                "size": size,
                "even": pay_back_audited(models, CHOICE, reference, size, sum(invested.values()), parameters),
            }
            for size in sizes
            for reference in dict.fromkeys((BASELINE, found.audited.quickest[size]))
        ],
    }


def micro(energy_mwh: Summary) -> Summary:
    """The same energy in micro-watt-hours, which print with fewer zeros."""
    mean, std = (None if value is None else 1000 * value for value in (energy_mwh.mean, energy_mwh.std))
    return replace(energy_mwh, mean=mean, std=std)


def write_pages(templates: Path, out: Path, values: Mapping[str, Any], pictures: Sequence[str]) -> None:
    """Every table, the paper's source and the page; `pictures` are the figures in `out`/figures."""
    shown = {
        name: base64.b64encode((out / "figures" / f"{name}.png").read_bytes()).decode() for name in pictures
    }
    everything = {**values, "pictures": shown}
    for name, text in latex_pages(templates, values).items():
        write_text(out / name, text)
    write_text(out / "report.html", render_html(templates, "report.html.j2", everything))


def latex_pages(templates: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """The paper's source and its tables, by path in the folder `paper`."""
    names = {f"tables/{name}.tex": f"{name}_table.tex.j2" for name in TABLES} | {"paper.tex": "paper.tex.j2"}
    return {path: render_latex(templates, name, values) for path, name in names.items()}


def metrics_of(found: Findings) -> dict[str, Any]:
    """Verdicts and the main numbers by configuration, for `dvc metrics`."""
    return {
        "verdicts": {claim.id: claim.verdict for claim in found.judged},
        **{way: _metrics(results) for way, results in found.results.items()},
        "audited": {
            key: {"accuracy": line.accuracy}
            | {
                f"cpu_time_ratio_batch_{size}": timing.ratio.estimate if timing.ratio else None
                for size, timing in line.timings.items()
            }
            for key, line in found.audited.lines.items()
        },
        "policies": policies_metrics(found.policies),
    }


def _metrics(results: Results) -> dict[str, Any]:
    return {
        key: {
            "accuracy": line.accuracy,
            **{name: summary.mean for name, summary in line.outcomes.items()},
            **{
                f"{name}_ratio": compared.ratio.estimate if compared.ratio else None
                for name, compared in line.compared.items()
            },
        }
        for key, line in results.lines.items()
    }
