"""Every column of every table, declared once: a name means the same in all of them.

Readers and writers check against it (`files.read_rows`, `files.write_rows`), and `data/COLUMNS.md` is
rendered from it.
"""

from collections.abc import Mapping
from functools import partial

from sustainable.core.schema import Column

count = partial(Column, "integer", low=0, high=1e15)
share = partial(Column, "number", low=0, high=1)
number = partial(Column, "number", low=-1e12, high=1e12)
amount = partial(Column, "number", low=0, high=1e12)
text = partial(Column, "text")
truth = partial(Column, "truth")

EVIDENCE_CLASSES = (
    "counter", "sampled-power", "modelled-load", "modelled-constant", "replay-counter", "replay", "fake",
)  # fmt: skip

RUN: Mapping[str, Column] = {
    "study": text("A: the forecaster; B: the policies", values=("A", "B")),
    "protocol": text("section of params.yaml under which the row was measured"),
    "profile": text("how much of the work was done; only paper and full are evidence",
                    values=("paper", "full", "smoke")),
    "configuration": text("name of the measured model; idle for a window in which nothing ran"),
    "block": Column("integer", "randomised block, from 0", low=0, high=1e5),
    "position": Column("integer", "place in the block, from 0", low=0, high=1e6),
    "tries": count("how often the window was measured until it was undisturbed"),
    "training_seed": count("seed of the training that made the model"),
    "seed": count("seed of the training or of the search"),
    "first_day": count("first day of the window, or number of the sequence"),
    "threads": Column("integer", "threads of the process", low=0, high=4096),
    "batch_size": Column("integer", "examples per call; 0 in an idle window", low=0, high=2**24),
    "loops": count("passes over the test windows in one measured window"),
    "windows": count("forecasts in one measured window"),
    "neighbours_load": amount("load of other processes, in cores"),
    "frequency_mhz": amount("frequency of the core", "MHz"),
    "temperature_c": number("temperature of the processor", "°C"),
    "flags": text("why the window is suspect; empty if it is not"),
    "meter_reason": text("why this meter was chosen"),
    "node": text("the computer that measured the row"),
}  # fmt: skip
COST: Mapping[str, Column] = {
    "wall_time_s": amount("wall time", "s"),
    "cpu_time_s": amount("CPU time of the process, by its own clock", "s"),
    "cpu_j": number("energy of the processor packages; empty if it was not metered", "J"),
    "ram_j": number("energy of the memory", "J"),
    "gpu_j": number("energy of all GPUs", "J"),
    **{f"{part}_evidence": text(f"class of evidence of {part}_j", values=EVIDENCE_CLASSES)
       for part in ("cpu", "ram", "gpu")},
    "meter": text("the meter"),
    "note": text("what the meter assumed, or why an energy is missing"),
    "cpu_time_ms": amount("CPU time per forecast", "ms"),
    "energy_mwh": number("energy per forecast", "mWh"),
    "latency_ms": amount("wall time per forecast", "ms"),
}  # fmt: skip
MODEL: Mapping[str, Column] = {
    "name": text("the model in words, such as 16x16 fp32 numba"),
    "runtime": text("the library that computes"),
    "precision": text("type of the weights, such as int8"),
    "weights_sha256": text("hash of the weights; models with equal hashes are equal"),
    "width_0": Column("integer", "hidden units of the first layer", low=1, high=1e6),
    "width_1": Column("integer", "hidden units of the second layer", low=1, high=1e6),
    "parameters": count("weights of the network"),
    "base_parameters": count("weights of the uncompressed network"),
    "nonzero": count("weights that are not zero"),
    "int8_parameters": count("weights that are stored as int8"),
    "size_bytes": count("size of the saved model", "bytes"),
    "flops": count("operations of one forecast, counted analytically"),
    "proxy_parameters": count("weights, as the source's code counts them"),
    "proxy_flops": count("operations, as the source's code counts them"),
    "sparsity": share("share of the weights that are zero"),
    "pruning": share("share of the weights that the action prunes"),
    "quantization": truth("whether the action quantizes to int8"),
    "correct": count("test windows with a correct forecast"),
    "accuracy": share("share of correct forecasts of the validation part"),
}
SEARCH: Mapping[str, Column] = {
    "family": text("grid: searched; masked, equal and others: controls beside the grid"),
    "masked_share": share("share of the weights that are set to zero"),
    "scope": text("over which weights the smallest are chosen"),
    "refused": text("why the deployment could not be measured; empty if it was"),
    "seeds": Column("integer", "training seeds of which the row is the mean", low=1, high=1e6),
    "validation_accuracy": share("share of correct forecasts of the validation part, mean over seeds"),
    "validation_accuracy_sd": amount("its standard deviation over seeds"),
    "validation_balanced_accuracy": share("mean over classes of the share of correct forecasts"),
    "validation_log_loss": amount("mean negative logarithm of the probability of the true class", "nats"),
    "validation_brier": Column("number", "mean squared error of the probabilities", low=0, high=2),
    "validation_calibration_error": share("mean difference of confidence and accuracy"),
    "test_accuracy": share("share of correct forecasts of the test part; no searcher reads it"),
    "test_accuracy_difference": Column("number", "test accuracy minus the baseline's", low=-1, high=1),
    "searcher": text("name of the searcher"),
    "evaluation": Column("integer", "distinct evaluation at which the best reward rose, from 1",
                         low=1, high=1e7),
    "evaluations": Column("integer", "evaluations of the search", low=1, high=1e9),
    "distinct": count("distinct points that the search evaluated"),
    "reward": number("reward; for deployments the logarithm of the saving, less the loss", "nats"),
    "test_reward": number("the same with test accuracy", "nats"),
    "tie": Column("integer", "whether the noise cannot tell the point from the oracle", low=0, high=1),
    "tied": Column("integer", "plans that share the best reward", low=1, high=1e9),
    "ties": Column("integer", "actions that share the best reward", low=1, high=1e6),
    "first_sampled_at": count("step at which the search first saw the plan"),
    "int8": truth("whether the plan quantizes to int8"),
    **{f"share_{part}": share(f"share of the weights of {part} that the plan sets to zero")
       for part in ("0", "1", "readout")},
    "variant": text("compression of a policy; or the flaw that is repaired"),
    "actions": text("the actions that the searches report"),
    "names": text("their names"),
    "models": Column("integer", "different models among them", low=1, high=1e6),
}  # fmt: skip
PUBLISHED: Mapping[str, Column] = {
    "action": Column("integer", "number of the published action", low=0, high=15),
    **{f"reward_{term}": number(f"term of the reward: {term}")
       for term in ("accuracy", "flops", "parameters", "inaction", "error")},
    "accuracy_change": Column("number", "accuracy minus the uncompressed one", low=-1, high=1),
    "parameter_reduction": Column("number", "share of the weights that the source's code counts as saved",
                                  low=-1e6, high=1),
    "flops_reduction": Column("number", "share of the operations that it counts as saved", low=-1e6, high=1),
    "failed": truth("whether compressing failed"),
    "step": count("step of the training"),
    "updates": count("updates of the policy before that step"),
    "mean_reward": number("mean reward of the steps since the last row"),
    "commonest_action": Column("integer", "the action sampled most often", low=0, high=15),
    "commonest_share": share("share of the steps with it"),
}  # fmt: skip
TRAINING: Mapping[str, Column] = {
    "epoch": Column("integer", "epoch, from 1", low=1, high=1e7),
    "epochs": count("epochs of the training"),
    "best_epoch": count("epoch whose weights were kept"),
    "learning_rate": amount("learning rate"),
    "train_loss": amount("mean loss of the training part"),
    "validation_loss": amount("mean loss of the validation part"),
    "validation_loss_before": amount("the same before fine-tuning"),
    "method": text("how the network was made smaller, or the policy compressed"),
}
POLICIES: Mapping[str, Column] = {
    "environment": text("Gymnasium's name of the environment"),
    "algorithm": text("the learning algorithm"),
    "norm": text("norm by which weights are ranked for pruning"),
    "share": share("share of the weights that are pruned"),
    "episode": Column("integer", "number of the episode, from 0", low=0, high=1e9),
    "episode_seed": count("seed of the episode"),
    "episode_return": number("undiscounted return of the episode"),
    "episode_length": amount("mean steps of an episode"),
    "episodes": count("episodes in one window"),
    "steps": count("steps of the environment"),
    "terminated": truth("whether the episode ended by itself"),
    "terminated_share": share("share of the episodes that ended by themselves"),
    "return_known": truth("whether the return is known: the weights are those of an evaluated policy"),
    "return_mean": number("mean return of the episodes"),
    "cpu_time_per_step_us": amount("CPU time per step", "µs"),
    "policy_us": amount("CPU time per step of the policy", "µs"),
    "environment_us": amount("CPU time per step of the environment", "µs"),
    "remainder_us": number("CPU time per step of neither", "µs"),
    "dose_us": amount("simulated work of the environment per step", "µs"),
    "network": text("whose memory was read: the policy's, or a large network's", values=("policy", "large")),
    "repeat": count("number of the process, from 0"),
    "weights_bytes_disk": count("size of the saved weights", "bytes"),
    "weights_bytes_memory": count("size of the weights in memory", "bytes"),
    "rss_before_bytes": count("resident memory before the policy is loaded", "bytes"),
    "policy_rss_bytes": Column("integer", "by how much loading it raised resident memory", "bytes",
                               low=-1e15, high=1e15),
    "process_rss_bytes": count("resident memory afterwards", "bytes"),
}  # fmt: skip
NOTEBOOK: Mapping[str, Column] = {
    "arm": text("how the notebook was run: as published, with nothing compressed, or repaired"),
    "test": text("name of the test in the notebook"),
    "intensity": share("intensity of the compression"),
    "episodes_counted": count("episodes that the notebook counts"),
    "steps_counted": count("steps that it counts"),
    "return_counted": number("mean return that it prints"),
    "total_s": amount("time of all steps", "s"),
    "policy_s": amount("time of the policy", "s"),
    "environment_s": amount("time of the environment", "s"),
    "duration_s": amount("time of the test", "s"),
    "evidence": text("class of evidence of its energies", values=EVIDENCE_CLASSES),
    **{f"{part}_{kind}": number(f"{words} of {part}", unit)
       for part in ("cpu", "ram", "total")
       for kind, words, unit in (
           ("idle_w", "power at rest", "W"), ("gross_j", "energy", "J"), ("net_j", "energy above rest", "J"),
           ("average_w", "mean power above rest", "W"), ("peak_w", "highest power above rest", "W"),
       )},
    "idle_w": amount("power at rest", "W"),
    "time_s": amount("time since the test began", "s"),
    **{part: number(f"power of {part}", "W") for part in ("cpu", "ram", "total")},
}  # fmt: skip
GROUPS: Mapping[str, Mapping[str, Column]] = {
    "Every measured row": RUN,
    "Times and energies": COST,
    "Models": MODEL,
    "Searches of deployments": SEARCH,
    "The published search": PUBLISHED,
    "Training": TRAINING,
    "Policies": POLICIES,
    "The course notebook": NOTEBOOK,
}
PER_BATCH: Mapping[str, Column] = {
    "cpu_time_ms_batch_": amount("CPU time per forecast at this batch size", "ms"),
    "cpu_time_se_batch_": amount("standard error of its logarithm over rounds"),
    "cpu_time_range_batch_": amount("range of its logarithm over rounds"),
    "cpu_time_ratio_batch_": amount("CPU time relative to the baseline at this batch size"),
}
"""By the beginning of a name that ends in a batch size."""
COLUMNS: Mapping[str, Column] = {name: one for group in GROUPS.values() for name, one in group.items()}


def column_of(name: str) -> Column | None:
    """Return what a column holds; None if it is not declared."""
    beginning, _, batch = name.rpartition("_batch_")
    return PER_BATCH.get(f"{beginning}_batch_") if batch.isdigit() else COLUMNS.get(name)


def columns_markdown() -> str:
    """Return the documentation of all columns, the content of `data/COLUMNS.md`."""
    lines = ["# Columns", "", "A name means the same in every table. This page is rendered from"]
    lines += ["`stages/sustainable/core/columns.py`, which readers and writers check against.", ""]
    per_batch = {f"{name}1": column for name, column in PER_BATCH.items()}
    for title, group in {**GROUPS, "One column per batch size": per_batch}.items():
        lines += [f"## {title}", "", "| column | unit | values | meaning |", "|---|---|---|---|"]
        rows = group.items()
        lines += [f"| `{name}` | {one.unit} | {one.limits} | {one.meaning} |" for name, one in rows]
        lines.append("")
    return "\n".join(lines)
