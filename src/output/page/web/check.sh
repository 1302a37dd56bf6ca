#!/usr/bin/env bash
# Runs the tests of pages in a browser with axe, which looks for what keeps people from reading them. It needs Node.js,
# npm, the network and Chromium.
set -euo pipefail
web=$(cd "$(dirname "$0")" && pwd)
packages=$(mktemp -d)
cp "$web"/package*.json "$packages"
npm ci --prefix "$packages" --silent --no-audit --no-fund --ignore-scripts
cd "$web/../../../.."
PRECOMPUTE_AXE="$packages/node_modules/axe-core/axe.min.js" cargo test --test it -- pages::
rm -r "$packages"
