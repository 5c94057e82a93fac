"""How long study B takes on a host: what the parameters ask for, at the speed of the shipped run's host."""

from sustainable.policies.benchmark.episodes import EpisodesParameters
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan
from sustainable.policies.benchmark.deployments import PolicyBenchmarkParameters
from sustainable.policies.compression.evaluation import CompressParameters, variants_of

STEPS_PER_S = {"PPO": 5000.0, "TRPO": 5000.0, "SAC": 50.0, "TD3": 75.0, "DDPG": 75.0}
"""Training steps in a CPU second, as they were there: mostly the environment's and the library's own work."""
EPISODE_S, PREPARING_S, STARTING_S, APART_S, PROCESS_S = 0.03, 3.0, 6.0, 0.2, 3.0
"""Seconds of an evaluated episode (half of all kinds last 1000 steps), of preparing a policy for int8, of a
stage's start, of what is timed beside a window, and of a process whose memory is read."""
SLOWER = 1.5
"""Windows hold the same episodes for all configurations: on average they take so much longer than the
baseline's."""


def seconds_by_stage(
    training: PolicyTrainingParameters,
    compressing: CompressParameters,
    measuring: PolicyBenchmarkParameters,
    cores: int,
) -> dict[str, float]:
    """Wall seconds of the stages of study B."""
    cells = plan(training)
    steps_s = sum(cell.recipe.steps / STEPS_PER_S[cell.algorithm] for cell in cells)
    episodes = len(variants_of(compressing)) * compressing.episodes_minimum + compressing.episodes_maximum
    return {
        "train_policies": STARTING_S + steps_s / cores,
        "compress_policies": STARTING_S + len(cells) * (PREPARING_S + episodes * EPISODE_S) / cores,
        "benchmark_policies": STARTING_S + measuring_s(measuring, cores),
    }


def measuring_s(asked: PolicyBenchmarkParameters, cores: int) -> float:
    """Wall seconds of all windows, doses and readings of memory."""
    groups = sum(len(environments) for environments in asked.cells.values())
    whole = groups * windows_s(asked.windows, len(asked.configurations), asked.windows.window_s)
    places = len(asked.workload.doses_us) * len(asked.workload.configurations)
    doses = windows_s(asked.windows, places, asked.workload.window_s)
    memory = PROCESS_S * asked.memory.repeats * len(asked.memory.configurations) / cores
    return whole + doses + memory


def windows_s(parameters: EpisodesParameters, places: int, window_s: float) -> float:
    """Wall seconds of one design: warm-up, and every place and an idle window in every block."""
    warm_up = min(parameters.warm_up_limit_s, places * 1.0)
    return warm_up + parameters.blocks * (places + 1) * (SLOWER * window_s + APART_S)
