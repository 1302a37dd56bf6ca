"""More families as equations, in the style of `reference.py` and `families.py`: one decoder, and of each family what differs.

Choices where the families differ from those there, the same in `src/model`:
- A factor on what a sub-block adds to the stream (Granite) is in attn-head-outputs too: they sum, with the bias times the factor, to
  attn-residual. A factor on the logits is before the point logits.
- Queries, keys and values are clipped (OLMo) before pre-query-states and pre-key-states.
- Where some layers rotate queries and keys and others do not (SmolLM3, Cohere 2, EXAONE 4), all layers have pre-query-states and pre-key-states.
"""
import torch
from families import attend, gated, plain_rms, positions_of, simple_mlp, twice
from reference import act, finish, heads, lin, ln, read_by_heads, rms, unturned


def frequencies(theta, size):
    return 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.get_default_dtype()) / size)


def turned(x, positions, inv, neighbours=False, scale=1.0):
    """The first dimensions of each head rotated: i with i + r/2, or 2i with 2i+1."""
    half = inv.shape[0]
    angle = positions[:, None, :, None].to(torch.get_default_dtype()) * inv
    cos, sin, part, rest = angle.cos() * scale, angle.sin() * scale, x[..., :2 * half], x[..., 2 * half:]
    a, b = (part[..., 0::2], part[..., 1::2]) if neighbours else (part[..., :half], part[..., half:])
    both = [a * cos - b * sin, b * cos + a * sin]
    return torch.cat([torch.stack(both, -1).flatten(-2) if neighbours else torch.cat(both, -1), rest], -1)


def separate(w, l, h, kv, base="self_attn."):
    return lambda y: [heads(lin(y, w, f"{l}{base}{s}_proj"), m) for s, m in (("q", h), ("k", kv), ("v", kv))]


def usual(c):
    """What most families have: Llama's block. The keys are those of `decoder`."""
    h, eps = c["num_attention_heads"], c.get("rms_norm_eps")
    size = c.get("head_dim") or c["hidden_size"] // h
    kv, rope = c.get("num_key_value_heads") or h, c.get("rope_parameters") or {}
    of_rms = lambda tap, point, x, w, name: rms(tap, point, x, w[name + ".weight"], eps)
    of_layer = lambda eps: lambda tap, point, x, w, name: ln(tap, point, x, w, name, eps)
    theta = rope.get("rope_theta")
    inv = theta and frequencies(theta, int(size * rope.get("partial_rotary_factor", 1.0)))
    windowed = [kind == "sliding_attention" for kind in c.get("layer_types") or []]
    return dict(
        prefix="model.", embed="embed_tokens", blocks="layers", positions=None, embedding_scale=1.0, norm=of_rms, of_layer=of_layer, final_norm="norm",
        attn_norm="input_layernorm", mlp_norm="post_attention_layernorm", out_norms=None, before=True, parallel=False,
        split=lambda w, l: separate(w, l, h, kv), clip=None, qk_norm=None, inv=lambda i: inv, neighbours=False, has_rotary=inv is not None,
        scale=size ** -0.5, window=lambda i: c.get("sliding_window") if windowed and windowed[i] else None, attn_out="self_attn.o_proj",
        mlp=lambda tap, y, w, l: gated(tap, y, w, l, c["hidden_act"]), residual_scale=1.0, logit_scale=1.0,
        tied=c["tie_word_embeddings"], size=size, h=h, kv=kv, windowed=windowed, theta=theta)


