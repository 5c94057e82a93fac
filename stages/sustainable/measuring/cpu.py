"""The processor as the system reports it, and the kind of CPU that it is.

CPUs of one kind have the same vector units, decoders and private caches, so ratios of CPU time may be
compared between them. The name does not tell kinds apart: virtual machines on Zen 3 and on Zen 4 both say
"AMD EPYC".
"""

import json
import re
import subprocess
from collections.abc import Container, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
"""The kind of a host whose description lacks the vendor, the family or the model."""
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_tile": "AMX",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
}
"""The instructions that decide how fast a network is computed, by their flag in /proc/cpuinfo."""
VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
MICROARCHITECTURES: Mapping[tuple[str, int], Mapping[str, tuple[Container[int], ...]]] = {
    ("AuthenticAMD", 23): {
        "Zen": (range(0x00, 0x30), range(0x50, 0x60)),
        "Zen 2": (range(0x30, 0x50), range(0x60, 0x80), range(0x90, 0x92), range(0xA0, 0xB0)),
    },
    ("AuthenticAMD", 25): {
        "Zen 3": (range(0x00, 0x10), range(0x20, 0x60)),
        "Zen 4": (range(0x10, 0x20), range(0x60, 0xB0)),
    },
    ("AuthenticAMD", 26): {"Zen 5": (range(0x00, 0x30), range(0x40, 0x50), range(0x60, 0x80))},
    ("GenuineIntel", 6): {
        "Haswell": ((0x3C, 0x3F, 0x45, 0x46),),
        "Broadwell": ((0x3D, 0x47, 0x4F, 0x56),),
        "Skylake": ((0x4E, 0x5E),),
        "Kaby Lake": ((0x8E, 0x9E),),
        "Comet Lake": ((0xA5, 0xA6),),
        "Ice Lake": ((0x7D, 0x7E),),
        "Ice Lake SP": ((0x6A, 0x6C),),
        "Tiger Lake": ((0x8C, 0x8D),),
        "Rocket Lake": ((0xA7,),),
        "Alder Lake": ((0x97, 0x9A),),
        "Raptor Lake": ((0xB7, 0xBA, 0xBF),),
        "Sapphire Rapids": ((0x8F,),),
        "Emerald Rapids": ((0xCF,),),
        "Granite Rapids": ((0xAD, 0xAE),),
        "Sierra Forest": ((0xAF,),),
    },
}
"""Models by vendor and family, as Linux has them (`kernel/cpu/amd.c` and `include/asm/intel-family.h`)."""
SKYLAKE_SERVERS = {"Skylake SP": range(0, 5), "Cascade Lake": range(5, 10), "Cooper Lake": range(10, 12)}
"""Steppings of Intel's family 6, model 0x55, which three microarchitectures share."""
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def describe_cpu() -> dict[str, Any]:
    """Return the name, numbers, kind, instructions, caches and hypervisor of this host's processor.

    A value is None if the system does not report it.
    """
    numbers: dict[str, Any] = {"vendor": cpuinfo("vendor_id")}
    for name, key in (("family", "cpu family"), ("model", "model"), ("stepping", "stepping")):
        text = cpuinfo(key) or ""
        numbers[name] = int(text) if text.isdecimal() else None
    return {
        "cpu": cpuinfo("model name"),
        **numbers,
        "microarchitecture": microarchitecture(numbers),
        "kind": kind_of(numbers),
        "isa": instruction_sets(),
        "caches_kib": cache_sizes(CACHES),
        "hypervisor": hypervisor(),
    }


def microarchitecture(host: Mapping[str, Any]) -> str | None:
    """Return the name of a described host's microarchitecture; None if it is not in the table."""
    vendor, family, model = (host.get(key) for key in ("vendor", "family", "model"))
    if (vendor, family, model) == ("GenuineIntel", 6, 0x55):
        stepping = host.get("stepping")
        return next((name for name, steppings in SKYLAKE_SERVERS.items() if stepping in steppings), None)
    models = MICROARCHITECTURES.get((str(vendor), family or 0), {})
    return next((name for name, groups in models.items() if any(model in group for group in groups)), None)


def kind_of(host: Mapping[str, Any]) -> str:
    """Return the key of a described host's kind of CPU, such as `amd-zen3`, or `unknown`.

    A model without a name in the table is a kind of its own, such as `intel-family6-model200`.
    """
    vendor, family, model = (host.get(key) for key in ("vendor", "family", "model"))
    if not isinstance(vendor, str) or not isinstance(family, int) or not isinstance(model, int):
        return UNKNOWN
    maker = VENDORS.get(vendor, _key(vendor))
    name = microarchitecture(host)
    return f"{maker}-{_key(name)}" if name else f"{maker}-family{family}-model{model}"


def difference_of_kinds(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """Say how the kinds of two described hosts differ; None if both are known and the same.

    An unknown kind differs from every other, itself included. A hypervisor that hides instructions makes
    another kind, because libraries then run other kernels.
    """
    kinds = kind_of(here), kind_of(there)
    if UNKNOWN in kinds or kinds[0] != kinds[1]:
        return f"{kinds[0]} here, {kinds[1]} there"
    if here.get("isa") != there.get("isa"):
        return f"{kinds[0]} with {here.get('isa')} here, with {there.get('isa')} there"
    return None


def instruction_sets() -> str:
    """Return the processor's vector instructions, regardless of what the libraries may use."""
    flags = (cpuinfo("flags") or "").split()
    return ", ".join(name for flag, name in INSTRUCTIONS.items() if flag in flags) or UNKNOWN


def cache_sizes(folder: Path) -> dict[str, int] | None:
    """Return the KiB of each cache that the first core uses, such as `L2`; None if they are not readable.

    An L3 is shared with other cores, and with other virtual machines.
    """
    sizes = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
        if size.endswith("K"):
            sizes[f"L{level}{letter}"] = int(size[:-1])
    return sizes or None


@cache
def hypervisor() -> str | None:
    """Return who virtualises this host, `unknown` if it does not say, or None on bare metal."""
    if "hypervisor" not in (cpuinfo("flags") or "").split():
        return None
    try:
        done = subprocess.run(["lscpu", "--json"], capture_output=True, text=True, check=True)
        return _field(json.loads(done.stdout)["lscpu"], "Hypervisor vendor:") or UNKNOWN
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return UNKNOWN


def cpuinfo(key: str) -> str | None:
    """Return the first value of a key in /proc/cpuinfo; None on systems other than Linux."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(rf"^{key}\s*:(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _field(entries: Iterable[Mapping[str, Any]], name: str) -> str | None:
    """Find a field in lscpu's entries, which newer versions nest."""
    for entry in entries:
        if entry.get("field") == name:
            return str(entry["data"])
        if (nested := _field(entry.get("children", ()), name)) is not None:
            return nested
    return None


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
