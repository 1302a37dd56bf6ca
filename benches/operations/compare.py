#!/usr/bin/env python3
"""The operations of scripts beside PyTorch's, in turn, in one run: benches/operations/compare.py [ROUNDS]

Needs a Python with torch; run it with that Python.
"""
import json, os, pathlib, statistics, subprocess, sys, time
import torch
import torch.nn.functional as F

torch.set_grad_enabled(False)
root = pathlib.Path(__file__).resolve().parent.parent.parent
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
table = [line.split("\t") for line in (root / "benches/operations/table.tsv").read_text().splitlines() if not line.startswith("#")]


def theirs():
    torch.manual_seed(1)
    names = dict(torch=torch, F=F)
    names |= dict(x=torch.randn(2048, 768), y=torch.randn(2048, 768), s=torch.randn(12, 512, 512), w=torch.randn(768, 768))
    names |= dict(tall=torch.randn(3072, 768), row=torch.randn(768), column=torch.randn(2048, 1))
    names |= dict(ids=torch.arange(2048) * 37 % 2048, classes=torch.arange(2048) * 37 % 768, mask=names["y"] > 0)
    names |= dict(picks=(torch.arange(2048 * 768) * 37 % 2048).reshape(2048, 768), symmetric=names["w"] + names["w"].t())
    for name, _, expression in table:
        code = compile(expression, name, "exec")

        def run(times):
            began = time.perf_counter()
            for _ in range(times):
                exec(code, names)
            return (time.perf_counter() - began) / times

        run(1)
        times = int(min(2000, max(1, 0.1 / run(2))))
        yield name, statistics.median(run(times) for _ in range(5)) * 1e3


def ours():
    output = subprocess.run(["cargo", "bench", "-q", "--bench", "operations"], cwd=root, check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        row = json.loads(line)
        yield row["name"], row["ms"]


taken = {name: ([], []) for name, *_ in table}
for _ in range(rounds):
    for side, timed in enumerate((ours, theirs)):
        for name, ms in timed():
            taken[name][side].append(ms)
print(f"{os.cpu_count()} cores, float32, torch {torch.__version__}, {rounds} rounds\n")
print("| operation | precompute, ms | PyTorch, ms | ratio |\n|---|---|---|---|")
for name, sides in taken.items():
    mine, other = (statistics.median(side) for side in sides)
    print(f"| {name} | {mine:.3f} | {other:.3f} | {mine / other:.2f} |")
