"""Stage report: measured rows become claims, tables, figures, the paper and a page."""

import argparse
import base64
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import sustainable.artifact.determinism  # noqa: F401  (first: equal rows give equal digits on every CPU)

import pandas as pd
import yaml

from sustainable.artifact.errors import UserError, exit_on_error
from sustainable.artifact.files import read_json, read_rows, write_json, write_text
from sustainable.artifact.parameters import read_section
from sustainable.reporting.claims import Claim, Measured, judge
from sustainable.reporting.figures import draw_all
from sustainable.reporting.latex import compile_paper
from sustainable.reporting.results import (
    COLUMNS,
    ReportParameters,
    Results,
    accuracy_difference,
    pay_back,
    stamp_of,
    summarise_rows,
)
from sustainable.reporting.templates import render_html, render_latex
from sustainable.statistics import Summary

TABLES = ("results", "blocks", "accuracy", "latency", "models", "claims")
WAYS = ("published", "remeasured")
OWN_LABELS = {"published_choice": "Published choice", "baseline_twin": "Baseline again (A/A twin)"}
ACTION_COLUMNS = (
    "action", "name", "reward", "pruning", "quantization", "parameters", "weights_sha256", "proxy_parameters",
    "proxy_flops",
)  # fmt: skip


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "report", ReportParameters)
    published = read_published(arguments.published)
    rows = {way: read_rows(arguments.benchmarks / f"{way}.csv", COLUMNS) for way in WAYS}
    results = {way: summarise(arguments.benchmarks, way, rows[way], parameters) for way in WAYS}
    search = {
        "actions": read_rows(arguments.actions, ACTION_COLUMNS),
        "curve": read_rows(arguments.curve, ("step", "mean_reward")),
        "best": read_json(arguments.best),
        "cost": read_json(arguments.search_cost),
    }
    training = {
        "baseline": read_json(arguments.baseline),
        "history": read_rows(arguments.history, ("epoch", "train_loss", "validation_loss")),
        "cost": read_json(arguments.training_cost),
    }
    measured = Measured(results["published"], results["remeasured"], parameters.minimum_blocks)
    claims = judge(measured, search["actions"], search["best"], published)
    labels = label_configurations(results["published"], published)
    pictures = draw_all(arguments.out / "figures", rows, results, labels, search, training)
    values = {
        **describe(results, claims, labels, published),
        **compare(results["remeasured"], rows["remeasured"], search, training, parameters),
        "baseline": training["baseline"],
        "search": search,
        "training": training,
        "parameters": parameters,
        "rows_of_data": read_json(arguments.data)["rows"],
        "conditions": read_json(arguments.benchmarks / "remeasured.conditions.json"),
        "pictures": {name: as_base64(arguments.out / "figures" / f"{name}.png") for name in pictures},
    }
    write_pages(arguments.templates, arguments.out, values)
    write_json(arguments.claims, [asdict(claim) for claim in claims])
    verdicts = {claim.id: claim.verdict for claim in claims}
    write_json(arguments.summary, {"verdicts": verdicts} | {way: metrics(results[way]) for way in WAYS})
    print(compile_paper(arguments.out, arguments.references))
    for claim in claims:
        print(f"{claim.id}: {claim.verdict}. {claim.reason}")


def read_published(path: Path) -> dict[str, Any]:
    """The first source's numbers; raises `UserError` when the file is not what it should be."""
    try:
        study = yaml.safe_load(path.read_text(encoding="utf-8"))["study_a"]
        missing = {"configurations", "claims", "best_action", "test_accuracy", "test_windows"} - study.keys()
    except (OSError, yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read ({problem}); restore it from git") from None
    if missing:
        raise UserError(f"{path}: study_a.{min(missing)} is missing; restore the file from git")
    return dict(study)


def summarise(folder: Path, way: str, rows: pd.DataFrame, parameters: ReportParameters) -> Results:
    hits = read_rows(folder / f"{way}.hits.csv", ("first_day", *parameters.comparisons))
    return summarise_rows(rows, hits, parameters)


def label_configurations(results: Results, published: dict[str, Any]) -> dict[str, str]:
    """The published names, and ours for what was added."""
    known = {key: said["label"] for key, said in published["configurations"].items()}
    return {key: (known | OWN_LABELS).get(key, key.replace("_", " ")) for key in results.lines}


def describe(
    results: dict[str, Results], claims: list[Claim], labels: dict[str, str], published: dict[str, Any]
) -> dict[str, Any]:
    """What every template needs."""
    return {
        "results": results["published"],
        "remeasured": results["remeasured"],
        "claims": claims,
        "labels": labels,
        "published": published["configurations"],
        "published_accuracy": published["test_accuracy"],
        "published_windows": published["test_windows"],
        "energy": {
            way: {key: micro(line.outcomes["energy_mwh"]) for key, line in found.lines.items()}
            for way, found in results.items()
        },
        "stamp": stamp_of(results.values()),
    }


def compare(
    results: Results,
    rows: pd.DataFrame,
    search: dict[str, Any],
    training: dict[str, Any],
    parameters: ReportParameters,
) -> dict[str, Any]:
    """Accuracy against the baseline and persistence, and when the search has paid for itself."""
    hits = {key: line.hits for key, line in results.lines.items()} | dict(results.frugal)
    references = ("baseline", "persistence")
    costs = (search["cost"], training["cost"])
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


def micro(energy_mwh: Summary) -> Summary:
    """The same energy in micro-watt-hours, which print with fewer zeros."""
    mean, std = (None if value is None else 1000 * value for value in (energy_mwh.mean, energy_mwh.std))
    return replace(energy_mwh, mean=mean, std=std)


def write_pages(templates: Path, out: Path, values: dict[str, Any]) -> None:
    for name in TABLES:
        write_text(out / "tables" / f"{name}.tex", render_latex(templates, f"{name}_table.tex.j2", values))
    write_text(out / "paper.tex", render_latex(templates, "paper.tex.j2", values))
    write_text(out / "report.html", render_html(templates, "report.html.j2", values))


def metrics(results: Results) -> dict[str, Any]:
    """The main numbers by configuration, for `dvc metrics`."""
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


def as_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in (
        "params",
        "published",
        "templates",
        "references",
        "benchmarks",
        "data",
        "baseline",
        "history",
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("training-cost", "actions", "curve", "best", "search-cost", "out", "claims", "summary"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_error(main)
