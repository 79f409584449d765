"""One process, one schedule after another: ``python -m benchmarks.sequence DIRECTORY EXAMPLES SPEC...``.

It prints the seconds from its start to the end of each run, a line each.
"""

from __future__ import annotations

import sys
import tempfile
import time

_START = time.perf_counter()


def main(directory: str, examples: int, specs: list[str]) -> None:
    import lrtrain

    for spec in specs:
        run_dir = tempfile.mkdtemp(dir=directory)
        lrtrain.train(spec, epochs=1, train_size=examples, run_dir=run_dir)
        print(time.perf_counter() - _START, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
