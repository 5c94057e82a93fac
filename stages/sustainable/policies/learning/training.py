"""Training of policies with Stable-Baselines3, checkpointed, and their export.

Observations are scaled by their running mean and deviation, which are frozen and exported with the actor.
The optimizers are fused, as their square root is the one that agrees between CPU makers.

A run that is not interrupted gives the same weights for the same seed. A resumed one does not: environments
begin new episodes, with a seed that follows from the seed and the steps done, and SAC, TD3 and DDPG fill a
new replay buffer with as many steps of the policy as `learning_starts` says before they learn on.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from torch import Tensor, nn

from sustainable.core.errors import UserError
from sustainable.core.tensors import read_tensors, write_tensors
from sustainable.policies.learning.checkpoints import restore, scales_of, state_of
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.policy import (
    ACTIVATIONS,
    CLIP,
    EPSILON,
    Actor,
    ActorArchitecture,
    Policy,
    action_bounds,
    batch_outputs,
    to_action,
)
from sustainable.policies.learning.recipes import TrainingRun
from sustainable.policies.environments.rollout import run_episode

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "TRPO": TRPO, "SAC": SAC, "TD3": TD3, "DDPG": DDPG}
SQUASHED = ("SAC", "TD3", "DDPG")
"""Their actors end in tanh; they also keep a replay buffer."""
FIXED_ARGUMENTS = {"policy", "env", "policy_kwargs", "seed", "device", "verbose", "tensorboard_log"}
EXTRA_SETTINGS = {
    "PPO": {"log_std_init"},
    "TRPO": {"log_std_init"},
    "TD3": {"action_noise"},
    "DDPG": {"action_noise"},
}


@dataclass
class TrainingLog:
    """What is kept beside weights: the learning curve, and the cost of each sitting so far."""

    curve: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)


def check_settings(cell: TrainingRun) -> None:
    """Raises `UserError` for an algorithm that is unknown, or a setting that it does not have."""
    where = f"params.yaml: train_policies.recipes.{cell.environment}.{cell.algorithm}"
    if cell.algorithm not in ALGORITHMS:
        raise UserError(f"{where}: no such algorithm (there are: {', '.join(ALGORITHMS)})")
    known = {name for name in inspect.signature(ALGORITHMS[cell.algorithm]).parameters if name[0] != "_"}
    known = known - FIXED_ARGUMENTS | EXTRA_SETTINGS.get(cell.algorithm, set())
    for name in sorted(cell.recipe.settings.keys() - known):
        raise UserError(f"{where}.settings.{name}: unknown (there are: {', '.join(sorted(known))})")


def new_model(cell: TrainingRun) -> BaseAlgorithm:
    """An untrained model with its scaled environments."""
    check_settings(cell)
    settings: dict[str, Any] = dict(cell.recipe.settings)
    environments = _environments(cell, float(settings.get("gamma", 0.99)))
    outputs, low, _ = action_bounds(environments.action_space)
    if not low and cell.algorithm in SQUASHED:
        raise UserError(f"{cell.environment} has discrete actions: {cell.algorithm} needs continuous ones")
    network: dict[str, Any] = {
        "net_arch": list(cell.recipe.hidden),
        "activation_fn": ACTIVATIONS[cell.recipe.activation],
        # the epsilon of PPO and TRPO is the library's default for them, lost when arguments are given
        "optimizer_kwargs": {"fused": True} | ({} if cell.algorithm in SQUASHED else {"eps": 1e-5}),
    }
    if "log_std_init" in settings:
        network["log_std_init"] = settings.pop("log_std_init")
    if "action_noise" in settings:
        deviation = np.full(outputs, settings.pop("action_noise"))
        settings["action_noise"] = NormalActionNoise(np.zeros(outputs), deviation)
    kind: Any = ALGORITHMS[cell.algorithm]
    model: BaseAlgorithm = kind(
        "MlpPolicy", environments, policy_kwargs=network, seed=cell.seed, device="cpu", **settings
    )
    if isinstance(model, SAC) and model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        rate = model.ent_coef_optimizer.param_groups[0]["lr"]
        model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=rate, fused=True)
    return model


def _environments(cell: TrainingRun, gamma: float) -> VecNormalize:
    """Copies side by side, whose episodes are noted and whose observations and rewards are scaled."""
    recipe = cell.recipe
    copies = DummyVecEnv([lambda: make_environment(cell.environment, **recipe.options)] * recipe.copies)
    return VecNormalize(
        VecMonitor(copies),
        norm_reward=recipe.normalize_reward,
        clip_obs=CLIP,
        epsilon=EPSILON,
        gamma=gamma,
    )


def train_one(
    cell: TrainingRun,
    curve_steps: int,
    checkpoint_steps: int,
    checkpoint: Path | None = None,
    identity: str = "",
    cost_so_far: Callable[[], dict[str, Any]] = dict,
) -> tuple[Policy, TrainingLog]:
    """Train a policy, from the last checkpoint if there is one; gives it and its curve and costs.

    `identity` is a fingerprint of the recipe: another run's checkpoint is not used. A run that has fewer than
    `checkpoint_steps` left keeps none. `cost_so_far` reads what this sitting has cost; it is kept with every
    checkpoint. Raises `EnvironmentFault` when an environment breaks.
    """
    model, sittings = new_model(cell), TrainingLog()
    resumed = checkpoint is not None and _resume(model, cell, sittings, checkpoint, identity)
    keeper = TrainingCallback(
        cell, sittings, curve_steps, checkpoint_steps, checkpoint, identity, cost_so_far
    )
    left = cell.recipe.steps - model.num_timesteps
    if resumed and isinstance(model, OffPolicyAlgorithm) and left > 0:
        left -= _refill(model, min(left, model.learning_starts), keeper)
    if left > 0:
        model.learn(left, callback=keeper, log_interval=None, reset_num_timesteps=not resumed)  # type: ignore[arg-type]
    sittings.costs.append(cost_so_far())
    model.env.close()  # type: ignore[union-attr]
    return export(model, cell), sittings


def _refill(model: OffPolicyAlgorithm, steps: int, keeper: BaseCallback) -> int:
    """Let the policy act without learning, so that a new replay buffer is no single moment. Gives the steps
    taken."""
    before = model.num_timesteps
    _, callback = model._setup_learn(steps, keeper, reset_num_timesteps=False)
    span = TrainFreq(max(1, steps // model.n_envs), TrainFrequencyUnit.STEP)
    assert model.env is not None and model.replay_buffer is not None
    model.collect_rollouts(model.env, callback, span, model.replay_buffer, model.action_noise)
    return model.num_timesteps - before


class TrainingCallback(BaseCallback):
    """Notes the learning curve and keeps checkpoints, each at its distance in steps."""

    def __init__(
        self,
        cell: TrainingRun,
        sittings: TrainingLog,
        curve_steps: int,
        checkpoint_steps: int,
        checkpoint: Path | None,
        identity: str,
        cost_so_far: Callable[[], dict[str, Any]],
    ) -> None:
        super().__init__()
        self.cell, self.sittings = cell, sittings
        self.curve_steps, self.checkpoint_steps = curve_steps, checkpoint_steps
        self.checkpoint, self.identity, self.cost_so_far = checkpoint, identity, cost_so_far
        self.earlier_costs = list(sittings.costs)
        self.episodes: list[dict[str, float]] = []
        self.last_point = self.last_kept = 0

    def _on_training_start(self) -> None:
        self.last_point = self.last_kept = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.episodes += [info["episode"] for info in self.locals["infos"] if "episode" in info]
        if self.num_timesteps - self.last_point >= self.curve_steps and self.episodes:
            self._note()
        return True

    def _on_rollout_start(self) -> None:
        """Between two rollouts all that is learned from the last one is in the weights."""
        done = self.model.num_timesteps
        if self.checkpoint is None or done - self.last_kept < self.checkpoint_steps:
            return
        self.last_kept = done
        tensors, description = state_of(self.model)
        kept = {
            "identity": self.identity,
            "state": description,
            "curve": self.sittings.curve,
            "costs": [*self.earlier_costs, self.cost_so_far()],
        }
        write_tensors(self.checkpoint, tensors, json.loads(json.dumps(kept)))
        print(f"{self.cell.name}: {done}/{self.cell.recipe.steps} steps", flush=True)

    def _on_training_end(self) -> None:
        if self.episodes:
            self._note()

    def _note(self) -> None:
        self.last_point = self.num_timesteps
        self.sittings.curve.append(
            {
                "environment": self.cell.environment,
                "algorithm": self.cell.algorithm,
                "seed": self.cell.seed,
                "step": self.num_timesteps,
                "episode_return": fmean(float(episode["r"]) for episode in self.episodes),
                "episode_length": fmean(episode["l"] for episode in self.episodes),
            }
        )
        self.episodes = []


def _resume(
    model: BaseAlgorithm, cell: TrainingRun, sittings: TrainingLog, checkpoint: Path, identity: str
) -> bool:
    """Take up a checkpoint; a damaged one, or another run's, is left for a fresh start."""
    if not checkpoint.is_file():
        return False
    try:
        tensors, kept = read_tensors(checkpoint)
    except UserError as error:
        print(f"starting afresh: {error}", flush=True)
        return False
    if kept.get("identity") != identity:
        return False
    restore(model, tensors, kept["state"])
    sittings.curve, sittings.costs = kept["curve"], kept["costs"]
    model.set_random_seed(
        int(np.random.SeedSequence([cell.seed, model.num_timesteps]).generate_state(1)[0] >> 1)
    )
    print(f"{cell.name}: resuming after {model.num_timesteps} of {cell.recipe.steps} steps", flush=True)
    return True


