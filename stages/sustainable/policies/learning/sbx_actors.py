"""Train SAC and TD3 with SBX, the JAX twin of Stable-Baselines3, and convert the actors.

SBX takes 32 gradient steps in one compiled call, which makes it about twice as fast as Stable-Baselines3 on
one core. It is only needed to train the actors in `data/actors` again (`sbx-rl` is no requirement of the
pipeline), and its kernels are not pinned: another CPU gives other last bits, and so another policy.
"""

from importlib.metadata import version
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import sbx
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from sustainable.policies.environments.guarded import Record
from sustainable.policies.learning.recipes import TrainingRun
from sustainable.policies.learning.training import TrainingCallback, TrainingLog
from sustainable.policies.learning.training import off_policy_settings, scaled_environments, with_statistics
from sustainable.policies.policy import Policy

ALGORITHMS: dict[str, Any] = {"SAC": sbx.SAC, "TD3": sbx.TD3}
ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}


def train_actor(run: TrainingRun, curve_steps: int) -> tuple[Policy, Record]:
    """Train one policy, without checkpoints.

    Returns the policy, and how it was trained: its learning curve, versions, and the largest difference
    between the actions of the converted actor and of SBX's own.
    """
    environments = scaled_environments(run, float(run.recipe.settings.get("gamma", 0.99)))
    network = {"net_arch": list(run.recipe.hidden), "activation_fn": ACTIVATIONS[run.recipe.activation]}
    settings = off_policy_settings(run, environments.action_space)
    model = ALGORITHMS[run.algorithm](
        "MlpPolicy", environments, policy_kwargs=network, seed=run.seed, **settings
    )
    model.set_logger(Logger(None, []))
    log = TrainingLog()
    model.learn(run.recipe.steps, TrainingCallback(run, log, curve_steps, None, dict), log_interval=None)
    policy = convert(model, run)
    return policy, {
        "curve": log.curve,
        "conversion_difference": conversion_error(model, policy),
        "trained_with": {name: version(name) for name in ("sbx-rl", "jax", "gymnasium", "mujoco")},
    }


def convert(model: BaseAlgorithm, run: TrainingRun) -> Policy:
    """Return SBX's actor as a torch actor: flax stores a layer's weights as [inputs, outputs]."""
    parameters = jax.device_get(_actor_state(model).params["params"])
    layers = [parameters[f"Dense_{index}"] for index in range(len(run.recipe.hidden) + 1)]
    weights = [(torch.tensor(layer["kernel"].T), torch.tensor(layer["bias"])) for layer in layers]
    return with_statistics(model, run, weights)


def conversion_error(model: BaseAlgorithm, policy: Policy, count: int = 1000) -> float:
    """Return the largest difference of the squashed actions (within -1 and 1) over `count` observations."""
    rng = np.random.default_rng(policy.seed)
    scaled = rng.normal(size=(count, policy.actor.architecture.observations)).astype(np.float32)
    observations = torch.from_numpy(scaled) / policy.actor.scale + policy.actor.mean
    state = _actor_state(model)
    theirs = state.apply_fn(state.params, scaled)
    theirs = np.asarray(theirs if policy.algorithm == "TD3" else theirs.mode())
    with torch.inference_mode():
        ours = torch.tanh(policy.actor(observations)).numpy()
    return float(np.abs(ours - theirs).max())


def _actor_state(model: Any) -> Any:
    return model.policy.actor_state
