"""Rows of study B's course notebook, made by hand."""

import pandas as pd

from sustainable.policies.published.experiment import ARMS
from sustainable.policies.published.rule import NotebookRule
from sustainable.reporting.policies.notebook import CONTROL, PUBLISHED, NotebookRun

RULE = NotebookRule(return_drop=0.1, share=0.5, findings=2)
TESTS = ("baseline", "quantized", "pruned")


def make_test(test="baseline", *, size=100, net=10.0, gross=30.0, returned=50.0, policy_s=1.0, **others):
    """Return one row of the notebook's stage; processor and memory share the energy equally."""
    energies = {"gross_j": gross, "net_j": net, "idle_w": 8.0, "peak_w": 2.0}
    components = {"cpu": 0.5, "ram": 0.5, "total": 1.0}
    return {
        "test": test, "method": "none", "intensity": 0.0, "size_bytes": size, "sparsity": 0.0,
        "episodes_counted": 12, "steps": 100, "return_counted": returned, "return_mean": returned,
        "policy_s": policy_s, "environment_s": 1.0, "duration_s": 2.0, "evidence": "modelled-load",
        **{f"{name}_{kind}": part * value for name, part in components.items()
           for kind, value in energies.items()},
        **others,
    }  # fmt: skip


def make_notebook(validating=(PUBLISHED, CONTROL), seeds=20):
    """Return rows of every arm. In the arms `validating` a test is slower, so that two findings hold."""
    rows = []
    for arm in ARMS:
        slower = {"policy_s": 1.2} if arm in validating else {}
        for seed in range(seeds):
            for test in TESTS:
                row = make_test(test, **(slower if test == "pruned" else {}))
                rows.append({"arm": arm, "seed": seed, **row})
    power = [
        {"arm": arm, "test": test, "idle_w": 8.0, "time_s": 0.1 * step, "total": 9.0 + step % 2}
        for arm in ARMS
        for test in TESTS
        for step in range(5)
    ]
    return NotebookRun(pd.DataFrame(rows), pd.DataFrame(power))
