"""The shipped run told to others: repro.yaml for claims-cli, ro-crate-metadata.json for archives."""

import json
import shutil
import socket
import sys
from hashlib import sha256

import pytest
import yaml

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.core.files import write_json, write_text
from sustainable.verification.export.crate import write_crate
from sustainable.verification.export.witness import repro_document, write_witness

SHIPPED = STAGES.parent / "data/reference"
TIMES = "configuration,block,cpu_time_ms,latency_ms\nbaseline,0,1.0,2.0\nbaseline,1,3.0,5.0\n"
LINE = {"baseline": {"cpu_time_ms": 2.0, "latency_ms": 3.5, "accuracy": None}}
VERDICTS = {"A1": "refuted", "F1": "confirmed"}
CLAIMS = [
    {
        "evidence": "exact count", "id": "A1", "reason": "2 of 3.", "rule": "as many", "statement": "Kept.",
        "values": {"correct": {"baseline": 2, "manual_quantization": 1}, "windows": 3}, "verdict": "refuted",
    },
    {
        "evidence": "rows", "id": "F1", "reason": "it's 0.5", "rule": "any", "statement": "Half / all.",
        "values": {"share/of": {"estimate": 0.5, "low": None}, "kept": True}, "verdict": "confirmed",
    },
]  # fmt: skip


@pytest.fixture
def reference(tmp_path):
    """A reference of two claims, three windows and two blocks, in a project of its own."""
    folder = tmp_path / "data/reference"
    write_json(folder / "claims.json", CLAIMS)
    metrics = {"published": LINE, "remeasured": LINE, "verdicts": VERDICTS}
    write_json(folder / "metrics/benchmark.json", metrics)
    hits = "training_seed,first_day,baseline,manual_quantization\n42,1,1,1\n42,2,0,0\n42,3,1,0\n"
    write_text(folder / "benchmark/published.hits.csv", hits)
    for way in ("published", "remeasured"):
        write_text(folder / f"benchmark/{way}.csv", TIMES)
    write_text(folder / "README.md", "About.\n")
    write_text(tmp_path / "dvc.yaml", "stages: {}\n")
    shutil.copy(STAGES.parent / "CITATION.cff", tmp_path)
    return folder


def evidence(document, claim, kind):
    (found,) = [one for one in document["claims"] if one["id"] == claim]
    return [one for one in found["evidence"] if one["kind"] == kind]


def test_every_file_is_pinned_but_those_that_hold_its_hash(reference):
    before = repro_document(reference)
    for name in ("repro.yaml", "ro-crate-metadata.json"):
        write_text(reference / name, "of this file\n")
    assert repro_document(reference) == before
    pins = {entry["path"]: entry["digest"]["value"] for entry in before["artifacts"]}
    assert pins == {
        name: sha256((reference / name).read_bytes()).hexdigest()
        for name in (
            "benchmark/published.csv", "benchmark/published.hits.csv", "benchmark/remeasured.csv",
            "claims.json", "metrics/benchmark.json",
        )
    }  # fmt: skip


def test_words_and_verdicts_are_quoted_as_they_stand_in_the_files(reference):
    document = repro_document(reference)
    for claim in VERDICTS:
        for quoted in evidence(document, claim, "quote"):
            text = " ".join((reference / quoted["artifact"]).read_text().split())
            assert text.count(quoted["text"]) == 1, quoted["text"]
    first, last = (evidence(document, claim, "quote")[1]["text"] for claim in VERDICTS)
    assert first == '"verdict": "refuted" }, { "evidence": "rows", "id": "F1"'
    assert last == '"verdict": "confirmed" } ]'


def test_numbers_are_given_with_their_address(reference):
    document = repro_document(reference)
    found = {one["name"]: (one["pointer"], one["reported"]) for one in evidence(document, "F1", "metric")}
    assert found == {"share/of/estimate": ("/1/values/share~1of/estimate", "0.5")}  # no truth value, no null


def test_sums_and_means_are_over_all_rows(reference):
    document = repro_document(reference)
    hits = {one["name"]: one for one in evidence(document, "A1", "aggregate")}
    assert {name: (one["statistic"], one["reported"], one["count"]) for name, one in hits.items()} == {
        "right by baseline": ("sum", "2", 3),
        "right by manual_quantization": ("sum", "1", 3),
    }
    (cpu, latency) = evidence(document, "means-published", "aggregate")
    assert (cpu["reported"], latency["reported"]) == ("2.0", "3.5")
    assert [one["locator"]["where"]["block"] for one in cpu["members"]] == [0, 1]


def test_a_number_that_is_declared_must_be_there(reference):
    write_json(reference / "claims.json", [{**CLAIMS[0], "id": "C3"}])
    with pytest.raises(UserError, match=r"claims\.json: C3: no number at "):
        repro_document(reference)


def test_the_same_files_give_the_same_bytes_without_anchors_or_places(reference, tmp_path):
    for name in ("one.yaml", "two.yaml"):
        write_witness(reference, tmp_path / name)
    text = (tmp_path / "one.yaml").read_text()
    assert text == (tmp_path / "two.yaml").read_text()
    assert yaml.safe_load(text) == repro_document(reference)
    assert "&id" not in text and str(tmp_path) not in text


def verdict_of_claims_cli(folder):
    """Exit status of `claims verify --policy strict`, without its record in the git folder."""
    cli = pytest.importorskip("claims.cli")
    return cli.main(["verify", str(folder / "repro.yaml"), "--policy", "strict"], local_record=False)


