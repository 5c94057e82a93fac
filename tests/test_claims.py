"""The declarations of the claims, and what follows from them."""

import re

import pytest
import yaml

from imports import STAGES
from judging import PARAMETERS
from sustainable.core.errors import UserError
from sustainable.reporting.claims import (
    DECLARATIONS,
    claim_ranges,
    claims_markdown,
    declaration_of,
    describe_testability,
)
from sustainable.reporting.declaration import thresholds
from sustainable.verification.place import read_claims

ROOT = STAGES.parent
SHIPPED = read_claims(ROOT / "data/reference/claims.json")
NO_COUNTER = "not testable: no counter"


@pytest.mark.parametrize("study", ["study_a", "study_b"])
def test_every_published_claim_is_declared(study):
    published = yaml.safe_load((ROOT / "paper/published.yaml").read_text())[study]["claims"]
    declared = {name for name, own in DECLARATIONS.items() if own.source == study and own.statement is None}
    assert declared == set(published)


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_declaration_is_complete(name):
    declaration, declared = DECLARATIONS[name], thresholds(PARAMETERS, published_action=11)
    for text in (declaration.rule, declaration.statement or ""):
        assert not re.search("[{}]", text.format_map(declared))
    assert declaration.rule and SHIPPED[name]["reason"]
    assert bool(declaration.needs) != bool(declaration.untestable)
    assert declaration.decided_by or declaration.untestable


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A1", "testable: exact counts"),
        ("A2", NO_COUNTER),
        ("A3", f"testable: latency; energy {NO_COUNTER}"),
        ("B1", f"testable: CPU time, exact counts; energy {NO_COUNTER}"),
        ("B3", "testable: resident memory of processes"),
        ("F12", "not testable: no row counts cache misses"),
    ],
)
def test_what_a_host_without_a_counter_can_test(name, text):
    assert describe_testability(DECLARATIONS[name], NO_COUNTER) == text


def test_the_ranges_of_claims_are_named():
    assert claim_ranges() == "A1 to A8, C1 to C5, B1 to B6, F1 to F16"
    assert declaration_of("b3").id == "B3"
    with pytest.raises(UserError, match="A9: unknown claim; name one of A1 to A8"):
        declaration_of("A9")


def test_the_table_of_claims_has_one_row_per_claim():
    rows = claims_markdown(SHIPPED).splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(DECLARATIONS)
    assert "| `make claim-A4` | `search/published/actions.csv` | exact counts |" in rows[3]
    assert rows[-5].endswith("| none | nothing | not testable: no row counts cache misses |")
