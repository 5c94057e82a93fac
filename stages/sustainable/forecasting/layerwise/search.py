"""All searches of the later version on one network, with the plans that they evaluated."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from sustainable.core.parameters import STRICT
from sustainable.core.progress import progress
from sustainable.forecasting.data.windows import Windows
from sustainable.forecasting.layerwise.plan import (
    LayerPlan,
    PlanOutcome,
    PlanReward,
    accuracy_of,
    compress_by_plan,
    compress_part,
)
from sustainable.forecasting.layerwise.searchers import (
    SAMPLERS,
    SHARE_STEP,
    STEPS,
    SamplerParameters,
    Trace,
    search_by_agent,
    search_by_sampler,
)
from sustainable.forecasting.model.gru import WeatherGRU
from sustainable.forecasting.published.agent import AgentParameters


@dataclass(frozen=True, config=STRICT)
class RepeatedAgent:
    """PPO with several seeds, of which `training` has the first."""

    seeds: Annotated[int, Field(ge=1, le=1000)]
    training: AgentParameters


@dataclass(frozen=True, config=STRICT)
class LayerwiseParameters:
    """The section layerwise_search of params.yaml."""

    reward: PlanReward
    samplers: SamplerParameters
    agents: dict[str, RepeatedAgent]
    published: dict[str, LayerPlan]
    """The plans that the source reports, by searcher."""


class PlanTable:
    """Evaluates plans on the `validation` windows, each only once.

    The GRU runs only once for each pair of its shares and precision: its last states are kept, and a plan
    that differs in the readout alone costs a product of a matrix and a vector.
    """

    def __init__(self, model: WeatherGRU, validation: Windows, reward: PlanReward) -> None:
        self._model, self._reward = model, reward
        self._inputs, self._wet = (
            torch.from_numpy(validation.inputs),
            torch.from_numpy(validation.target) > 0.5,
        )
        self._states: dict[tuple[float, float, bool], tuple[Tensor, int]] = {}
        self._readouts: dict[tuple[float, bool], tuple[nn.Module, int]] = {}
        self._parameters = sum(value.numel() for value in model.parameters())
        self._before = self._accuracy(LayerPlan((0.0, 0.0, 0.0), False))[0]
        self.outcomes: dict[LayerPlan, PlanOutcome] = {}

    def evaluate(self, plan: LayerPlan) -> PlanOutcome:
        """Return the outcome of a plan."""
        if plan not in self.outcomes:
            accuracy, sparsity = self._accuracy(plan)
            reward = self._reward.of(accuracy - self._before, sparsity, plan.quantization)
            self.outcomes[plan] = PlanOutcome(accuracy, sparsity, reward)
        return self.outcomes[plan]

    @torch.inference_mode()
    def _accuracy(self, plan: LayerPlan) -> tuple[float, float]:
        """Return the accuracy and the sparsity that `compress_by_plan` leads to."""
        key = (*plan.shares[:2], plan.quantization)
        if key not in self._states:
            gru, zeros = compress_part(self._model.gru, plan)
            self._states[key] = gru(self._inputs)[0][:, -1].clone(), zeros  # not a view of all days
        states, zeros_gru = self._states[key]
        key_readout = plan.shares[2], plan.quantization
        if key_readout not in self._readouts:
            self._readouts[key_readout] = compress_part(self._model.readout, plan)
        readout, zeros = self._readouts[key_readout]
        right = (readout(states).squeeze(-1) > 0) == self._wet
        return float(right.double().mean()), (zeros_gru + zeros) / self._parameters


def search_layers(
    model: WeatherGRU, validation: Windows, test: Windows, parameters: LayerwiseParameters
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run all searches; return one row per search, and one per plan that was evaluated."""
    table = PlanTable(model, validation, parameters.reward)
    for plan in equal_shares():
        table.evaluate(plan)
    rows = [
        described(f"published_{name}", 0, Trace([plan], [table.evaluate(plan).reward]), table, model, test)
        for name, plan in parameters.published.items()
    ]
    jobs = list(_jobs(parameters))
    for name, seed in progress(jobs, "searching", len(jobs)):
        if name in SAMPLERS:
            trace = search_by_sampler(name, seed, parameters.samplers.trials, table.evaluate)
        else:
            trace = search_by_agent(seed, parameters.agents[name].training, table.evaluate)
        rows.append(described(name, seed, trace, table, model, test))
    return rows, [plan_row(plan) | asdict(outcome) for plan, outcome in table.outcomes.items()]


def equal_shares() -> Iterator[LayerPlan]:
    """Every share for all layers alike, in both precisions: what deeper pruning does to the accuracy."""
    for quantization in (False, True):
        for step in range(STEPS + 1):
            share = round(step * SHARE_STEP, 2)
            yield LayerPlan((share, share, share), quantization)


def _jobs(parameters: LayerwiseParameters) -> Iterator[tuple[str, int]]:
    samplers = parameters.samplers
    for name in SAMPLERS:
        yield from ((name, samplers.first_seed + index) for index in range(samplers.seeds))
    for name, agent in parameters.agents.items():
        yield from ((name, agent.training.seed + index) for index in range(agent.seeds))


def described(
    searcher: str, seed: int, trace: Trace, table: PlanTable, model: WeatherGRU, test: Windows
) -> dict[str, Any]:
    """Return the row of one search: its answer, and how many plans are as good.

    `test_accuracy_difference` is that of the answer minus that of the uncompressed network.
    """
    outcome, chosen = table.evaluate(trace.chosen), compress_by_plan(model, trace.chosen)[0]
    return {
        "searcher": searcher,
        "seed": seed,
        "evaluations": len(trace.plans),
        "distinct": len(set(trace.plans)),
        "tied": trace.tied,
        "first_sampled_at": trace.plans.index(trace.chosen),
        **plan_row(trace.chosen),
        **asdict(outcome),
        "test_accuracy": accuracy_of(chosen, test),
        "test_accuracy_difference": accuracy_of(chosen, test) - accuracy_of(model, test),
    }


def plan_row(plan: LayerPlan) -> dict[str, Any]:
    """Return the columns of a plan."""
    names = ("share_0", "share_1", "share_readout")
    return {"name": plan.name} | dict(zip(names, plan.shares, strict=True)) | {"int8": plan.quantization}
