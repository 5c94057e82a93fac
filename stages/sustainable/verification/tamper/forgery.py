"""What a forger does to a file, and how a thorough one covers it up."""

import csv
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, write_json, write_text
from sustainable.core.hashing import file_sha256
from sustainable.reporting.host_folders import DESCRIPTION
from sustainable.verification.content import content_sha256
from sustainable.verification.export.witness import CRATE, WITNESS, write_witness
from sustainable.verification.lock import md5_of
from sustainable.verification.manifest import declared_of, declared_tiers
from sustainable.verification.packages import with_packages
from sustainable.verification.place import HOST, HOSTS, MANIFEST, REFERENCE, Place
from sustainable.verification.rerender import TRACKED, rerender, with_recorded_inputs, write_lock
from sustainable.verification.sent_rows import BENCHMARKS
from sustainable.verification.tiers.integrity import shipped_name, write_list

RESULTS = (
    "cpu_time_per_step_us", "cpu_time_ms_batch_64", "cpu_time_ms", "process_rss_bytes", "episode_return",
    "reward", "test_accuracy_difference", "validation_loss", "baseline", "action",
)  # fmt: skip
"""The columns that a forger would edit; the first one that a table has counts."""
CLAIMS = (f"{REFERENCE}/claims.json", "paper/claims.json")
LOCKS = (f"{REFERENCE}/dvc.lock", "dvc.lock")


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """Yield the content of a JSON file, and write it back."""
    content = read_json(path)
    yield content
    write_json(path, content)


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    write_text(path, change(path.read_text(encoding="utf-8")))


def flip(path: Path, seed: str) -> None:
    """Change one random byte; without `seed`, the last number of the last tensor."""
    content = bytearray(path.read_bytes())
    content[random.Random(seed).randrange(len(content)) if seed else -2] ^= 1
    path.write_bytes(bytes(content))


def edit_row(path: Path, seed: str, how: str) -> None:
    """Drop or repeat a random row that has a result, or improve the result: halve it, or swap 0 and 1."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    column = next(header.index(name) for name in RESULTS if name in header)
    index = random.Random(seed).choice([index for index, row in enumerate(rows) if row[column]])
    cell = rows[index][column]
    if how == "row dropped":
        del rows[index]
    elif how == "row added":
        rows.insert(index, rows[index])
    else:
        rows[index][column] = {"0": "1", "1": "0"}.get(cell) or repr(float(cell) / 2)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def edit_host(root: Path, host: str, seed: str) -> None:
    """Improve a result of another host, and renew the hash in its description."""
    tables = (root / HOSTS / host / files[0] for files in BENCHMARKS.values())
    path = next(filter(Path.exists, tables))
    edit_row(path, seed, "number edited")
    with edited(path.with_name(DESCRIPTION)) as description:
        description["rows"][path.name] = md5_of(path)


def reverse_host_hash(root: Path, host: str) -> None:
    """Let another host's description give a wrong hash of its first file."""
    with edited(root / HOSTS / host / DESCRIPTION) as description:
        name, digest = min(description["rows"].items())
        description["rows"][name] = digest[::-1]


def edit_cpu(root: Path, table: str) -> None:
    """Let host.json say that a table was measured on another CPU."""
    with edited(root / REFERENCE / HOST) as host:
        host["measured_on"][table]["cpu"] += " II"


def turn_verdict(root: Path, claim: str, files: Sequence[str] = CLAIMS) -> None:
    """Give a claim another verdict in the manifest and in `files`."""
    with edited(root / REFERENCE / MANIFEST) as manifest:
        entry = manifest["claims"][claim]
        entry["verdict"] = "refuted" if entry["verdict"] == "confirmed" else "confirmed"
    for name in files:
        with edited(root / name) as claims:
            next(one for one in claims if one["id"] == claim)["verdict"] = entry["verdict"]


