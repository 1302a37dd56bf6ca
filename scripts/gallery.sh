#!/usr/bin/env bash
# Makes the gallery anew, or what the named scripts have in it: scripts/gallery/SCRIPT/*.svg from runs on demo:opt, and of
# tutorials (scripts that have a title among their comments) the tables and the page too; and the gallery's page. It takes a quarter of an hour.
# With PAGES=DIR the runs themselves are kept there, each with its page, for `precompute view DIR`.
#
#     scripts/gallery.sh [SCRIPT…]
set -euo pipefail
cd "$(dirname "$0")/.."
program=${PRECOMPUTE:-target/release/precompute}
[ -n "${PRECOMPUTE:-}" ] || cargo build --release --quiet
[ $# -gt 0 ] || set -- $(basename -s .rhai scripts/*.rhai)
for name in "$@"; do
    script="scripts/$name.rhai"
    out=$(mktemp -d)
    "$program" run "$script" --seed 1 --out "$out" >/dev/null 2>&1
    mkdir -p "scripts/gallery/$name"
    cp "$out"/*.svg "scripts/gallery/$name/"
    if grep -q '^// # ' "$script"; then cp "$out"/*.csv "scripts/gallery/$name/"; fi
    if [ -n "${PAGES:-}" ]; then mkdir -p "$PAGES" && rm -rf "${PAGES:?}/$name" && cp -r "$out" "$PAGES/$name"; fi
    rm -r "$out"
done
PRECOMPUTE_BLESS=1 cargo test --quiet --test it -- tutorials::the_pages gallery_page >/dev/null
