"""Verification, piece by piece: hashes, the lock, items, statistics; values that can be worked out by
hand."""

import datetime
import hashlib
import math
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imports import STAGES
from sustainable.core.errors import UserError
from sustainable.core.files import write_json, write_text
from sustainable.core.tensors import tensors_sha256, write_tensors
from sustainable.verification.content import content_sha256
from sustainable.verification.items import compared, counts, current, skipped, strictly
from sustainable.verification.lock import (
    Stage,
    comparable,
    declared_stages,
    differences,
    filled,
    folder_md5,
    in_order,
    md5_of,
    read_lock,
    upstream,
)
from sustainable.verification.manifest import declared_tiers, tier_of
from sustainable.verification.place import Place, read_claims
from sustainable.verification.tiers.integrity import check_files, check_json, shipped_name, write_list
from sustainable.verification.tiers.own_run import compare_artifacts, is_copy
from sustainable.verification.tiers.statistical import (
    Margin,
    MeasuredTable,
    check_candidates,
    check_measured,
    difference_of_means,
    flipped,
    item_of_ratio,
    log_ratios_to_baseline,
)
from sustainable.verification.tiers.verdicts import check_verdicts

ROOT = STAGES.parent


def text_file(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_equal_tables_have_one_hash_however_they_are_written(tmp_path):
    one = text_file(tmp_path, "one.csv", "a,b\n1.0,x\n0.5,\n")
    same = text_file(tmp_path, "same.csv", "a,b\r\n1.00,x\r\n5e-1,\r\n")
    other = text_file(tmp_path, "other.csv", "a,b\n1.0,x\n0.5000001,\n")
    assert content_sha256(one) == content_sha256(same) != content_sha256(other)
    swapped = text_file(tmp_path, "swapped.csv", "a,b\n0.5,\n1.0,x\n")
    assert content_sha256(swapped) != content_sha256(one)


def test_a_hash_of_digits_is_no_number(tmp_path):
    digits = "1" * 63
    one, other = (text_file(tmp_path, f"{end}.csv", f"sha\n{digits}{end}\n") for end in "12")
    assert content_sha256(one) != content_sha256(other)


def test_json_hashes_do_not_depend_on_order_and_space(tmp_path):
    one = text_file(tmp_path, "one.json", '{"a": 1, "b": [2, 3]}')
    same = text_file(tmp_path, "same.json", '{\n"b": [2,3],\n"a": 1}')
    other = text_file(tmp_path, "other.json", '{"a": 1, "b": [3, 2]}')
    assert content_sha256(one) == content_sha256(same) != content_sha256(other)


def test_weights_have_the_hash_that_training_gives_them(tmp_path):
    import torch

    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2]), "c": torch.tensor(0.5)}
    for name, description in (("with", {"seed": 1}), ("without", None)):
        write_tensors(tmp_path / f"{name}.safetensors", tensors, description)
        assert content_sha256(tmp_path / f"{name}.safetensors") == tensors_sha256(tensors)


def test_a_file_that_is_not_what_its_name_says_is_one_line(tmp_path):
    path = text_file(tmp_path, "weights.safetensors", "no")
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
        content_sha256(path)


def test_a_folder_has_the_hash_that_dvc_gives_it(tmp_path):
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    for name in ("b/2.txt", "b.txt", "a.txt", "b/10.txt"):
        (folder / name).write_text(name)
    filesystem = LocalFileSystem()
    store = HashFileDB(filesystem, str(tmp_path / "store"))
    _, _, found = build(store, str(folder), filesystem, "md5")
    assert md5_of(folder) == found.hash_info.value
    assert md5_of(folder / "a.txt") == hashlib.md5(b"a.txt", usedforsecurity=False).hexdigest()
    assert folder_md5({"b.txt": "1", "a.txt": "2"}) == folder_md5({"a.txt": "2", "b.txt": "1"})


def stage(name, inputs, outputs):
    return Stage(name, "", {}, dict.fromkeys(inputs, "0"), dict.fromkeys(outputs, "0"))


def test_stages_are_ordered_by_what_they_read():
    last = stage("last", ["models", "code.py"], ["page"])  # reads the folder of two outputs
    first, second = stage("first", ["raw"], ["models/a"]), stage("second", ["models/a"], ["models/b"])
    ordered = in_order([last, second, first])
    assert [one.name for one in ordered] == ["first", "second", "last"]
    stages = {one.name: one for one in ordered}
    assert upstream(stages, "second") == ["first", "second"]
    assert upstream(stages, "last") == ["first", "second", "last"]
    with pytest.raises(UserError, match="circle"):
        in_order([stage("a", ["y"], ["x"]), stage("b", ["x"], ["y"])])


