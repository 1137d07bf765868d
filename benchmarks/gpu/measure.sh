#!/usr/bin/env bash
# Measure a machine with an NVIDIA GPU from this checkout, without a network: benchmarks/gpu/measure.sh [WHEELS]
# WHEELS is a folder of wheels that the machine's Python lacks; they are unpacked beside it, and nothing is changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if ! command -v "$python" >/dev/null; then
    echo "error: no program $python; name the machine's Python: make gpu PYTHON=PATH" >&2
    exit 1
fi
if [ $# -gt 0 ]; then
    if ! ls "$1"/*.whl >/dev/null 2>&1; then
        echo "error: no wheels (*.whl) in $1; give a folder that holds some: make gpu WHEELS=FOLDER" >&2
        exit 1
    fi
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$1"/*.whl
fi
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
# What else is absent, benchmarks.gpu.measure says and leaves out.
for library in numpy rich; do
    if ! "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$library') is None)"; then
        echo "error: $python has no $library; give a folder of the wheels that it lacks: make gpu WHEELS=FOLDER" >&2
        exit 1
    fi
done
"$python" -m benchmarks.gpu.measure
