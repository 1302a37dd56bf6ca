"""Write fixtures/wide/<case>: models of real widths, with outlier features, and every hook point in float64.

    python wide.py [--seeds N]        # needs numpy, torch, safetensors

A case has config.json, weights.json and golden.safetensors. Its weights are not stored: weights.json says for each tensor
how its elements follow from their indices (`elements` below; the tests have the same function), so the files stay small.

Real models have a few features of the residual stream that are about 100 times as large as the rest. Here they are columns
of the embeddings, and the rows of the projections that write to the stream are larger for them. The norms let them through.

golden.safetensors: ids int64 [b,n]; `features` float64 [d], how large each feature of the stream is: 1 or 100; and for each
point and layer, by the keys of the other fixtures:
  <key>            float64: all elements, or of a point with many every STEP-th, in row-major order; where the mask hides
                   a score, 0
  pytorch/<key>    float64 [2]: how far PyTorch's float32 pass is from these elements: the root of the mean square of the
                   differences and the largest, each as a part of the same of the elements themselves. Where a point's last
                   dimension is d, differences and elements are divided by `features` first: otherwise the outliers alone
                   would be measured
`--seeds N` writes nothing and prints how much PyTorch's deviations vary over N inputs.
"""
import argparse, json, os
import numpy as np, torch
from safetensors.torch import save_file
import reference

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "wide")
HIDDEN, LAYERS, VOCABULARY, ROWS, TOKENS = 512, 2, 96, 2, 24
OUTLIERS, LARGER = [7, 130, 301, 444], 100
FEW, STEP = 4096, 11  # a point with more elements than FEW is kept in steps of STEP, which divides no size


