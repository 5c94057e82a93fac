"""Stage report: measured rows become claims, tables, figures, the paper and a page."""

import argparse
from dataclasses import asdict
from pathlib import Path

import sustainable.artifact.determinism  # noqa: F401  (first: equal rows give equal digits on every CPU)

from sustainable.artifact.effort import run_stage
from sustainable.artifact.files import write_json
from sustainable.artifact.parameters import read_section
from sustainable.reporting.audited_figures import draw_audited
from sustainable.reporting.figures import draw_published
from sustainable.reporting.latex import compile_paper
from sustainable.reporting.pages import find, label_configurations, metrics_of, values_of, write_pages
from sustainable.reporting.policies_figures import draw_policies
from sustainable.reporting.policies_run import read_policies_run, read_published_policies
from sustainable.reporting.results import ReportParameters
from sustainable.reporting.run import read_published, read_run


def main() -> None:
    arguments = parse_arguments()
    parameters = read_section(arguments.params, "report", ReportParameters)
    published = read_published(arguments.published)
    published_policies = read_published_policies(arguments.published)
    run, policies_run = read_run(arguments.data), read_policies_run(arguments.data)
    found = find(run, policies_run, published, published_policies, parameters)
    keys = dict.fromkeys([*found.results["published"].lines, *found.audited.lines])
    labels = label_configurations(list(keys), published)
    folder = arguments.out / "figures"
    pictures = draw_published(folder, run, found.results, labels, found.stamp)
    pictures += draw_audited(folder, found.audited, found.searching, run.candidates, labels, found.stamp)
    survival = published_policies["pruning_survival"]
    pictures += draw_policies(folder, policies_run, found.policies, survival, found.stamp)
    values = values_of(run, policies_run, found, published, published_policies, labels, parameters)
    write_pages(arguments.templates, arguments.out, values, pictures)
    write_json(arguments.claims, [asdict(claim) for claim in found.judged])
    write_json(arguments.summary, metrics_of(found))
    print(compile_paper(arguments.out, arguments.references))
    for claim in found.judged:
        print(f"{claim.id}: {claim.verdict}. {claim.reason}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "published", "templates", "references", "data", "out", "claims", "summary"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run_stage(main)
