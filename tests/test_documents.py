"""The documents: what they name exists, and the README is short."""

import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import yaml

from imports import STAGES
from sustainable.reporting.documents import rendered_block

ROOT = STAGES.parent
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "paper/EXPERIMENTS.md",
    "stages/README.md",
    "data/COLUMNS.md",
    "data/README.md",
    "data/raw/README.md",
    "data/reference/README.md",
    "tests/README.md",
    "tests/data/README.md",
)
WORDS = 1200
FILE_NAME = r"[\w.-]+\.(?:py|md|yaml|json|csv|j2|bib|txt|cff|lock|toml|png)"
PATH = rf"(?:[\w.@-]+/)+[\w.@-]*|{FILE_NAME}"
ELSEWHERE = (
    "verify.json",
    "effort.jsonl",
    "/tmp/",
    "/some/folder",
    ".git/",
    "lincoln_weather.csv",
    "datasets.json",
    "caught/tried",
)
"""Files that a command makes, placeholders, and paths that are not this project's."""


def code_of(text):
    """What stands between backticks, in fences or indented: commands and names."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*fenced, *re.findall(r"^    \S.*$", rest, re.MULTILINE), *re.findall(r"`([^`\n]+)`", rest)]


def outputs():
    """What is not in git, because the pipeline or a tool makes it: prefixes of paths."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return tuple(line.rstrip("/") for line in lines if line)


@pytest.fixture(params=DOCUMENTS)
def document(request):
    return ROOT / request.param


def test_every_make_target_exists(document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*|claim-%):", makefile, re.MULTILINE))
    for code in code_of(document.read_text(encoding="utf-8")):
        for target in re.findall(r"\bmake ([a-z][\w-]*)", code):
            assert target in targets or (target.startswith("claim-") and "claim-%" in targets), target


def test_every_claim_that_is_run_exists(document):
    known = set(re.findall(r'"id": "(\w+)"', (ROOT / "data/reference/claims.json").read_text()))
    for claim in re.findall(r"make claim-(\w+)", document.read_text(encoding="utf-8")):
        assert claim in known, claim


def test_every_path_exists(document):
    for code in code_of(document.read_text(encoding="utf-8")):
        if any(placeholder in code for placeholder in ("<", "*", "...", "://", *ELSEWHERE)):
            continue
        for path in re.findall(rf"(?<![\w/.:=$-])({PATH})", code):
            assert exists(path, document.parent), f"{document.name}: {path}"


def exists(path, folder):
    """Whether a path exists in the project or beside the document; a name without folder: anywhere in it."""
    if path.startswith(outputs()) or any((base / path).exists() for base in (ROOT, folder, STAGES)):
        return True
    in_reference = ROOT / "data/reference"
    if "/" in path.rstrip("/"):
        return False
    rooms = ("stages", "tests", "paper", "data/reference", "data/raw")
    return (in_reference / path).exists() or any(any((ROOT / room).rglob(path.rstrip("/"))) for room in rooms)


def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target


def test_every_tool_and_stage_exists(document):
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    text = document.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (sustainable[\w.]*\w)", text):
        assert importlib.util.find_spec(module), module
    for stage in re.findall(r"dvc repro (?:-s -f )?([a-z_]+)", text):
        assert stage in stages, stage


def test_the_readme_is_short():
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert len(words) <= WORDS


def test_the_readme_opens_with_the_headline_and_has_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_section = text.index("\n## ")
    assert text.index(rendered_block("headline", text)) < first_section
    assert "make reproduce" in text[first_section:]
    assert "make test" in text[first_section:]


def edges_of(text):
    """The arrows of a Mermaid graph; `a-->b-->c` is two."""
    edges = set()
    for line in text.splitlines():
        edges |= set(pairwise(line.strip().split("-->")))
    return edges


def reachable(edges):
    """The pairs of nodes that a path connects."""
    found = set(edges)
    while more := {(a, d) for a, b in found for c, d in edges if b == c} - found:
        found |= more
    return found


def test_arrows_of_a_diagram_are_read():
    assert edges_of("graph TD\na-->b-->c\nb-->d") == {("a", "b"), ("b", "c"), ("b", "d")}
    assert reachable({("a", "b"), ("b", "c")}) == {("a", "b"), ("b", "c"), ("a", "c")}


def test_the_diagram_of_the_pipeline_agrees_with_dvc():
    """The diagram orders stages as `dvc dag` does, and none of its arrows can be left out."""
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    stages = dict(re.findall(r'(node\d+)\["([\w]+)(?:@[\w-]+)?"\]', printed))
    declared = {(stages[a], stages[b]) for a, b in edges_of(printed)}
    drawn = edges_of(
        re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    )
    assert set(stages.values()) == {stage for edge in drawn for stage in edge}
    assert reachable(drawn) == {(a, b) for a, b in reachable(declared) if a != b}
    assert all(reachable(drawn - {edge}) != reachable(drawn) for edge in drawn)


def test_the_tasks_that_were_tried_are_printed_as_their_file_has_them():
    """Each row of the document: the network's accuracies, and the best frugal forecaster's and forest's."""
    tried = pd.read_csv(ROOT / "data/trials/tasks.csv")
    printed = (ROOT / "data/raw/README.md").read_text().partition("## Other tasks")[2]
    for task, rows in tried.groupby("task"):
        kinds = rows["forecaster"].str.extract("^(GRU|random forest)")[0].fillna("frugal")
        best = rows.groupby(kinds)["test_accuracy"].max()
        network = rows.loc[kinds == "GRU", "test_accuracy"]
        cells = next(line for line in printed.splitlines() if line.startswith(f"| {task} |")).split("|")
        assert cells[3].strip() == (" and ".join(f"{value:.3f}" for value in network) or "not run")
        assert cells[4].strip().startswith(f"{best['frugal']:.3f}")
        assert cells[5].strip() == f"{best['random forest']:.3f}"
    assert printed.count("\n| ") == tried["task"].nunique() + 1


def test_every_runtime_that_was_tried_has_a_time_or_a_reason():
    tried = pd.read_csv(ROOT / "data/trials/runtimes.csv")
    works = tried["works"] == "yes"
    assert set(tried["works"]) == {"yes", "refused"}
    assert tried["cpu_time_ms"].notna().equals(works)
    assert tried["reason"].isna().equals(works)
    assert tried["cpu"].notna().all()


def test_all_documents_are_tested():
    inside = [path.relative_to(ROOT) for path in ROOT.rglob("*.md")]
    found = {path for path in inside if not path.parts[0].startswith(".") and path.parts[0] != "shipped"}
    assert found == {Path(name) for name in DOCUMENTS}