def test_every_declared_stage_has_been_run(project):
    from sustainable.verification.lock import read_yaml

    lock = read_lock(project / "dvc.lock")
    declared = declared_stages(project, read_yaml(project / "dvc.yaml"), read_yaml(project / "params.yaml"))
    assert declared.keys() == lock.keys()
    assert all(stage.outputs.keys() == lock[name].outputs.keys() for name, stage in declared.items())


PIPELINE = {
    "stages": {
        "train": {
            "matrix": {"part": "${parts}"},
            "cmd": "python stages/train.py --part ${item.part}\n  --out ${out}",
            "params": ["train.${item.part}", "meter"],
            "deps": ["data/raw.csv", "stages/lib", "stages/train.py"],
            "outs": ["data/${item.part}"],
            "metrics": [{"data/${item.part}.json": {"cache": False}}],
        }
    }
}
PARAMETERS = {
    "parts": ["a", "b"],
    "out": "data",
    "train": {"a": {"epochs": 3}, "b": {"epochs": 4}},
    "meter": "x",
}


@pytest.fixture
def declared(tmp_path):
    (tmp_path / "stages/lib").mkdir(parents=True)
    text_file(tmp_path, "stages/lib/one.py", "1\n")
    text_file(tmp_path, "stages/train.py", "2\n")
    return lambda parameters=PARAMETERS: declared_stages(tmp_path, PIPELINE, parameters)["train@b"]


def test_a_declared_stage_has_its_variant_filled_in_and_folders_hashed(declared, tmp_path):
    stage = declared()
    assert stage.command == "python stages/train.py --part b --out data"
    assert stage.parameters == {"train.b": {"epochs": 4}, "meter": "x"}
    assert stage.code == {path: md5_of(tmp_path / path) for path in ("stages/lib", "stages/train.py")}
    assert list(stage.outputs) == ["data/b", "data/b.json"]


def test_what_differs_from_the_recorded_stage_is_named(declared, tmp_path):
    recorded = declared()
    assert differences(recorded, declared()) == []
    text_file(tmp_path, "stages/lib/one.py", "3\n")
    other = declared(
        PARAMETERS | {"out": "elsewhere", "train": {"b": {"epochs": 5, "seed": 1}}, "parts": ["b"]}
    )
    assert differences(recorded, other) == [
        "command: data -> elsewhere",
        "code: stages/lib changed (1 changed)",
        "parameters: train.b.epochs 4 -> 5, train.b.seed none -> 1",
    ]


def test_stale_items_are_failures_only_at_a_release():
    stale = current("making of train", ["code: a.py changed (1 changed)"], "train")
    assert (stale.status, current("making of train", []).status) == ("stale", "ok")
    assert stale.line.endswith("making of train  [shipped]  code: a.py changed (1 changed)")
    (failed,) = strictly([stale])
    assert failed.status == "FAIL"
    assert "found code: a.py changed" in failed.line and "`make reproduce`" in failed.line


def test_a_failure_outweighs_stale_rows():
    from sustainable.tools.verify import exit_status

    ok, failed = compared("T0", "a", "shipped", "1", "1"), compared("T0", "a", "shipped", "1", "2")
    stale = current("making of train", ["code"])
    assert [exit_status(items) for items in ([ok], [ok, stale], [stale, failed])] == [0, 3, 1]


def test_flipped_forecasts_are_counted_by_configuration(tmp_path):
    one = text_file(tmp_path, "one.csv", "training_seed,first_day,a,oracle\n1,5,1,1\n1,6,0,1\n")
    other = text_file(tmp_path, "other.csv", "training_seed,first_day,a,oracle\n1,5,1,0\n1,6,1,0\n")
    assert flipped(one, other) == ({"a": 1, "oracle": 2}, 2)
    assert flipped(one, other, ("oracle",)) == ({"a": 1}, 2)
    days = text_file(tmp_path, "days.csv", "training_seed,first_day,a,oracle\n1,5,1,0\n1,7,1,0\n")
    with pytest.raises(ValueError, match="other windows"):
        flipped(one, days)


