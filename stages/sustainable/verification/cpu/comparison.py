"""Runs `verification.cpu` under several CPUs and says where they compute something else, and by how much."""

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

EMULATOR = "qemu-x86_64"
SKIPPED = f"skipped: {EMULATOR} is not there; install qemu-user (Debian, Ubuntu: apt-get install qemu-user)"
SEPARATOR = "/"
STAGES = Path(__file__).resolve().parents[2]
NO_AVX512 = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""All that a process can be told natively beyond the pins: MKL listens on Intel's CPUs alone."""
NO_FMA = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"}
"""The C library then takes its older exp, log, pow, sin and cos: 1 in 1000 values has another last bit."""

Expectation = Literal["reference", "same", "different"]
Verdict = Literal["reference", "same", "different", "skipped", "failed"]


@dataclass(frozen=True)
class Leg:
    """One process: on which CPU (None: this machine's own), with pins or without, and what it is to give when
    held against the leg `against`."""

    name: str
    expects: Expectation
    against: str = "native"
    cpu: str | None = None
    pins: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one leg gave. `result`: the worker's JSON, or None with the reason in `problem`; `differences`: an
    entry for every subject with another hash than that of the leg it is held against, in order."""

    leg: Leg
    verdict: Verdict
    problem: str = ""
    seconds: float = 0.0
    result: Mapping[str, Any] | None = None
    differences: Sequence[Mapping[str, Any]] = ()

    @property
    def as_expected(self) -> bool:
        """Whether it is what it must be; what was skipped shows nothing, and is neither."""
        return self.verdict == self.leg.expects


def legs(maker: str) -> list[Leg]:
    """What is compared on a machine whose CPU is `maker`'s (as CPUID spells it). The first is the reference.

    The emulated control is a CPU of the other maker: without pins, one of the same may well agree.
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
) -> list[Outcome]:
    """Run every leg, so many at once, and hold each against the one that it names. Tensors go to `folder`.
    A leg that takes longer than `limit_s`, or dies, has failed. Raises `UserError` where it is no x86-64."""
    if platform.machine() != "x86_64":
        raise UserError(
            f"this machine is {platform.machine()}: bitwise agreement is claimed for x86-64 alone"
        )
    longest_first = sorted(wanted, key=lambda leg: leg.cpu is None)
    with ThreadPoolExecutor(workers) as pool:
        ran = list(pool.map(lambda leg: run(leg, params, csv, folder, limit_s), longest_first))
    found = {outcome.leg.name: outcome for outcome in ran}
    return [judge(found[leg.name], found[leg.against].result, folder) for leg in wanted]


def run(leg: Leg, params: Path, csv: Path, folder: Path, limit_s: float) -> Outcome:
    """One leg in a fresh process, not yet judged: `skipped`, `failed`, or `reference` with its result."""
    command = [
        sys.executable,
        "-m",
        "sustainable.verification.cpu.computation",
        f"--{'' if leg.pins else 'no-'}pins",
    ]
    command += ["--params", str(params), "--csv", str(csv), "--tensors", str(tensors_of(leg.name, folder))]
    if leg.cpu is not None:
        emulator = shutil.which(EMULATOR)
        if emulator is None:
            return Outcome(leg, "skipped", SKIPPED)
        command = [emulator, "-cpu", leg.cpu, *command]
    kept = {name: value for name, value in os.environ.items() if name not in {*PINNED, *THREAD_VARIABLES}}
    environment = kept | {"PYTHONPATH": str(STAGES)} | dict(leg.environment)
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return Outcome(leg, "failed", f"not done within {limit_s:.0f} s", limit_s)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Outcome(leg, "failed", last, seconds)
    return Outcome(leg, "reference", seconds=seconds, result=json.loads(done.stdout.splitlines()[-1]))


def tensors_of(name: str, folder: Path) -> Path:
    """Where a leg's tensors lie."""
    return folder / f"{name.replace(',', '').replace(' ', '_')}.safetensors"


def judge(outcome: Outcome, against: Mapping[str, Any] | None, folder: Path) -> Outcome:
    """The outcome with its verdict: its hashes held against the result that its leg names."""
    leg = outcome.leg
    if outcome.result is None or leg.expects == "reference":
        return outcome
    if against is None:
        return replace(outcome, verdict="failed", problem=f"there is no result of {leg.against!r}")
    subjects = differing(against["hashes"], outcome.result["hashes"])
    differences = [
        {"subject": subject}
        | first_difference(*(part(name, subject, folder) for name in (leg.against, leg.name)))
        for subject in subjects
    ]
    return replace(outcome, verdict="different" if subjects else "same", differences=differences)


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Subjects with another hash, or with none, in the order of computing."""
    return [name for name in dict.fromkeys([*expected, *found]) if expected.get(name) != found.get(name)]


def part(name: str, subject: str, folder: Path) -> dict[str, Tensor]:
    """The tensors of one subject of a leg; none where there is no such subject."""
    tensors, _ = read_tensors(tensors_of(name, folder))
    start = subject + SEPARATOR
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def first_difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Any]:
    """The first tensor, by name, that differs (None: they all agree), how many of all elements do, and by
    how much at most (`largest`; None where a tensor is missing or has another shape)."""
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
