"""The shipped run: its searches follow from its tables."""

import pandas as pd
import pytest

from imports import STAGES
from sustainable.core.files import read_json, read_rows
from sustainable.core.parameters import read_section, read_tasks
from sustainable.forecasting.search.comparison import improvement_rows, run_search
from sustainable.forecasting.search.landscape import Landscape
from sustainable.forecasting.search.searchers import SearchersParameters
from sustainable.forecasting.search.space import describe_space
from sustainable.forecasting.search.tuned import use_tuned

REFERENCE = STAGES.parent / "data/reference"


TASKS = read_tasks(STAGES.parent / "params.yaml")


@pytest.fixture(scope="module", params=TASKS)
def searched(request):
    """A task with its shipped table, as searchers and as judges see it, and its searchers as set."""
    parameters = read_section(STAGES.parent / "params.yaml", "compare_searchers", SearchersParameters)
    other = read_json(REFERENCE / f"search/{request.param}/choices.json")["tuned_on"]
    if other:
        parameters, _ = use_tuned(parameters, REFERENCE / f"search/{other}/tuned.json", request.param)
    table = read_rows(REFERENCE / f"search/{request.param}/candidates.csv", ["family"])
    space = Landscape.of_table(table, parameters.reward)
    return request.param, space, describe_space(table, space, parameters.reward), parameters


@pytest.mark.parametrize("name", ["random", "local_search", "evolution", "tpe", "nsga2"])
def test_the_shipped_searches_follow_from_the_shipped_tables(searched, name):
    task, space, judged, parameters = searched
    budget = max(parameters.evaluations(space).values())
    found = run_search(space, budget, name, parameters.first_seed, parameters.searchers.by_name()[name])
    shipped = pd.read_csv(REFERENCE / f"search/{task}/improvements.csv")
    own = shipped[(shipped["searcher"] == name) & (shipped["seed"] == parameters.first_seed)]
    expected = pd.DataFrame(improvement_rows([found], judged))
    # an empty column of a file is read as floats
    expected["test_reward"] = expected["test_reward"].astype(float)
    pd.testing.assert_frame_equal(expected, own.reset_index(drop=True))
