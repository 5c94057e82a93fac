"""A daily table of your own: its parameter file, what is refused, the stages that it runs, and its page."""

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from sustainable.assessing.data import OwnTable, PartOfTable, describe_table, write_data_report
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.tools.assess_data import (
    STAGES,
    TASK,
    assess_table,
    forecast_line,
    own_parameters,
    prepare,
    read_daily,
)
from sustainable.verification.claim import forecast
from sustainable.verification.lock import declared_stages, read_yaml

ROOT = Path(__file__).parent.parent
LINCOLN = ROOT / "stages/profiles/own/lincoln.yaml"
LINCOLN_CSV = ROOT / "tests/data/lincoln-weather.csv"
PROFILE = {
    "date": "day",
    "features": ["height", "wind"],
    "target": {"column": "height", "above": 1.0},
    "window_days": 2,
    "split": {"train_until": "2020-03-31", "validation_until": "2020-06-30"},
}
TITLE = "tide_1 & <b>"
"""A file may be called so; text is no markup."""
DAYS = [date(2020, 1, 1) + timedelta(days=place) for place in range(300)]


def table(heights=lambda place: place % 3):
    return ["day,height,wind", *(f"{day},{heights(place)},{place % 7}" for place, day in enumerate(DAYS))]


def saved(folder, lines, changes=None):
    """A table and its parameter file."""
    (folder / "tide.csv").write_text("\n".join(lines) + "\n")
    (folder / "my.yaml").write_text(yaml.safe_dump(PROFILE | (changes or {})))
    return folder / "tide.csv", folder / "my.yaml"


def line_replaced(line, text):
    lines = table()
    lines[line - 1] = text
    return lines