def pin_again(folder):
    """What someone does who changes a file and the hashes with it, but not the claims of repro.yaml."""
    document = yaml.safe_load((folder / "repro.yaml").read_text())
    for entry in document["artifacts"]:
        entry["digest"]["value"] = sha256((folder / entry["path"]).read_bytes()).hexdigest()
    write_text(folder / "repro.yaml", yaml.safe_dump(document))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    write_text(path, text.replace(old, new, 1))


def test_claims_cli_finds_the_reference_whole(reference):
    write_witness(reference, reference / "repro.yaml")
    assert verdict_of_claims_cli(reference) == 0


def test_claims_cli_finds_the_shipped_run_whole(tmp_path):
    folder = shutil.copytree(SHIPPED, tmp_path / "reference")
    write_witness(folder, folder / "repro.yaml")
    assert verdict_of_claims_cli(folder) == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "seen_when_pinned_again"),
    [
        ("claims.json", '"verdict": "refuted"', '"verdict": "confirmed"', True),
        ("claims.json", '"reason": "2 of 3."', '"reason": "3 of 3."', True),
        ("claims.json", '"windows": 3', '"windows": 4', True),
        ("claims.json", '"estimate": 0.5', '"estimate": 0.5000001', True),
        ("metrics/benchmark.json", '"A1": "refuted"', '"A1": "confirmed"', True),
        ("benchmark/published.csv", "baseline,1,3.0", "baseline,1,3.000001", True),
        ("benchmark/published.csv", "baseline,1,3.0,5.0\n", "", True),
        ("benchmark/published.hits.csv", "42,2,0,0", "42,2,1,0", True),
        ("benchmark/published.hits.csv", "42,3,1,0\n", "42,3,1,0\n42,4,0,0\n", False),  # nothing counts rows
        ("claims.json", '"kept": true', '"kept": false', False),  # nor can it compare what is no number
    ],
)
def test_what_claims_cli_sees_of_an_edit(reference, name, old, new, seen_when_pinned_again):
    write_witness(reference, reference / "repro.yaml")
    edit(reference / name, old, new)
    assert verdict_of_claims_cli(reference) == 1  # by the hash, always
    pin_again(reference)
    assert verdict_of_claims_cli(reference) == int(seen_when_pinned_again)


def test_claims_cli_sees_no_file_that_was_added(reference):
    write_witness(reference, reference / "repro.yaml")
    write_text(reference / "benchmark/more.csv", "a\n1\n")
    assert verdict_of_claims_cli(reference) == 0


@pytest.fixture
def crate(reference, monkeypatch):
    pytest.importorskip("rocrate.rocrate")
    monkeypatch.setattr(socket, "socket", None)  # no network
    out = reference / "ro-crate-metadata.json"
    artifacts = {"data/benchmark/published.csv": {"stage": "benchmark@published"}}
    for path, entry in artifacts.items():
        entry["shipped"] = path.replace("data/", "data/reference/", 1)
    write_crate(reference, artifacts, out, project=reference.parent.parent, published="2026-11-20")
    first = out.read_bytes()
    write_crate(reference, artifacts, out, project=reference.parent.parent, published="2026-11-20")
    assert out.read_bytes() == first
    return {entry["@id"]: entry for entry in json.loads(first)["@graph"]}


def test_the_crate_has_every_file_with_its_hash(crate, reference):
    files = {name: entry for name, entry in crate.items() if entry["@type"] == "File"}
    assert sorted(files) == [
        "benchmark/published.csv", "benchmark/published.hits.csv", "benchmark/remeasured.csv",
        "claims.json", "metrics/benchmark.json",
    ]  # fmt: skip
    assert [part["@id"] for part in crate["./"]["hasPart"]] == sorted(files)
    for name, entry in files.items():
        content = (reference / name).read_bytes()
        assert (entry["sha256"], entry["contentSize"]) == (sha256(content).hexdigest(), str(len(content)))
    assert files["benchmark/published.csv"]["encodingFormat"] == "text/csv"
    assert "stage benchmark@published" in files["benchmark/published.csv"]["description"]
    assert "stage" not in files["claims.json"]["description"]


def test_the_crate_says_whose_it_is_and_what_made_it(crate, reference):
    root, pipeline = crate["./"], crate["#dvc.yaml"]
    assert root["datePublished"] == "2026-11-20"
    assert crate[root["license"]["@id"]]["identifier"] == "MIT"
    assert [crate[author["@id"]]["name"] for author in root["author"]] == ["The Sustainable Agents authors"]
    assert pipeline["@type"] == ["SoftwareSourceCode", "ComputationalWorkflow"]
    assert pipeline["identifier"] == "sha256:" + sha256(b"stages: {}\n").hexdigest()
    assert crate["ro-crate-metadata.json"]["conformsTo"]["@id"].endswith("/ro/crate/1.2")
    used = {one["@id"] for entry in crate.values() for one in references(entry)}
    assert all(name in crate for name in used if not name.startswith("http"))


def references(entry):
    values = [one for value in entry.values() for one in (value if isinstance(value, list) else [value])]
    return [one for one in values if isinstance(one, dict)]


def test_the_crate_can_be_read_again(crate, reference):
    from rocrate.rocrate import ROCrate

    assert len(ROCrate(reference).data_entities) == 5


def test_without_the_library_the_crate_says_what_to_install(reference, monkeypatch):
    monkeypatch.setitem(sys.modules, "rocrate", None)
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    out = reference / "ro-crate-metadata.json"
    with pytest.raises(UserError, match=r"requirements-dev\.txt"):
        write_crate(reference, {}, out, project=reference.parent.parent, published="2026-11-20")
    assert not out.exists()