def elements(name, spec):
    """Element i is mean + scale·(h(name, i) >> 52 − 2048)/2048, a multiple of 2⁻¹¹ of a power of two, times `larger` where the
    index along `axis` is one of `at`. h is splitmix64 with the name's FNV-1a hash as the seed."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(spec["shape"]))
    x = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    whole = (x >> np.uint64(52)).astype(np.float64) - 2048
    values = (spec["mean"] + spec["scale"] * whole / 2048).reshape(spec["shape"])
    if "larger" in spec:
        np.moveaxis(values, spec["axis"], 0)[spec["at"]] *= spec["larger"]
    return torch.from_numpy(values)


def spec(*shape, scale, mean=0.0, outliers=None, larger=LARGER):
    """Elements between mean − scale and mean + scale; along the axis `outliers` the outlier features are larger."""
    s = {"shape": list(shape), "mean": mean, "scale": scale}
    return s if outliers is None else {**s, "axis": outliers, "at": OUTLIERS, "larger": larger}


def llama():
    d, h, kv, f = HIDDEN, 8, 2, 3 * HIDDEN
    c = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": d, "intermediate_size": f, "num_hidden_layers": LAYERS, "num_attention_heads": h, "num_key_value_heads": kv, "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": False, "torch_dtype": "float32"}
    w = {"model.embed_tokens.weight": spec(VOCABULARY, d, scale=1.0, outliers=1), "model.norm.weight": spec(d, scale=0.25, mean=1.0), "lm_head.weight": spec(VOCABULARY, d, scale=0.0625)}
    for i in range(LAYERS):
        l = f"model.layers.{i}."
        w |= {l + "input_layernorm.weight": spec(d, scale=0.25, mean=1.0), l + "post_attention_layernorm.weight": spec(d, scale=0.25, mean=1.0)}
        w |= {f"{l}self_attn.{s}_proj.weight": spec(m * d // h, d, scale=0.0625) for s, m in (("q", h), ("k", kv), ("v", kv))}
        w |= {l + "self_attn.o_proj.weight": spec(d, d, scale=0.0625, outliers=0, larger=16)}
        w |= {f"{l}mlp.{s}_proj.weight": spec(f, d, scale=0.0625) for s in ("gate", "up")}
        w |= {l + "mlp.down_proj.weight": spec(d, f, scale=0.03125, outliers=0, larger=16)}
    return c, w


def gpt2():
    d, h = HIDDEN, 8
    c = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": VOCABULARY, "n_embd": d, "n_layer": LAYERS, "n_head": h, "n_positions": 64, "n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "torch_dtype": "float32"}
    w = {"transformer.wte.weight": spec(VOCABULARY, d, scale=1.0, outliers=1), "transformer.wpe.weight": spec(64, d, scale=0.25, outliers=1)}
    norm = lambda name: {name + ".weight": spec(d, scale=0.25, mean=1.0), name + ".bias": spec(d, scale=0.125)}
    linear = lambda name, n, m, **kw: {name + ".weight": spec(n, m, scale=0.0625 if n == d else 0.03125, **kw), name + ".bias": spec(m, scale=0.125)}
    for i in range(LAYERS):
        l = f"transformer.h.{i}."
        w |= {**norm(l + "ln_1"), **norm(l + "ln_2"), **linear(l + "attn.c_attn", d, 3 * d), **linear(l + "attn.c_proj", d, d, outliers=1, larger=16)}
        w |= {**linear(l + "mlp.c_fc", d, 4 * d), **linear(l + "mlp.c_proj", 4 * d, d, outliers=1, larger=16)}
    return c, {**w, **norm("transformer.ln_f")}


def seen(config, weights, ids, dtype):
    """Every point of a pass that computes in `dtype` throughout, rotary angles too."""
    torch.set_default_dtype(dtype)
    store = {}

    def keep(point):
        def hook(x, layer):
            x = x.masked_fill(x <= -1e30, 0) if point == "post-mask-attn-weights" else x
            store[f"plain/{point}" if layer is None else f"plain/{layer}/{point}"] = x.double()
        return hook

    reference.run(config, {k: v.to(dtype) for k, v in weights.items()}, ids, {p: keep(p) for p in reference.STORED})
    return store


def features():
    sizes = torch.ones(HIDDEN, dtype=torch.float64)
    sizes[OUTLIERS] = LARGER
    return sizes


def kept(x):
    return x.flatten()[::STEP].contiguous() if x.numel() > FEW else x.flatten()


def deviation(x, exact):
    size = features() if x.shape[-1] == HIDDEN else 1.0
    off, exact = (kept(t.abs() / size) for t in (x - exact, exact))
    return torch.stack([(off.pow(2).sum() / exact.pow(2).sum()).sqrt(), off.max() / exact.max()])


def golden(config, specs, seed):
    """The golden of the input with this seed."""
    weights = {name: elements(name, s) for name, s in specs.items()}
    ids = torch.from_numpy(np.random.default_rng(seed).integers(0, VOCABULARY, (ROWS, TOKENS)))
    exact, single = (seen(config, weights, ids, dtype) for dtype in (torch.float64, torch.float32))
    out = {"ids": ids, "features": features()}
    for key, x in exact.items():
        out |= {key: kept(x), f"pytorch/{key}": deviation(single[key], x)}
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(2)
    for case, (config, specs) in {"llama": llama(), "gpt2": gpt2()}.items():
        if seeds:
            runs = [golden(config, specs, seed) for seed in range(seeds)]
            for key in (k for k in runs[0] if k.startswith("pytorch/")):
                each = torch.stack([r[key] for r in runs])
                print(f"{case} {key[14:]:32} rms {each[:, 0].median():.2e}, max/min {each[:, 0].max() / each[:, 0].min():.2f}   largest {each[:, 1].median():.2e}, max/min {each[:, 1].max() / each[:, 1].min():.2f}")
            continue
        directory = os.path.join(FIXTURES, case)
        os.makedirs(directory, exist_ok=True)
        json.dump(config, open(os.path.join(directory, "config.json"), "w"), indent=1)
        json.dump(specs, open(os.path.join(directory, "weights.json"), "w"), indent=1)
        save_file(golden(config, specs, 0), os.path.join(directory, "golden.safetensors"))
        print(case, os.path.getsize(os.path.join(directory, "golden.safetensors")), "bytes")
