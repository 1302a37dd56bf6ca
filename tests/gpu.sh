#!/usr/bin/env bash
# All that needs a GPU, in one run of at most 10 minutes; a short table comes last.
#
#   tests/gpu.sh [BINARY] [DEVICE]        default: target/cuda/release/precompute cuda
#
# It needs the binary (cargo build --release --features cuda --target-dir target/cuda), this directory, and for the peers' part a python3
# with torch and transformers (PYTHON names another; transformer_lens and nnsight are timed where they are there). cc counts
# synchronisations, where there is one. With DEVICE cpu it runs on the CPU, on small shapes, so that the script itself is tested.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
binary=$(realpath "${1:-$root/target/cuda/release/precompute}")
device=${2:-cuda}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
deadline=$((SECONDS + 570))
table=()
failed=0
row() { table+=("$(printf '%-44s %-26s %s' "$1" "$2" "$3")"); [ "$3" = FAILED ] && failed=1; echo "${table[-1]}"; }
left() { [ $SECONDS -lt $deadline ]; }
# Whether a number is at most another.
most() { "$python" -c "import sys; sys.exit(not float(sys.argv[1]) <= float(sys.argv[2]))" "$1" "$2" 2>/dev/null ||
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 <= b + 0) }'; }
verdict() { if most "$1" "$2"; then echo ok; else echo FAILED; fi; }
run() { "$binary" run --out "$work/out" --device "$device" "$@"; }

# PyTorch's copy of CUDA's libraries, where the system has none.
if ! "$binary" --version >/dev/null 2>&1; then
    libraries=$("$python" -c 'import nvidia, pathlib; print(pathlib.Path(nvidia.__path__[0]) / "cu13/lib")' 2>/dev/null)
    export LD_LIBRARY_PATH="$libraries:${LD_LIBRARY_PATH:-}"
fi
"$binary" doctor || { [ "$device" = cpu ] || exit 1; }

