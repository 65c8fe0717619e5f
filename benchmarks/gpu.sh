#!/usr/bin/env bash
# What a GPU makes of electrain, in one command: bash benchmarks/gpu.sh OUT [--data FOLDER] [--minutes 9] [--dry]
# PYTHON names the interpreter; by default the checkout's own environment, or python3 where it has none.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python3
    [[ -x $root/.venv/bin/python ]] && PYTHON=$root/.venv/bin/python
fi
exec "$PYTHON" "$root/benchmarks/gpu.py" "$@"
