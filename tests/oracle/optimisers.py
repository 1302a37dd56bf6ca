"""What torch's optimisers make of a variable, step by step.

    python optimisers.py OUT.json

The variable has 128 elements; element i begins at sin(i), and the loss is the sum of (1 + i % 3) (w - cos(i))^2 + sin(3 w).
For each case the file has the optimiser, its options, and the first 8 elements after steps 1, 2, 5 and 20, computed in float64.
"""
import json, sys
import torch

CASES = [
    ("adam", {}),
    ("adam", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-3}),
    ("adam", {"lr": 0.05, "clip": 0.5}),
    ("adamw", {"lr": 0.05}),
    ("adamw", {"lr": 0.05, "weight_decay": 0.3, "clip": 2.0}),
    ("sgd", {"lr": 0.02}),
    ("sgd", {"lr": 0.02, "momentum": 0.9}),
    ("sgd", {"lr": 0.02, "momentum": 0.9, "clip": 1.0}),
]
CALLS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def run(call, options):
    options = dict(options)
    clip = options.pop("clip", None)
    i = torch.arange(128, dtype=torch.float64)
    w = torch.sin(i).requires_grad_()
    optimiser = CALLS[call]([w], **options)
    after = {}
    for step in range(1, 21):
        optimiser.zero_grad()
        ((1 + i % 3) * (w - torch.cos(i)) ** 2 + torch.sin(3 * w)).sum().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([w], clip)
        optimiser.step()
        if step in (1, 2, 5, 20):
            after[str(step)] = w.detach()[:8].tolist()
    return after


cases = [{"call": call, "options": options, "after": run(call, options)} for call, options in CASES]
with open(sys.argv[1], "w") as out:
    json.dump({"torch": torch.__version__.split("+")[0], "cases": cases}, out, indent=1)
    out.write("\n")
