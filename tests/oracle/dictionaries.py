"""Sparse autoencoders and transcoders with random weights in the formats that people have, and what they give.

    python dictionaries.py ../fixtures/dictionaries

Each case is a checkpoint as its library writes it. The file goldens.safetensors has of each, computed in float64 from what the fixture
gpt2 has at the case's point for its first row of ids: the features, what they decode to, and what takes the point's place when
all features are doubled, without and with what the dictionary does not hold. The equations are those of the papers as the libraries
compute them: SAELens 6.18 (sae_lens/saes), sparsify (sparse_coder.py, fused_encoder.py), dictionary_learning (dictionary.py, trainers),
Lieberum et al. (2024), "Gemma Scope".
"""
import json, pathlib, sys

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

D, F, LAYER = 48, 40, 1
rng = np.random.default_rng(19)
out = pathlib.Path(sys.argv[1])
fixture = load_file(pathlib.Path(__file__).parent / "../fixtures/gpt2/golden.safetensors")
goldens = {}
cases = []


def at(point):
    """What stands at a point of layer 1 for the first row of ids, [n, ..]; heads side by side."""
    x = fixture[f"plain/{LAYER}/{point}"][0].astype(np.float64)
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1) if x.ndim == 3 else x


def normal(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def weights(d=D, out_d=D):
    """Weights by SAELens' names, of features of which some fire; the decoder's vectors have other norms than 1."""
    return {"W_enc": normal(d, F, scale=0.3), "b_enc": normal(F, scale=0.3), "W_dec": normal(F, out_d, scale=0.3), "b_dec": normal(out_d, scale=0.3)}


def relu(x):
    return np.maximum(x, 0.0)


def top(x, k):
    """The k largest of each row, the others 0."""
    order = np.argsort(-x, axis=-1)[..., :k]
    kept = np.zeros_like(x)
    np.put_along_axis(kept, order, np.take_along_axis(x, order, -1), -1)
    return kept


def case(name, encode, decode, point="post-mlp", source=None, folder=None):
    """Keeps the goldens of encode(x) and decode(f, x), x standing at `source`, and the result taking the place of what is at `point`."""
    x, y = at(source or point), at(point)
    f = encode(x)
    assert (f > 0).any() and (f == 0).any(), name
    made, doubled = decode(f, x), decode(2 * f, x)
    for key, value in {"features": f, "decoded": made, "spliced": doubled, "spliced with error": doubled + y - made}.items():
        goldens[f"{name}/{key}"] = value.astype(np.float32)
    cases.append({"name": name, "folder": folder or name, "point": point, "from": source})


def f64(w):
    return {name: value.astype(np.float64) for name, value in w.items()}


# SAELens: cfg.json, sae_weights.safetensors.

def saelens(name, w, cfg, encode, decode=None, point="post-mlp", source=None, hook="hook_resid_post"):
    folder = out / "saelens" / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(w, folder / "sae_weights.safetensors")
    cfg = {"d_in": w["W_enc"].shape[0], "d_sae": F, "dtype": "float32", "device": "cpu", "normalize_activations": "none",
           "reshape_activations": "none", "apply_b_dec_to_input": True,
           "metadata": {"sae_lens_version": "6.18.0", "hook_name": f"blocks.{LAYER}.{hook}", "hook_head_index": None}} | cfg
    cfg = {key: value for key, value in cfg.items() if value != "absent"}
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=1) + "\n")
    v = f64(w)
    case(f"saelens/{name}", lambda x: encode(v, x), decode and (lambda f, x: decode(v, f, x)) or (lambda f, x: f @ v["W_dec"] + v["b_dec"]), point, source)


def linear(v, x, center=True):
    return (x - v["b_dec"] * center) @ v["W_enc"] + v["b_enc"]


def jump(pre, threshold):
    return relu(pre) * (pre > threshold)


saelens("standard", weights(), {"architecture": "standard"}, lambda v, x: relu(linear(v, x)))
saelens("uncentred", weights(), {"architecture": "standard", "apply_b_dec_to_input": False}, lambda v, x: relu(linear(v, x, False)))
# As before version 6, and before 3.
old = {"metadata": "absent", "reshape_activations": "absent", "apply_b_dec_to_input": "absent"}
saelens("top-k-5", weights(), old | {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 6}, "hook_name": f"blocks.{LAYER}.hook_resid_post",
        "hook_layer": LAYER, "hook_head_index": None, "finetuning_scaling_factor": False, "sae_lens_training_version": "3.2.0"}, lambda v, x: relu(top(linear(v, x), 6)))
scaled = weights() | {"scaling_factor": np.abs(normal(F)) + 0.5}
saelens("scaled-2", scaled, old | {"normalize_activations": False, "hook_point": f"blocks.{LAYER}.hook_resid_post", "hook_point_layer": LAYER, "hook_point_head_index": None,
        "finetuning_scaling_factor": True, "lp_norm": 1, "use_ghost_grads": False},
        lambda v, x: relu(linear(v, x)), lambda v, f, x: (f * v["scaling_factor"]) @ v["W_dec"] + v["b_dec"])
