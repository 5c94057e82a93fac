"""Stage report: judge the claims and render tables, figures, the paper and the HTML report from the rows."""

from dataclasses import asdict

import sustainable.core.determinism  # noqa: F401  (first: equal rows give equal digits on every CPU)

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json
from sustainable.reporting.claims import verdict_lines
from sustainable.reporting.forecasting.audited_figures import draw_audited
from sustainable.reporting.forecasting.figures import draw_published
from sustainable.reporting.forecasting.source_figures import draw_source
from sustainable.reporting.headline import draw_headline, headline_metrics
from sustainable.reporting.latex import compile_paper
from sustainable.reporting.pages import metrics_of, report_on, write_pages
from sustainable.reporting.policies.figures import draw_policies


def main() -> None:
    arguments = stage_arguments(
        __doc__, "params published templates references data hosts out claims summary headline"
    )
    report = report_on(arguments.data, arguments.published, arguments.params, arguments.hosts)
    found, folder = report.found, arguments.out / "figures"
    pictures = draw_published(folder, report.run, found.forecasting, found.stamp)
    pictures += draw_source(folder, report.run, found.forecasting, found.stamp)
    pictures += draw_audited(folder, found.forecasting, found.stamp)
    survival = report.published_policies["pruning_survival"]
    pictures += draw_policies(folder, report.policies_run, found.policies, survival, found.stamp)
    pictures += draw_headline(folder, found.forecasting.tasks, found.policies, found.stamp)
    write_pages(arguments.templates, arguments.out, report.values, pictures)
    claims = [asdict(claim) for claim in found.judged]
    write_json(arguments.claims, claims)
    write_json(arguments.summary, metrics_of(found))
    write_json(arguments.headline, headline_metrics(claims))
    print(compile_paper(arguments.out, arguments.references))
    print("\n".join(verdict_lines(found.judged)))


if __name__ == "__main__":
    run_stage(main)