def test_a_lock_that_is_none_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"dvc\.lock: not a dvc\.lock of this pipeline"):
        read_lock(text_file(tmp_path, "dvc.lock", "schema: 2\n"))
    with pytest.raises(UserError, match="cannot be read"):
        read_lock(text_file(tmp_path, "other.lock", "a: [\n"))


def test_placeholders_are_filled_and_unknown_ones_refused():
    context = {"key": "a", "item": {"protocol": "p"}}
    assert filled("run ${key}\n  ${item.protocol}", context) == "run a p"
    with pytest.raises(KeyError):
        filled("${item.other}", context)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert comparable({"rate": "1e-06", "names": ["a", 2]}) == {"rate": 1e-6, "names": ["a", 2]}
    assert comparable(datetime.date(2013, 12, 31)) == "2013-12-31"


def test_items_count_by_tier_and_a_skipped_one_is_no_pass():
    ok = compared("T0", "file", "shipped", "1", "1")
    failed = compared("T1", "weights", "recomputed here", "1", "2", stage="train")
    nothing = compared("T1", "gone", "shipped", None, None)
    items = [ok, failed, nothing, skipped("T3", "rows", "not measured")]
    assert [item.status for item in items] == ["ok", "FAIL", "FAIL", "skipped"]
    assert counts(items)["T1"] == {"ok": 0, "FAIL": 2, "stale": 0, "skipped": 0, "other CPU": 0}
    assert counts(items)["T3"] == {"ok": 0, "FAIL": 0, "stale": 0, "skipped": 1, "other CPU": 0}
    assert "expected 1, found 2; first stage that differs: train" in failed.line
    assert skipped("T3", "rows", "why").line.startswith("skipped   T3  rows  [shipped]  why")


def test_the_first_pattern_gives_the_tier():
    tiers = {"data/*_cost.json": "none", "data/*": "T1"}
    assert tier_of("data/metrics/training_cost.json", tiers) == "none"
    assert tier_of("data/metrics/baseline.json", tiers) == "T1"
    with pytest.raises(UserError, match="no pattern matches paper/x"):
        tier_of("paper/x", tiers)


@pytest.mark.parametrize(
    ("path", "tier"),
    [
        ("data/search/weather/candidates.csv", "T3"),
        ("data/search/mnist1d/candidates.conditions.json", "none"),
        ("data/search/mnist1d/tuned.json", "T4"),
        ("data/search/weather/choices.json", "T4"),
        ("data/search/weather/repairs.csv", "T4"),
        ("data/search/published/actions.csv", "T1"),
        ("data/benchmark/mnist1d.csv", "T3"),
        ("data/benchmark/mnist1d.hits.csv", "T2"),
        ("data/metrics/weather/confirmed.json", "T1"),
        ("data/metrics/weather/confirmation_cost.json", "none"),
        ("data/models/weather/confirmed/baseline/seed_11.safetensors", "T1"),
        ("data/training/weather/confirmed.csv", "T4"),
        ("data/training/weather/narrow.csv", "T1"),
    ],
)
def test_what_follows_from_a_search_here_need_not_be_equal(path, tier):
    assert tier_of(path, declared_tiers(ROOT)) == tier


def test_a_fresh_network_of_widths_that_were_not_chosen_here_is_no_failure(tmp_path):
    folder = "data/models/weather/confirmed"
    missing = [f"{folder}/baseline/seed_11.safetensors", f"{folder}/narrow/l1/32x8/seed_11.safetensors"]
    entry = {"tier": "T1", "stage": "confirm@weather", "content": "0"}
    manifest = {"artifacts": dict.fromkeys(missing, entry), "claims": {}}
    write_json(tmp_path / "data/reference/manifest.json", manifest)
    found = list(compare_artifacts(Place(tmp_path), {"confirm@weather"}))
    assert [item.status for item in found] == ["FAIL", "skipped"]
    assert found[1].detail == "the searches here chose other widths"


def test_shipped_names():
    assert shipped_name("data/search/weather/choices.json") == "search/weather/choices.json"
    assert shipped_name("paper/claims.json") == "claims.json"
    assert shipped_name("paper/tables/claims.tex") == "paper/tables/claims.tex"


def test_the_root_hash_is_compared_only_with_one_from_elsewhere():
    from sustainable.tools.verify import check_root

    found = [check_root("ab", expected).status for expected in (None, " AB\n", "ac")]
    assert found == ["skipped", "ok", "FAIL"]