def edit_digit(path: Path, seed: str) -> None:
    """Change a random digit of a text."""
    text = path.read_text(encoding="utf-8")
    index = random.Random(seed).choice([n for n, letter in enumerate(text) if letter.isdigit()])
    write_text(path, f"{text[:index]}{(int(text[index]) + 1) % 10}{text[index + 1 :]}")


def edit_digit_after(path: Path, begin: str) -> None:
    """Change the first digit after the marker `begin`."""
    before, marker, after = path.read_text(encoding="utf-8").partition(begin)
    digit = re.search(r"\d", after)
    assert digit is not None
    other = str((int(digit[0]) + 1) % 10)
    write_text(path, before + marker + after[: digit.start()] + other + after[digit.end() :])


def repeat_key(path: Path) -> None:
    """Write the first key of the first object a second time, with another value."""
    substitute(path, "{", '{"' + re.findall(r'"([^"]+)":', path.read_text(encoding="utf-8"))[0] + '": 0,')


def rewrite_claims(root: Path, how: str) -> None:
    """Write claims.json and its tracked copy in another way, which says the same."""
    claims = read_json(root / CLAIMS[0])
    if how == "claims swapped":
        claims[:2] = claims[1::-1]
    elif how == "a claim repeated":
        claims.append(claims[0])
    elif how == "keys reordered":
        claims[0] = dict(reversed(claims[0].items()))
    indent = 3 if how == "spaces added" else 2
    for name in CLAIMS:
        write_text(root / name, json.dumps(claims, indent=indent) + "\n")


def pretend_run(root: Path, path: str, rows: bool) -> None:
    """Edit a tracked result, and make the folder that shows a run of the user's own, with the shipped rows or
    without any."""
    (root / "data/benchmark").mkdir()
    if rows:
        shutil.copytree(root / REFERENCE / "benchmark", root / "data/benchmark", dirs_exist_ok=True)
    rewrite(root / path, lambda text: text.replace(" ", "  ", 1))


def edit_hash(path: Path) -> None:
    """Change the last SHA-256 of a text."""
    text = path.read_text(encoding="utf-8")
    last = re.findall(r"\b[0-9a-f]{64}\b", text)[-1]
    write_text(path, text.replace(last, last[::-1]))


def substitute(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a text by `new`; raises `ValueError` if there is none."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{path.name}: {old!r} not found")
    write_text(path, text.replace(old, new, 1))


def edit_entry(root: Path, artifact: str, change: Mapping[str, Any] | None) -> None:
    """Change the manifest's entry of an artifact; without `change`, remove it."""
    with edited(root / REFERENCE / MANIFEST) as manifest:
        if change is None:
            del manifest["artifacts"][artifact]
        else:
            manifest["artifacts"][artifact] |= change


def reverse_hash(root: Path, artifact: str, key: str) -> None:
    edit_entry(root, artifact, {key: Place(root).artifacts[artifact][key][::-1]})


def edit_input(root: Path, stage: str) -> None:
    """Let both copies of dvc.lock say that a stage read other data."""
    md5 = next(iter(Place(root).lock[stage].data.values()))
    text = (root / LOCKS[0]).read_text(encoding="utf-8")
    before, name, after = text.partition(f"\n  {stage}:\n")
    for lock in LOCKS:
        write_text(root / lock, before + name + after.replace(md5, "0" * len(md5), 1))
    derive_entries(root)


def pin_another_version(root: Path, package: str) -> None:
    """Pin another version of a package."""
    path, pinned = root / "requirements.txt", rf"(?m)^{re.escape(package)}==.*$"
    rewrite(path, lambda text: re.sub(pinned, f"{package}==0.0.1", text))


def edit_oracle(root: Path, task: str) -> None:
    """Give a task's oracle a higher reward, and render everything that follows from it again."""
    with edited(root / REFERENCE / f"search/{task}/choices.json") as choices:
        choices["choices"]["oracle"]["reward"] += 0.001
    reseal(root)
    release(root)  # with the inputs that the stage report then has
    rerender(root)
    release(root)


