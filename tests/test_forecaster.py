import math
from itertools import pairwise

import pytest
import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.flop_counter import FlopCounterMode

from sustainable.core.errors import UserError
from sustainable.core.tensors import read_tensors, tensors_sha256, write_tensors
from sustainable.forecasting.model.gru import (
    Architecture,
    LayeredArchitecture,
    LayeredGRU,
    WeatherGRU,
    correct,
    decided,
    gru_parameter_count,
    layered,
    load_forecaster,
    logits_of,
    probabilities,
    save_forecaster,
    sequence_flops,
    trained_in,
)
from sustainable.forecasting.model.training import Trainer, TrainingParameters, TrainingRecipe, cross_entropy

PUBLISHED = Architecture(features=4, hidden=256, layers=2, dropout=0.2)
SMALL = {
    "optimizer": "AdamW", "learning_rate": 0.01, "weight_decay": 1e-4, "batch_size": 16, "epochs": 8,
    "patience_epochs": 8, "cosine_period_epochs": 3, "minimum_learning_rate": 1e-6, "checkpoint_epochs": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(70, 5, 3, generator=generator)
    target = (inputs[:, -1, 0] > 0.5).float()
    return (inputs[:50], target[:50]), (inputs[50:], target[50:])


def trainer_of(seed=1, checkpoint=None, identity="identity", **changes):
    recipe = TrainingRecipe(**(SMALL | changes))
    parameters = TrainingParameters(hidden=8, layers=2, dropout=0.2, seeds=[seed], recipe=recipe)
    return Trainer(parameters.new_model(3, seed), recipe, seed, checkpoint, identity)


def fit(tmp_path, data, cost=dict, seed=1, **changes):
    trainer = trainer_of(seed, tmp_path / "checkpoint", **changes)
    return trainer, trainer.fit(*data, cost)


def test_the_published_network_has_its_size():
    assert sum(parameter.numel() for parameter in WeatherGRU(PUBLISHED).parameters()) == 596_225


def test_flops_by_hand_and_as_torch_counts_them():
    # one feature, unit, layer and day: three gates x (1 input + 1 state) multiply-adds, and a readout
    assert sequence_flops(1, (1,), 1) == 2 * 3 * 2 + 2
    assert sequence_flops(4, (256, 256), 30) == 35_574_272
    small = Architecture(features=3, hidden=5, layers=2, dropout=0.0)
    with FlopCounterMode(display=False) as counter:
        WeatherGRU(small).eval()(torch.zeros(1, 7, 3))
    assert counter.get_total_flops() == sequence_flops(3, (5, 5), 7)


def test_three_classes_have_three_logits(tmp_path):
    torch.manual_seed(0)
    model = WeatherGRU(Architecture(2, 5, 2, 0.0, classes=3)).eval()
    inputs = torch.rand(7, 4, 2)
    logits = logits_of(model, inputs, 3)
    assert logits.shape == (7, 3)
    assert torch.equal(decided(logits), logits.argmax(dim=1))
    assert torch.allclose(probabilities(logits).sum(dim=1), torch.ones(7, dtype=torch.float64), atol=1e-6)
    assert correct(model, inputs, decided(logits), 2).all()
    save_forecaster(tmp_path / "m.safetensors", model)
    loaded = load_forecaster(tmp_path / "m.safetensors")
    assert (loaded.architecture.classes, layered(loaded).architecture.classes) == (3, 3)
    counted = gru_parameter_count(2, (5, 5), 3)
    assert sum(parameter.numel() for parameter in loaded.parameters()) == counted
    with FlopCounterMode(display=False) as counter:
        model(inputs[:1])
    assert counter.get_total_flops() == sequence_flops(2, (5, 5), 4, classes=3)


def test_binary_models_are_stored_without_the_number_of_classes(tmp_path):
    save_forecaster(tmp_path / "m.safetensors", WeatherGRU(Architecture(2, 3, 1, 0.0)))
    assert "classes" not in read_tensors(tmp_path / "m.safetensors")[1]


def test_the_loss_of_three_classes_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]))
    by_class = cross_entropy(logits, torch.tensor([0, 2]))
    assert by_class.item() == pytest.approx(-(math.log(0.5) + math.log(0.6)) / 2)
    one_hot = torch.eye(3)[[0, 2]]
    assert cross_entropy(logits, one_hot).item() == pytest.approx(by_class.item())


