"""Train policies with Stable-Baselines3, with checkpoints, and export their actors.

Observations are scaled by their running mean and standard deviation, which are frozen and exported with the
actor. The optimizers are fused, because only their square root agrees between CPU makers.

An uninterrupted run gives the same weights for the same seed. A resumed run does not: its environments begin
new episodes, seeded from the run's seed and the steps done so far, and SAC, TD3 and DDPG first fill a new
replay buffer with `learning_starts` steps of the policy.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from torch import Tensor, nn

from sustainable.core.errors import UserError
from sustainable.core.reading import damaged, one_line
from sustainable.core.tensors import read_checkpoint, write_checkpoint
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.environments.rollout import Environment, run_episode
from sustainable.policies.learning.checkpoints import restore, scales_of, state_of
from sustainable.policies.learning.recipes import TrainingRun
from sustainable.policies.policy import ACTIVATIONS, CLIP, EPSILON, Act, Actor, ActorArchitecture, Policy
from sustainable.policies.policy import action_bounds, batch_outputs, linear_layers, to_action

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "TRPO": TRPO, "SAC": SAC, "TD3": TD3, "DDPG": DDPG}
SQUASHED = ("SAC", "TD3", "DDPG")  # algorithms whose actors end in tanh; they also have a replay buffer
FIXED_ARGUMENTS = {"policy", "env", "policy_kwargs", "seed", "device", "verbose", "tensorboard_log"}
"""Arguments of the algorithms that a recipe cannot set."""
EXTRA_SETTINGS = {
    "PPO": {"log_std_init"},
    "TRPO": {"log_std_init"},
    "TD3": {"action_noise"},
    "DDPG": {"action_noise"},
}
"""Settings of a recipe that are not plain arguments of the algorithm."""


@dataclass
class TrainingLog:
    """What a training run records besides weights."""

    curve: list[dict[str, Any]] = field(default_factory=list)  # points of the learning curve
    costs: list[dict[str, Any]] = field(default_factory=list)
    """The cost of each session so far; a run that is resumed has several."""


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often a training run saves its state."""

    path: Path
    steps: int  # environment steps between two checkpoints; a run with fewer steps left saves none
    identity: str  # fingerprint of the training run; a checkpoint with another fingerprint is ignored


def check_settings(run: TrainingRun) -> None:
    """Raise `UserError` if the algorithm is unknown or does not have one of the settings."""
    where = f"params.yaml: train_policies.recipes.{run.environment}.{run.algorithm}"
    if run.algorithm not in ALGORITHMS:
        raise UserError(f"{where}: no such algorithm (known: {', '.join(ALGORITHMS)})")
    known = {name for name in inspect.signature(ALGORITHMS[run.algorithm]).parameters if name[0] != "_"}
    known = known - FIXED_ARGUMENTS | EXTRA_SETTINGS.get(run.algorithm, set())
    for name in sorted(run.recipe.settings.keys() - known):
        raise UserError(f"{where}.settings.{name}: unknown (known: {', '.join(sorted(known))})")


def new_model(run: TrainingRun) -> BaseAlgorithm:
    """Build the untrained model with its scaled environments.

    Raises `UserError` for settings that the algorithm does not have, and for an algorithm that cannot act
    in the environment.
    """
    check_settings(run)
    settings = {name: scheduled(value) for name, value in run.recipe.settings.items()}
    environments = scaled_environments(run, float(settings.get("gamma", 0.99)))
    outputs, low, _ = action_bounds(environments.action_space)
    if not low and run.algorithm in SQUASHED:
        raise UserError(f"{run.environment} has discrete actions: {run.algorithm} needs continuous ones")
    # PPO and TRPO default to an epsilon of 1e-5, but only if no other optimizer arguments are given.
    epsilon = {} if run.algorithm in SQUASHED else {"eps": 1e-5}
    network: dict[str, Any] = {
        "net_arch": list(run.recipe.hidden),
        "activation_fn": ACTIVATIONS[run.recipe.activation],
        "optimizer_kwargs": {"fused": True} | epsilon,
    }
    if "log_std_init" in settings:
        network["log_std_init"] = settings.pop("log_std_init")
    settings |= _noise(settings.get("action_noise"), outputs)
    algorithm: Any = ALGORITHMS[run.algorithm]
    model: BaseAlgorithm = algorithm(
        "MlpPolicy", environments, policy_kwargs=network, seed=run.seed, device="cpu", **settings
    )
    _fuse_entropy_optimizer(model)
    return model


def scheduled(value: Any) -> Any:
    """Return a setting as the algorithm takes it: `lin_0.001` becomes a schedule from 0.001 to 0."""
    return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0) if isinstance(value, str) else value


