"""Packages by stage: what host.json states, what it says after other stages have run, and what is stale."""

import json
from types import SimpleNamespace

import pytest

from sustainable.core.errors import UserError
from sustainable.verification.packages import check_packages, grouped, packages_by_stage, with_packages

OLD, NEW = {"torch": "1.0", "numba": "2.0"}, {"torch": "1.1", "numba": "2.0", "onnx": "3.0"}
STATED = {"train": OLD, "search": OLD, "measure": NEW}


def test_stages_with_equal_packages_stand_together():
    groups = grouped(STATED)
    assert [(group["stages"], group["versions"]) for group in groups] == [
        (["measure"], NEW),
        (["search", "train"], OLD),
    ]
    assert packages_by_stage({"packages": groups}) == STATED


def test_a_stage_that_has_run_again_has_the_pinned_packages(tmp_path):
    (tmp_path / "requirements.txt").write_text("# torch==9\ntorch==1.1\nnumba==2.0\nonnx==3.0\n")
    host = {"measured_on": {}, "packages": grouped(STATED)}
    after = with_packages(host, ["train"], tmp_path)
    assert packages_by_stage(after) == STATED | {"train": NEW}
    assert after["measured_on"] == {}
    assert len(with_packages(host, STATED, tmp_path)["packages"]) == 1


@pytest.mark.parametrize(
    "damaged", [{}, {"packages": 1}, {"packages": [{"stages": ["train"]}]}, {"packages": ["a"]}]
)
def test_another_structure_is_refused(damaged):
    with pytest.raises(UserError, match=r"host\.json: packages: must be a list of groups"):
        packages_by_stage(damaged)


def test_a_stage_that_was_run_with_other_packages_is_stale(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==0.0\n")
    packages = grouped({"train": {"numpy": "0.0"}, "measure": {"numpy": "0.1", "onnx": "3.0"}})
    (tmp_path / "host.json").write_text(json.dumps({"packages": packages}))
    lock = dict.fromkeys(("train", "measure", "unknown"))
    installed, *items = check_packages(SimpleNamespace(root=tmp_path, reference=tmp_path, lock=lock))
    assert installed.status == "FAIL"  # no such numpy is installed
    assert [(item.stage, item.status) for item in items] == [
        ("train", "ok"),
        ("measure", "stale"),
        ("unknown", "stale"),
    ]
    assert items[1].found == "numpy 0.1 -> 0.0; onnx 3.0 -> none"