def test_a_repeated_key_is_a_failure_wherever_it_stands(tmp_path):
    folder = tmp_path / "data/reference"
    write_text(folder / "good.json", '{"a": 1, "b": [{"a": 2}, {"a": 3}]}')
    (item,) = check_json(Place(tmp_path))
    assert item.status == "ok"
    write_text(folder / "deep/bad.json", '[{"b": {"a": 1, "a": 1}}]')
    (item,) = check_json(Place(tmp_path))
    assert (item.status, item.found) == ("FAIL", "deep/bad.json: a is repeated (1 in all)")


def test_claims_that_stand_twice_are_no_claims(tmp_path):
    claims = tmp_path / "claims.json"
    write_json(claims, [{"id": "A1"}, {"id": "A2"}])
    assert list(read_claims(claims)) == ["A1", "A2"]
    write_json(claims, [{"id": "A1"}, {"id": "A1"}])
    with pytest.raises(UserError, match="a claim stands in it twice"):
        read_claims(claims)


@pytest.fixture
def listed_project(tmp_path):
    """A project of a few listed files, in development."""
    names = {
        "data/reference/rows.csv": "guarded", "data/raw/days.csv": "guarded", "data/README.md": "editable",
        "stages/a.py": "editable", "Makefile": "editable",
    }  # fmt: skip
    for name in names:
        write_text(tmp_path / name, "1\n")
    write_list(tmp_path)
    return tmp_path, names


def statuses(root):
    return {item.name: item.status for item in check_files(Place(root))}


def test_files_as_listed_are_one_item_for_each_folder(listed_project):
    root, _ = listed_project
    assert statuses(root) == dict.fromkeys(["files at the top", "files in data", "files in stages"], "ok")


def test_an_edit_is_stale_and_an_edited_row_is_a_failure(listed_project):
    root, names = listed_project
    for name, kind in names.items():
        write_text(root / name, "2\n")
        changed = {item: status for item, status in statuses(root).items() if status != "ok"}
        folder = f"files in {name.split('/')[0]}" if "/" in name else "files at the top"
        assert changed == ({name: "FAIL"} if kind == "guarded" else {folder: "stale"})
        write_text(root / name, "1\n")


def test_a_file_added_is_stale_and_a_failure_among_the_rows(listed_project):
    root, _ = listed_project
    write_text(root / "stages/yaml.py", "")
    write_text(root / "data/raw/mine.csv", "")
    write_text(root / "data/reference/\x1b.csv", "")
    found = {item.name: item for item in check_files(Place(root)) if item.status != "ok"}
    assert {name: item.status for name, item in found.items()} == {
        "data/reference/\\x1b.csv": "FAIL", "files in data": "stale", "files in stages": "stale",
    }  # fmt: skip
    assert found["files in stages"].found == "stages/yaml.py is not listed"


def test_rows_of_the_reference_are_no_second_measurement():
    rows = pd.Series([0.1, 0.2, 0.3, None])
    assert is_copy(rows, rows)
    assert is_copy(rows[::-1], rows)
    assert not is_copy(rows * 1.0000001, rows)
    assert not is_copy(pd.Series([4096, 8192]), pd.Series([4096, 8192]))  # bytes of memory may repeat


MEASURED = MeasuredTable("rows.csv", "cost")
WIDE = Margin(0.25, 0.95)


def rows(ratios, base=2.0):
    """Two seeds in turn; a baseline of `base` and a configuration of `ratios` times that, block by block."""
    found = []
    for block, ratio in enumerate(ratios):
        both = {"block": block, "training_seed": block % 2}
        found += [both | {"configuration": "baseline", "cost": base}]
        found += [both | {"configuration": "small", "cost": base * ratio}]
        found += [both | {"configuration": "idle", "cost": None}]
    return pd.DataFrame(found)


def test_ratios_are_those_within_a_block():
    table = log_ratios_to_baseline(rows([0.5, 0.25], base=3.0), MEASURED)
    assert table["configuration"].unique().tolist() == ["small"]
    assert table["log"].tolist() == pytest.approx([math.log(0.5), math.log(0.25)])


def test_the_difference_leaves_the_seeds_out_of_the_error():
    own = log_ratios_to_baseline(rows([1.0, 2.0, 1.0, 2.0]), MEASURED)  # all of its spread is the seeds'
    same = difference_of_means(own, own, 0.95)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    assert difference_of_means(own.head(2), own, 0.95) is None  # a block a seed leaves nothing for the error


