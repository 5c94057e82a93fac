"""Stage notebook: run study B's teaching notebook, as published and repaired.

Runs without the determinism pins.
"""

from sustainable.measuring.process import start_afresh

if __name__ == "__main__":
    start_afresh("default", keep_memory=False)  # before the libraries read the environment

from dataclasses import asdict
from functools import partial

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.hashing import fingerprint
from sustainable.core.journal import RowJournal
from sustainable.core.parameters import read_profile, read_section
from sustainable.energy.choice import MeterParameters, choose_meter
from sustainable.measuring.host import describe_host
from sustainable.policies.compression.accounting import module_sha256
from sustainable.policies.environments.guarded import make_environment
from sustainable.policies.learning.recipes import PolicyTrainingParameters
from sustainable.policies.policy import check_fits, load_policy
from sustainable.policies.published.experiment import NotebookParameters, RealParts, run_arms
from sustainable.policies.published.experiment import experiment_rows, power_rows


def main() -> None:
    arguments = stage_arguments(__doc__, "params policies journal rows power conditions")
    parameters = read_section(arguments.params, "notebook", NotebookParameters)
    training = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    profile, chosen = read_profile(arguments.params), choose_meter(metering)
    run = parameters.real.run(training)
    policy = load_policy(arguments.policies / run.file)
    make_real = partial(make_environment, run.environment, **run.recipe.options)
    check_fits(policy, make_real())
    weights = module_sha256(policy.actor)
    identity = [asdict(parameters), asdict(metering), run.recipe.options, weights, profile]
    journal = RowJournal(arguments.journal, fingerprint(identity))
    run_arms(parameters, RealParts(policy.actor, make_real, chosen.make), journal)
    host = describe_host() | {"meter": chosen.name, "meter_reason": chosen.reason}
    write_json(arguments.conditions, {"host": host, "policy": {"name": run.name, "weights_sha256": weights}})
    write_rows(arguments.power, power_rows(journal.rows))
    write_rows(arguments.rows, experiment_rows(journal.rows, {"study": "B", "profile": profile}))
    journal.discard()


if __name__ == "__main__":
    run_stage(main)