def decoder(how):
    def run(c, w, ids, tap, mask):
        f = {**usual(c), **how(c)}
        p, norm, by = f["prefix"], f["norm"], f["residual_scale"]
        positions = positions_of(mask)
        x = tap("post-tok-embeddings", w[f"{p}{f['embed']}.weight"][ids] * f["embedding_scale"])
        if f["positions"]:
            x = x + w[f"{p}{f['positions']}.weight"][positions]
        x = tap("post-pos-embeddings", x)
        first, second = f["attn_norm"], f["mlp_norm"]
        for i in range(c.get("num_hidden_layers") or c.get("num_layers") or c["n_layer"]):
            tap.layer, l = i, f"{p}{f['blocks']}.{i}."
            x = tap("pre-block", x)
            of_stream = (lambda tap, x: norm(tap, "attn-norm-scale", x, w, l + first)) if f["before"] else lambda tap, x: x
            clipped = lambda y: [x.clamp(-f["clip"], f["clip"]) if f["clip"] else x for x in f["split"](w, l)(y)]
            q, k, v = read_by_heads(tap, x, of_stream, clipped)
            if f["has_rotary"] or f["qk_norm"]:
                q, k = unturned(tap, q, k)
            if f["qk_norm"]:
                q, k = f["qk_norm"](w, l, q, "q"), f["qk_norm"](w, l, k, "k")
            if f["inv"](i) is not None:
                q, k = (turned(x, positions, f["inv"](i), f["neighbours"], f.get("turn_scale", 1.0)) for x in (q, k))
            sinks = w[f"{l}{f['sinks']}"] if f.get("sinks") else None
            z = attend(tap, q, k, v, mask, f["scale"], f["window"](i), sinks=sinks)
            weight = w[f"{l}{f['attn_out']}.weight"].T
            each = tap("attn-head-outputs", torch.einsum("bhnc,hcd->bhnd", z, weight.reshape(z.shape[1], z.shape[3], -1)) * by)
            y = each.sum(1)
            if f"{l}{f['attn_out']}.bias" in w:
                y = y + w[f"{l}{f['attn_out']}.bias"] * by
            if f["out_norms"]:
                y = norm(tap if f["before"] else twice(tap, "post-attn-norm-scale"), "post-attn-norm-scale" if f["before"] else "attn-norm-scale", y, w, l + f["out_norms"][0])
            after = tap("post-attn", x + tap("attn-residual", y))
            y = tap("mlp-input", (x if f["parallel"] else after).clone())
            y = tap("pre-mlp", norm(tap, "mlp-norm-scale", y, w, l + second) if f["before"] else y)
            y = f["mlp"](tap, y, w, l) * f.get("mlp_scale", by)
            if f["out_norms"]:
                y = norm(tap if f["before"] else twice(tap, "post-mlp-norm-scale"), "post-mlp-norm-scale" if f["before"] else "mlp-norm-scale", y, w, l + f["out_norms"][1])
            x = tap("post-mlp", after + tap("mlp-residual", y))
        tap.layer = None
        x = norm(tap, "final-norm-scale", x, w, p + f["final_norm"])
        head = w[f"{p}{f['embed']}.weight" if f["tied"] else "lm_head.weight"]
        return finish(tap, x, w, lambda x: x @ head.T * f["logit_scale"] + w.get("lm_head.bias", 0.0), ids)

    return run


def plain(into, out, activation):
    """An MLP of one branch, without the point mlp-residual, which `decoder` has."""
    return lambda tap, y, w, l: simple_mlp(lambda name, x: x if name == "mlp-residual" else tap(name, x), y, w, l + into, l + out, activation)


def one_plus(norm):
    """Gains that are stored minus 1."""
    return lambda tap, point, x, w, name: norm(tap, point, x, {**w, name + ".weight": 1 + w[name + ".weight"]}, name)


def gemma(c):
    f = usual(c)
    return dict(norm=one_plus(f["norm"]), embedding_scale=c["hidden_size"] ** 0.5)


def without_weights(tap, point, x, w, name):
    one = {name + ".weight": torch.ones(x.shape[-1], dtype=x.dtype)}
    return ln(tap, point, x, one, name, 1e-5)


def olmo(c):
    return dict(norm=without_weights, clip=c["clip_qkv"])


def whole(c):
    """One norm over all heads."""
    def norm(w, l, x, s):
        y = plain_rms(x.transpose(1, 2).flatten(2), w[f"{l}self_attn.{s}_norm.weight"], c["rms_norm_eps"])
        return heads(y, x.shape[1])
    return norm


def each(c):
    """One gain for all heads."""
    return lambda w, l, x, s: plain_rms(x, w[f"{l}self_attn.{s}_norm.weight"], c["rms_norm_eps"])


OUTPUTS = dict(before=False, attn_norm=None, mlp_norm=None, out_norms=("post_attention_layernorm", "post_feedforward_layernorm"))


def olmo3(c):
    f, rp = usual(c), c["rope_parameters"]

    def inv(i):
        rope = rp["sliding_attention" if f["windowed"][i] else "full_attention"]
        return frequencies(rope["rope_theta"], f["size"]) / rope.get("factor", 1.0)

    return dict(qk_norm=whole(c), inv=inv, has_rotary=True, **OUTPUTS)


def exaone4(c):
    f = usual(c)
    rotated = [not c["sliding_window"] or windowed for windowed in f["windowed"]]
    return dict(qk_norm=each(c), inv=lambda i: f["inv"](i) if rotated[i] else None, **OUTPUTS)


def smollm3(c):
    f = usual(c)
    return dict(inv=lambda i: f["inv"](i) if c["no_rope_layers"][i] else None)


def granite(c):
    return dict(embedding_scale=c["embedding_multiplier"], scale=c["attention_multiplier"], residual_scale=c["residual_multiplier"], logit_scale=1 / c["logits_scaling"])


def cohere(c):
    f = usual(c)
    eps = c["layer_norm_eps"]

    def of_heads(w, l, x, s):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * w[f"{l}self_attn.{s}_norm.weight"][:, None]

    return dict(norm=f["of_layer"](eps), mlp_norm="input_layernorm", parallel=True, neighbours=True, logit_scale=c["logit_scale"], qk_norm=of_heads if c.get("use_qk_norm") else None)


def cohere2(c):
    f = usual(c)
    return {**cohere(c), "inv": lambda i: f["inv"](i) if f["windowed"][i] else None}


