"""The verdict on a claim over hosts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sustainable.reporting import over_hosts
from sustainable.reporting.claims import DECLARATIONS
from sustainable.reporting.declaration import EXACT_COUNT, Claim, HostVerdict
from sustainable.reporting.over_hosts import (
    AGREE,
    DEPENDS,
    DIFFER,
    OPEN,
    host_name,
    judge_over_hosts,
    relation,
    settled,
)
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED
from sustainable.verification.place import verdict_of_run

VERDICTS = (CONFIRMED, REFUTED, INCONCLUSIVE, NOT_TESTABLE)
verdicts = st.sampled_from(VERDICTS)
hosts_of = st.lists(st.builds(HostVerdict, verdicts, verdicts), max_size=4)


def claim(verdict, id="B1", **more):
    return Claim(id, "said", "rule", verdict, "Because.", "clock", **more)


def over(own, *pairs, conditions=None):
    """The claim over hosts `a`, `b`, ...; each pair: the verdicts there and on the same rows of this run."""
    others = {
        name: {own.id: (claim(there, own.id), claim(here, own.id))}
        for name, (there, here) in zip("abc", pairs, strict=False)
    }
    (found,) = judge_over_hosts([own], others, conditions or {})
    return found


@pytest.mark.parametrize(
    ("own", "pairs", "verdict", "expected"),
    [
        (CONFIRMED, [], CONFIRMED, AGREE),
        (CONFIRMED, [(CONFIRMED, CONFIRMED)], CONFIRMED, AGREE),
        (CONFIRMED, [(REFUTED, CONFIRMED)], INCONCLUSIVE, DIFFER),
        (REFUTED, [(CONFIRMED, REFUTED)], INCONCLUSIVE, DIFFER),
        (CONFIRMED, [(REFUTED, INCONCLUSIVE)], CONFIRMED, OPEN),  # only the shared rows are compared
        (INCONCLUSIVE, [(REFUTED, CONFIRMED)], INCONCLUSIVE, DIFFER),
        (INCONCLUSIVE, [(CONFIRMED, INCONCLUSIVE), (REFUTED, INCONCLUSIVE)], INCONCLUSIVE, OPEN),
        (CONFIRMED, [(INCONCLUSIVE, CONFIRMED)], CONFIRMED, OPEN),  # too few rows contradict nothing
        (INCONCLUSIVE, [(CONFIRMED, INCONCLUSIVE)], INCONCLUSIVE, OPEN),  # no host decides for another
        (REFUTED, [(CONFIRMED, CONFIRMED)], REFUTED, AGREE),  # the same rows give the same on both hosts
        (CONFIRMED, [(CONFIRMED, CONFIRMED), (REFUTED, CONFIRMED)], INCONCLUSIVE, DIFFER),
    ],
)
def test_a_claim_that_hosts_confirm_and_refute_is_inconclusive(own, pairs, verdict, expected):
    found = over(claim(own), *pairs)
    assert (found.verdict, found.this_run, relation(found)) == (verdict, own, expected)
    assert list(found.hosts) == list("abc")[: len(pairs)]


def test_the_reason_names_the_hosts():
    found = over(claim(CONFIRMED), (REFUTED, CONFIRMED), (INCONCLUSIVE, CONFIRMED))
    by_host = "this run: confirmed; a: refuted; b: inconclusive"
    assert found.reason == f"Differs between hosts ({by_host}). On this run: Because."
    assert found.scope == f"About the method, over hosts. By host: {by_host}."
    found = over(claim(CONFIRMED), (INCONCLUSIVE, INCONCLUSIVE), (INCONCLUSIVE, CONFIRMED))
    by_host = (
        "this run: confirmed; a: inconclusive (this run, on the same part: inconclusive); b: inconclusive"
    )
    assert found.reason == f"Because. Not decided on every host ({by_host})."
    assert over(claim(CONFIRMED), (CONFIRMED, CONFIRMED)).reason == "Because."


def test_a_part_that_hosts_confirm_and_refute_is_inconclusive():
    own = claim(CONFIRMED, parts={"bytes": CONFIRMED, "cost": CONFIRMED, "here only": CONFIRMED})
    there = claim(REFUTED, parts={"bytes": CONFIRMED, "cost": REFUTED})
    (found,) = judge_over_hosts([own], {"a": {own.id: (there, own)}}, {})
    assert found.parts == {"bytes": CONFIRMED, "cost": INCONCLUSIVE, "here only": CONFIRMED}
    assert found.verdict == INCONCLUSIVE


def test_the_parts_decide_the_verdict_over_hosts():
    """Both hosts refute the claim, but for different parts: both parts and the claim are inconclusive."""
    own = claim(REFUTED, parts={"bytes": REFUTED, "cost": CONFIRMED})
    there = claim(REFUTED, parts={"bytes": CONFIRMED, "cost": REFUTED})
    (found,) = judge_over_hosts([own], {"a": {own.id: (there, own)}}, {})
    assert found.parts == {"bytes": INCONCLUSIVE, "cost": INCONCLUSIVE}
    assert (found.verdict, relation(found)) == (INCONCLUSIVE, DIFFER)


@given(verdicts, hosts_of)
def test_other_hosts_can_only_weaken_a_verdict(own, hosts):
    assert settled(own, hosts) in (own, INCONCLUSIVE)
    assert settled(own, [replace(host, this_run=host.verdict) for host in hosts]) == own
    assert settled(own, [replace(host, verdict=INCONCLUSIVE) for host in hosts]) == own


@given(verdicts, hosts_of, st.randoms())
def test_the_order_of_hosts_does_not_matter(own, hosts, random):
    assert settled(own, hosts) == settled(own, random.sample(hosts, len(hosts)))


def test_a_claim_about_a_host_names_it_and_no_other_host_changes_it():
    zen3 = {"host": {"cpu": "AMD EPYC", "vendor": "AuthenticAMD", "family": 25, "model": 1}}
    found = over(claim(CONFIRMED, "C1"), (REFUTED, CONFIRMED), conditions={"weather": zen3, "mnist1d": zen3})
    assert (found.verdict, relation(found)) == (CONFIRMED, DEPENDS)
    assert found.scope.startswith("About a kind of CPU, not the method: amd-zen3. On another kind")
    assert DECLARATIONS["C1"].host_dependent in found.scope
    assert "not the method: not recorded." in over(claim(CONFIRMED, "C1")).scope


@pytest.mark.parametrize(
    ("id", "evidence", "scope", "alone"),
    [
        ("C2", "clock", "About the method, but judged on this run only", True),
        ("C3", "exact count on the table of candidates", "About the method, but judged on this", True),
        ("A5", EXACT_COUNT, "About the method: decided by counts", False),
        ("F13", "none", "No rows decide it", False),
    ],
)
def test_a_claim_says_where_it_was_judged(id, evidence, scope, alone):
    found = over(replace(claim(CONFIRMED, id), evidence=evidence))
    assert found.scope.startswith(scope)
    assert over_hosts.is_alone(found) == alone


def test_a_host_is_named_by_its_kind_or_by_what_was_recorded():
    assert host_name({"vendor": "AuthenticAMD", "family": 25, "model": 17}) == "amd-zen4"
    assert host_name({"cpu": "AMD EPYC", "isa": "AVX2"}) == "AMD EPYC with AVX2 (kind not recorded)"
    assert host_name({}) == "a CPU with unknown instructions (kind not recorded)"


def test_runs_are_compared_without_other_hosts():
    assert verdict_of_run({"verdict": INCONCLUSIVE, "this_run": REFUTED}) == REFUTED
    assert verdict_of_run({"verdict": CONFIRMED}) == CONFIRMED  # a claim that was not judged over hosts