w = weights()
w = {"W_enc": w["W_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"], "b_gate": normal(F, scale=0.3), "b_mag": normal(F, scale=0.3), "r_mag": normal(F, scale=0.3)}


def gated(v, x):
    x = x - v["b_dec"]
    return (x @ v["W_enc"] + v["b_gate"] > 0) * relu(x @ (v["W_enc"] * np.exp(v["r_mag"])) + v["b_mag"])


saelens("gated", w, {"architecture": "gated"}, gated)
saelens("top-k", weights(), {"architecture": "topk", "k": 5, "rescale_acts_by_decoder_norm": False}, lambda v, x: relu(top(linear(v, x), 5)))


def norms(v):
    return np.linalg.norm(v["W_dec"], axis=-1)


def rescaled(v, f, x):
    return (f / norms(v)) @ v["W_dec"] + v["b_dec"]


saelens("top-k-rescaled", weights(), {"architecture": "topk", "k": 5, "rescale_acts_by_decoder_norm": True},
        lambda v, x: relu(top(linear(v, x) * norms(v), 5)), rescaled)
saelens("batch-top-k", weights() | {"topk_threshold": np.array(1.5)}, {"architecture": "batchtopk", "k": 4.5, "rescale_acts_by_decoder_norm": True, "topk_threshold_lr": 0.01},
        lambda v, x: jump(linear(v, x) * norms(v), v["topk_threshold"]), rescaled)
saelens("jumprelu", weights() | {"threshold": np.abs(normal(F))}, {"architecture": "jumprelu"}, lambda v, x: jump(linear(v, x), v["threshold"]))
saelens("jumprelu-training", weights() | {"log_threshold": normal(F, scale=0.5)}, {"architecture": "jumprelu", "jumprelu_bandwidth": 0.05},
        lambda v, x: jump(linear(v, x), np.exp(v["log_threshold"])))


def length(x):
    return np.sqrt(x.shape[-1]) / np.linalg.norm(x, axis=-1, keepdims=True)


saelens("constant-norm", weights(), {"architecture": "standard", "normalize_activations": "constant_norm_rescale"},
        lambda v, x: relu(linear(v, x * length(x))), lambda v, f, x: (f @ v["W_dec"] + v["b_dec"]) / length(x))


def spread(x):
    return np.std(x, axis=-1, ddof=1, keepdims=True)


def mean(x):
    return x.mean(-1, keepdims=True)


saelens("layer-norm", weights() | {"threshold": np.abs(normal(F))}, {"architecture": "jumprelu", "normalize_activations": "layer_norm"},
        lambda v, x: jump(linear(v, (x - mean(x)) / (spread(x) + 1e-5)), v["threshold"]),
        lambda v, f, x: (f @ v["W_dec"] + v["b_dec"]) * spread(x) + mean(x))
# The tests give the factor 0.75; its biases are those of activations that are multiplied by it.
saelens("expected-average", weights(), {"architecture": "standard", "normalize_activations": "expected_average_only_in"},
        lambda v, x: relu(linear(v, 0.75 * x)), lambda v, f, x: (f @ v["W_dec"] + v["b_dec"]) / 0.75)
saelens("heads", weights(), {"architecture": "standard", "reshape_activations": "hook_z"}, lambda v, x: relu(linear(v, x)), point="attn-weighted-values", hook="attn.hook_z")
through = {"apply_b_dec_to_input": False, "d_out": D,
           "metadata": {"sae_lens_version": "6.18.0", "hook_name": f"blocks.{LAYER}.mlp.hook_in", "hook_name_out": f"blocks.{LAYER}.hook_mlp_out"}}
into = {"point": "mlp-residual", "source": "pre-mlp"}
saelens("transcoder", weights(), through | {"architecture": "transcoder"}, lambda v, x: relu(linear(v, x, False)), **into)
saelens("skip-transcoder", weights() | {"W_skip": normal(D, D, scale=0.1)}, through | {"architecture": "skip_transcoder"}, lambda v, x: relu(linear(v, x, False)),
        lambda v, f, x: f @ v["W_dec"] + v["b_dec"] + x @ v["W_skip"].T, **into)
saelens("jumprelu-transcoder", weights() | {"threshold": np.abs(normal(F))}, through | {"architecture": "jumprelu_transcoder"},
        lambda v, x: jump(linear(v, x, False), v["threshold"]), **into)

# Gemma Scope: params.npz; where it belongs stands in its path.

folder = f"gemma-scope-2b-pt-res/layer_{LAYER}/width_40/average_l0_9"
w = weights() | {"threshold": np.abs(normal(F))}
(out / folder).mkdir(parents=True, exist_ok=True)
np.savez(out / folder / "params.npz", **w)
v = f64(w)
case("gemma-scope", lambda x: jump(x @ v["W_enc"] + v["b_enc"], v["threshold"]), lambda f, x: f @ v["W_dec"] + v["b_dec"], folder=folder)


# sparsify: cfg.json, sae.safetensors in a folder that has the name of a module.