def export(model: BaseAlgorithm, cell: TrainingRun) -> Policy:
    """The actor of a model, with the scale of its observations, as it stands."""
    assert model.observation_space.shape is not None
    outputs, low, high = action_bounds(model.action_space)
    actor = Actor(
        ActorArchitecture(
            observations=model.observation_space.shape[0],
            outputs=outputs,
            hidden=cell.recipe.hidden,
            activation=cell.recipe.activation,
            low=low,
            high=high,
            squashed=cell.algorithm in SQUASHED,
        )
    )
    for mine, theirs in zip(actor.layers, linear_layers(model), strict=True):
        mine.load_state_dict(theirs.state_dict())
    scale: Any = scales_of(model).obs_rms
    actor.mean.copy_(_float(scale.mean))
    actor.scale.copy_(_float(1.0 / np.sqrt(scale.var + EPSILON)))
    return Policy(actor.eval(), cell.environment, cell.algorithm, cell.seed, model.num_timesteps)


def linear_layers(model: BaseAlgorithm) -> list[nn.Linear]:
    """The linear layers from scaled observations to outputs, of any of the algorithms."""
    policy: Any = model.policy
    if isinstance(model, SAC):
        parts = [*policy.actor.latent_pi, policy.actor.mu]
    elif isinstance(model, TD3):  # DDPG is one
        parts = [*policy.actor.mu]
    else:
        parts = [*policy.mlp_extractor.policy_net, policy.action_net]
    return [part for part in parts if isinstance(part, nn.Linear)]


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def returns_of(policy: Policy, options: dict[str, Any], seeds: list[int]) -> list[float]:
    """Returns of whole episodes, one a seed, of the policy without exploration."""
    environment = make_environment(policy.environment, **options)

    def act(observation: np.ndarray) -> Any:
        return to_action(policy.actor.architecture, batch_outputs(policy.actor, observation[None])[0])

    found = [run_episode(environment, act, seed).episode_return for seed in seeds]
    environment.close()
    return found


def random_returns(name: str, options: dict[str, Any], seeds: list[int]) -> list[float]:
    """Returns of whole episodes, one a seed, of uniformly random actions: what nobody has learned."""
    environment = make_environment(name, **options)
    environment.action_space.seed(seeds[0])
    found = [run_episode(environment, lambda _: environment.action_space.sample(), seed) for seed in seeds]
    environment.close()
    return [episode.episode_return for episode in found]


def has_learned(mean_return: float, random: float, reference: float | None, share: float) -> bool | None:
    """Whether a mean return is that share of the way from random to the reference; None without one."""
    return None if reference is None else mean_return >= random + share * (reference - random)
