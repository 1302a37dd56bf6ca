#!/usr/bin/env python3
"""Precompute and its Python peers in turn, on one checkpoint, in one run: benches/peers.py CHECKPOINT [N [ROUNDS]]

Needs a Python with torch and transformers (transformer-lens and nnsight are timed where they are there); run it with that Python.
Every round times each once (a median of 7 calls within), so that a machine's moods meet all alike; the table has the medians.
"""
import importlib.util, json, os, pathlib, re, statistics, subprocess, sys, tempfile, time

root = pathlib.Path(__file__).resolve().parent.parent
checkpoint = os.path.abspath(sys.argv[1])
n = int(sys.argv[2]) if len(sys.argv) > 2 else 512
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/precompute"
cargo = ["cargo", "bench", "-q", "--bench", "table"]


def run(command, **more):
    """Output, seconds, and peak MB of a command."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True, **more)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return output, time.perf_counter() - began, usage.ru_maxrss / 1024


def first_logits():
    """A script that runs one pass, and the Python that does the same."""
    script = tempfile.NamedTemporaryFile("w", suffix=".rhai", delete=False)
    ids = f"((arange({n}) * 37 + 5) % m.config.vocab_size).unsqueeze(0)"
    script.write(f'let m = model("{checkpoint}");\nm.forward({ids}).logits[[0, -1, 0]]\n')
    script.close()
    python = (
        "import sys, torch, transformers; torch.set_grad_enabled(False); "
        f"m = transformers.AutoModelForCausalLM.from_pretrained({checkpoint!r}, dtype=torch.float32).eval(); "
        f"ids = ((torch.arange({n}) * 37 + 5) % m.config.vocab_size).unsqueeze(0); print(m(ids).logits[0, -1, 0])"
    )
    return [binary, "run", "--fresh", script.name], [sys.executable, "-c", python]


def main():
    subprocess.run(["cargo", "build", "-q", "--profile", "bench"], cwd=root, check=True)
    subprocess.run(cargo + ["--no-run"], cwd=root, check=True)
    environment = {**os.environ, "PRECOMPUTE_BENCH_MODEL": checkpoint}
    peers = {
        "plain": "transformers",
        "torch": "transformers with torch hooks on every block",
        "gradients": "torch.autograd.grad, gradients of two logits' difference at every block",
        "gradients-loss": "torch.autograd.grad, gradients of the loss at every block",
    }
    if importlib.util.find_spec("transformer_lens"):
        peers |= {"tl": "TransformerLens, every block", "tl-all": "TransformerLens, everything"}
    if importlib.util.find_spec("nnsight"):
        peers["nnsight"] = "nnsight, every block"
    ours, theirs, starts, peaks = {}, {}, {}, {}
    for command in first_logits():
        run(command)  # into the page cache
    for _ in range(rounds):
        for line in run(cargo + ["--", "--json", str(n)], env=environment)[0].splitlines():
            row = json.loads(line)
            ours.setdefault((row["at"], row["pass"]), []).append(row["ms"])
        for what, name in peers.items():
            output = run([sys.executable, root / "benches/peer.py", checkpoint, what, str(n)])[0]
            theirs.setdefault(name, []).append(json.loads(output.splitlines()[-1])["median_ms"])
        for who, command in zip(("precompute", "transformers"), first_logits()):
            _, seconds, megabytes = run(command)
            starts.setdefault(who, []).append(seconds)
            peaks.setdefault(who, []).append(megabytes)
    middle = lambda of: {key: statistics.median(values) for key, values in of.items()}
    ours, theirs, starts, peaks = middle(ours), middle(theirs), middle(starts), middle(peaks)
    kind = lambda name: ("gradients" in name) + ("the loss" in name)
    fastest = {}
    for name, ms in theirs.items():
        if "everything" not in name:
            fastest[kind(name)] = min(ms, fastest.get(kind(name), ms))
    print(f"{checkpoint}, {n} tokens, float32, {os.cpu_count()} cores, {rounds} rounds\n")
    print("| pass | ms | of the fastest peer that does the same |\n|---|---|---|")
    for (_, name), ms in sorted(ours.items()):
        print(f"| precompute, {name} | {ms:.0f} | {ms / fastest[kind(name)]:.2f} |")
    for name, ms in theirs.items():
        print(f"| {name} | {ms:.0f} | {ms / fastest[kind(name)]:.2f} |")
    weights = sum(file.stat().st_size for file in pathlib.Path(checkpoint).iterdir() if re.search(r"\.(safetensors|bin)$", file.name))
    print("\n| process start to first logits | s | peak MB | of the weights on disk |\n|---|---|---|---|")
    for who in starts:
        print(f"| {who} | {starts[who]:.2f} | {peaks[who]:.0f} | {peaks[who] * 2**20 / weights:.2f} |")


main()