def glm(c):
    def mlp(tap, y, w, l):
        gate, up = lin(y, w, l + "mlp.gate_up_proj").chunk(2, -1)
        gate, up = tap("post-fc1", gate), tap("post-up", up)
        return lin(tap("post-act", act(c["hidden_act"])(gate) * up), w, l + "mlp.down_proj")

    norms = ("post_self_attn_layernorm", "post_mlp_layernorm")
    return dict(neighbours=True, mlp=mlp, out_norms=norms if c["model_type"] == "glm4" else None)


def starcoder2(c):
    return dict(norm=usual(c)["of_layer"](c["norm_epsilon"]), mlp=plain("mlp.c_fc", "mlp.c_proj", c["hidden_act"]), window=lambda i: c["sliding_window"])


def nemotron(c):
    return dict(norm=one_plus(usual(c)["of_layer"](c["norm_eps"])), mlp=plain("mlp.up_proj", "mlp.down_proj", c["hidden_act"]))


def persimmon(c):
    h, eps = c["num_attention_heads"], c["layer_norm_eps"]
    silent = lambda point, x: x
    of_heads = lambda w, l, x, s: ln(silent, None, x, w, f"{l}self_attn.{s}_layernorm", eps)
    return dict(norm=usual(c)["of_layer"](eps), split=lambda w, l: lambda y: heads(lin(y, w, l + "self_attn.query_key_value"), h).chunk(3, -1),
                qk_norm=of_heads, attn_out="self_attn.dense", mlp=plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", c["hidden_act"]), final_norm="final_layernorm")


GPT = dict(prefix="transformer.", embed="wte", blocks="h", positions="wpe", final_norm="ln_f", attn_norm="ln_1", mlp_norm="ln_2", has_rotary=False)


def gpt_neo(c):
    f, h = usual(c), c["num_heads"]
    return dict(GPT, norm=f["of_layer"](c["layer_norm_epsilon"]), split=lambda w, l: separate(w, l, h, h, "attn.attention."), scale=1.0, inv=lambda i: None,
                window=lambda i: c["window_size"] if c["attention_layers"][i] == "local" else None, attn_out="attn.attention.out_proj",
                mlp=plain("mlp.c_fc", "mlp.c_proj", c["activation_function"]))


def gpt_bigcode(c):
    h, size = c["n_head"], c["n_embd"] // c["n_head"]

    def split(w, l):
        def of(y):
            y = lin(y, w, l + "attn.c_attn")
            if c["multi_query"]:  # all queries, one key, one value
                return [heads(x, x.shape[-1] // size) for x in y.split([h * size, size, size], -1)]
            return heads(y, h).chunk(3, -1)  # each head's query, key and value
        return of

    return dict(GPT, norm=lambda tap, point, x, w, name: ln(tap, point, x, w, name, c["layer_norm_epsilon"]), split=split, inv=lambda i: None,
                scale=size ** -0.5, attn_out="attn.c_proj", mlp=plain("mlp.c_fc", "mlp.c_proj", c["activation_function"]))


def codegen(c):
    h, inv = c["n_head"], frequencies(10000.0, c["rotary_dim"])

    def split(w, l):
        def of(y):  # four parts, each of queries, values, keys
            q, v, k = lin(y, w, l + "attn.qkv_proj").unflatten(-1, (4, -1)).chunk(3, -1)
            return [heads(x.flatten(-2), h) for x in (q, k, v)]
        return of

    return {**GPT, "positions": None, "has_rotary": True, "mlp_norm": "ln_1", "parallel": True, "neighbours": True, "inv": lambda i: inv, "split": split,
            "norm": lambda tap, point, x, w, name: ln(tap, point, x, w, name, c["layer_norm_epsilon"]), "attn_out": "attn.out_proj",
            "mlp": plain("mlp.fc_in", "mlp.fc_out", c["activation_function"])}


def with_sizes(run):
    """The config with the sizes under their usual names too."""
    names = {"num_heads": "num_attention_heads", "n_head": "num_attention_heads", "n_embd": "hidden_size"}
    return lambda c, w, ids, tap, mask: run({**c, **{names[k]: v for k, v in c.items() if k in names}}, w, ids, tap, mask)


nothing = lambda c: {}
FAMILIES = {name: decoder(how) for name, how in dict(
    gemma=gemma, olmo=olmo, olmo3=olmo3, exaone4=exaone4, smollm3=smollm3, granite=granite, cohere=cohere, cohere2=cohere2, glm=glm, glm4=glm, starcoder2=starcoder2,
    nemotron=nemotron, ministral=nothing, helium=lambda c: dict(neighbours=True), arcee=lambda c: dict(mlp=plain("mlp.up_proj", "mlp.down_proj", c["hidden_act"])), persimmon=persimmon, seed_oss=nothing, ernie4_5=lambda c: dict(neighbours=True)).items()}
FAMILIES |= {name: with_sizes(decoder(how)) for name, how in dict(gpt_neo=gpt_neo, gpt_bigcode=gpt_bigcode, codegen=codegen).items()}