def off_policy_settings(run: TrainingRun, actions: spaces.Space[Any]) -> dict[str, Any]:
    """Return the arguments of SAC, TD3 or DDPG that a recipe sets."""
    settings: dict[str, Any] = dict(run.recipe.settings)
    return settings | _noise(settings.get("action_noise"), action_bounds(actions)[0])


def _noise(deviation: float | None, outputs: int) -> dict[str, Any]:
    """Return the Gaussian noise of a recipe's `action_noise`, or nothing if it has none."""
    if deviation is None:
        return {}
    return {"action_noise": NormalActionNoise(np.zeros(outputs), np.full(outputs, deviation))}


def _fuse_entropy_optimizer(model: BaseAlgorithm) -> None:
    """Replace the optimizer of SAC's entropy coefficient, which `policy_kwargs` does not reach."""
    if isinstance(model, SAC) and model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        rate = model.ent_coef_optimizer.param_groups[0]["lr"]
        model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=rate, fused=True)


def scaled_environments(run: TrainingRun, gamma: float) -> VecNormalize:
    """Make the copies of the environment, with episode statistics and scaled observations and rewards."""
    recipe = run.recipe
    copies = DummyVecEnv([lambda: make_environment(run.environment, **recipe.options)] * recipe.copies)
    return VecNormalize(
        VecMonitor(copies),
        norm_reward=recipe.normalize_reward,
        clip_obs=CLIP,
        epsilon=EPSILON,
        gamma=gamma,  # the scale of rewards is that of discounted returns
    )


def train_one(
    run: TrainingRun,
    curve_steps: int,
    checkpointing: Checkpointing | None = None,
    cost_so_far: Callable[[], dict[str, Any]] = dict,
) -> tuple[Policy, TrainingLog]:
    """Train a policy, from its last checkpoint if there is one.

    `curve_steps` is the number of steps between two points of the learning curve. `cost_so_far` returns the
    cost of this session; every checkpoint contains it. Raises `EnvironmentFault` if an environment breaks.
    """
    model, log = new_model(run), TrainingLog()
    model.set_logger(Logger(None, []))  # the default leaves a folder in /tmp for every training
    resumed = checkpointing is not None and _resume(model, run, log, checkpointing)
    callback = TrainingCallback(run, log, curve_steps, checkpointing, cost_so_far)
    left = run.recipe.steps - model.num_timesteps
    if resumed and isinstance(model, OffPolicyAlgorithm) and left > 0:
        left -= _refill(model, min(left, model.learning_starts), callback)
    if left > 0:
        model.learn(left, callback=callback, log_interval=None, reset_num_timesteps=not resumed)  # type: ignore[arg-type]
    log.costs.append(cost_so_far())
    model.env.close()  # type: ignore[union-attr]
    return export(model, run), log