def test_a_network_learns_three_classes(data):
    (inputs, _), (others, _) = data
    target, expected = ((3 * part[:, -1, 0]).long() for part in (inputs, others))
    recipe = TrainingRecipe(**(SMALL | {"epochs": 40, "patience_epochs": 40, "learning_rate": 0.03}))
    parameters = TrainingParameters(hidden=8, layers=1, dropout=0.0, seeds=[1], recipe=recipe)
    model = Trainer(parameters.new_model(3, 1, classes=3), recipe, 1).fit(
        (inputs, target), (others, expected)
    )
    assert correct(model, inputs, target, 50).float().mean() > 0.8


def test_hits_do_not_depend_on_the_batch(data):
    model = WeatherGRU(Architecture(3, 4, 1, 0.0))
    whole, parts = correct(model, *data[0], 50), correct(model, *data[0], 7)
    assert whole.tolist() == parts.tolist()
    assert len(whole) == 50


def test_weights_that_do_not_fit_are_one_clear_error(tmp_path):
    path = tmp_path / "weights"
    save_forecaster(path, WeatherGRU(Architecture(3, 4, 1, 0.0)))
    tensors, shape = read_tensors(path)
    for wrong in (shape | {"hidden": 5}, shape | {"layers": 0}, {"hidden": 4}, shape | {"colour": 1}):
        write_tensors(path, tensors, wrong)
        with pytest.raises(UserError, match="weights do not fit the model") as caught:
            load_forecaster(path)
        assert "\n" not in str(caught.value)
    write_tensors(path, {"other": torch.ones(1)}, shape)
    with pytest.raises(UserError, match="weights do not fit the model"):
        load_forecaster(path)


def test_stored_weights_give_the_same_model(tmp_path, data):
    model = WeatherGRU(Architecture(3, 4, 2, 0.5)).eval()
    save_forecaster(tmp_path / "weights", model)
    loaded = load_forecaster(tmp_path / "weights")
    assert torch.equal(loaded(data[0][0]), model(data[0][0]))
    assert loaded.architecture == model.architecture


def test_training_learns_and_is_the_same_twice(tmp_path, data):
    first, one = fit(tmp_path / "1", data, epochs=30, patience_epochs=30)
    _, two = fit(tmp_path / "2", data, epochs=30, patience_epochs=30)
    assert tensors_sha256(one.state_dict()) == tensors_sha256(two.state_dict())
    assert correct(one, *data[0], 50).float().mean() > 0.8
    losses = [row["validation_loss"] for row in first.progress.history]
    assert first.progress.best_loss == min(losses)
    assert first.progress.best_epoch == losses.index(min(losses)) + 1


def test_another_seed_gives_other_weights(tmp_path, data):
    _, one = fit(tmp_path / "1", data)
    _, two = fit(tmp_path / "2", data, seed=2)
    assert tensors_sha256(one.state_dict()) != tensors_sha256(two.state_dict())


def test_the_seed_of_the_trainer_alone_decides_the_order_of_windows(data):
    """Two trainings that begin with one network: what differs is the order, and the dropout."""
    hashes = []
    for seed in (1, 1, 2):
        recipe = TrainingRecipe(**SMALL)
        model = TrainingParameters(hidden=8, layers=2, dropout=0.2, seeds=[1], recipe=recipe).new_model(3, 1)
        hashes.append(tensors_sha256(Trainer(model, recipe, seed).fit(*data).state_dict()))
    assert hashes[0] == hashes[1] != hashes[2]


