"""What this host supports, which claims it can test, and how long `make reproduce` will take here."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sustainable.core.errors import UserError, exit_on_error
from sustainable.core.parameters import read_section
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.energy.meter import carries_energy_claims
from sustainable.measuring.diagnosis import HostCheck, check_host
from sustainable.reporting.claims import DECLARATIONS, describe_testability
from sustainable.verification.claim import forecast
from sustainable.verification.folders import merge
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import REFERENCE, ROOT

PROFILES_FOLDER = ROOT / "stages/profiles"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--profile", default="paper", help="forecast this profile (default: paper)")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = parser.parse_args()
    metering = read_section(arguments.params, "metering", MeterParameters)
    checks = check_host(arguments.params.resolve().parent, lambda: time.sleep(1.0))
    claims, reference = testable_claims(metering), ROOT / REFERENCE
    params = profile_parameters(arguments.params, arguments.profile)
    stages, slowdown = forecast.shipped_efforts(reference), forecast.measure_slowdown(reference)
    efforts = forecast.forecast_efforts(stages, reference, params, slowdown)
    if arguments.json:
        document = {
            "host": [asdict(check) for check in checks],
            "claims": claims,
            "minutes": {effort.stage: effort.wall_s / 60 for effort in efforts},
        }
        print(json.dumps(document, indent=2, sort_keys=True))
    else:
        print_diagnosis(checks, claims, efforts)


def profile_parameters(params: Path, profile: str) -> dict[str, Any]:
    """The content of params.yaml under a profile; raises `UserError`, listing them, for an unknown one."""
    content: dict[str, Any] = read_yaml(params)
    if profile == "paper":
        return content
    path = PROFILES_FOLDER / f"{profile}.yaml"
    if not path.is_file():
        known = ", ".join(["paper", *sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml"))])
        raise UserError(f"{profile}: unknown profile; name one of {known}")
    merge(content, read_yaml(path))
    return content


def testable_claims(metering: MeterParameters) -> dict[str, str]:
    chosen = choose_meter(metering)
    meter = chosen.make()
    meter.start()
    evidence = meter.stop().cpu_evidence or "no reading"
    energy = f"not testable: {chosen.name} gives {evidence}; {chosen.reason}"
    if carries_energy_claims(evidence):
        energy = f"testable: {chosen.name} counts energy"
    return {claim: describe_testability(declaration, energy) for claim, declaration in DECLARATIONS.items()}


def print_diagnosis(
    checks: Sequence[HostCheck], claims: dict[str, str], efforts: Sequence[forecast.Effort]
) -> None:
    """All of it for a reader; the sum of all stages comes last."""
    for check in checks:
        print(f"{'ok  ' if check.ok else 'note'}  {check.name:16}{check.detail}")
    print("\nclaims on this host")
    for claim, text in claims.items():
        print(f"      {claim:16}{text}")
    print("\n`make reproduce` here, after set-up, in minutes (a forecast for an idle host)")
    for effort in efforts:
        print(f"      {effort.stage:26}{effort.wall_s / 60:8.1f}")
    print(f"      {'together':26}{sum(effort.wall_s for effort in efforts) / 60:8.1f}")


if __name__ == "__main__":
    exit_on_error(main)
