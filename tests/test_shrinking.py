"""Narrower networks: which are made, how wide, and from what they learn."""

from itertools import product

import pytest
import torch

from sustainable.core.tensors import tensors_sha256
from sustainable.forecasting.compression.shrinking import (
    Controls,
    ShrinkParameters,
    ShrinkTask,
    distillation_target,
    equal_widths,
    plan_shrinking,
    shrink_forecaster,
    width_pairs,
)
from sustainable.forecasting.compression.units import prune_gru_units
from sustainable.forecasting.model.gru import LayeredArchitecture, LayeredGRU, logits_of
from sustainable.forecasting.model.training import TrainingRecipe

RECIPE = TrainingRecipe(
    optimizer="AdamW",
    learning_rate=0.01,
    weight_decay=1e-4,
    batch_size=16,
    epochs=2,
    patience_epochs=2,
    cosine_period_epochs=2,
    minimum_learning_rate=1e-6,
    checkpoint_epochs=2,
)
METHODS = ["l1", "l2", "random", "scratch", "distilled"]


def shrink(widths=(4, 2), shares=(), control_widths=((2, 2), (3, 1)), share=0.5, scratch=RECIPE):
    controls = Controls(
        methods=METHODS[1:],
        widths=list(control_widths),
        from_scratch=scratch,
        distillation_share=share,
    )
    return ShrinkParameters(
        widths=list(widths), equal_shares=list(shares), fine_tune=RECIPE, controls=controls
    )


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(60, 4, 3, generator=generator)
    target = (inputs[:, -1, 0] > 0.5).float()
    return (inputs[:40], target[:40]), (inputs[40:], target[40:])


@pytest.fixture(scope="module")
def baseline():
    torch.manual_seed(0)
    return LayeredGRU(LayeredArchitecture(3, (4, 4), 0.2)).eval()


def test_equal_widths_as_published():
    assert equal_widths((256, 256), 0.3) == (179, 179)
    left = [equal_widths((256,), tenths / 10)[0] for tenths in range(1, 8)]
    assert left == [230, 205, 179, 154, 128, 102, 77]
    assert equal_widths((8, 4), 0.5) == (4, 2)


def test_pairs_are_the_grid_and_the_equal_ones_once_without_the_full_network():
    """Of 4x4 units, a quarter pruned is 3x3, which is not on the grid, and half is 2x2, which is."""
    pairs = width_pairs((4, 4), shrink(shares=(0.25, 0.5)))
    assert sorted(pairs) == [(2, 2), (2, 4), (3, 3), (4, 2)]
    assert width_pairs((8, 8), shrink()) == [(4, 4), (4, 2), (2, 4), (2, 2)]
    assert width_pairs((8,), shrink()) == [(4,), (2,)]


def test_the_plan_holds_the_grid_and_the_controls_once_a_seed():
    parameters = shrink(shares=(0.25,))
    tasks = plan_shrinking((4, 4), [7, 3], parameters)
    pruned = set(product(["l1"], [(2, 2), (2, 4), (3, 3), (4, 2)], [7, 3]))
    controls = set(product(METHODS[1:], [(2, 2), (3, 1)], [7, 3])) | {
        ("continued", (4, 4), s) for s in (7, 3)
    }
    assert {(task.method, task.widths, task.seed) for task in tasks} == pruned | controls
    assert len(tasks) == len(pruned) + len(controls) == 8 + 18
    assert len({task.file for task in tasks}) == len(tasks)
    total = [sum(task.widths) for task in tasks]
    assert total == sorted(total, reverse=True)  # the wide ones first


def test_the_place_of_a_network_names_what_it_is():
    assert ShrinkTask("l1", (128, 64), 3).file == "l1/128x64/seed_3.safetensors"


def test_taught_targets_by_hand():
    """A network without weights says 1/2; with a bias of ln 3 it says 3/4."""
    teacher = LayeredGRU(LayeredArchitecture(3, (2,), 0.0)).eval()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
        teacher.readout.bias.fill_(torch.log(torch.tensor(3.0)).item())
    train = torch.rand(3, 4, 3), torch.tensor([0.0, 1.0, 1.0])
    assert distillation_target(teacher, train, 0.5, 2).tolist() == pytest.approx([0.375, 0.875, 0.875])
    assert distillation_target(teacher, train, 0.2, 2).tolist() == pytest.approx([0.15, 0.95, 0.95])
    assert distillation_target(teacher, train, 0.0, 2).tolist() == [0.0, 1.0, 1.0]


