#!/usr/bin/env bash
# Measure a machine with an NVIDIA GPU from this checkout, without a network: benchmarks/gpu.sh [WHEELS]
# WHEELS is a folder of wheels that the machine's Python lacks; they are unpacked beside it, and nothing is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [ $# -gt 0 ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$1"/*.whl
fi
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}"
"$python" -m benchmarks.gpu
