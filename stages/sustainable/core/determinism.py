"""Settings that make CPU training bitwise reproducible on x86-64. Import before numpy or torch.

Different CPU makers and vector widths take different kernels in MKL, oneDNN, OpenBLAS, ATen and
numpy, and their last bits differ. The settings below choose the same kernels everywhere (AVX2 is
needed). They cost about 1.9x of training time, so measured inference must run without them.
"""

import os
import sys

from sustainable.core.pins import PINS

_late = sorted({"numpy", "torch"} & sys.modules.keys())
if _late and any(os.environ.get(name) != value for name, value in PINS.items()):
    raise ImportError(f"import determinism before {' and '.join(_late)}: they read it when loaded")
os.environ.update(PINS)


def use_deterministic_torch() -> None:
    """Make torch refuse non-deterministic kernels and use one thread."""
    import torch  # only now: the environment above must be set first

    torch.set_deterministic_debug_mode("error")  # `use_deterministic_algorithms` loads a compiler for seconds
    torch.set_num_threads(1)
