"""What study B's paper prints, counted again: by hand on small tables, and on the paper's own."""

import shutil
from pathlib import Path

import pytest

from sustainable.core.errors import UserError
from sustainable.reporting.policies.source import audit, kept_returns, printed_cells, read_published_policies

PUBLISHED = Path("paper/published.yaml")
CELLS = {
    "PPO": {
        "Hopper": {
            "quantized": [100, 90, 80, 120], "pruned": [200, 180],
            "shares": [0.05, 0.05], "best": {"L1": 0.05},
        },
        "Ant": {"quantized": [50, 50, 44, 10], "pruned": [50, 20], "shares": [0.1, 0.6], "best": {"L2": 0.5}},
    },
}  # fmt: skip
TABLE = [
    {
        "algorithm": "PPO", "environment": "Hopper-v5", "random_return": 20.0, "reference_return": 220.0,
        "learned_share": 0.5,
    },
]  # fmt: skip


def test_a_return_at_the_bar_is_kept():
    kept = kept_returns(printed_cells(CELLS))
    assert kept["PTDQ"].tolist() == [True, True] and kept["PTSQ"].tolist() == [False, False]
    assert kept["QAT"].tolist() == [True, False] and kept["pruned"].tolist() == [True, False]


def test_every_sentence_is_held_against_what_the_tables_give():
    found = audit(printed_cells(CELLS), TABLE)
    assert "of 1 of 2 cells differ between the tables by over 10 %" in found["repeats"]
    assert "a factor of 2.00 (PPO in Hopper); 1 are equal to the last digit" in found["repeats"]
    assert (
        found["bar"] == "Of 2 chosen policies, those that keep less: 1 (PPO in Ant). PPO in Ant keeps 40.0 %."
    )
    assert "In 1 of 2 cells" in found["best"] and found["best"].endswith("PPO in Ant.")
    assert found["norms"].startswith("L2 removes more units in 1 cells and L1 in 0; in 1 both remove as many")
    assert "QAT 1" in found["quantizers"] and "PTDQ 1" in found["quantizers"]
    assert "to the last digit in 1: PPO in Ant" in found["quantizers"]
    assert found["survival"].startswith("50.0 % and 50.0 % of 2 cells; 100.0 % in place of the former")
    assert "Of 1 baselines" in found["trained"] and "1 lie below" in found["trained"]  # 100 is below 120
    assert "0 below a random policy's" in found["trained"]


def test_the_claim_about_kinds_of_algorithms_counts_the_papers_cells():
    published = read_published_policies(PUBLISHED)
    cells = printed_cells(published["cells"])
    kept = kept_returns(cells)["PTDQ"].groupby(cells["algorithm"]).sum()
    assert len(cells) == 25
    assert f"in {kept['PPO'] + kept['TRPO']} of the source's 10 cells" in published["claims"]["B5"]
    assert f"(in {kept['TD3'] + kept['SAC']} of 10)" in published["claims"]["B5"]


def test_the_papers_shares_follow_from_its_tables():
    published = read_published_policies(PUBLISHED)
    cells = printed_cells(published["cells"])
    best = cells[["PTDQ", "PTSQ", "QAT"]].idxmax(axis=1).value_counts(normalize=True)
    assert best.to_dict() == pytest.approx(published["best_quantizer_share"])
    largest = cells[["L1", "L2"]].max(axis=1)
    first, second = published["pruning_survival"]
    assert (largest <= first["share"]).mean() == pytest.approx(first["lost"])
    assert (largest < second["share"]).mean() == pytest.approx(second["lost"])


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("quantized: [978.48, ", "quantized: [", "study_b.cells.TRPO.HalfCheetah.quantized"),
        ("best: {L2: 0.55}", "best: {L3: 0.55}", "study_b.cells.TRPO.HumanoidStandup.best"),
        ("shares: [0.55, 0.6]", "shares: [0.55, 6.0]", "study_b.cells.TRPO.HumanoidStandup.shares"),
        ("  sentences:", "  sentences_:", "study_b.sentences is missing"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, old, new, named):
    path = tmp_path / "published.yaml"
    shutil.copy(PUBLISHED, path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=named):
        read_published_policies(path)
