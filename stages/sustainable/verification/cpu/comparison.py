"""Run `cpu.computation` on several CPUs, and find where their results differ and by how much."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sustainable.core.errors import UserError
from sustainable.core.tensors import read_tensors
from sustainable.measuring.process import PINNED, THREAD_VARIABLES
from sustainable.verification.cpu.computation import TENSOR_SEPARATOR
from sustainable.verification.place import ROOT

EMULATOR = "qemu-x86_64"
INSTALL = "install qemu-user (Debian, Ubuntu: apt-get install qemu-user)"
NO_AVX512 = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""What can be hidden from a native process beyond the pins. MKL reads its variable on Intel CPUs only."""
NO_FMA = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"}
"""The C library then takes its older exp, log, pow, sin and cos: 1 in 1000 values has another last bit."""

Expectation = Literal["reference", "same", "different"]
Verdict = Literal["reference", "same", "different", "skipped", "failed"]


@dataclass(frozen=True)
class Leg:
    """One process of the comparison."""

    name: str
    expects: Expectation
    """The expected result of comparing it with the leg `against`."""
    against: str = "native"
    cpu: str | None = None
    """The emulated CPU; None for this machine's own."""
    pins: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LegOutcome:
    """The result of one leg."""

    leg: Leg
    verdict: Verdict
    problem: str = ""
    """Why there is no result."""
    seconds: float = 0.0
    result: Mapping[str, Any] | None = None
    """The worker's JSON."""
    differences: Sequence[Mapping[str, Any]] = ()
    """An entry for every subject whose hash differs from that of the leg `against`, in order."""

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the expected one; a skipped leg shows nothing, so it is not."""
        return self.verdict == self.leg.expects


def legs(maker: str) -> list[Leg]:
    """The legs to compare on a CPU of `maker` (as CPUID spells it). The first is the reference.

    The emulated control is a CPU of the other maker: without pins, one of the same maker may agree.
    """
    other = "EPYC" if maker == "GenuineIntel" else "Haswell"
    return [
        Leg("native", "reference"),
        Leg("native again", "same"),
        Leg("native, AVX-512 hidden", "same", environment=NO_AVX512),
        Leg("Haswell", "same", cpu="Haswell"),
        Leg("EPYC", "same", cpu="EPYC"),
        Leg("native, no pins", "different", pins=False),
        Leg(f"{other}, no pins", "different", against="native, no pins", cpu=other, pins=False),
        Leg("native, libm without FMA", "different", environment=NO_FMA),
    ]


def compare(
    wanted: Sequence[Leg], params: Path, csv: Path, folder: Path, workers: int, limit_s: float
) -> list[LegOutcome]:
    """Run every leg, `workers` at a time, and compare each with the leg that it names.

    Tensors go to `folder`. A leg that dies or takes longer than `limit_s` has failed. Raises `UserError` on a
    machine that is not x86-64.
    """
    if platform.machine() != "x86_64":
        raise UserError(f"this machine is {platform.machine()}; bitwise agreement is only claimed for x86-64")
    longest_first = sorted(wanted, key=lambda leg: leg.cpu is None)
    with ThreadPoolExecutor(workers) as pool:
        ran = list(pool.map(lambda leg: run(leg, params, csv, folder, limit_s), longest_first))
    found = {outcome.leg.name: outcome for outcome in ran}
    return [judge_leg(found[leg.name], found[leg.against].result, folder) for leg in wanted]


def run(leg: Leg, params: Path, csv: Path, folder: Path, limit_s: float) -> LegOutcome:
    """Run one leg in a fresh process: returns `skipped`, `failed`, or `reference` with its result."""
    pins = "--pins" if leg.pins else "--no-pins"
    command = [sys.executable, "-m", "sustainable.verification.cpu.computation", pins]
    command += ["--params", str(params), "--csv", str(csv), "--tensors", str(tensors_of(leg.name, folder))]
    if leg.cpu is not None:
        emulator = shutil.which(EMULATOR)
        if emulator is None:
            return LegOutcome(leg, "skipped", f"skipped: {EMULATOR} is not installed; {INSTALL}")
        command = [emulator, "-cpu", leg.cpu, *command]
    kept = {name: value for name, value in os.environ.items() if name not in {*PINNED, *THREAD_VARIABLES}}
    env = kept | {"PYTHONPATH": str(ROOT / "stages")} | dict(leg.environment)
    start = time.monotonic()
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return LegOutcome(leg, "failed", f"not finished within {limit_s:.0f} s", limit_s)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return LegOutcome(leg, "failed", last, seconds)
    return LegOutcome(leg, "reference", seconds=seconds, result=json.loads(done.stdout.splitlines()[-1]))


def tensors_of(name: str, folder: Path) -> Path:
    return folder / f"{name.replace(',', '').replace(' ', '_')}.safetensors"


def judge_leg(outcome: LegOutcome, against: Mapping[str, Any] | None, folder: Path) -> LegOutcome:
    """Return the outcome with its verdict, from comparing its hashes with those of the leg it names."""
    leg = outcome.leg
    if outcome.result is None or leg.expects == "reference":
        return outcome
    if against is None:
        return replace(outcome, verdict="failed", problem=f"there is no result of {leg.against!r}")
    subjects = differing(against["hashes"], outcome.result["hashes"])
    tensors = [read_tensors(tensors_of(name, folder))[0] for name in (leg.against, leg.name) if subjects]
    parts = ((subject, [part(one, subject) for one in tensors]) for subject in subjects)
    differences = [{"subject": subject} | first_difference(*both) for subject, both in parts]
    return replace(outcome, verdict="different" if subjects else "same", differences=differences)


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Subjects whose hash differs or is missing, in the order of computation."""
    return [name for name in dict.fromkeys([*expected, *found]) if expected.get(name) != found.get(name)]


def part(tensors: Mapping[str, Tensor], subject: str) -> dict[str, Tensor]:
    """The tensors of one subject of a leg; empty if the leg has no such subject."""
    start = subject + TENSOR_SEPARATOR
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def first_difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Any]:
    """The first differing tensor by name (None: all agree), the number of differing elements, and the largest
    difference (None if a tensor is missing or has another shape)."""
    first, differing, elements, largest = None, 0, 0, 0.0
    for name in sorted({*expected, *found}):
        if name not in expected or name not in found or expected[name].shape != found[name].shape:
            return {"tensor": first or name, "differing": None, "elements": None, "largest": None}
        gap = (expected[name].double() - found[name].double()).abs()
        elements += gap.numel()
        if not torch.equal(expected[name], found[name]):
            first = first or name
            differing += int((gap != 0).sum())
            largest = max(largest, float(gap.max()))
    return {"tensor": first, "differing": differing, "elements": elements, "largest": largest}
