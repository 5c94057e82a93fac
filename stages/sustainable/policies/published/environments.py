"""The notebook's mock environment, and a real one in its place."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from sustainable.core.errors import UserError
from sustainable.core.parameters import STRICT
from sustainable.policies.environments.rollout import Environment

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


@checked_dataclass(frozen=True, config=STRICT)
class MockParameters:
    """The notebook's mock environment: the numbers are its own."""

    observations: PositiveInt
    actions: PositiveInt
    limit: PositiveInt  # steps of an episode, at most
    load: PositiveInt  # rows of 10 random numbers that a step squares and sums, as a simulator's work
    quality_noise: Annotated[float, Field(ge=0.0)]  # standard deviation of the noise on the reward
    poor_quality: Probability  # an action whose reward is below this ends the episode ...
    poor_after: Annotated[int, Field(ge=0)]  # ... after this many steps
    random_end: Probability  # of an episode, after each step


class Ended(NamedTuple):
    """One finished episode."""

    steps: int
    episode_return: float


class NotebookTask(Protocol):
    """What an agent acts in: observations and actions are tensors of one dimension."""

    history: list[Ended]

    def reset(self) -> Tensor: ...

    def step(self, action: Tensor) -> tuple[Tensor, float, bool]: ...


@dataclass
class MockEnvironment:
    """Rewards actions near the tanh of the state's first elements; poor ones end the episode early.

    It draws from torch's global generator, as the notebook does: what a policy draws shifts its episodes.
    """

    parameters: MockParameters

    def __post_init__(self) -> None:
        self.history: list[Ended] = []

    def reset(self) -> Tensor:
        """Start an episode and return its first observation [observations]."""
        self._state, self._steps, self._return = torch.randn(self.parameters.observations), 0, 0.0
        return self._state.clone()

    def step(self, action: Tensor) -> tuple[Tensor, float, bool]:
        """Return the next observation, the reward (0 to 1), and whether the episode has ended."""
        torch.sum(torch.randn(self.parameters.load, 10) ** 2)
        reward = self._quality(action)
        push = torch.cat([action, torch.zeros(len(self._state) - len(action))])
        self._state = 0.9 * self._state + 0.1 * torch.randn_like(self._state) + 0.05 * push
        self._steps += 1
        self._return += reward
        done = self._ends(reward)
        if done:
            self.history.append(Ended(self._steps, self._return))
        return self._state.clone(), reward, done

    def _quality(self, action: Tensor) -> float:
        distance = float(torch.norm(action - torch.tanh(self._state[: len(action)])))
        noise = self.parameters.quality_noise * float(torch.randn(1))
        return min(1.0, max(0.0, 1.0 / (1.0 + distance) + noise))

    def _ends(self, reward: float) -> bool:
        own = self.parameters
        if self._steps >= own.limit or (reward < own.poor_quality and self._steps > own.poor_after):
            return True
        return float(torch.rand(1)) < own.random_end


class RealEnvironment:
    """A Gymnasium environment with continuous actions in the place of the mock one."""

    def __init__(self, environment: Environment, seed: int) -> None:
        space = environment.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise UserError(
                f"params.yaml: notebook.real: its actions are {space}; name an environment with "
                "continuous actions"
            )
        self._environment, self._seed = environment, seed
        self._low, self._high = space.low, space.high
        self.history: list[Ended] = []

    def reset(self) -> Tensor:
        """Start the next episode; each has the seed after that of the one before."""
        observation, _ = self._environment.reset(seed=self._seed)
        self._seed += 1
        self._steps, self._return = 0, 0.0
        return _tensor(observation)

    def step(self, action: Tensor) -> tuple[Tensor, float, bool]:
        """Clip the action to its bounds and act; an episode also ends at its time limit."""
        bounded = np.clip(action.numpy(), self._low, self._high)
        observation, reward, terminated, truncated, _ = self._environment.step(bounded)
        self._steps += 1
        self._return += float(reward)
        done = bool(terminated or truncated)
        if done:
            self.history.append(Ended(self._steps, self._return))
        return _tensor(observation), float(reward), done


def _tensor(observation: np.ndarray) -> Tensor:
    return torch.from_numpy(observation.astype(np.float32))
