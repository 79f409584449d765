"""``python -m benchmarks.needs``: says in one sentence what an environment lacks to measure on a GPU.

With ``--quick``, what it lacks to measure anything.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence

_PACKAGES = ("jax", "lrtrain", "lrtrain_constant", "lrtrain_fashion_mnist")
# Names of packages in the order in which a GPU is looked for: PyTorch must find it before JAX holds its memory.
_ON_GPU = ("torch", "jax")


def missing(*, quick: bool) -> list[str]:
    """Returns the names of packages that are not installed, and of those that are and see no GPU."""
    wanted = _PACKAGES if quick else ("torch", *_PACKAGES)
    absent = [name for name in wanted if importlib.util.find_spec(name) is None]
    if quick:
        return absent
    return absent + [f"a GPU for {name}" for name in _ON_GPU if name not in absent and not _has_gpu(name)]


def _has_gpu(package: str) -> bool:
    module = importlib.import_module(package)
    if package == "torch":
        return bool(module.cuda.is_available())
    try:
        return bool(module.devices("gpu"))
    # What JAX raises where it is asked for CUDA and has none depends on whether its package for CUDA is there.
    except (RuntimeError, AssertionError):
        return False


def main(arguments: Sequence[str]) -> int:
    """Prints the sentence, if there is one; returns the exit status."""
    lacking = missing(quick="--quick" in arguments)
    if lacking:
        print(f"{sys.executable} lacks {', '.join(lacking)}: nothing was measured", file=sys.stderr)
    return int(bool(lacking))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
