#!/usr/bin/env bash
# Makes the gallery's pictures anew: scripts/gallery/SCRIPT/*.svg, on demo:opt.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet
for script in scripts/*.rhai; do
    name=$(basename "$script" .rhai)
    out=$(mktemp -d)
    target/debug/precompute run "$script" --seed 1 --out "$out" >/dev/null 2>&1
    mkdir -p "scripts/gallery/$name"
    cp "$out"/*.svg "scripts/gallery/$name/"
    rm -r "$out"
done