def test_without_a_checkpoint_the_weights_are_the_same_and_nothing_is_kept(tmp_path, data, monkeypatch):
    _, kept = fit(tmp_path / "kept", data)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    trainer = trainer_of()
    assert tensors_sha256(trainer.fit(*data).state_dict()) == tensors_sha256(kept.state_dict())
    assert not list(empty.iterdir())
    assert trainer.validation_loss(data[1]) == pytest.approx(trainer.progress.best_loss)


def test_trained_networks_are_found_by_their_seed(tmp_path):
    for seed in (10, 9):
        save_forecaster(tmp_path / f"seed_{seed}.safetensors", WeatherGRU(Architecture(3, 4, 1, 0.0)))
    assert list(trained_in(tmp_path)) == [9, 10]  # as numbers, not as text
    with pytest.raises(UserError, match="there are no weights"):
        trained_in(tmp_path / "nowhere")


def test_a_network_of_unequal_widths_is_stored_with_its_shape(tmp_path, data):
    model = LayeredGRU(LayeredArchitecture(3, (5, 2), 0.2)).eval()
    save_forecaster(tmp_path / "weights", model)
    loaded = load_forecaster(tmp_path / "weights")
    assert loaded.architecture == model.architecture
    assert torch.equal(loaded(data[0][0]), model(data[0][0]))


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_killed_training_ends_with_the_same_weights(tmp_path, data, killed_at):
    whole, expected = fit(tmp_path / "whole", data)
    calls = []

    def dies():
        calls.append(1)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        return {"sitting": 1}

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", data, dies)
    resumed, model = fit(tmp_path / "killed", data, lambda: {"sitting": 2})
    assert tensors_sha256(model.state_dict()) == tensors_sha256(expected.state_dict())
    assert resumed.progress.history == whole.progress.history
    assert [cost["sitting"] for cost in resumed.progress.sittings] == ([1, 2] if killed_at > 1 else [2])


def test_a_checkpoint_of_other_work_or_a_damaged_one_is_not_used(tmp_path, data, capsys):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, data, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    fit(tmp_path, data, epochs=4)
    checkpoint = tmp_path / "checkpoint"
    assert trainer_of(checkpoint=checkpoint).progress.epoch == 4
    assert trainer_of(checkpoint=checkpoint, identity="another").progress.epoch == 0
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    assert trainer_of(checkpoint=checkpoint).progress.epoch == 0
    assert "starting from scratch" in capsys.readouterr().out


def test_patience_stops_early_with_the_weights_of_the_full_run(tmp_path, data):
    train, (inputs, target) = data
    data = train, (inputs, 1 - target)  # learning soon makes it worse
    settings = {"epochs": 40, "learning_rate": 0.01}
    full, kept = fit(tmp_path / "full", data, patience_epochs=40, **settings)
    losses = [row["validation_loss"] for row in full.progress.history]
    better = [epoch for epoch, loss in enumerate(losses, start=1) if loss < min([9.0, *losses[: epoch - 1]])]
    patience = 1 + max(after - before for before, after in pairwise([0, *better]))
    early, model = fit(tmp_path / "early", data, patience_epochs=patience, **settings)
    assert early.progress.epoch == better[-1] + patience < 40  # it did stop early
    assert tensors_sha256(model.state_dict()) == tensors_sha256(kept.state_dict())
    assert early.progress.history == full.progress.history[: early.progress.epoch]


def test_the_learning_rate_follows_the_cosine(tmp_path, data):
    trainer, _ = fit(tmp_path, data)
    rates = [row["learning_rate"] for row in trainer.progress.history]
    optimizer = AdamW([torch.zeros(1, requires_grad=True)], lr=0.01)
    scheduler = CosineAnnealingLR(optimizer, 3, eta_min=1e-6)
    expected = []
    for _ in rates:
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == expected
    assert rates[0] == 0.01
    assert rates[3] == pytest.approx(1e-6)