@pytest.mark.parametrize(
    ("lines", "changes", "message"),
    [
        (None, {}, r"tide\.csv: missing; name a file"),
        ([], {}, r"line 1: the file is empty"),
        (table(), {"date": "when"}, r"column 'when' is missing \(needed: .*; there: day, height, wind\)"),
        ([table()[0], *table()[:0:-1]], {}, r"line 3, column 'day': .* repeats or goes back"),
        (line_replaced(4, "2020-01-02,1,1"), {}, r"line 4, column 'day': 2020-01-02 repeats or goes back"),
        (line_replaced(4, "2020-01-04,1,1"), {}, r"line 4, column 'day': there is a gap: 2020-01-03"),
        (
            line_replaced(4, "2020-01-03,,1"),
            {},
            r"line 4, column 'height': the value is missing \(found ''\)",
        ),
        (line_replaced(4, "2020-01-03,1,calm"), {}, r"line 4, column 'wind': 'calm' is not a number"),
        (line_replaced(4, "3 January,1,1"), {}, r"line 4, column 'day': '3 January' is not a date"),
        (table(lambda place: 0), {}, r"my\.yaml: target: every day to forecast in train is negative"),
        (table()[:200], {}, r"my\.yaml: split: test has too few windows \(15\): at least 50 are needed"),
        (table()[:100], {}, r"my\.yaml: split\.validation_until: 2020-06-30 must be a day of the data"),
        (table(), {"window_day": 3}, r"my\.yaml: window_day: unknown key; remove it or correct its name$"),
        (table(), {"window_days": "3"}, r"my\.yaml: window_days: .*valid integer \(found '3'\)"),
        (table(), {"gaps": "fill"}, r"my\.yaml: gaps: input should be 'refuse' or 'skip'"),
        (table(), {"scaled_over": "all_rows"}, r"my\.yaml: scaled_over: the audited protocol sets it"),
        (
            table(),
            {"split": {"method": "random_stratified", "test_share": 0.2}},
            r"my\.yaml: split\.method: the audited protocol sets it",
        ),
        (
            table(),
            {"split": PROFILE["split"] | {"train_until": date(2020, 3, 31)}},
            r'my\.yaml: split\.train_until: write the date in quotes: "2020-03-31"',
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, lines, changes, message):
    monkeypatch.setattr(forecast, "measure_slowdown", lambda reference: pytest.fail("it went on"))
    csv, profile = saved(tmp_path, lines or [], changes)
    csv.unlink() if lines is None else csv.write_text("\n".join(lines))
    with pytest.raises(UserError, match=message) as caught:
        assess_table(csv, profile, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_parameter_file_that_is_none_is_one_line(tmp_path):
    for content, message in (
        ("- date", "keys with values are needed"),
        ("date: [", "not valid YAML"),
        ("date: 2020-13-01", "not valid YAML"),
    ):
        (tmp_path / "my.yaml").write_text(content)
        with pytest.raises(UserError, match=rf"my\.yaml: {message}"):
            own_parameters(tmp_path / "my.yaml", thorough=False)
    with pytest.raises(
        UserError, match=r"none\.yaml: missing; write one \(stages/profiles/own/lincoln\.yaml"
    ):
        own_parameters(tmp_path / "none.yaml", thorough=False)


def described(csv, profile):
    return describe_table(csv, read_daily(profile, own_parameters(profile, thorough=False)), 0.02)


def test_the_example_by_hand():
    found = described(LINCOLN_CSV, LINCOLN)
    # January to June are 182 days, until 15 September 77, the rest 107. The first 7 of each are no targets.
    # 17 June has no temperatures, and is in 8 windows.
    assert {name: part.windows for name, part in found.parts.items()} == {
        "train": 182 - 7 - 8,
        "validation": 77 - 7,
        "test": 107 - 7,
    }
    assert (found.missing_days, found.skipped, found.days) == (1, 8, 366)
    assert found.parts["validation"].first == date(2016, 7, 8)
    assert found.lines()[1:3] == [
        "target: is TMAX above 75 on the next day? Forecast from 7 days of TMAX, TMIN",
        "gaps: skip; missing days: 1 of 366; windows left out because they touch one: 8 of 359",
    ]


def test_a_table_without_a_gap_is_the_same_under_both_policies(tmp_path):
    csv, profile = saved(tmp_path, table())
    refused = described(csv, profile)
    skipped = described(*saved(tmp_path, table(), {"gaps": "skip"}))
    assert replace(skipped, gaps="refuse") == refused
    assert "the table has none" in refused.gap_line


@pytest.mark.parametrize("thorough", [False, True])
def test_only_stages_of_study_a_run_and_dvc_can_resolve_them(thorough):
    parameters = own_parameters(LINCOLN, thorough)
    stages = declared_stages(ROOT, read_yaml(ROOT / "dvc.yaml"), parameters)
    makers = {path: name for name, stage in stages.items() for path in stage.outputs}
    needed, left = set(), [f"benchmark@{TASK}"]
    while left:
        name = left.pop()
        needed.add(name)
        inside = [path for path in stages[name].data if path not in makers]
        assert all(path.startswith(("data/raw/", "data/search/weather/tuned")) for path in inside), inside
        left += [makers[path] for path in stages[name].data if path in makers]
    assert needed == {f"{stage}@{TASK}" for stage in STAGES}
    assert parameters["profile"] == ("paper" if thorough else "smoke")
    configurations = parameters["benchmark"][TASK]["configurations"]
    hidden = parameters["train_baseline"][TASK]["hidden"]
    assert configurations["baseline"]["widths"] == configurations["numba"]["widths"] == [hidden, hidden]


def test_the_forecast_grows_with_the_table_and_the_mode(monkeypatch):
    monkeypatch.setattr(forecast, "measure_slowdown", lambda reference: 1.0)

    def minutes(thorough, windows):
        line = forecast_line(own_parameters(LINCOLN, thorough), windows, thorough)
        return int(re.search(r"about (\d+) minutes", line)[1])

    assert 1 <= minutes(False, 100) < minutes(True, 5000)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report on the shipped rows of the weather, under the name of another table."""
    run, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("out")
    for name, target in {"data": "data/reference", "paper": "paper"}.items():
        (run / name).symlink_to(ROOT / target)
    parameters = read_yaml(ROOT / "params.yaml")
    parameters["report"]["bootstrap_resamples"] = 200
    (run / "params.yaml").write_text(yaml.safe_dump(parameters))
    (run / "dvc.yaml").symlink_to(ROOT / "dvc.yaml")
    part = PartOfTable("train", 321, 0.25, date(2020, 1, 3), date(2020, 3, 31))
    own = OwnTable(
        title=TITLE,
        target="is height above 1 on the next day?",
        features=["height", "wind"],
        window_days=2,
        first=date(2020, 1, 1),
        days=300,
        gaps="skip",
        missing_days=4,
        skipped=9,
        parts={"train": part},
    )
    claims = write_data_report(run, "weather", own, out)
    return (out / "report.html").read_text(), claims, out


def test_a_page_names_its_table_and_its_target_and_no_other(page):
    text, _, out = page
    words = re.sub(r"<style>.*?</style>|base64,[^\"]*|<[^>]*>", " ", text, flags=re.DOTALL)
    for needed in (
        "tide_1 &amp; &lt;b&gt;: does compressing",
        "is height above 1 on the next day?",
        "4 of 300",
        "9 of 298",
        "321",
    ):
        assert needed in words
    others = r"seattle|weather|mnist|\bwet|\brain|source|published (?!choice)|1461|study of"
    found = re.findall(others, words, re.IGNORECASE)  # that choice is a row of the weather's benchmark
    assert not found
    assert r"Deployments on tide\_1 \& " in (out / "table.tex").read_text()
    assert {"claims.json", "rows.csv", "host.json", "table.tex", "cpu_time.png", "candidates.png"} <= {
        path.name for path in out.iterdir()
    }


def test_its_claims_are_judged_by_the_rules_of_the_paper(page):
    shipped = {claim["id"]: claim for claim in read_json(ROOT / "data/reference/claims.json")}
    for claim in page[1]:
        assert claim.values[TITLE].keys() == shipped[claim.id]["values"]["weather"].keys()
        assert claim.rule == shipped[claim.id]["rule"]
    saving = next(claim for claim in page[1] if claim.id == "C1")
    ratio = saving.values[TITLE]["choice"]["by_batch_size"]["64"]["ratio"]["estimate"]
    was = shipped["C1"]["values"]["weather"]["choice"]["by_batch_size"]["64"]["ratio"]["estimate"]
    assert ratio == pytest.approx(was)
    assert saving.parts == {
        part.replace("Weather", TITLE): verdict
        for part, verdict in shipped["C1"]["parts"].items()
        if "Weather" in part
    }


def test_an_earlier_run_is_continued_and_a_strange_folder_is_refused(tmp_path):
    csv, profile = saved(tmp_path, table())
    run, parameters = tmp_path / "out/run", own_parameters(profile, thorough=False)
    prepare(run, parameters, csv)
    (run / "data/models").mkdir()
    (run / "data/models/made").touch()
    csv.write_text("\n".join(table()[:-1]))
    prepare(run, parameters | {"profile": "paper"}, csv)
    assert (run / "data/models/made").is_file()
    assert (run / "data/raw/own.csv").read_text() == csv.read_text()
    assert read_yaml(run / "params.yaml")["profile"] == "paper"
    (tmp_path / "other/run/mine").mkdir(parents=True)
    with pytest.raises(UserError, match="not an earlier run of this tool; name another folder"):
        prepare(tmp_path / "other/run", parameters, csv)
