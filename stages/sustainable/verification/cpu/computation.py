"""What this CPU computes: a little of both studies' own code, as hashes; `python -m` of this module.

The process trains for a few steps with the project's modules and the recipes of params.yaml, shortened, and
prints one line of JSON: what the libraries see of the CPU, and the sha256 of every subject. The tensors
themselves go to a safetensors file, so that a difference can be told tensor by tensor.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # nothing here may import numpy or torch before the pins are set
    from torch import Tensor

    from sustainable.policies.policy import Actor
    from sustainable.policies.learning.recipes import Algorithm
    from sustainable.forecasting.compression.shrinking import ShrinkMethod

    Subjects = Iterator[tuple[str, dict[str, Tensor]]]

PROTOCOL, TASK = "published", "weather"
"""Whose section `shrink` is used: only tasks have one."""
WINDOWS, VALIDATION, EPOCHS = 64, 32, 3
"""A batch is 64 windows: three steps. Emulated, a step takes about half a minute."""
NARROW_MODELS: "dict[ShrinkMethod, tuple[int, int]]" = {"l2": (64, 64), "distilled": (16, 16)}
POLICIES: "dict[str, Algorithm]" = {"CartPole-v1": "PPO", "Pendulum-v1": "PPO", "Hopper-v5": "TRPO"}
ROLLOUT_STEPS, ROLLOUTS = 32, 3
QAT_STEPS, QAT_STATES = 10, 512
DYNAMICS = ("CartPole-v1", "Pendulum-v1", "Hopper-v5", "HalfCheetah-v5", "SimulatedWorkload-v0")
DYNAMICS_STEPS = 300
SEED = 7
VALUES = 96
TENSOR_SEPARATOR = "/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "csv", "tensors"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--pins", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    set_pins(arguments.pins)
    from sustainable.core.determinism import use_deterministic_torch
    from sustainable.core.tensors import tensors_sha256, write_tensors

    use_deterministic_torch()
    flat: dict[str, Tensor] = {}
    hashes: dict[str, str] = {}
    for subject, tensors in subjects(arguments.params, arguments.csv):
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        flat |= {f"{subject}{TENSOR_SEPARATOR}{name}": tensor for name, tensor in copies.items()}
        hashes[subject] = tensors_sha256(copies)
    write_tensors(arguments.tensors, flat)
    print(json.dumps({"seen": seen(), "cpu_seconds": time.process_time(), "hashes": hashes}))


def set_pins(pins: bool) -> None:
    """Set the pins, or keep them from being set: a module that pins nothing takes its place."""
    late = {"numpy", "torch"} & sys.modules.keys()
    assert not late, f"{late} came before the pins"
    if pins:
        return

    def one_thread() -> None:  # as `use_deterministic_torch`: only the kernels are to be others
        import torch

        torch.set_deterministic_debug_mode("error")
        torch.set_num_threads(1)

    stand_in = ModuleType("sustainable.core.determinism")
    vars(stand_in)["use_deterministic_torch"] = one_thread
    sys.modules[stand_in.__name__] = stand_in


def seen() -> dict[str, Any]:
    """What the libraries believe of the CPU, and the C library, whose functions MuJoCo calls."""
    import torch

    known = torch.cpu.get_capabilities()
    return {
        "avx512": bool(known.get("avx512_f")),
        "maker": "AMD" if known.get("sse4a") else "Intel",  # sse4a is AMD's alone
        "aten": torch.backends.cpu.get_cpu_capability(),
        "glibc": os.confstr("CS_GNU_LIBC_VERSION") or "",
    }


def subjects(params: Path, csv: Path) -> "Subjects":
    """Names and tensors, in the order in which a difference would spread."""
    yield from kernels()
    yield from forecasters(params, csv)
    yield from dynamics()
    yield from policies(params)


def kernels() -> "Subjects":
    """Single functions of numpy and torch: each pin decides over some of them. `torch.sqrt` is missing: no
    setting makes its last bit agree between makers, which is why the optimizers are fused."""
    import numpy as np
    import torch

    values = np.random.default_rng(SEED).uniform(0.01, 4.0, (VALUES, VALUES))
    of_numpy: dict[str, Any] = {
        "product": values @ values.T,
        "singular": np.linalg.svd(values, compute_uv=False),
        **{f.__name__: f(values) for f in (np.exp, np.log, np.sin, np.tanh, np.sqrt)},
        "power": values**1.7,
        "tanh32": np.tanh(values.astype(np.float32)),
    }
    yield "numpy functions", {name: torch.from_numpy(result) for name, result in of_numpy.items()}
    single = torch.from_numpy(values.astype(np.float32))
    functions = (torch.exp, torch.log, torch.tanh, torch.sigmoid, torch.nn.functional.logsigmoid, torch.erf)
    of_torch = {
        "product": single @ single.T,
        "triangle": torch.linalg.qr(single)[1],
        "softmax": torch.softmax(single, 1),
        "norms": torch.linalg.vector_norm(single, dim=1),
        "deviations": single.std(dim=1),
        "gelu": torch.nn.functional.gelu(single - 2.0),
        **{f.__name__: f(single) for f in functions},
    }
    yield "torch functions", of_torch


def forecasters(params: Path, csv: Path) -> "Subjects":
    """Study A: windows of real days, a GRU trained on them, and narrower ones made of it."""
    import torch

    from sustainable.core.parameters import read_section
    from sustainable.forecasting.model.gru import layered, logits_of
    from sustainable.forecasting.compression.shrinking import ShrinkTask, ShrinkParameters, shrink_forecaster
    from sustainable.forecasting.model.training import Trainer, TrainingParameters
    from sustainable.forecasting.data.preprocessing import PreprocessParameters, preprocess

    parts, _ = preprocess(csv, read_section(params, "preprocess", PreprocessParameters, PROTOCOL))
    yield "windows", {name: torch.from_numpy(part.inputs) for name, part in parts.items()}
    train, validation = (
        (torch.from_numpy(parts[name].inputs[:count]), torch.from_numpy(parts[name].target[:count]).float())
        for name, count in (("train", WINDOWS), ("validation", VALIDATION))
    )
    training = read_section(params, "train_baseline", TrainingParameters, PROTOCOL)
    model = training.new_model(parts["train"].inputs.shape[2], training.seeds[0])
    yield "GRU untrained", model.state_dict()
    recipe = replace(training.recipe, epochs=EPOCHS)
    trainer = Trainer(model, recipe, training.seeds[0])
    trainer.fit(train, validation)
    losses = [[row["train_loss"], row["validation_loss"]] for row in trainer.progress.history]
    yield "GRU trained", dict(model.state_dict()) | {"losses": torch.tensor(losses, dtype=torch.float64)}
    yield "GRU logits", {"validation": logits_of(model, validation[0], recipe.batch_size)}

    shrinking = read_section(params, "shrink", ShrinkParameters, TASK)
    controls = replace(shrinking.controls, from_scratch=replace(shrinking.controls.from_scratch, epochs=1))
    shorter = replace(shrinking, fine_tune=replace(shrinking.fine_tune, epochs=1), controls=controls)
    for method, widths in NARROW_MODELS.items():
        task = ShrinkTask(method, widths, training.seeds[0])
        narrow, _ = shrink_forecaster(task, layered(model), train, validation, shorter)
        yield f"GRU {'x'.join(map(str, widths))} {method}", narrow.state_dict()


def dynamics() -> "Subjects":
    """What environments answer to fixed actions: MuJoCo has float code of its own."""
    import numpy as np
    import torch

    from sustainable.policies.environments.guarded import make_environment

    for name in DYNAMICS:
        environment = make_environment(name)
        environment.action_space.seed(SEED)
        observations, rewards = [environment.reset(seed=SEED)[0]], []
        for _ in range(DYNAMICS_STEPS):
            action = environment.action_space.sample()
            observation, reward, terminated, truncated, _ = environment.step(action)
            observations.append(observation)
            rewards.append(reward)
            if terminated or truncated:
                observations.append(environment.reset()[0])
        environment.close()
        tensors = {"observations": torch.from_numpy(np.array(observations))}
        yield f"{name} dynamics", tensors | {"rewards": torch.tensor(rewards, dtype=torch.float64)}


def policies(params: Path) -> "Subjects":
    """Study B: policies before and after a few rollouts, and one trained on with fake quantization."""
    import torch

    from sustainable.core.parameters import read_section
    from sustainable.policies.learning.training import export, new_model, train_one
    from sustainable.policies.learning.recipes import TrainingRun, PolicyTrainingParameters

    training = read_section(params, "train_policies", PolicyTrainingParameters)
    for environment, algorithm in POLICIES.items():
        recipe = training.recipes[environment][algorithm]
        settings = dict(recipe.settings) | {"n_steps": ROLLOUT_STEPS}
        recipe = replace(recipe, settings=settings, steps=ROLLOUT_STEPS * recipe.copies * ROLLOUTS)
        cell = TrainingRun(environment, algorithm, training.seeds[0], recipe)
        model = new_model(cell)
        yield f"{environment} {algorithm} untrained", export(model, cell).actor.state_dict()
        model.env.close()  # type: ignore[union-attr]
        policy, log = train_one(cell, curve_steps=1)
        curve = [[point["episode_return"], point["episode_length"]] for point in log.curve]
        tensors = dict(policy.actor.state_dict()) | {"curve": torch.tensor(curve, dtype=torch.float64)}
        yield f"{environment} {algorithm} trained", tensors
    yield f"{environment} {algorithm} QAT", trained_in_int8(params, policy.actor)


def trained_in_int8(params: Path, actor: "Actor") -> "dict[str, Tensor]":
    """An actor after a few steps of QAT, and the ranges of its activations."""
    import numpy as np

    from sustainable.core.parameters import read_section
    from sustainable.policies.compression.static_int8 import prepare_int8
    from sustainable.policies.compression.evaluation import CompressParameters

    parameters = replace(read_section(params, "compress_policies", CompressParameters).qat, steps=QAT_STEPS)
    states = np.random.default_rng(SEED).uniform(-1.0, 1.0, (QAT_STATES, actor.architecture.observations))
    prepared = prepare_int8(actor, states.astype(np.float32), SEED, parameters)
    ranges = {"ranges": prepared.ranges, "trained_ranges": prepared.trained_ranges}
    return dict(prepared.trained) | ranges


if __name__ == "__main__":
    main()
