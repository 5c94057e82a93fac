"""What the page prints beside the values that it shares with the paper."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sustainable.reporting.answer import answer_of
from sustainable.reporting.declaration import Claim
from sustainable.reporting.forecasting.recommendation import choices_of, front_of
from sustainable.reporting.forecasting.run import Run
from sustainable.reporting.forecasting.summary import Forecasting
from sustainable.reporting.headline import VERDICTS
from sustainable.reporting.parameters import ReportParameters, timing_rounds
from sustainable.reporting.webpage.interactive import interactive_data


def webpage_values(
    run: Run, study: Forecasting, judged: Sequence[Claim], params: Path, parameters: ReportParameters
) -> dict[str, Any]:
    """Collect the answer, the claims, and the data of the interactive parts; `params` is params.yaml."""
    rounds = timing_rounds(params)
    choices = {
        name: choices_of(name, task, rounds, parameters.confidence) for name, task in run.tasks.items()
    }
    counts = Counter(claim.verdict for claim in judged)
    return {
        "judged": judged,
        "answer": answer_of(study, judged),
        "verdict_counts": {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        "choices": choices,
        "fronts": [
            (own, size, one)
            for own in choices.values()
            for size in own.batch_sizes
            for one in front_of(own, size)
        ],
        "interactive": interactive_data(study, choices, parameters.audited.accuracy_margin),
    }
