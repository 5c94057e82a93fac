"""The shipped run as a `repro.yaml`, which claims-cli (not ours) checks: hashes, verdicts, numbers, and
what follows from the rows by sums, means and extremes, the only statistics that it computes."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from sustainable.core.errors import UserError
from sustainable.core.files import read_json, read_rows, write_text
from sustainable.core.hashing import file_sha256
from sustainable.verification.items import HERE, Item, compared, none_wrong
from sustainable.verification.lock import files_in, read_yaml
from sustainable.verification.listed import LIST
from sustainable.verification.place import EXPLAINED, TASKS, Place

WITNESS, CRATE = "repro.yaml", "ro-crate-metadata.json"
UNPINNED = (WITNESS, CRATE, EXPLAINED)
"""Not pinned: the document itself, and what holds its hash."""

CLAIMS, METRICS = "claims.json", "metrics/benchmark.json"
HITS, ACTIONS = "benchmark/published.hits.csv", "search/published/actions.csv"
MEDIA_TYPES = {
    ".csv": "text/csv", ".json": "application/json", ".lock": "application/yaml", ".md": "text/markdown",
    ".safetensors": "application/octet-stream", ".tex": "application/x-tex", ".yaml": "application/yaml",
}  # fmt: skip

NUMBERS = {
    "A2": ("*/cpu_time_ms/ratio/*", "*/energy_mwh/ratio/*"),
    "A3": ("*/cpu_time_ms/ratio/*", "*/latency_ms/ratio/*"),
    "B1": ("pooled/*/ratio/[!n]*",),
    "B2": ("lengths/*/[!n]*", "pooled/*/ratio/[!n]*"),
    "B3": ("lines/*/process/[!n]*",),
    "C1": ("*/choice/accuracy", "*/choice/by_batch_size/*/ratio/*", "*/choice/over_*"),
    "C2": ("*/choice/by_batch_size/*/to_uncompressed/*",),
    "C3": ("*/against/[!n]*", "*/mean_regret/*"),
    "C4": ("*/[!n]*",),
}
"""The main numbers of a claim with many, as patterns of paths in its `values`; of the others, all."""

SAME = (
    ("A2", "remeasured/cpu_time_ms/ratio/estimate", "remeasured/manual_quantization/cpu_time_ms_ratio"),
    ("A3", "remeasured/latency_ms/ratio/estimate", "remeasured/published_choice/latency_ms_ratio"),
    *(
        (claim, f"{task}/{path}", f"{task}/{twin}")
        for task in TASKS
        for claim, path, twin in (
            ("C1", "choice/accuracy", "ppo_stepwise/accuracy"),
            ("C1", "choice/by_batch_size/1/ratio/estimate", "ppo_stepwise/cpu_time_ratio_batch_1"),
            ("C1", "choice/by_batch_size/64/ratio/estimate", "ppo_stepwise/cpu_time_ratio_batch_64"),
            ("C5", "accuracies/logistic_last_day", "logistic_last_day/accuracy"),
        )
    ),
)
"""Claim, path in its `values`, path in the metrics: the number that must stand in both files."""

AVERAGED = {"published": "benchmark/published.csv", "remeasured": "benchmark/remeasured.csv"}
AVERAGED_COLUMNS = ("cpu_time_ms", "latency_ms")
EXACTLY = {"mode": "absolute", "tolerance": "0"}
WITHIN_ROUNDING = {"mode": "relative", "tolerance": "1e-9"}
"""How numbers are compared; means nearly: ours is of floats, claims-cli's of the decimals as written. Its own
way, to the digits that are given, would take 0.54 for 0.5."""

Entry = dict[str, Any]


def write_witness(reference: Path, out: Path) -> None:
    """Write `repro_document(reference)` as YAML; the same files give the same bytes."""
    document = repro_document(reference)
    write_text(out, yaml.dump(document, Dumper=_Plain, sort_keys=False, width=110, default_flow_style=None))


def repro_document(reference: Path) -> Entry:
    """The document: every file of `reference` with its SHA-256 (but for `UNPINNED`), every claim with its
    words, its verdict and its main numbers, and what can be had from the rows. Paths are relative to
    `reference`, where it must lie to be checked.

    Raises `UserError` where claims, metrics or rows are missing, or hold no number where one is declared.
    """
    claims, metrics = read_json(reference / CLAIMS), read_json(reference / METRICS)
    return {
        "schema_version": "repro/1",
        "project": "Sustainable Agents: the shipped run",
        "artifacts": [
            {
                "id": name,
                "path": name,
                "media_type": media_type(name),
                "digest": {"algorithm": "sha256", "value": file_sha256(path)},
            }
            for name, path in sorted(files_in(reference).items())
            if name not in UNPINNED
        ],
        "claims": [
            *(_claim(reference, claims, index, metrics) for index in range(len(claims))),
            *(_means(reference, way, metrics[way]) for way in AVERAGED),
        ],
    }


class _Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes what stands twice twice: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def media_type(name: str) -> str:
    return MEDIA_TYPES.get(Path(name).suffix, "text/plain")


def _claim(reference: Path, claims: Sequence[Mapping[str, Any]], index: int, metrics: Any) -> Entry:
    claim = claims[index]
    rows = FROM_ROWS.get(claim["id"])
    evidence = [
        *_words(claims, index),
        *_main_numbers(index, claim),
        *_same_in_metrics(index, claim, metrics),
        *(rows(reference, claim) if rows else ()),
    ]
    return {"id": claim["id"], "text": claim["statement"], "evidence": evidence}


def _words(claims: Sequence[Mapping[str, Any]], index: int) -> Iterator[Entry]:
    """Quotations, since claims-cli compares no text at an address: what is said of the claim, its verdict
    (with the head of the next claim, or the end, which tells whose it is), and its verdict in the metrics."""
    claim = claims[index]
    said = {key: value for key, value in claim.items() if key not in ("values", "verdict")}
    head = ("evidence", "hosts", "id")
    following = [{key: one[key] for key in head if key in one} for one in claims[index + 1 : index + 2]]
    after = f", {{ {_as_written(following[0])}" if following else " ]"
    for artifact, text in (
        (CLAIMS, f'{_as_written(said)}, "values":'),
        (CLAIMS, f"{_as_written({'verdict': claim['verdict']})} }}{after}"),
        (METRICS, _as_written({claim["id"]: claim["verdict"]})),
    ):
        yield {"kind": "quote", "artifact": artifact, "text": text}


def _as_written(value: Mapping[str, Any]) -> str:
    """As `core.files.write_json` writes it, with one space for any white space, as claims-cli reads it."""
    return " ".join(json.dumps(value, indent=2, sort_keys=True)[1:-1].split())


def _main_numbers(index: int, claim: Mapping[str, Any]) -> Iterator[Entry]:
    """The numbers of a claim, each at its address in claims.json, with all its digits."""
    found = {"/".join(path): (path, number) for path, number in _numbers(claim["values"])}
    for pattern in NUMBERS.get(claim["id"], ("*",) if found else ()):
        chosen = [name for name in found if fnmatchcase(name, pattern)]
        if not chosen:
            raise UserError(f"{CLAIMS}: {claim['id']}: no number at {pattern}; correct NUMBERS in witness.py")
        for name in chosen:
            path, number = found[name]
            address = {"artifact": CLAIMS, "pointer": _pointer(str(index), "values", *path)}
            yield {"kind": "metric", "name": name, **address, "reported": repr(number), **EXACTLY}


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int | float]]:
    """Every number in nested mappings and lists, with its path."""
    if isinstance(value, Mapping | list):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _numbers(part, (*path, str(key)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _pointer(*path: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _same_in_metrics(index: int, claim: Mapping[str, Any], metrics: Any) -> Iterator[Entry]:
    """Numbers that claims.json and the metrics must both hold, exactly."""
    held, other = (dict(_numbers(one)) for one in (claim["values"], metrics))
    for owner, path, twin in SAME:
        if owner != claim["id"]:
            continue
        here, there = tuple(path.split("/")), tuple(twin.split("/"))
        if here not in held or there not in other:
            raise UserError(f"{CLAIMS}, {METRICS}: {owner}: no number at {path} or {twin}; correct SAME")
        sides = [
            {"name": "claim", **_at(CLAIMS, _pointer(str(index), "values", *here))},
            {"name": "metrics", **_at(METRICS, _pointer(*there))},
        ]
        yield {"kind": "correspondence", "name": path, **EXACTLY, "sides": sides}


def _at(artifact: str, pointer: str) -> Entry:
    return {"artifact": artifact, "locator": {"kind": "tree", "pointer": pointer}}


def _cell(artifact: str, column: str, where: Mapping[Any, Any]) -> Entry:
    return {"artifact": artifact, "locator": {"kind": "table", "column": column, "where": dict(where)}}


def _hits(reference: Path, claim: Mapping[str, Any]) -> Iterator[Entry]:
    """A1: how many test windows two configurations get right, counted over all windows."""
    keys = ("training_seed", "first_day")
    rows = read_rows(reference / HITS, keys)
    windows = rows[list(keys)].to_dict("records")
    for name in ("baseline", "manual_quantization"):
        cells = [_cell(HITS, name, where) for where in windows]
        yield _aggregate(f"right by {name}", "sum", claim["values"]["correct"][name], cells)


def _proxies(reference: Path, claim: Mapping[str, Any]) -> Iterator[Entry]:
    """A4: the proxies of every quantized action are 0, of every other one the dense model's."""
    rows = read_rows(reference / ACTIONS, ("action", "quantization"))
    for count, quantized in product(("parameters", "flops"), (True, False)):
        value = 0 if quantized else claim["values"][f"dense_{count}"]
        actions = rows.loc[rows["quantization"] == quantized, "action"]
        cells = [_cell(ACTIONS, f"proxy_{count}", {"action": int(action)}) for action in actions]
        said = f"proxy_{count}, {'quantized' if quantized else 'not quantized'}"
        yield from (_aggregate(f"{one} {said}", one, value, cells) for one in ("min", "max"))


