"""What every JSON file of the pipeline holds: keys, types and ranges, declared once for all readers.

Keys that are not named here may be present. Numbers are finite, because `reading` accepts no others.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Count = Annotated[int, Field(ge=0, le=10**15)]
Evaluations = Annotated[int, Field(ge=1, le=100_000)]
"""A budget: curves of this length are computed."""
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Text = Annotated[str, Field(max_length=5000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Width = Annotated[int, Field(ge=1, le=10**6)]
PUBLISHED_ACTIONS = 16
"""Of the published search, from 0."""
Action = Annotated[int, Field(ge=0, lt=PUBLISHED_ACTIONS)]
SHA256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Deployed(TypedDict):
    """A deployment of choices.json."""

    width_0: Width
    width_1: Width
    precision: Name
    runtime: Name


class ChosenDeployment(Deployed):
    reward: Number
    test_reward: Number | None
    tie: Annotated[int, Field(ge=0, le=1)]
    log_cpu_time: Number
    accuracy_loss: Number
    evaluation: NotRequired[Evaluations]
    distinct: NotRequired[Evaluations]


class SearchSpace(TypedDict):
    best_reward: Number
    worst_reward: Number
    median_reward: Number
    best_test_reward: Number | None  # None: the table has no test accuracies
    noise: Text
    ties: Annotated[list[Deployed], Field(min_length=1)]


class Choices(TypedDict):
    """choices.json: the searched space, and what every searcher chose."""

    task: Name
    tuned_on: Name
    budgets: Annotated[
        dict[Annotated[str, Field(pattern=r"^(0(\.\d{1,9})?|1)$")], Evaluations], Field(min_length=1)
    ]
    main_budget: Evaluations
    groups: Annotated[dict[Name, Name], Field(min_length=1)]
    points: Evaluations
    grid_points: Evaluations
    oracle_on_grid: bool
    space: SearchSpace
    choices: dict[Name, ChosenDeployment]


class ChosenAction(TypedDict):
    action: Action
    name: Name
    pruning: Share
    quantization: bool
    reward: Number


class SeenAction(ChosenAction):
    first_sampled_at_step: Count
    updates_before: Count


class BestAction(TypedDict):
    """best_action.json: what the published search reports."""

    actions: Annotated[int, Field(ge=1, le=16)]
    actions_sharing_best_reward: Annotated[list[Action], Field(min_length=1, max_length=16)]
    best_reward: Number
    best_seen: SeenAction
    policy: ChosenAction
    is_tie: bool
    ties: Annotated[int, Field(ge=1, le=16)]


class Host(TypedDict):
    """The computer that measured. Older rows describe less of it."""

    cpu: Annotated[str, Field(max_length=200)]
    isa: NotRequired[Annotated[str, Field(max_length=200)]]
    cores_logical: NotRequired[Annotated[int, Field(ge=1, le=100_000)]]
    cores_physical: NotRequired[Annotated[int, Field(ge=1, le=100_000)] | None]
    memory_gib: NotRequired[Amount]
    load_at_start: NotRequired[Amount]
    python: NotRequired[Annotated[str, Field(max_length=200)]]
    system: NotRequired[Annotated[str, Field(max_length=200)]]
    versions: NotRequired[dict[Name, Annotated[str, Field(max_length=200)] | None]]
    family: NotRequired[Count | None]
    model: NotRequired[Count | None]
    stepping: NotRequired[Count | None]
    vendor: NotRequired[Annotated[str, Field(max_length=200)] | None]
    meter: NotRequired[Text]
    meter_reason: NotRequired[Text]


class Percentiles(TypedDict):
    p50: Amount
    p95: Amount
    p99: Amount


class Ceilings(TypedDict):
    bytes_per_s: Annotated[float, Field(gt=0, le=1e18)]
    flops_per_s: Annotated[float, Field(gt=0, le=1e18)]


class Frozen(TypedDict):
    """What a benchmark fixed before its blocks, by configuration and batch size."""

    latency: NotRequired[dict[Name, dict[Name, Percentiles]]]
    loops: NotRequired[dict[Name, dict[Name, Annotated[int, Field(ge=1, le=10**12)]]]]
    meter_overhead_p95: NotRequired[Number | None]
    roofline: NotRequired[Ceilings]


class Conditions(TypedDict):
    """<benchmark>.conditions.json of study A."""

    host: Host
    frozen: Frozen


class AuditedFrozen(TypedDict):
    """`Frozen` of an audited task, whose ceilings were measured."""

    latency: dict[Name, dict[Name, Percentiles]]
    loops: dict[Name, dict[Name, Annotated[int, Field(ge=1, le=10**12)]]]
    roofline: Ceilings


class AuditedConditions(TypedDict):
    """<task>.conditions.json."""

    host: Host
    frozen: AuditedFrozen


class PolicyConditions(TypedDict):
    """policies.conditions.json: `frozen` by cell; of a run on a cluster also its nodes, by name."""

    host: Host
    nodes: NotRequired[dict[Name, Host]]
    frozen: dict[Name, dict[Name, Any]]


class CandidateConditions(TypedDict):
    """candidates.conditions.json: the host that timed, and what it could not run, with the reason."""

    host: Host
    refused: dict[Name, Text]


class Cost(TypedDict):
    """A cost file: what a stage took."""

    wall_time_s: Amount
    cpu_time_s: Amount
    cpu_j: Number | None
    ram_j: Number | None
    gpu_j: Number | None
    cpu_evidence: Text | None
    ram_evidence: Text | None
    gpu_evidence: Text | None
    meter: Text
    note: Text


class SearchCost(Cost):
    steps_per_s: Annotated[float, Field(gt=0, le=1e12)]
    idle_steps_per_s: Annotated[float, Field(gt=0, le=1e12)]
    share_of_idle_speed: Annotated[float, Field(gt=0, le=1e6)]


class SearcherCost(Cost):
    evaluations: Evaluations
    steps: Count


class Scores(TypedDict):
    accuracy: Share
    balanced_accuracy: Share
    brier: Annotated[float, Field(ge=0, le=2)]
    calibration_error: Share
    correct: Amount
    log_loss: Amount
    n: Annotated[float, Field(ge=1, le=1e12)]


class Parts(TypedDict):
    test: Scores
    validation: Scores


class SeedScores(Parts):
    best_epoch: Count
    epochs: Annotated[int, Field(ge=1, le=10**7)]
    parameters: Annotated[int, Field(ge=1, le=10**12)]
    weights_sha256: SHA256


Seeds = Annotated[dict[Annotated[str, Field(pattern=r"^\d{1,15}$")], SeedScores], Field(min_length=1)]


class Confirmed(TypedDict):
    """confirmed.json: scores of the fresh training seeds."""

    mean_over_seeds: Parts
    seeds: Seeds


class Baseline(Confirmed):
    """baseline.json: scores of the network and of the frugal forecasters."""

    forecasters: dict[Name, Parts]


class Part(TypedDict):
    windows: Annotated[int, Field(ge=1, le=10**12)]
    wet_share: NotRequired[Share]
    of_class: NotRequired[list[Count]]


class Skipped(TypedDict):
    """Missing days, and the windows that touch one."""

    days: Count
    windows: Count


class Preprocessed(TypedDict):
    """preprocess.json: rows and windows of each part."""

    rows: Annotated[int, Field(ge=1, le=10**12)]
    skipped: NotRequired[Skipped]
    shared_rows: dict[Name, Count]
    train: Part
    validation: Part
    test: Part


class Progress(TypedDict):
    """How far a training of a forecaster is, in its checkpoint."""

    epoch: Count
    best_epoch: Count
    best_loss: Amount
    history: list[dict[Name, Number]]
    sittings: list[dict[Name, Any]]


class Trained(TypedDict):
    seed: Count
    learned: bool | None
    mean_return: Number
    returns: Annotated[list[Number], Field(min_length=1)]
    weights_sha256: SHA256


class PolicyCell(TypedDict):
    """An entry of policies/table.json: the policies of one environment and algorithm."""

    environment: Name
    algorithm: Name
    seeds: Annotated[list[Count], Field(min_length=1)]
    total_steps: Count
    reference_return: Number | None
    reference_source: Text | None
    random_return: Number
    learned_share: NotRequired[Share | None]
    policies: Annotated[list[Trained], Field(min_length=1)]


class Tuned(TypedDict):
    """tuned.json: settings by searcher."""

    task: Name
    settings: dict[Name, dict[Name, Any]]


class ShippedClaim(TypedDict):
    """An entry of claims.json."""

    id: Annotated[str, Field(pattern=r"^[A-Z]\d{1,3}$")]
    statement: Text
    rule: Text
    verdict: Name
    reason: Text
    evidence: Text
    values: dict[str, Any]
    parts: dict[str, Text]


class HostRows(TypedDict):
    """host.json of a folder of `data/hosts`."""

    kind: Name
    noted_by_hand: dict[Name, Any]
    measured_by: dict[Name, Any]
    rows: dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{32}$")]]


Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
"""A mean and a standard deviation."""


class PublishedConfiguration(TypedDict):
    accuracy: Pair
    energy: Pair
    co2: Pair
    latency: Pair


class PublishedNumbers(TypedDict):
    """The section study_a of published.yaml, without the texts of claims."""

    test_accuracy: Share
    test_windows: Annotated[int, Field(ge=1, le=10**9)]
    best_action: Action
    best_reward: Number
    units: dict[Name, Name]
    configurations: Annotated[dict[Name, PublishedConfiguration], Field(min_length=1)]
    later_version: dict[Name, dict[Name, Number]]
    claims: dict[Name, Text]


class StageEffort(TypedDict):
    """An entry of effort.json."""

    stage: Name
    wall_s: Amount
    memory_mib: Amount


COSTS: Mapping[str, Any] = {"search_cost": SearchCost, "searchers_cost": dict[str, SearcherCost]}
"""Cost files that hold more than a `Cost`."""
METRICS = {"preprocess": Preprocessed, "baseline": Baseline, "confirmed": Confirmed, **COSTS}
"""Files of `data/metrics` by name; the others are a `Cost`."""


def same_form(own: Any, stored: Any) -> bool:
    """Return whether stored JSON has the keys, lengths and types of `own`; integers may be real numbers."""
    if isinstance(own, dict):
        same_keys = isinstance(stored, dict) and own.keys() == stored.keys()
        return same_keys and all(same_form(own[key], stored[key]) for key in own)
    if isinstance(own, list | tuple):
        same_length = isinstance(stored, list) and len(own) == len(stored)
        return same_length and all(map(same_form, own, stored))
    if isinstance(own, bool) or not isinstance(own, int | float):
        return type(own) is type(stored)
    return isinstance(stored, int | float) and not isinstance(stored, bool)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def problem_in(value: Any, kind: Any) -> str | None:
    """Return where and how parsed JSON differs from `kind`, or None."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, what = ".".join(map(str, first["loc"])) or "the file", first["msg"]
        is_missing = first["type"] == "missing"
        found = (
            ""
            if is_missing or isinstance(first["input"], dict | list)
            else f" (found {first['input']!r:.60})"
        )
        return f"{where}: {what[0].lower()}{what[1:]}{found}"
    return None
