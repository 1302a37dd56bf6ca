#!/usr/bin/env python3
"""The same training by script and in PyTorch, in turn: benches/training.py [--model ID] [--weights PATTERN] [--rows N] [--tokens N] [--steps N] [--rounds N] [--threads N] [--checkpoint]

Needs a Python with torch and transformers; run it with that Python. AdamW on the weights that the pattern fits, a new batch each step, no dropout.
A demo is saved by `m.save` first, so that PyTorch reads the same weights. Of precompute the whole process is measured, of PyTorch the loop alone:
its imports take longer than the training. Memory is the largest resident set of each process, and what of it the loop added in PyTorch.
"""
import argparse, fnmatch, json, os, pathlib, resource, statistics, subprocess, sys, tempfile, time

root = pathlib.Path(__file__).resolve().parent.parent
binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/precompute"

SCRIPT = """
let m = model(param("model", "demo:opt"));
let fine = m.trainable(param("weights", "*"));
let optimiser = adamw(fine.variables, #{lr: 0.001});
let rows = param("rows", 8);
let tokens = param("tokens", 64);
let options = #{loss: true, logits: "none", checkpoint: param("checkpoint", false)};
let losses = [];
for step in 0..param("steps", 200) {
    let ids = (arange(rows * tokens) * 37 + 5 + 11 * step).reshape([rows, tokens]) % m.config.vocab_size;
    losses.push(optimiser.step(fine.model.forward(ids, options).loss));
}
save("losses", losses);
"""


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_pytorch(options):
    """One training; prints a line of JSON."""
    import torch, transformers

    torch.set_num_threads(options.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype), attn_implementation="sdpa").eval()
    for name, weight in model.named_parameters():
        weight.requires_grad_(fnmatch.fnmatchcase(name, options.weights))
    if options.checkpoint:
        model.train()
        model.gradient_checkpointing_enable()
        for part in model.modules():
            part.dropout = 0.0 if isinstance(getattr(part, "dropout", None), float) else getattr(part, "dropout", None)
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-3, fused=True)
    before, began, worked, losses = peak_mb(), time.perf_counter(), time.process_time(), []
    for step in range(options.steps):
        ids = (torch.arange(options.rows * options.tokens) * 37 + 5 + 11 * step).reshape(options.rows, options.tokens) % model.config.vocab_size
        loss = torch.nn.functional.cross_entropy(model(ids, use_cache=False).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    print(json.dumps(dict(seconds=time.perf_counter() - began, cpu=time.process_time() - worked, peak=peak_mb(), added=peak_mb() - before, losses=losses)))


def child(command, threads):
    """Output, and what the process took."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return output, dict(seconds=time.perf_counter() - began, cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss / 1024)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", default="demo:opt")
    arguments.add_argument("--weights", default="*")
    for name, default in dict(rows=8, tokens=64, steps=200, rounds=3, threads=os.cpu_count()).items():
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--checkpoint", action="store_true")
    arguments.add_argument("--in-pytorch", action="store_true")
    arguments.add_argument("--dtype", default="float32", help="of --in-pytorch")
    options = arguments.parse_args()
    if options.in_pytorch:
        return in_pytorch(options)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        script = scratch / "training.rhai"
        script.write_text(SCRIPT)
        directory = options.model
        if directory.startswith("demo:"):
            save = scratch / "save.rhai"
            save.write_text(f'model("{options.model}").save("model");')
            child([binary, "run", save, "--out", scratch / "saved"], options.threads)
            directory = scratch / "saved/model"
        sizes = {name: getattr(options, name) for name in ("rows", "tokens", "steps", "weights")} | {"checkpoint": str(options.checkpoint).lower()}
        settings = [part for name, value in sizes.items() for part in ("--set", f"{name}={value}")]
        ours, theirs = [], []
        for round in range(options.rounds):
            out = scratch / f"out-{round}"
            _, took = child([binary, "run", "--fresh", script, "--set", f"model={directory}", *settings, "--out", out], options.threads)
            ours.append(took | {"losses": json.loads((out / "losses.json").read_text())})
            flags = [f"--{name}={getattr(options, name)}" for name in ("weights", "rows", "tokens", "steps", "threads")] + ["--checkpoint"] * options.checkpoint
            python = [sys.executable, __file__, "--in-pytorch", "--model", directory, *flags]
            output, _ = child(python, options.threads)
            theirs.append(json.loads(output.splitlines()[-1]))
        # A training enlarges differences of rounding: how far float32 goes astray is measured from float64.
        output, _ = child([*python, "--dtype", "float64"], options.threads)
        exact = json.loads(output.splitlines()[-1])["losses"]
    apart = lambda of: max(abs(a - b) for a, b in zip(of[0]["losses"], exact, strict=True))
    middle = lambda of, key: statistics.median(one[key] for one in of)
    print(f"{options.model}, {options.weights}, {options.steps} steps of {options.rows} x {options.tokens} tokens, {options.threads} threads, {options.rounds} rounds\n")
    print("| | s | processor s | peak MB |\n|---|---|---|---|")
    for who, of in (("precompute, the whole process", ours), ("PyTorch, the loop", theirs)):
        print(f"| {who} | {middle(of, 'seconds'):.2f} | {middle(of, 'cpu'):.2f} | {middle(of, 'peak'):.0f} |")
    ratio = lambda key: middle(ours, key) / middle(theirs, key)
    print(f"| | {ratio('seconds'):.2f} x | {ratio('cpu'):.2f} x | {ratio('peak'):.2f} x |\n")
    print(f"of PyTorch's memory the loop added {middle(theirs, 'added'):.0f} MB; losses from {ours[0]['losses'][0]:.4f} to {ours[0]['losses'][-1]:.4f}")
    print(f"from PyTorch's losses in float64 ours are at most {apart(ours):.1e} away, PyTorch's in float32 {apart(theirs):.1e}")


main()