def sparsify(name, cfg, encode, skip=False, **place):
    w = weights()
    stored = {"encoder.weight": w["W_enc"].T.copy(), "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    if skip:
        stored["W_skip"] = normal(D, D, scale=0.1)
    folder = out / "sparsify" / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored, folder / "sae.safetensors")
    cfg = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": F, "k": 5, "multi_topk": False, "skip_connection": skip,
           "transcode": False, "d_in": D} | cfg
    (folder / "cfg.json").write_text(json.dumps(cfg) + "\n")
    v = f64(w | stored)
    case(f"sparsify/{name}", lambda x: encode(v, x), lambda f, x: f @ v["W_dec"] + v["b_dec"] + (x @ v["W_skip"].T if skip else 0.0), **place)


def groups(v, x):
    pre = relu(linear(v, x)).reshape(len(x), 5, F // 5)
    return (pre * (np.arange(F // 5) == pre.argmax(-1)[..., None])).reshape(len(x), F)


sparsify("top-k/layers.1", {}, lambda v, x: top(relu(linear(v, x)), 5))
sparsify("groups/layers.1", {"activation": "groupmax"}, groups)
sparsify("skip-transcoder/h.1.mlp", {"transcode": True}, lambda v, x: top(relu(linear(v, x, False)), 5), skip=True, **into)


# dictionary_learning: config.json, ae.pt.

def dictionary_learning(name, w, encode, decode, trainer={}):
    folder = out / "dictionary_learning" / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({key: torch.tensor(value) for key, value in w.items()}, folder / "ae.pt")
    config = {"trainer": {"dict_class": name.split("-")[0], "activation_dim": D, "dict_size": F, "layer": LAYER, "lm_name": "gpt2", "submodule_name": f"resid_post_layer_{LAYER}"} | trainer,
              "buffer": {"ctx_len": 128}}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    v = f64(w)
    case(f"dictionary_learning/{name}", lambda x: encode(v, x), lambda f, x: decode(v, f))


def torch_names(w, bias):
    return {"encoder.weight": w["W_enc"].T.copy(), "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"].T.copy(), bias: w["b_dec"]}


def pre(v, x, bias=None):
    return (x - (v[bias] if bias else 0.0)) @ v["encoder.weight"].T + v.get("encoder.bias", 0.0)


def post(bias):
    return lambda v, f: f @ v["decoder.weight"].T + v[bias]


def lengths(v):
    return np.linalg.norm(v["decoder.weight"], axis=0)


# from_pretrained gives the decoder's columns norm 1, and the encoder what they lose.
dictionary_learning("AutoEncoder", torch_names(weights(), "bias"), lambda v, x: relu(pre(v, x, "bias")) * lengths(v),
                    lambda v, f: (f / lengths(v)) @ v["decoder.weight"].T + v["bias"])
dictionary_learning("AutoEncoderNew", torch_names(weights(), "decoder.bias"), lambda v, x: relu(pre(v, x)), post("decoder.bias"))
w = torch_names(weights(), "decoder_bias")
del w["encoder.bias"]
w |= {"r_mag": normal(F, scale=0.3), "gate_bias": normal(F, scale=0.3), "mag_bias": normal(F, scale=0.3)}
dictionary_learning("GatedAutoEncoder", w, lambda v, x: (pre(v, x, "decoder_bias") + v["gate_bias"] > 0) * relu(np.exp(v["r_mag"]) * pre(v, x, "decoder_bias") + v["mag_bias"]),
                    post("decoder_bias"))
k = {"k": np.array(5, dtype=np.int32)}
dictionary_learning("AutoEncoderTopK", torch_names(weights(), "b_dec") | k | {"threshold": np.array(-1.0, dtype=np.float32)}, lambda v, x: top(relu(pre(v, x, "b_dec")), 5), post("b_dec"), {"k": 5})
dictionary_learning("BatchTopKSAE", torch_names(weights(), "b_dec") | k | {"threshold": np.array(2.0, dtype=np.float32)},
                    lambda v, x: relu(pre(v, x, "b_dec")) * (relu(pre(v, x, "b_dec")) > v["threshold"]), post("b_dec"), {"k": 5})
# Before there was a threshold: the largest of all rows together.
dictionary_learning("BatchTopKSAE-1", torch_names(weights(), "b_dec") | k, lambda v, x: top(relu(pre(v, x, "b_dec")).reshape(-1), 5 * len(x)).reshape(len(x), F), post("b_dec"), {"k": 5})
dictionary_learning("MatryoshkaBatchTopKSAE", weights() | k | {"threshold": np.array(1.0, dtype=np.float32), "group_sizes": np.array([10, 30])},
                    lambda v, x: relu(linear(v, x)) * (relu(linear(v, x)) > v["threshold"]), lambda v, f: f @ v["W_dec"] + v["b_dec"], {"k": 5, "group_sizes": [10, 30]})
dictionary_learning("JumpReluAutoEncoder", weights() | {"threshold": np.abs(normal(F))}, lambda v, x: jump(linear(v, x, False), v["threshold"]), lambda v, f: f @ v["W_dec"] + v["b_dec"])

save_file(goldens, out / "goldens.safetensors")
(out / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