def _rewards(reference: Path, claim: Mapping[str, Any]) -> Iterator[Entry]:
    """A5: the best reward of all actions is the lowest of those that share it."""
    rows = read_rows(reference / ACTIONS, ("action", "reward"))
    actions, best = [int(action) for action in rows["action"]], float(rows["reward"].max())
    for name, one, chosen in (("best", "max", actions), ("shared", "min", claim["values"]["tied"])):
        cells = [_cell(ACTIONS, "reward", {"action": action}) for action in chosen]
        yield _aggregate(f"{name} reward", one, best, cells)


def _seeds(reference: Path, claim: Mapping[str, Any]) -> Iterator[Entry]:
    """C5: the network's accuracy on a task is the mean over its training seeds, fresh if it has such."""
    for task in TASKS:
        scores = f"metrics/{task}/confirmed.json"
        if not (reference / scores).is_file():
            scores = f"metrics/{task}/baseline.json"
        seeds = read_json(reference / scores)["seeds"]
        cells = [_at(scores, _pointer("seeds", seed, "test", "accuracy")) for seed in seeds]
        mean = claim["values"][task]["accuracies"]["baseline"]
        yield _aggregate(f"accuracy over seeds, {task}", "mean", mean, cells)


FROM_ROWS: Mapping[str, Callable[[Path, Mapping[str, Any]], Iterator[Entry]]] = {
    "A1": _hits, "A4": _proxies, "A5": _rewards, "C5": _seeds,
}  # fmt: skip


