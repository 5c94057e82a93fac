"""Forgeries of everything but results: code, documents, the list of hashes, and what lies beside the files.

Someone who edits a file and rewrites the list contradicts nothing in the artifact. Only a root hash from
elsewhere shows it, so these forgeries are left to a reader who has one.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from sustainable.core.files import write_bytes, write_text
from sustainable.verification.listed import CODE, LIST
from sustainable.verification.place import EXPLAINED, HOST, REFERENCE
from sustainable.verification.tamper import forgery
from sustainable.verification.tamper.attack import Attack, on_file, some
from sustainable.verification.tiers.integrity import write_list

VERIFIER = (f"{CODE}sustainable/verification/", f"{CODE}sustainable/tools/", "Makefile", ".ci/")
SILENCED = (
    ("Makefile", "\t@python -I -B", "\t@echo ok: 0 items failed; true"),
    (f"{CODE}sustainable/tools/verify.py", "    return 1 if", "    return 0 if"),
    (f"{CODE}sustainable/verification/listed.py", "    if stopping:", "    if False:"),
    (f"{CODE}sustainable/verification/tiers/integrity.py", "compare(place.root).items()", "()"),
    (f"{CODE}sustainable/verification/items.py", 'status="FAIL")', 'status="ok")'),
)
"""Edits that make the verifier say ok: file, old text, new text."""
NARROWED = f"{CODE}sustainable/statistics.py"
IN_THE_WAY = (
    *(f"{CODE}{name}.py" for name in ("yaml", "hashlib", "json", "numpy", "pandas", "re", "usercustomize")),
    *(f"{CODE}{name}/__init__.py" for name in ("jinja2", "encodings", "pydantic")),
    *(f"{CODE}sustainable/verification/{name}.py" for name in ("hashlib", "runpy", "stat", "os")),
    *(f"{CODE}sustainable/tools/{name}.py" for name in ("argparse", "time", "sitecustomize")),
    *(f"{CODE}sustainable/{name}/__init__.py" for name in ("statistics", "core/errors", "tools/verify")),
    *(f"{CODE}sustainable/{name}" for name in ("core/errors.so", "core/files.pyc", "tools/verify.abi3.so")),
    f"{CODE}numpy.pth", f"{CODE}numpy-9.dist-info/METADATA", f"{CODE}.gitignore",
)  # fmt: skip
"""Modules, compiled modules and packages that Python might import instead of what is meant."""
AT_THE_TOP = ("yaml.py", "sitecustomize.py", "conftest.py", "GNUmakefile", "pytest.ini", "makefile", ".env")
DOCUMENTS = ("README.md", "paper/EXPERIMENTS.md", "data/README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE")
TYPED = ("It saves thirty percent.", "The agent doubles the saving.", "None of this is refuted.")


def structural(names: Sequence[str], seed: int) -> list[Attack]:
    """Forgeries of a project with the files `names`; `seed` draws which of many are tried."""
    chance = random.Random(seed)
    return [
        *_code(names, chance),
        *_documents(),
        *_lines(names, chance),
        *_beside(names, chance),
        *_json(names),
        *_pretended_runs(),
    ]


def _code(names: Sequence[str], chance: random.Random) -> Iterator[Attack]:
    for path in (name for name in names if name.startswith(VERIFIER)):
        yield on_file("the verifier's code edited", path, append, seen_by="outside", text="# ok\n")
    for path, old, new in SILENCED:
        change = forgery.substitute
        yield on_file("the verifier silenced", path, change, seen_by="outside", old=old, new=new)
        kind = "the verifier silenced, list rewritten"
        yield on_file(kind, path, change, then=write_list, seen_by="outside", old=old, new=new)
    kind = "an interval narrowed in the code, lock and list rewritten"
    halved = partial(append, text="student_interval = min  # narrower\n")
    yield on_file(kind, NARROWED, halved, then=forgery.release, seen_by="outside")
    code = [name for name in names if name.startswith((CODE, "tests/")) and name.endswith(".py")]
    for path in chance.sample(code, 30):
        kind, text = "code edited, list rewritten", "# edited\n"
        yield on_file(kind, path, append, then=write_list, seen_by="outside", text=text)
    for path in IN_THE_WAY:
        yield on_file("a module in the way", path, write_text, seen_by="start", content="")
    for path in AT_THE_TOP:
        yield on_file("a file added at the top", path, write_text, content="")


def _documents() -> Iterator[Attack]:
    for path in DOCUMENTS:
        text = "A sentence that nobody wrote.\n"
        yield on_file("a document edited", path, append, text=text)
        kind = "a document edited, list rewritten"
        yield on_file(kind, path, append, then=write_list, seen_by="outside", text=text)
    for path, begin in (
        ("README.md", "<!-- headline:begin -->"),
        ("paper/EXPERIMENTS.md", "<!-- verdicts:begin"),
    ):
        kind = "a rendered block of a document edited, list rewritten"
        yield on_file(kind, path, forgery.edit_digit_after, then=write_list, begin=begin)
    for text in TYPED:
        kind, typed = "a sentence typed into a template", partial(forgery.type_sentence, text=text)
        yield Attack(f"{kind}, its page rewritten", text, typed)
        yield Attack(
            f"{kind}, page, lock and list rewritten", text, typed, then=forgery.release, seen_by="outside"
        )


def _lines(names: Sequence[str], chance: random.Random) -> Iterator[Attack]:
    """Forgeries of the list itself."""
    for kind, change in (
        ("a wrong line before the right one", lambda line: [f"{'0' * 64}{line[64:]}", line]),
        ("a wrong line after the right one", lambda line: [line, f"{'0' * 64}{line[64:]}"]),
        ("a line removed", lambda line: []),
        ("a line repeated", lambda line: [line, line]),
        ("a line of a file that is not there", lambda line: [line, f"{line}.more"]),
        ("a line in capitals", lambda line: [line.upper()]),
        ("a comment", lambda line: ["# checked", line]),
        ("a path that leaves the project", lambda line: [f"{line[:66]}../{line[66:]}", line]),
        ("an empty line", lambda line: ["", line]),
    ):
        for path in chance.sample(names, 8):
            yield Attack(f"{kind} of {LIST}", path, partial(edit_line, path=path, change=change))
    rows = [name for name in names if name.startswith(f"{REFERENCE}/") and not name.endswith(EXPLAINED)]
    for path in chance.sample(rows, 10):
        yield on_file("a shipped file removed, list rewritten", path, Path.unlink, then=write_list)
    others = [name for name in names if name.startswith(("tests/", "paper/templates/webpage"))]
    for path in chance.sample(others, 10):
        kind = "a file removed together with its line"
        yield on_file(kind, path, Path.unlink, then=write_list, seen_by="outside")


def _beside(names: Sequence[str], chance: random.Random) -> Iterator[Attack]:
    """Links, pipes, and files that nobody listed."""
    for path in chance.sample(names, 15):
        damage = partial(replace_by_link, path=path)
        yield Attack("a file replaced by a link to its copy", path, damage, seen_by="start")
    for path in chance.sample(names, 8):
        yield on_file("a file replaced by a pipe", path, replace_by_pipe, seen_by="start")
    folders = sorted({name.rpartition("/")[0] for name in names})
    for folder in chance.sample(folders, 30):
        yield on_file("a file added", f"{folder}/added.csv".lstrip("/"), Path.touch)
    for kind, change in (("a link", link), ("a pipe", os.mkfifo)):
        for folder in chance.sample(folders, 12):
            yield on_file(f"{kind} added", f"{folder}/added.csv".lstrip("/"), change, seen_by="start")


def _json(names: Sequence[str]) -> Iterator[Attack]:
    """Other ways to write JSON, by a forger who then rewrites every hash."""
    read = ("benchmark", "metrics", "policies", "search")
    rows = [name for name in names if name.startswith(tuple(f"{REFERENCE}/{folder}/" for folder in read))]
    for path in [f"{REFERENCE}/{HOST}", *some([name for name in rows if name.endswith(".json")], 15)]:
        yield on_file("a key repeated in JSON", path, forgery.repeat_key, True)
    for how in ("claims swapped", "keys reordered", "a claim repeated", "spaces added"):
        change = partial(forgery.rewrite_claims, how=how)
        yield Attack(f"claims.json: {how}", forgery.CLAIMS[0], change, True)


def _pretended_runs() -> Iterator[Attack]:
    """Edits of tracked results that are passed off as a run of the reader's own."""
    for path in ("paper/claims.json", "data/metrics/benchmark.json", "dvc.lock"):
        for rows in ("no rows", "the shipped rows"):
            change = partial(forgery.pretend_run, path=path, rows=rows == "the shipped rows")
            yield Attack(f"a run of one's own pretended with {rows}, its result edited", path, change)


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def edit_line(root: Path, path: str, change: Callable[[str], list[str]]) -> None:
    """Replace the line of `path` in the list."""
    lines = (root / LIST).read_text(encoding="utf-8").splitlines()
    edited = [new for line in lines for new in (change(line) if line[66:] == path else [line])]
    write_text(root / LIST, "".join(f"{line}\n" for line in edited))


def replace_by_link(root: Path, path: str) -> None:
    """Leave a link to a copy with the same bytes, where the list does not look."""
    copy = root / "shipped/copy"
    write_bytes(copy, (root / path).read_bytes())
    (root / path).unlink()
    (root / path).symlink_to(copy)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/dev/null")
