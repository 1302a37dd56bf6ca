#!/usr/bin/env bash
# Makes page.js and page.css anew from src and the packages of package-lock.json. It needs Node.js, npm and the network;
# a unit test of assets.rs says when it has to run.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund --ignore-scripts
made=$(mktemp -d)
npx esbuild src/main.js --bundle --minify --format=iife --target=es2021 --charset=ascii --outfile="$made/page.js"
npx esbuild src/page.css --bundle --minify --charset=ascii --outfile="$made/page.css"
sources=$(for file in build.sh package-lock.json src/*; do echo "$(basename "$file") $file"; done | LC_ALL=C sort | cut -d' ' -f2 | xargs cat | sha256sum | cut -d' ' -f1)
{
    echo "/* sources: $sources */"
    echo "/* With uPlot $(node -p 'require("uplot/package.json").version'), https://github.com/leeoniya/uPlot:"
    cat node_modules/uplot/LICENSE
    echo "*/"
    cat "$made/page.js"
} > page.js
mv "$made/page.css" page.css
rm -r "$made" node_modules
wc -c page.js page.css