echo; echo "Fixtures against their goldens"
fixtures=("$root"/tests/fixtures/*/golden.safetensors)
worst=0; where=nothing; count=0
for golden in "${fixtures[@]}"; do
    fixture=$(dirname "$golden")
    if ! said=$(run "$root/tests/gpu/check.rhai" --model "$fixture" --read "$fixture" --set golden="$golden" 2>"$work/said"); then
        cat "$work/said"; said="1e30 failed 0"
    fi
    read -r by at many <<<"$(tail -1 <<<"$said")"
    echo "  $(basename "$fixture") $by at $at ($many compared)"
    count=$((count + many))
    if ! most "$by" "$worst"; then worst=$by; where="$(basename "$fixture") $at"; fi
done
row "float32, ${#fixtures[@]} fixtures, $count comparisons" "$worst ($where)" "$(verdict "$worst" 1e-3)"

for dtype in f16 bf16; do
    left || break
    "$python" "$root/tests/gpu/half.py" $dtype "${fixtures[@]%/golden.safetensors}" >"$work/$dtype" 2>"$work/said" ||
        { row "$dtype against float32" "no transformers here" "not run"; continue; }
    verdict=ok; ratio=0
    while read -r name theirs _; do
        [ "$theirs" = nothing ] && continue
        fixture="$root/tests/fixtures/$name"
        ours=$(run "$root/tests/gpu/half.rhai" --dtype $dtype --model "$fixture" --read "$fixture" --set golden="$fixture/golden.safetensors" 2>"$work/said" | tail -1)
        echo "  $name $dtype: ${ours:-failed}, transformers $theirs"
        # Rounding is a matter of luck on models this small: twice what transformers shows is within it.
        most "${ours:-1e30}" "$(awk -v t="$theirs" 'BEGIN { print 2 * t + 1e-4 }')" || { verdict=FAILED; cat "$work/said"; }
        ratio=$(awk -v r=$ratio -v o="${ours:-1e30}" -v t="$theirs" 'BEGIN { q = (t > 0) ? o / t : 0; print ((q > r) ? q : r) }')
    done <"$work/$dtype"
    row "$dtype, of what transformers loses by it" "at most ${ratio} x" $verdict
done

echo; echo "Synchronisations"
if [ "$device" != cpu ] && cc -shared -fPIC -o "$work/count.so" "$root/tests/gpu/synchronisations.c" -ldl 2>/dev/null; then
    count() { LD_PRELOAD="$work/count.so" run "$root/tests/gpu/log.rhai" --fresh --set passes="$1" --set log="$2" 2>&1 | grep ^synchronisations; }
    for log in false true; do
        read -r _ a _ c <<<"$(count 2 $log)"; read -r _ b _ d <<<"$(count 12 $log)"
        what="ten passes with pass-through hooks"; allowed=0
        # A log is waited for when someone reads it: here, when too much is under way, once for each block.
        [ $log = true ] && what="ten passes that log every block" && allowed=1000
        echo "  $what: $((b - a)) waits, $((d - c)) copies that wait"
        row "$what" "$((b - a)) waits, $((d - c)) copies" "$(verdict $((d - c + (allowed ? 0 : b - a))) 0)"
    done
else
    row "synchronisations" "no GPU or no cc" "not run"
fi

echo; echo "Speed"
shapes=(opt-125m pythia-70m qwen3-0.6b); lengths=(32 512 2048); dtypes=(f32 f16)
[ "$device" = cpu ] && shapes=(pythia-70m) && lengths=(32) && dtypes=(f32)
cuda=--cuda; [ "$device" = cpu ] && cuda=
peers=(plain torch); "$python" -c 'import transformer_lens' 2>/dev/null && peers+=(tl); "$python" -c 'import nnsight' 2>/dev/null && peers+=(nnsight)
for shape in "${shapes[@]}"; do
    left || break
    "$python" "$root/benches/checkpoint.py" "$work/$shape" $shape >/dev/null 2>&1 || { row "speed, $shape" "no transformers here" "not run"; continue; }
    said=$(run --fresh "$root/tests/gpu/offload.rhai" --set id="$work/$shape" --read "$work" 2>"$work/said" | tail -1) || cat "$work/said"
    read -r by resident offloaded <<<"${said:-1e30 0 0}"
    row "$shape offloaded, 512 tokens" "$by apart, $(awk -v r="$resident" -v o="$offloaded" 'BEGIN { printf "%.1f ms, resident %.1f", o, r }')" "$(verdict "$by" 0)"
    for dtype in "${dtypes[@]}"; do
        half=; [ $dtype = f16 ] && half=--half
        for n in "${lengths[@]}"; do
            left || break 3
            ms() { sed -n "s/.*\"what\": \"$1\".*\"ms\": \([0-9.]*\).*/\1/p" "$work/ours"; }
            run --fresh --dtype $dtype "$root/tests/gpu/pass.rhai" --model "$work/$shape" --set lengths=$n >"$work/ours" 2>"$work/said" || cat "$work/said"
            fastest=; named=; plain=; products=
            for peer in "${peers[@]}" products; do
                theirs=$("$python" "$root/benches/peer.py" "$work/$shape" $peer $n $cuda $half 2>/dev/null | sed -n 's/.*"median_ms": \([0-9.]*\).*/\1/p')
                [ -z "$theirs" ] && continue  # it is not there, or cannot read this model
                [ $peer = products ] && products=$theirs && continue
                [ $peer = plain ] && plain=$theirs && continue
                if [ -z "$fastest" ] || most "$theirs" "$fastest"; then fastest=$theirs; named=$peer; fi
            done
            awk -v c="$(ms captured)" -v h="$(ms hooked)" -v k="$(ms points)" -v p="$(ms plain)" -v d="$(ms decode)" -v f="$fastest" -v m="${products:-0}" \
                -v t="${plain:-0}" -v w="$named" 'BEGIN {
                of_peer = (f > 0) ? c / f : 0; of_capture = (k > 0) ? h / k : 0; of_products = (m > 0) ? p / m : 0
                printf "plain %.2f ms (transformers %.2f, products %.2f), captured %.2f (%s %.2f), hooked %.2f x captured points, decode %.0f\n", p, t, m, c, w, f, of_capture, d
                printf "%.2f %.2f %.2f\n", of_peer, of_capture, of_products }' >"$work/figures"
            echo "  $shape $dtype $n: $(head -1 "$work/figures")"
            read -r of_peer of_capture of_products <<<"$(tail -1 "$work/figures")"
            row "$shape $dtype $n" "$of_peer x peer, $of_capture x capture, $of_products x products" "measured"
        done
    done
done

echo; echo "On $device:"
printf '%s\n' "${table[@]}"
echo "in $SECONDS s"
exit $failed
