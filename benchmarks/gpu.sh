#!/bin/sh
# Measures on a GPU in under ten minutes and writes benchmarks/RESULTS-cuda.md, group by group.
#
#   benchmarks/gpu.sh [--quick | --dry-run] [GROUP ...]
#
# It installs nothing: `python` (or $PYTHON) has lrtrain with its plugins, JAX with CUDA and PyTorch with CUDA.
#   --quick    on the CPU, few examples and rows, a page that is printed and not kept: does the script work?
#   --dry-run  prints the commands
#   GROUP      of python -m benchmarks --only; by default all that a GPU is measured with
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python}
platform=cuda
quick=
run=
options="--rounds 3 --output benchmarks/RESULTS-cuda.md"
case ${1:-} in
--quick)
    platform=cpu
    quick=--quick
    options="--quick --rounds 1"
    shift
    ;;
--dry-run)
    run=echo
    shift
    ;;
esac
# The first ones matter most: what the time does not suffice for is not on the page.
[ $# -gt 0 ] || set -- steps overhead population streaming evaluation checkpoint

export JAX_PLATFORMS=$platform
$run "$python" -m benchmarks.needs $quick
# shellcheck disable=SC2086  # several options
$run timeout --signal=INT --kill-after=15 570 "$python" -m benchmarks $options --only "$@"