def edit_reason(path: Path) -> None:
    with edited(path) as claims:
        claims[0]["reason"] += " The effect is large."


def type_sentence(root: Path, text: str) -> None:
    """Type a sentence into a template of the paper and into its page."""
    template, page = root / "paper/templates/introduction.tex.j2", root / REFERENCE / "paper/paper.tex"
    printed = page.read_text(encoding="utf-8")
    lines = template.read_text(encoding="utf-8").splitlines()
    plain = next(line for line in lines if line[:1].isalpha() and printed.count(f"\n{line}\n") == 1)
    for path in (template, page):
        substitute(path, f"\n{plain}\n", f"\n{plain} {text}\n")


def release(root: Path) -> None:
    """Make a copy of the project one in which nothing is stale, as in a release.

    The version stays, because the pages print it. The lock then says that the shipped rows were made by this
    checkout's code and parameters, host.json that they were made with its packages, and every hash agrees.
    """
    place = Place(root)
    stages = {
        name: replace(with_recorded_inputs(place, stage), outputs=place.lock[name].outputs)
        for name, stage in place.declared.items()
        if name in place.lock  # a new stage may not have been run for the reference
    }
    write_lock(root / LOCKS[0], stages, place.artifacts, root)
    shutil.copyfile(root / LOCKS[0], root / LOCKS[1])
    with edited(root / REFERENCE / HOST) as host:
        host |= with_packages(host, stages, root)
    derive_entries(root)
    reseal(root)


def derive_entries(root: Path) -> None:
    """Derive again what the manifest's entries say of their stages."""
    place, tiers = Place(root), declared_tiers(root)
    with edited(root / REFERENCE / MANIFEST) as manifest:
        for path, entry in manifest["artifacts"].items():
            entry |= declared_of(path, place.lock[entry["stage"]], tiers)


def reseal(root: Path) -> None:
    """Rewrite every hash as a thorough forger would: manifest, lock, descriptions, list, tracked copies."""
    place = Place(root)
    with edited(place.reference / MANIFEST) as manifest:
        for path, entry in manifest["artifacts"].items():
            file = place.reference / shipped_name(path)
            if entry["shipped"] and file.is_file() and file_sha256(file) != entry["sha256"]:
                entry |= {"sha256": file_sha256(file), "md5": md5_of(file), "size": file.stat().st_size}
                with suppress(UserError):  # a file that cannot be read has no content to hash
                    entry["content"] = content_sha256(file)
                if path in TRACKED or path.startswith("data/metrics/"):
                    shutil.copyfile(file, place.root / path)
    text = (root / LOCKS[0]).read_text(encoding="utf-8")
    outputs = {path: md5 for stage in place.lock.values() for path, md5 in stage.outputs.items()}
    for path, md5 in outputs.items():
        shipped = place.reference / shipped_name(path)
        if shipped.exists():
            text = text.replace(md5, md5_of(shipped))
    for lock in LOCKS:
        write_text(root / lock, text)
    rewrite_descriptions(root)


def rewrite_descriptions(root: Path, left: Sequence[str] = ()) -> None:
    """Rewrite the hashes in repro.yaml, the RO-Crate (unless in `left`) and `SHA256SUMS`."""
    reference, sums = root / REFERENCE, Place(root).sums
    listed = {reference / path: digest for path, digest in sums.items() if path not in (WITNESS, CRATE)}
    digests = {digest: file_sha256(path) for path, digest in listed.items() if path.is_file()}
    changed = {old: new for old, new in digests.items() if old != new}
    if changed and WITNESS not in left:
        with suppress(UserError):  # forged rows may lack a number that repro.yaml needs
            write_witness(reference, reference / WITNESS)
    if CRATE not in left:
        changed[sums[WITNESS]] = file_sha256(reference / WITNESS)
        crate = (reference / CRATE).read_text(encoding="utf-8")
        for before, after in changed.items():
            crate = crate.replace(before, after)
        write_text(reference / CRATE, crate)
    write_list(root)
