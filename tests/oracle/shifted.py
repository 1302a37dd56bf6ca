"""Write fixtures/<case>/shifted.safetensors: what a residual stream shifted by a large constant comes to.

    python shifted.py        # needs torch, safetensors

Keys, for each shift in +1e4 and -1e4, added to what enters block 0 by a hook at pre-block:
  <shift>/logits       [b,n,v], from a float64 pass
  <shift>/difference   the largest difference of PyTorch's own float32 pass to it
"""
import glob, json, os
import torch
from safetensors.torch import load_file, save_file
import reference
from checkpoints import FIXTURES, weights


def run(config, state, ids, shift, dtype):
    w = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    hook = lambda x, layer: x + shift if layer == 0 else None
    with torch.no_grad():
        return reference.run(config, w, ids, {"pre-block": hook})


for directory in sorted(os.path.dirname(path) for path in glob.glob(os.path.join(FIXTURES, "*", "config.json"))):
    config = json.load(open(os.path.join(directory, "config.json")))
    state, ids = weights(directory, config), load_file(os.path.join(directory, "golden.safetensors"))["ids"]
    out = {}
    for name, shift in (("+1e4", 1e4), ("-1e4", -1e4)):
        exact = run(config, state, ids, shift, torch.float64)
        single = run(config, state, ids, shift, torch.float32)
        out[f"{name}/logits"] = exact
        out[f"{name}/difference"] = (single.double() - exact).abs().max()
        print(os.path.basename(directory), name, f"{out[f'{name}/difference']:.3g}", exact.dtype)
    save_file(out, os.path.join(directory, "shifted.safetensors"))
