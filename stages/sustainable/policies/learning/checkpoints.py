"""Checkpoints of a Stable-Baselines3 model as tensors and JSON: the library's own format is a pickle.

Saved: all weights, the optimizers' states, the scales of observations and rewards, and the number of steps.
Not saved: the states of environments and random generators, and the replay buffer of SAC, TD3 and DDPG.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from sustainable.core.documents import same_form

SCALES = ("obs_rms", "ret_rms")  # VecNormalize's running statistics of observations and of discounted returns

COUNTERS = ("num_timesteps", "_n_updates")


def state_of(model: BaseAlgorithm) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and a JSON-like description of a model and of its VecNormalize statistics."""
    tensors: dict[str, Tensor] = {}  # names joined by /: those of modules already contain dots
    groups: dict[str, Any] = {}
    for name, part in model.get_parameters().items():
        if "param_groups" not in part:  # a module; the others are optimizers
            tensors |= {f"{name}/{key}": value for key, value in part.items()}
            continue
        groups[name] = part["param_groups"]
        for index, entries in part["state"].items():
            tensors |= {f"{name}/{index}/{key}": value for key, value in entries.items()}
    for name in model._get_torch_save_params()[1]:
        if not isinstance(getattr(model, name), nn.Module):  # SAC's entropy coefficient
            tensors[f"loose/{name}"] = getattr(model, name)
    for name in SCALES:
        scale = getattr(scales_of(model), name)
        for key in ("mean", "var", "count"):
            tensors[f"{name}/{key}"] = torch.as_tensor(np.asarray(getattr(scale, key), np.float64))
    counters = {name: getattr(model, name) for name in COUNTERS}
    return tensors, {"groups": groups, "counters": counters}


def restore(model: BaseAlgorithm, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Load the result of `state_of` into a new model of the same kind."""
    parameters: dict[str, dict[str, Any]] = {}
    for name in model._get_torch_save_params()[0]:
        part = _part(tensors, name)
        if name not in description["groups"]:
            parameters[name] = part
            continue
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part.items():
            index, entry = key.split("/")
            state.setdefault(int(index), {})[entry] = value
        own, groups = model.get_parameters()[name]["param_groups"], description["groups"][name]
        if not same_form(own, groups):
            raise ValueError(f"the settings of {name} have another form")
        parameters[name] = {"state": state, "param_groups": groups}
    model.set_parameters(parameters, device="cpu")  # type: ignore[arg-type]
    for name, value in _part(tensors, "loose").items():
        getattr(model, name).data.copy_(value)
    for name in SCALES:
        scale, part = getattr(scales_of(model), name), _part(tensors, name)
        scale.mean, scale.var, scale.count = part["mean"].numpy(), part["var"].numpy(), float(part["count"])
    for name in COUNTERS:
        setattr(model, name, int(description["counters"][name]))


def scales_of(model: BaseAlgorithm) -> VecNormalize:
    """Return the wrapper that scales the model's observations and rewards."""
    wrapper = model.get_vec_normalize_env()
    assert wrapper is not None
    return wrapper


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