def _means(reference: Path, way: str, lines: Mapping[str, Mapping[str, float]]) -> Entry:
    """A claim of its own: the metrics' times of a forecast are the means of the rows."""
    table = AVERAGED[way]
    rows = read_rows(reference / table, ("configuration", "block"))
    evidence = []
    for name, line in lines.items():
        blocks = sorted(int(block) for block in rows.loc[rows["configuration"] == name, "block"])
        for outcome in AVERAGED_COLUMNS:
            cells = [_cell(table, outcome, {"configuration": name, "block": block}) for block in blocks]
            evidence.append(_aggregate(f"{outcome} of {name}", "mean", line[outcome], cells))
    text = f"The times of a forecast in {METRICS}, {way}, are the means over the blocks of {table}."
    return {"id": f"means-{way}", "text": text, "evidence": evidence}


def _aggregate(name: str, statistic: str, value: float, members: Collection[Entry]) -> Entry:
    compared = WITHIN_ROUNDING if statistic == "mean" else EXACTLY
    return {
        "kind": "aggregate", "name": name, "statistic": statistic, "reported": repr(value), **compared,
        "count": len(members), "members": list(members),
    }  # fmt: skip


def check_crate(place: Place) -> Iterator[Item]:
    """Check that the RO-Crate gives every shipped file the hash that `SHA256SUMS` gives it."""
    listed = {name: digest for name, digest in place.sums.items() if name != CRATE}
    graph = read_json(place.reference / CRATE).get("@graph", [])
    own = {entry["@id"]: entry["sha256"] for entry in graph if "sha256" in entry}
    wrong = [name for name in sorted({*own, *listed}) if own.get(name) != listed.get(name)]
    wrong, expected = [f"another hash of {name}" for name in wrong], f"{len(listed)} hashes as in {LIST}"
    yield none_wrong("T0", f"{CRATE} agrees with {LIST}", "shipped", expected, wrong)


def check_repro(place: Place) -> Iterator[Item]:
    """Check that repro.yaml has the hashes of `SHA256SUMS`, and says what claims, metrics and rows say."""
    written, computed = read_yaml(place.reference / WITNESS), repro_document(place.reference)
    listed = {name: digest for name, digest in place.sums.items() if name not in UNPINNED}
    pinned = {entry["path"]: entry["digest"]["value"] for entry in written.pop("artifacts")}
    del computed["artifacts"]
    wrong = [] if pinned == listed else ["other hashes"]
    wrong += [f"other {key}" for key in computed if written.get(key) != computed[key]]
    name, expected = f"{WITNESS} follows from the shipped files", "what the shipped files say"
    yield compared("T1", name, HERE, expected, wrong[0] if wrong else expected)