def _refill(model: OffPolicyAlgorithm, steps: int, callback: BaseCallback) -> int:
    """Fill a new replay buffer by acting without learning; return the number of steps taken.

    Without this, the first updates after a checkpoint would learn from a few steps only.
    """
    before = model.num_timesteps
    _, callbacks = model._setup_learn(steps, callback, reset_num_timesteps=False)
    span = TrainFreq(max(1, steps // model.n_envs), TrainFrequencyUnit.STEP)
    assert model.env is not None and model.replay_buffer is not None
    model.collect_rollouts(model.env, callbacks, span, model.replay_buffer, model.action_noise)
    return model.num_timesteps - before


class TrainingCallback(BaseCallback):
    """Record the learning curve and save checkpoints."""

    def __init__(
        self,
        run: TrainingRun,
        log: TrainingLog,
        curve_steps: int,
        checkpointing: Checkpointing | None,
        cost_so_far: Callable[[], dict[str, Any]],
    ) -> None:
        super().__init__()
        self.run, self.log, self.curve_steps = run, log, curve_steps
        self.checkpointing, self.cost_so_far = checkpointing, cost_so_far
        self.episodes: list[dict[str, float]] = []
        self.last_point = self.last_checkpoint = 0

    def _on_training_start(self) -> None:
        self.last_point = self.last_checkpoint = self.model.num_timesteps

    def _on_step(self) -> bool:
        self.episodes += [info["episode"] for info in self.locals["infos"] if "episode" in info]
        if self.num_timesteps - self.last_point >= self.curve_steps and self.episodes:
            self._add_point()
        return True

    def _on_rollout_start(self) -> None:
        # Between two rollouts, everything learned from the last one is in the weights: nothing is lost.
        done = self.model.num_timesteps
        if self.checkpointing is None or done - self.last_checkpoint < self.checkpointing.steps:
            return
        self.last_checkpoint = done
        tensors, description = state_of(self.model)
        metadata = {
            "identity": self.checkpointing.identity,
            "state": description,
            "curve": self.log.curve,
            "costs": [*self.log.costs, self.cost_so_far()],
        }
        write_checkpoint(self.checkpointing.path, tensors, metadata)
        print(f"{self.run.name}: {done}/{self.run.recipe.steps} steps", flush=True)

    def _on_training_end(self) -> None:
        if self.episodes:
            self._add_point()

    def _add_point(self) -> None:
        """Add the means of the episodes since the last point."""
        self.last_point = self.num_timesteps
        self.log.curve.append(
            {
                "environment": self.run.environment,
                "algorithm": self.run.algorithm,
                "seed": self.run.seed,
                "step": self.num_timesteps,
                "episode_return": fmean(float(episode["r"]) for episode in self.episodes),
                "episode_length": fmean(episode["l"] for episode in self.episodes),
            }
        )
        self.episodes = []


def _resume(model: BaseAlgorithm, run: TrainingRun, log: TrainingLog, checkpointing: Checkpointing) -> bool:
    """Load the checkpoint into `model` and `log`; return False if there is none or it cannot be used."""
    if not checkpointing.path.is_file():
        return False
    try:
        tensors, metadata = read_checkpoint(checkpointing.path)
    except UserError as error:
        print(f"starting from the beginning: {error}", flush=True)
        return False
    if metadata.get("identity") != checkpointing.identity:
        return False
    try:
        restore(model, tensors, metadata["state"])
        log.curve, log.costs = metadata["curve"], metadata["costs"]
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise damaged(checkpointing.path, f"not a checkpoint ({one_line(error)[:200]})") from None
    # The random generators' states are not saved. A new seed from the number of steps avoids repeating the
    # draws of the first steps; >> 1 keeps it within a signed 32-bit integer.
    sequence = np.random.SeedSequence([run.seed, model.num_timesteps])
    model.set_random_seed(int(sequence.generate_state(1)[0] >> 1))
    print(f"{run.name}: resuming after {model.num_timesteps} of {run.recipe.steps} steps", flush=True)
    return True


def export(model: BaseAlgorithm, run: TrainingRun) -> Policy:
    """Return the model's current actor with the scale of its observations."""
    layers = linear_layers(*_networks(model))
    return with_statistics(model, run, [(layer.weight, layer.bias) for layer in layers])


def with_statistics(
    model: BaseAlgorithm, run: TrainingRun, weights: Sequence[tuple[Tensor, Tensor]]
) -> Policy:
    """Return an actor with the layers' `weights` ([outputs, inputs] and [outputs]) and the model's scales."""
    assert model.observation_space.shape is not None
    outputs, low, high = action_bounds(model.action_space)
    squashed, inputs = run.algorithm in SQUASHED, model.observation_space.shape[0]
    hidden, activation = run.recipe.hidden, run.recipe.activation
    actor = Actor(ActorArchitecture(inputs, outputs, hidden, activation, low, high, squashed))
    for layer, (weight, bias) in zip(actor.layers, weights, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    # VecNormalize keeps mean and variance in float64 and divides by sqrt(var + epsilon). The actor multiplies
    # by the reciprocal, computed in float64 and rounded once to float32.
    statistics: Any = scales_of(model).obs_rms
    actor.mean.copy_(torch.from_numpy(statistics.mean))
    actor.scale.copy_(torch.from_numpy(1.0 / np.sqrt(statistics.var + EPSILON)))
    return Policy(actor.eval(), run.environment, run.algorithm, run.seed, model.num_timesteps)


def _networks(model: BaseAlgorithm) -> list[nn.Module]:
    """Return the networks from scaled observations to outputs; each algorithm names them differently."""
    policy: Any = model.policy
    if isinstance(model, SAC):
        return [policy.actor.latent_pi, policy.actor.mu]
    if isinstance(model, TD3):  # DDPG is a subclass
        return [policy.actor.mu]
    return [policy.mlp_extractor.policy_net, policy.action_net]


def returns_of(policy: Policy, options: dict[str, Any], seeds: list[int]) -> list[float]:
    """Return the return of one whole episode per seed, of the policy without exploration."""

    def act(observation: np.ndarray) -> Any:
        return to_action(policy.actor.architecture, batch_outputs(policy.actor, observation[None])[0])

    return _returns(make_environment(policy.environment, **options), act, seeds)


def random_returns(name: str, options: dict[str, Any], seeds: list[int]) -> list[float]:
    """Return the return of one whole episode per seed, of random actions: the untrained reference."""
    environment = make_environment(name, **options)
    environment.action_space.seed(seeds[0])
    return _returns(environment, lambda _: environment.action_space.sample(), seeds)


def _returns(environment: Environment, act: Act, seeds: list[int]) -> list[float]:
    returns = [run_episode(environment, act, seed).episode_return for seed in seeds]
    environment.close()
    return returns


def has_learned(mean_return: float, random: float, reference: float | None, share: float) -> bool | None:
    """Return whether a mean return covers `share` of the distance from random to the reference.

    None without a reference.
    """
    return None if reference is None else mean_return >= random + share * (reference - random)
