"""The page `report.html`: what it says turns with the verdicts, and it holds all that it needs."""

import hashlib
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.answer import answer_of
from sustainable.reporting.declaration import Claim
from sustainable.reporting.forecasting.recommendation import default_floor, recommend
from sustainable.reporting.pages import ASSETS, html_page, read_assets
from sustainable.reporting.webpage.entries import GROUPS, PRINTED, claim_groups
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED, Estimate
from sustainable.verification.tiers.tracing import check_static

VERDICTS = (CONFIRMED, REFUTED, INCONCLUSIVE, NOT_TESTABLE)
PIXEL = b"\x89PNG not a picture"


def ratio(estimate):
    return Estimate(estimate, estimate / 2, estimate * 2, 5)


def study(counted="modelled-load"):
    """A task on which the agent has a lower regret than one searcher and a higher one than two."""
    timings = {
        size: SimpleNamespace(ratio=ratio(share), to_uncompressed=ratio(2 * share))
        for size, share in ((1, 0.01), (64, 0.25))
    }
    rivals = [("random", "lower"), ("local_search", "higher"), ("tpe", "higher"), ("nsga2", "undecided")]
    task = SimpleNamespace(
        title="Weather",
        audited=SimpleNamespace(lines={"ppo_stepwise": SimpleNamespace(timings=timings)}),
        searching=SimpleNamespace(
            rivals=[SimpleNamespace(name=name, ours_is=direction) for name, direction in rivals]
        ),
    )
    return SimpleNamespace(
        results={"remeasured": SimpleNamespace(cpu_evidence=counted)}, tasks={"weather": task}
    )


def judged(verdict=CONFIRMED, accuracy=INCONCLUSIVE):
    parts = {
        "C1": {"Weather, accuracy": accuracy},
        "C5": {"Weather": REFUTED},
        "B1": {"bytes": CONFIRMED, "cost of a step": verdict},
    }
    pooled = {key: {"ratio": {"estimate": estimate}} for key, estimate in (("a", 1.02), ("b", 1.74))}
    values = {"B1": {"pooled": pooled | {"c": {"ratio": None}}}}
    return [
        Claim(name, f"{name} says", "r", verdict, "w", "e", values.get(name, {}), parts.get(name, {}))
        for name in ("C1", "C2", "C3", "C5", "B1")
    ]


def test_the_answer_prints_what_was_measured():
    forecasters, policies, agent = answer_of(study(), judged())
    assert "No energy was counted on this host" in forecasters.text
    assert "relative to it, that of a forecast is 1/50 to 0.50 on Weather." in forecasters.text
    assert "Relative to eager PyTorch, it is 1/100 to 1/4.0 on Weather." in forecasters.text
    assert "its accuracy is not inferior is inconclusive on Weather" in forecasters.text
    assert "the uncompressed network beats trivial forecasters is refuted on Weather" in forecasters.text
    assert "the 2 compressed configurations take 1.02 to 1.74 times" in policies.text
    assert "lower than that of random search, higher than that of local search and TPE" in agent.text
    assert "undecided against NSGA-II" in agent.text
    assert {claim for one in (forecasters, policies, agent) for claim in one.claims} == {
        "C1",
        "C2",
        "C3",
        "C5",
        "B1",
    }


def test_every_sentence_turns_with_its_verdict():
    said = [[one.text for one in answer_of(study(), judged(verdict))] for verdict in VERDICTS]
    for sentences in zip(*said, strict=True):
        assert len(set(sentences)) == len(VERDICTS)
        assert INCONCLUSIVE in sentences[2]
        assert NOT_TESTABLE in sentences[3]
    other = answer_of(study("counter"), judged(accuracy=REFUTED))[0].text
    assert "Energy was counted" in other
    assert "its accuracy is not inferior is refuted on Weather" in other


def test_claims_are_grouped_by_letter_and_show_only_what_there_is():
    claims = [
        Claim(name, f"{name} says", "r", verdict, "w", "e")
        for name, verdict in (("A1", REFUTED), ("A5", NOT_TESTABLE), ("C1", CONFIRMED))
    ]
    groups = claim_groups(claims, ["accuracy", "audited"], ["audited_weather"])
    assert [(group.title, len(group.entries)) for group in groups] == [(GROUPS["A"], 2), (GROUPS["C"], 1)]
    first, fifth = groups[0].entries
    assert (first.tables, first.figures) == (["accuracy"], [])
    assert (fifth.tables, fifth.kind) == ([], "not")
    assert len({entry.mark for group in groups for entry in group.entries}) == 3
    assert groups[1].entries[0].figures == ["audited_weather"]


def test_what_a_claim_points_to_exists(project, shipped_report):
    tables = {table for printed, _ in PRINTED.values() for table in printed}
    assert tables <= set(shipped_report.values["tables"])
    artifacts = read_json(project / "data/reference/manifest.json")["artifacts"]
    figures = {figure for _, printed in PRINTED.values() for figure in printed}
    assert {f"paper/figures/{figure}.png" for figure in figures} <= set(artifacts)