def test_a_student_of_three_classes_learns_from_probabilities():
    torch.manual_seed(0)
    teacher = LayeredGRU(LayeredArchitecture(3, (2,), 0.0, classes=3)).eval()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
        teacher.readout.bias.copy_(torch.log(torch.tensor([2.0, 1.0, 1.0])))
    train = torch.rand(2, 4, 3), torch.tensor([0, 2])
    found = distillation_target(teacher, train, 0.5, 2)
    assert found.tolist() == [pytest.approx([0.75, 0.125, 0.125]), pytest.approx([0.25, 0.125, 0.625])]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_widths_asked_and_the_same_weights_twice(method, baseline, data):
    task = ShrinkTask(method, (3, 2), 5)
    before = tensors_sha256(baseline.state_dict())
    model, row = shrink_forecaster(task, baseline, *data, shrink())
    torch.manual_seed(99)  # whatever state another task has left
    again, same_row = shrink_forecaster(task, baseline, *data, shrink())
    assert model.widths == (3, 2)
    assert not model.training
    assert tensors_sha256(model.state_dict()) == tensors_sha256(again.state_dict())
    assert row == same_row
    assert (row["method"], row["width_0"], row["width_1"], row["seed"]) == (method, 3, 2, 5)
    assert 1 <= row["best_epoch"] <= row["epochs"] == 2
    inputs, target = data[1]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits_of(model, inputs, 7), target)
    assert row["validation_loss"] == pytest.approx(loss.item())
    assert tensors_sha256(baseline.state_dict()) == before


@pytest.mark.parametrize("method", METHODS)
def test_other_seeds_give_other_weights(method, baseline, data):
    hashes = {
        tensors_sha256(
            shrink_forecaster(ShrinkTask(method, (3, 2), seed), baseline, *data, shrink())[0].state_dict()
        )
        for seed in (1, 2)
    }
    assert len(hashes) == 2


def test_methods_differ_where_they_should(baseline, data):
    """What a network starts from: the units of its criterion, or nothing of the baseline at all."""
    rows = {
        method: shrink_forecaster(ShrinkTask(method, (3, 2), 5), baseline, *data, shrink())[1]
        for method in METHODS
    }
    inputs, target = data[1]
    for method in ("l1", "l2", "random"):
        start = prune_gru_units(baseline, (3, 2), method, torch.Generator().manual_seed(5))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits_of(start, inputs, 20), target)
        assert rows[method]["validation_loss_before"] == pytest.approx(loss.item())
    # a student starts as the network from scratch of its seed, and learns something else
    assert rows["scratch"]["validation_loss_before"] == rows["distilled"]["validation_loss_before"]
    assert rows["scratch"]["validation_loss"] != rows["distilled"]["validation_loss"]
    assert rows["scratch"]["validation_loss_before"] != rows["random"]["validation_loss_before"]


def test_networks_from_scratch_follow_their_own_recipe(baseline, data):
    longer = TrainingRecipe(**{**RECIPE.__dict__, "epochs": 3, "patience_epochs": 3})
    parameters = shrink(scratch=longer)
    epochs = {
        method: shrink_forecaster(ShrinkTask(method, (2, 2), 1), baseline, *data, parameters)[1]["epochs"]
        for method in METHODS
    }
    assert epochs == {"l1": 2, "l2": 2, "random": 2, "scratch": 3, "distilled": 3}


def test_a_student_learns_its_share_from_the_teacher(baseline, data):
    """With another share the student becomes another one; from scratch the share is of no matter."""

    def weights(method, share):
        model, _ = shrink_forecaster(ShrinkTask(method, (2, 2), 1), baseline, *data, shrink(share=share))
        return tensors_sha256(model.state_dict())

    assert weights("distilled", 0.2) != weights("distilled", 0.8)
    assert weights("scratch", 0.2) == weights("scratch", 0.8)
