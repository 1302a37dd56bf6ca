"""Write fixtures/<case>/gradient-samples.safetensors: gradients at every hook point, as PyTorch's autograd gives them.

    python gradients.py CASE ...        # needs torch, transformers, safetensors

The scalar is, over the golden's ids [b,n], the sum over rows of logits[row, -1, 5] - logits[row, -1, 9]. Keys, float32:
  <point>, <layer>/<point>  its gradient with regard to what stands at the point, of every point but unreduced-loss
  loss/<same>               likewise of the mean next-token loss, of the points post-mlp, attn-probs and post-act
  weight/<name>             of the mean loss, with regard to each tensor of the checkpoint in layer 0 and outside of the layers, by its name there
Each is a sample of its gradient, to keep the files small: the largest absolute element, then the elements at 7919 i modulo their
number, for i from 0 up to 47 (fewer if there are fewer). Computed in float64, then rounded.
"""
import os, sys
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoConfig
import dense, experts, families, reference
from checkpoints import FIXTURES, names, weights

FAMILIES = reference.FAMILIES | families.FAMILIES | dense.FAMILIES | experts.FAMILIES
FEW = ("post-mlp", "attn-probs", "post-act")


def sample(gradient):
    flat = gradient.flatten()
    places = torch.arange(min(48, flat.numel())) * 7919 % flat.numel()
    return torch.cat([flat.abs().max().reshape(1), flat[places]]).float()


def main(case):
    directory = os.path.join(FIXTURES, case)
    config = AutoConfig.from_pretrained(directory).to_dict()
    golden = load_file(os.path.join(directory, "golden.safetensors"))
    ids = golden["ids"]
    stored = names(directory, config)
    w = {k: v.double().requires_grad_() for k, v in weights(directory, config).items() if v.is_floating_point()}
    seen = {}

    def keep(name):
        def hook(x, layer):
            # A tensor of its own, where one tensor stands at two points. In post-norm blocks what a sub-block reads is the
            # stream itself, whose gradient is that of all its uses.
            x = x if config.get("do_layer_norm_before") is False else x.clone()
            x.retain_grad()
            seen[name if layer is None else f"{layer}/{name}"] = x
            return x
        return hook

    torch.set_default_dtype(torch.float64)
    tap = reference.Tap({p: keep(p) for p in reference.STORED if p != "unreduced-loss"})
    logits = FAMILIES[config["model_type"]](config, w, ids, tap, torch.ones_like(ids))
    torch.set_default_dtype(torch.float32)
    worst = (logits.detach().float() - golden["plain/logits"]).abs().max().item()
    assert worst < 1e-3, f"{case}: logits differ from the golden by {worst}"
    (logits[:, -1, 5] - logits[:, -1, 9]).sum().backward(retain_graph=True)
    out = {k: x.grad.clone() for k, x in seen.items() if x.grad is not None}
    for x in [*seen.values(), *w.values()]:
        x.grad = None
    F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:]).backward()
    out |= {f"loss/{k}": x.grad for k, x in seen.items() if k.split("/")[-1] in FEW}
    for name, v in w.items():
        layer = [s for s in name.split(".") if s.isdigit()]
        if v.grad is not None and (not layer or layer[0] == "0"):
            out[f"weight/{stored[name]}"] = v.grad
    save_file({k: sample(v) for k, v in out.items()}, os.path.join(directory, "gradient-samples.safetensors"))
    print(f"{case}: {len(out)} gradients, logits within {worst:.1e}")


for case in sys.argv[1:]:
    main(case)
