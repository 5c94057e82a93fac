"""Stage benchmark_policies: measure policies that act. Runs without the determinism pins."""

from sustainable.measuring.process import start_afresh, start_stage_afresh

if __name__ == "__main__":
    start_stage_afresh("benchmark_policies", "windows")  # before the libraries read the environment

from dataclasses import asdict

from sustainable.core.arguments import stage_arguments
from sustainable.core.effort import run_stage
from sustainable.core.files import write_json, write_rows
from sustainable.core.parameters import read_profile, read_section
from sustainable.energy.choice import MeterParameters
from sustainable.policies.benchmark.bench import Bench, PolicyBenchmarkParameters
from sustainable.policies.benchmark.bench import refuse_short_policy_windows
from sustainable.policies.benchmark.deployments import PolicyFolders
from sustainable.policies.benchmark.designs import conditions_of, measure_designs
from sustainable.policies.environments.guarded import refuse_faults
from sustainable.policies.learning.recipes import PolicyTrainingParameters, plan


def main() -> None:
    arguments = stage_arguments(
        __doc__, "params policies prepared exports journals rows workload memory conditions"
    )
    parameters = read_section(arguments.params, "benchmark_policies", PolicyBenchmarkParameters)
    training = read_section(arguments.params, "train_policies", PolicyTrainingParameters)
    metering = read_section(arguments.params, "metering", MeterParameters)
    profile = read_profile(arguments.params)
    windows = parameters.windows
    refuse_short_policy_windows(windows.window_s, profile)
    start_afresh(windows.threads, windows.keep_memory)
    sources = PolicyFolders(arguments.policies, arguments.prepared, arguments.exports)
    bench = Bench(plan(training), sources, arguments.journals, [asdict(metering), profile])
    records = measure_designs(bench, parameters, metering, arguments.params)
    refuse_faults(records, "measurements")
    common = {"study": "B", "profile": profile}
    measured = [row for name, record in records.items() if " " in name for row in record["rows"]]
    write_json(arguments.conditions, conditions_of(records))
    write_rows(arguments.workload, [common | row for row in records["doses"]["rows"]])
    write_rows(arguments.memory, [common | row for row in records["memory"]["rows"]])
    write_rows(arguments.rows, [common | row for row in measured])
    bench.discard()


if __name__ == "__main__":
    run_stage(main)
