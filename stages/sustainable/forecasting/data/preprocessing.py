"""From a CSV to windows, by the layout that params.yaml names."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sustainable.forecasting.data.daily import DailyParameters, preprocess_daily
from sustainable.forecasting.data.sequences import SequenceParameters, preprocess_sequences
from sustainable.forecasting.data.windows import Windows

PreprocessParameters = Annotated[DailyParameters | SequenceParameters, Field(discriminator="layout")]


def preprocess(
    path: Path, parameters: DailyParameters | SequenceParameters
) -> tuple[dict[str, Windows], dict[str, Any]]:
    """Return the windows of train, validation and test, and a description of them."""
    if isinstance(parameters, SequenceParameters):
        return preprocess_sequences(path, parameters)
    return preprocess_daily(path, parameters)