def test_the_decision_aid_says_what_recommend_says(shipped_report):
    """The page looks up; 200 random floors and rates on each task and batch size."""
    values, rng = shipped_report.values, np.random.default_rng(3)
    for name, choices in values["choices"].items():
        highest = max(one.validation_accuracy for one in choices.candidates)
        for size in choices.batch_sizes:
            for floor, rate in zip(rng.uniform(0, highest, 50), 10 ** rng.uniform(-2, 3, 50), strict=True):
                answer = recommend(choices, floor, rate, size)
                steps = next(one for one in values["interactive"]["tasks"] if one["key"] == name)["aid"]
                step = next(
                    one for one in steps[str(size)] if answer.floor <= one["upto"]
                )  # as the page's script
                assert step["choice"]["name"] == answer.choice.candidate.name
                assert step["choice"]["forecasts"] == answer.choice.break_even.inferences
                assert step["choice"]["cpu_ms"] == answer.choice.cost.cpu_time_ms
                assert (step["runner_up"] is None) == (answer.runner_up is None)
                if answer.runner_up is not None:
                    assert step["runner_up"]["name"] == answer.runner_up.candidate.name
                assert step["within_noise"] == answer.within_noise


def test_the_decision_aid_opens_with_the_answer_that_recommend_gives(shipped_report):
    values, margin = shipped_report.values, shipped_report.values["parameters"].audited.accuracy_margin
    for own in values["interactive"]["tasks"]:
        choices = values["choices"][own["key"]]
        for size in choices.batch_sizes:
            expected = recommend(choices, default_floor(choices, margin), 1.0, size)
            step = next(one for one in own["aid"][str(size)] if own["floor"] <= one["upto"])
            assert step["choice"]["name"] == expected.choice.candidate.name


class Elements(HTMLParser):
    """Ids, links to places of the page, and whatever would be requested."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.requested = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        href = found.get("href", "")
        self.links += [href[1:]] if tag == "a" and href.startswith("#") else []
        sources = [found.get("src", ""), href if tag != "a" else ""]
        self.requested += [source for source in sources if source and not source.startswith("data:")]


@pytest.fixture(scope="module")
def page(project, shipped_report, tmp_path_factory):
    """The shipped report's page, and how to render it again, with stand-ins for its pictures."""
    figures = tmp_path_factory.mktemp("figures")
    names = ["headline", "audited_weather", "regret_mnist1d", "policies_ratios", "a_new_figure"]
    for name in names:
        (figures / f"{name}.png").write_bytes(PIXEL)
    render = lambda: html_page(project / "paper/templates", figures, shipped_report.values, names)  # noqa: E731
    return SimpleNamespace(text=render(), render=render)


def test_the_page_requests_nothing_and_every_link_leads_somewhere(page):
    found = Elements()
    found.feed(page.text)
    assert found.requested == []
    assert not re.search(r"@import|url\(|sourceMappingURL", page.text.split("</style>")[0])
    assert "sourceMappingURL" not in page.text
    assert len(found.ids) == len(set(found.ids))
    assert set(found.links) <= {*found.ids, ""}


def test_equal_values_give_equal_pages(page):
    assert page.render() == page.text


def test_the_page_shows_every_claim_table_and_picture(page, shipped_report):
    for claim in shipped_report.found.judged:
        assert f'id="claim-{claim.id}"' in page.text
    for name, table in shipped_report.values["tables"].items():
        assert (f'id="table-{name.replace(" ", "-")}"' in page.text) == (table.page != "latex")
    assert page.text.count("data:image/png;base64,") == 5
    assert 'alt=""' not in page.text
    assert not re.search(r">(nan|None)<", page.text)


def test_typed_numbers_are_found_in_what_a_reader_of_html_sees(tmp_path):
    (tmp_path / "x.html.j2").write_text(
        '<h2 class="grid-2">Twice</h2>\n<a href="#{{ a }}-3" title="5 {{ b }} less">{{ c|fixed(4) }}</a>\n'
        "{# 6 #}<p>{% if d == 7 %}plain{% endif %}</p>\n"
    )
    found = check_static(tmp_path)
    typed = [(problem.line, problem.message.split("'")[1]) for problem in found]
    assert typed == [(1, "Twice"), (2, "5"), (2, "less"), (3, "7")]


def test_the_libraries_are_those_that_their_licences_name(project):
    folder = project / "paper/templates/vega"
    recorded = (folder / "LICENSES.txt").read_text()
    for path in folder.glob("*.js"):
        assert f"{path.name}: " in recorded
        assert hashlib.sha256(path.read_bytes()).hexdigest() in recorded


def test_a_missing_library_is_named(tmp_path):
    with pytest.raises(UserError, match=ASSETS[0]):
        read_assets(tmp_path)
