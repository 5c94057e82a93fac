"""Names in print of searchers, runtimes and configurations: in tables, figures, sentences and reasons."""

from sustainable.reporting.formats import words

RUNTIME_NAMES = {
    "torch-eager": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "numpy": "NumPy",
    "numba": "Numba",
}
SEARCHER_NAMES = {
    "random": "random search",
    "local_search": "local search",
    "evolution": "evolution",
    "tpe": "TPE",
    "cmaes": "CMA-ES",
    "nsga2": "NSGA-II",
    "ppo": "PPO",
    "ppo_stepwise": "PPO, step by step",
    "ppo_stepwise_unshaped": "PPO, no shaping",
    "ppo_stepwise_unmasked": "PPO, no mask",
    "ppo_stepwise_warm": "PPO, warm start",
    "ppo_published": "PPO, published actions",
    "ppo_continuous": "PPO, continuous",
    "ppo_equal": "PPO, samplers' budget",
    "tpe_one_share": "TPE, one share",
    "published_tpe": "published plan (TPE)",
    "published_random": "published plan (random)",
    "published_ppo": "published plan (PPO)",
}
FORECASTER_NAMES = {
    "baseline": "Baseline",
    "baseline_twin": "Baseline again (A/A twin)",
    "manual_pruning": "Manual pruning (50 %)",
    "manual_quantization": "Manual quantization",
    "agent_optimized": "Agent-optimized",
    "published_choice": "Published choice",
    "onnxruntime": "ONNX Runtime, uncompressed",
    "openvino": "OpenVINO, uncompressed",
    "numba": "Numba, uncompressed",
    "ppo_stepwise": "Step-by-step PPO's choice",
    "chosen_widths": "Choice's widths, eager",
    "chosen_fp32": "Choice in fp32",
    "continued": "The baseline, trained longer",
    "oracle": "Best of all candidates",
    "logistic_last_day": "Logistic regression, last step",
    "logistic_window": "Logistic regression, all steps",
    "broken_random_weights": "Broken: random weights",
    "broken_masked": "Broken: 90 % masked",
    "broken_width": "Broken: one unit per layer",
    "zeros": "Zeros alone (the agent's plan, fp32)",
    "published_tpe": "Plan of TPE and CMA-ES",
    "published_ppo": "Plan of the layer-wise agent",
}
"""Configurations of study A. The first source calls its own the same."""
POLICY_NAMES = {
    "baseline": "fp32, eager torch",
    "baseline_twin": "the same again (A/A twin)",
    "sb3_predict": "fp32, SB3 predict()",
    "onnxruntime": "fp32, ONNX Runtime",
    "numpy": "fp32, NumPy",
    "ptdq": "PTDQ",
    "ptsq": "PTSQ",
    "qat": "QAT",
    "ptdq_onnxruntime": "PTDQ, ONNX Runtime",
    "ptsq_onnxruntime": "PTSQ, ONNX Runtime",
    "qat_onnxruntime": "QAT, ONNX Runtime",
}
"""Configurations of study B. Those of pruned policies follow from what was pruned."""


def runtime_name(name: str) -> str:
    """A runtime in print."""
    return RUNTIME_NAMES.get(name, name)


def searcher_name(name: str) -> str:
    """A searcher in print."""
    return SEARCHER_NAMES.get(name, words(name))


def forecaster_name(key: str) -> str:
    """A configuration of study A in print."""
    return FORECASTER_NAMES.get(key, words(key))
