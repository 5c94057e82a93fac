"""How a model is assessed: the two modes, and what a user may choose."""

from dataclasses import dataclass, replace
from math import floor
from typing import Literal

from sustainable.energy.choice import MeterParameters
from sustainable.energy.codecarbon import CodeCarbonParameters
from sustainable.measuring.blocks import WindowParameters

Mode = Literal["quick", "thorough"]

QUICK = WindowParameters(
    blocks=12,
    window_s=0.4,  # the shortest of study B
    threads=1,
    keep_memory=True,
    seed=42,
    warm_up_limit_s=6.0,
    warm_up_tolerance=0.02,
    overhead_limit=0.05,  # CPU time is read within the meter's start and stop
    cpu_to_wall_floor=0.95,
    neighbours_limit=0.05,
    repeats=1,
)
THOROUGH = replace(
    QUICK,
    blocks=20,
    window_s=2.0,  # the shortest of study A
    warm_up_limit_s=60.0,
    overhead_limit=0.01,
    repeats=3,
)
MODES: dict[Mode, WindowParameters] = {"quick": QUICK, "thorough": THOROUGH}
LONGEST_CALL_S: dict[Mode, float] = {"quick": 5.0, "thorough": 60.0}
QUICK_BUDGET_S = 75.0
"""Seconds that all windows of a quick run may take; with many rows, it has fewer blocks."""
FEWEST_QUICK_BLOCKS = 4
METERING = MeterParameters("auto", CodeCarbonParameters("process", "USA", 15.0))


@dataclass(frozen=True)
class AssessSettings:
    """What a user may choose."""

    mode: Mode = "quick"
    threads: int = 1
    batch_size: int | None = None  # examples of a call; None: the model's own, or 1
    runtimes: tuple[str, ...] = ("onnxruntime", "openvino")  # beside the model's own
    margin: float | None = None
    """Largest loss that counts as not inferior: of accuracy, or as a share of the baseline's error. None: the
    margin that this project declared for its own studies."""
    threshold: float = 0.0  # above it, a single output column means class 1
    rate: float | None = None  # requests per second, for the break-even
    invested_cpu_s: float = 0.0  # CPU seconds that were spent on a variant, such as search and fine-tuning
    output: str | None = None  # the output of an ONNX model that counts
    energy: bool = True  # whether to read a hardware counter if there is one
    windows: WindowParameters | None = None  # replaces those of the mode, in tests

    def windows_for(self, rows: int) -> WindowParameters:
        """Return how `rows` configurations are measured; a quick run with many rows has fewer blocks."""
        declared = self.windows or replace(MODES[self.mode], threads=self.threads)
        if self.mode == "thorough" or self.windows:
            return declared
        fitting = floor(QUICK_BUDGET_S / (declared.window_s * (rows + 1)))  # and one idle window
        return replace(declared, blocks=max(FEWEST_QUICK_BLOCKS, min(declared.blocks, fitting)))
