"""Write fixtures/<case>/inputs.safetensors: the points at which heads and MLPs read the residual stream.

    python inputs.py [CASE ...]   # all without a case; needs torch, transformers, safetensors

Computed in float64 over golden's ids [b,n], then rounded. Keys:
  plain/<layer>/<point>     of pre-query-states and pre-key-states alone: the others are copies of the stream
  changed/<point>           the last token's logits when the point's last dim is reversed in every layer
  gradient/<layer>/<point>  of the sum over rows of logits[row, -1, 5] - logits[row, -1, 9]; of one layer, the last but one
"""
import os
import torch, transformers
from safetensors.torch import load_file, save_file
import dense, experts, families, reference
from checkpoints import directories, weights

reference.FAMILIES |= families.FAMILIES | dense.FAMILIES | experts.FAMILIES


def run(config, w, ids, hooks):
    return reference.FAMILIES[config["model_type"]](config, w, ids, reference.Tap(hooks), torch.ones_like(ids))


for directory in directories():
    # As the newest transformers names its fields, whatever the file has.
    config = transformers.AutoConfig.from_pretrained(directory).to_dict()
    golden = load_file(os.path.join(directory, "golden.safetensors"))
    ids = golden["ids"]
    w = {k: v.double() for k, v in weights(directory, config).items() if v.is_floating_point()}
    kept = {}

    def keep(point):
        def hook(x, layer):
            x.requires_grad_() if not x.requires_grad else x.retain_grad()
            kept[f"{layer}/{point}"] = x
        return hook

    logits = run(config, w, ids, {p: keep(p) for p in reference.INPUTS})
    worst = (logits.detach().float() - golden["plain/logits"]).abs().max().item()
    assert worst < 1e-4, (directory, worst)
    (logits[:, -1, 5] - logits[:, -1, 9]).sum().backward()
    layer = max(int(k.split("/")[0]) for k in kept) - 1
    out = {f"gradient/{k}": x.grad for k, x in kept.items() if k.startswith(f"{layer}/")}
    out |= {f"plain/{k}": x.detach() for k, x in kept.items() if "/pre-" in k}
    with torch.no_grad():
        for point in dict.fromkeys(k.split("/")[1] for k in kept):
            out[f"changed/{point}"] = run(config, w, ids, {point: lambda x, layer: x.flip(-1)})[:, -1]
            effect = (out[f"changed/{point}"] - logits[:, -1]).abs().max().item()
            assert effect > 1e-2, (directory, point, effect)
    save_file({k: v.float().contiguous() for k, v in out.items()}, os.path.join(directory, "inputs.safetensors"))
    print(os.path.basename(directory), len(out), f"{worst:.1e}")
