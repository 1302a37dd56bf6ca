#!/usr/bin/env bash
# Builds the Python wheel, which has the command and `precompute.load`, and checks it in an empty virtual
# environment:
#
#     packaging/wheel.sh            a release for manylinux x86-64, in target/wheels (some GB of memory)
#     packaging/wheel.sh dev        of what `cargo build` made, for a test on this machine
#
# It needs Python 3.9 or newer with venv, and PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-dist}
largest=$((50 * 1024 * 1024))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf target/wheels

python3 -m venv "$work/build"
if [ "$profile" = dist ]; then
    # Zig links against an old C library, so that the binary runs on any Linux of the last ten years.
    "$work/build/bin/pip" install --quiet 'maturin[zig]>=1.9,<2'
    platform=(--zig --compatibility manylinux2014)
else
    "$work/build/bin/pip" install --quiet 'maturin>=1.9,<2'
    platform=(--compatibility linux)
fi
# maturin looks for zig among the packages of the first Python.
PATH="$work/build/bin:$PATH" maturin build --profile "$profile" --out target/wheels "${platform[@]}"

# As `uv tool install precompute` or `pipx run precompute` do it: nothing but the wheel.
python3 -m venv "$work/user"
"$work/user/bin/pip" install --quiet target/wheels/*.whl
export PATH="$work/user/bin:$PATH"
binary=$(command -v precompute)
size=$(stat -c %s "$binary")
echo "the binary has $((size / 1024 / 1024)) MB, the wheel $(du -m target/wheels/*.whl | cut -f1) MB"
if [ "$profile" = dist ] && [ "$size" -gt "$largest" ]; then
    echo "the binary is larger than 50 MB" >&2
    exit 1
fi
precompute --version
precompute run scripts/logit_lens.rhai --out "$work/run" >/dev/null

python packaging/check.py
pip install --quiet numpy
python packaging/check.py numpy
pip install --quiet pandas pyarrow
python packaging/check.py numpy pandas