def test_welch_by_hand():
    from scipy import stats

    one, other = [0.1, 0.3, 0.2, 0.5], [0.2, 0.1, 0.4, 0.0]
    tables = [pd.DataFrame({"log": values}) for values in (one, other)]  # no seeds: plain Welch
    found = difference_of_means(*tables, 0.95)
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low)
    assert found.high == pytest.approx(expected.high)


def written(tmp_path, name, table):
    path = tmp_path / name
    table.to_csv(path, index=False)
    return path


def test_hosts_agree_differ_or_remain_undecided(tmp_path):
    chance = random.Random(1)
    noisy = [0.5 * math.exp(chance.gauss(0, 0.01)) for _ in range(12)]
    reference = written(tmp_path, "reference.csv", rows(noisy))
    cases = {
        "ok": [1.1 * ratio for ratio in noisy],
        "FAIL": [1.6 * ratio for ratio in noisy],
        "skipped": [1.25 * ratio for ratio in noisy],
    }
    for status, ratios in cases.items():
        own = written(tmp_path, "own.csv", rows(ratios, base=7.0))  # another host's seconds do not matter
        (item,) = check_measured(own, reference, MEASURED, WIDE)
        assert item.status == status, item.line
        assert item.origin == "recomputed here"
    lacking = written(tmp_path, "own.csv", rows(noisy).query("configuration != 'small'"))
    (item,) = check_measured(lacking, reference, MEASURED, WIDE)
    assert (item.status, item.detail) == ("skipped", "not measured here")


def test_another_model_under_the_same_name_is_not_compared(tmp_path):
    named = rows([0.5, 0.5, 0.4, 0.4]).assign(weights_sha256="a", name="32x16")
    other = named.assign(weights_sha256="b", name="8x8")
    own, reference = written(tmp_path, "own.csv", other), written(tmp_path, "reference.csv", named)
    (item,) = check_measured(own, reference, MEASURED, WIDE)
    assert item.status == "skipped"
    assert "other models: here 8x8, there 32x16" in item.detail


@given(st.floats(0.01, 100), st.floats(0.0, 0.2))
def test_the_margin_is_symmetric_in_the_logarithm(ratio, half):
    from sustainable.statistics import Estimate

    for sign in (1, -1):
        centre = sign * 0.1
        found = item_of_ratio("x", Estimate(centre, centre - half, centre + half, 5), math.log(ratio), WIDE)
        assert found.status == ("ok" if 0.1 + half <= math.log(1.25) else "skipped")


def candidates(factors):
    frame = {
        "family": "grid", "width_0": [256, 64, 16], "width_1": [256, 64, 16], "masked_share": 0.0,
        "scope": "", "precision": "fp32", "runtime": "torch-eager",
        "cpu_time_ms_batch_1": np.array([1.0, 0.5, 0.2]) * factors,
    }  # fmt: skip
    return pd.DataFrame(frame)


def test_candidates_are_compared_by_runtime_on_the_mean(tmp_path):
    reference = written(tmp_path, "reference.csv", candidates([1, 1, 1]))
    same = written(tmp_path, "own.csv", candidates([3, 3, 3]))  # a slower host, the same ratios
    (item,) = check_candidates("the table", same, reference, WIDE)
    assert item.status == "ok"
    assert item.name.startswith("the table: fp32 torch-eager")
    other = written(tmp_path, "own.csv", candidates([1, 5, 5]))
    (item,) = check_candidates("the table", other, reference, WIDE)
    assert item.status != "ok"


def claim(key, verdict, evidence="counter"):
    from sustainable.reporting.declaration import Claim

    return Claim(key, "said", "rule", verdict, "because", evidence)


@pytest.mark.parametrize(
    ("own", "shipped", "evidence", "status"),
    [
        ("confirmed", "confirmed", "counter", "ok"),
        ("refuted", "confirmed", "counter", "FAIL"),
        ("inconclusive", "confirmed", "counter", "skipped"),
        ("inconclusive", "confirmed", "exact count", "FAIL"),
        ("confirmed", "inconclusive", "counter", "skipped"),
    ],
)
def test_the_opposite_verdict_fails_and_an_open_one_is_no_pass(own, shipped, evidence, status):
    (item,) = check_verdicts([claim("X1", own, evidence)], {"X1": {"verdict": shipped}})
    assert item.status == status


def test_a_claim_that_is_gone_fails():
    (item,) = check_verdicts([], {"X1": {"verdict": "confirmed"}})
    assert (item.status, item.found) == ("FAIL", "no such claim")
