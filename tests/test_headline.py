"""The README's headline is what the shipped run says: its text exactly, its figure pixel by pixel."""

import copy
import re
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from matplotlib import image

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.core.files import read_json
from sustainable.reporting.documents import (
    BLOCKS,
    rendered_block,
    stages_markdown,
    verdicts_markdown,
    with_block,
    write_documents,
)
from sustainable.reporting.headline import PICTURE, _searchers_sentences, headline_markdown

ROOT = STAGES.parent
REFERENCE = ROOT / "data/reference"
RENEW = "run `make reference PAGES=1`"


@pytest.fixture(scope="module")
def claims():
    return read_json(REFERENCE / "claims.json")


def test_the_times_of_a_stages_parts_are_added_and_its_memory_is_the_largest():
    efforts = [
        {"stage": "train@sea", "wall_s": 60.0, "memory_mib": 1200.4},
        {"stage": "report", "wall_s": 3.0, "memory_mib": 10.0},
        {"stage": "train@lake", "wall_s": 90.0, "memory_mib": 900.0},
    ]
    assert stages_markdown(efforts).splitlines()[2:] == [
        "| `train` | 2.5 | sea 1.0, lake 1.5 | 1,200 |",
        "| `report` | 0.1 |  | 10 |",
        "| all | 2.5 | | |",
    ]


def test_every_claim_has_a_line_with_its_verdict_and_parts(claims):
    lines = verdicts_markdown(claims).splitlines()[2:]
    assert [line.split(":")[0] for line in lines] == [f"| {claim['id']}" for claim in claims]
    claim = claims[0] | {
        "verdict": "refuted",
        "parts": {"size": "refuted"},
        "statement": "a|b",
        "scope": "On one host.",
        "this_run": "confirmed",
        "hosts": {},
    }
    row = "| A1: a/b | **refuted** (size: refuted) | On one host. |"
    assert verdicts_markdown([claim]).splitlines()[2] == row
    elsewhere = claim | {"hosts": {"zen": {"verdict": "refuted", "this_run": "confirmed"}}}
    assert verdicts_markdown([elsewhere]).splitlines()[2].endswith("| this run confirmed; zen refuted |")


def test_six_numbers_come_from_the_claims(claims):
    text = headline_markdown(claims)
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 6
    changed = copy.deepcopy(claims)
    values = next(claim for claim in changed if claim["id"] == "C1")["values"]["weather"]
    values["choice"]["by_batch_size"]["64"]["ratio"]["estimate"] = 0.5  # less favourable than at batch 1
    again = headline_markdown(changed)
    assert "| Chosen forecaster / eager baseline, CPU time, Weather, batch 64 | 0.500 [" in again
    assert re.search(
        r"of eager PyTorch, it takes 1/[\d.]+ at batch 1 and 0\.50 at batch 64 on Weather; ", again
    )


@pytest.mark.parametrize(
    ("directions", "sentence"),
    [
        (
            {"random": "lower", "tpe": "undecided"},
            "less regret than random search",
        ),
        ({"random": "higher", "tpe": "lower"}, "less regret than TPE and more regret than random search"),
        (
            {"random": "undecided", "tpe": "undecided", "cmaes": "undecided"},
            "about the others' regret",
        ),
    ],
)
def test_the_searchers_are_named_by_what_was_decided(directions, sentence):
    values = {name: {"ours_is": direction} for name, direction in directions.items()}
    by_id = {"C1": {"values": {"lake": {}, "sea": {}}}, "C3": {"values": {"lake": values, "sea": values}}}
    text = _searchers_sentences(by_id)
    found = f"The **reinforcement-learning searcher** has {sentence} on lake; {sentence} on sea;"
    assert text == f"{found} other differences are undecided."


@pytest.mark.parametrize(
    ("claim", "verdict", "sentence"),
    [
        ("C2", "confirmed", "**Compression saves CPU time in a forecaster.**"),
        ("C2", "refuted", "**Compression saves no CPU time in a forecaster.**"),
        (
            "C2",
            "inconclusive",
            "**The claim that compression saves CPU time in a forecaster is inconclusive.**",
        ),
        ("A2", "not testable on this host", "This does not show energy"),
        ("A2", "confirmed", "The chosen forecaster's accuracy differs by"),
    ],
)
def test_the_sentences_follow_the_verdicts(claims, claim, verdict, sentence):
    changed = copy.deepcopy(claims)
    next(one for one in changed if one["id"] == claim)["verdict"] = verdict
    text = headline_markdown(changed)
    assert sentence in text
    assert ("This does not show energy" in text) == (claim == "C2" or verdict.startswith("not"))


def test_a_missing_marker_is_named():
    begin, end = "<!-- headline:begin -->", "<!-- headline:end -->"
    assert with_block("headline", f"a {begin} old {end} b", "new") == f"a {begin}\nnew\n{end} b"
    with pytest.raises(UserError, match=r"README\.md: .*restore them from git"):
        rendered_block("headline", f"{begin} no end")


def test_documents_and_figure_follow_from_the_shipped_rows(shipped_report, tmp_path):
    (tmp_path / "paper").mkdir()
    for document in BLOCKS.values():
        shutil.copy(ROOT / document, tmp_path / document)
    write_documents(tmp_path, REFERENCE, shipped_report)
    for document in BLOCKS.values():
        assert (tmp_path / document).read_bytes() == (ROOT / document).read_bytes(), RENEW
    drawn, kept = (image.imread(folder / PICTURE) for folder in (tmp_path, ROOT))
    assert drawn.shape == kept.shape, RENEW
    assert np.abs(drawn - kept).max() <= 1 / 255, RENEW  # a last digit of an interval may differ by CPU


def test_rows_that_are_no_evidence_make_no_headline(tmp_path):
    @dataclass(frozen=True)
    class Stamped:
        stamp = "smoke run"

    @dataclass(frozen=True)
    class StampedReport:
        found = Stamped()

    with pytest.raises(UserError, match="smoke run"):
        write_documents(tmp_path, REFERENCE, StampedReport())
