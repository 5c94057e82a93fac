"""An actor as a Stable-Baselines3 policy, behind the library's own normalisation (VecNormalize)."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.td3.policies import Actor as SquashedActor
from torch import nn

from sustainable.policies.policy import ACTIVATIONS, CLIP, EPSILON, Actor, ActorArchitecture, linear_layers


class PredictingActor:
    """A library policy with the actor's weights, called through `predict` as the library's users do.

    For PPO and TRPO it is `ActorCriticPolicy`, with a value network without hidden layers that is not used.
    For actors that end in tanh it is the actor of TD3's policy; SAC's greedy action is the same function.
    """

    def __init__(self, actor: Actor) -> None:
        self.architecture = actor.architecture
        with torch.random.fork_rng(devices=[]):  # the library draws weights, which are replaced below
            self.policy, layers = _policy(actor.architecture)
        with torch.no_grad():
            for layer, source in zip(layers, actor.layers, strict=True):
                layer.load_state_dict(source.state_dict())
        self.policy.set_training_mode(False)
        placeholder: gymnasium.Env[Any, Any] = gymnasium.Env()  # VecNormalize only reads its spaces
        placeholder.observation_space = self.policy.observation_space
        placeholder.action_space = self.policy.action_space
        copies = DummyVecEnv([lambda: placeholder])
        wrapper = VecNormalize(copies, training=False, clip_obs=CLIP, epsilon=EPSILON)
        assert isinstance(wrapper.obs_rms, RunningMeanStd)  # observations are one array
        # The wrapper divides by sqrt(var + EPSILON); the actor multiplies by `scale`, the reciprocal of that.
        wrapper.obs_rms.mean = actor.mean.double().numpy()
        wrapper.obs_rms.var = actor.scale.double().numpy() ** -2 - EPSILON
        self.normalise: Any = wrapper.normalize_obs

    def act(self, observation: np.ndarray) -> Any:
        """Return the greedy action for an observation [observations]."""
        action, _ = self.policy.predict(self.normalise(observation), deterministic=True)
        return int(action) if self.architecture.discrete else action

    def infer(self, observation: np.ndarray) -> np.ndarray:
        """Return the outputs [outputs] for an observation [observations], from the networks of `predict`."""
        policy: Any = self.policy
        with torch.no_grad():
            values = torch.from_numpy(self.normalise(observation))[None]
            if self.architecture.squashed:
                outputs = policy.mu[:-1](values)  # before the tanh
            else:
                outputs = policy.action_net(policy.mlp_extractor.forward_actor(values))
        return np.asarray(outputs[0].numpy())


def _policy(shape: ActorArchitecture) -> tuple[BasePolicy, list[nn.Linear]]:
    """Return a policy of the given shape, and its actor's layers in order."""
    observations = spaces.Box(-np.inf, np.inf, (shape.observations,), np.float32)
    activation = ACTIVATIONS[shape.activation]
    hidden, extractor = list(shape.hidden), FlattenExtractor(observations)
    low, high = np.array(shape.low, np.float32), np.array(shape.high, np.float32)
    actions: Any = spaces.Discrete(shape.outputs)
    if not shape.discrete:
        actions = spaces.Box(low, high, dtype=np.float32)
    if shape.squashed:
        squashed = SquashedActor(
            observations, actions, hidden, extractor, shape.observations, activation_fn=activation
        )
        return squashed, linear_layers(squashed.mu)
    policy = ActorCriticPolicy(
        observations, actions, lambda _: 0.0, {"pi": hidden, "vf": []}, activation_fn=activation
    )
    return policy, linear_layers(policy.mlp_extractor.policy_net, policy.action_net)
