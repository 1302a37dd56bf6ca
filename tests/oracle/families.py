"""More families as equations, in the style of `reference.py`, whose parts they use.

Choices where the families differ from those there, the same in `src/model`:
- Where a sub-block's output is normed before it joins the stream (Gemma 2 and 3, OLMo 2), attn-residual and mlp-residual are
  what joins it, and attn-head-outputs sum to what that norm reads.
- OLMo 2 norms nothing before a sub-block: pre-attn and pre-mlp are the stream, and the scales are what the norms of the
  outputs divide by, by two names each: post-attn-norm-scale and post-mlp-norm-scale are the same again. Gemma's attn-norm-scale and
  mlp-norm-scale are those of the norms before.
- pre-mask-attn-weights are the scores after the soft cap, with ALiBi's part. post-tok-embeddings are scaled (Gemma).
- Where attention and MLP read one norm (GPT-J, Phi, Falcon 7B, StableLM in parallel), each scale is its own reader's.
"""
import math
import torch
from reference import act, finish, heads, lin, ln, project, read_by_heads, rms, rope, unturned


def positions_of(mask):
    return (mask.cumsum(1) - 1).clamp(min=0)


def attend(tap, q, k, v, mask, scale, window=None, softcap=None, bias=None, sinks=None):
    """As `reference.attend`, with something that joins the scores, [b,h,1,n], and sinks [h], scores of no key that take a share."""
    q, k, v = tap("query-states", q), tap("key-states", k), tap("value-states", v)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) * scale
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    if bias is not None:
        scores = scores + bias
    scores = tap("pre-mask-attn-weights", scores)
    n = q.shape[2]
    allowed = torch.ones(n, n, dtype=torch.bool).tril()
    if window:
        allowed &= ~torch.ones(n, n, dtype=torch.bool).tril(-window)
    allowed = allowed[None, None] & mask[:, None, None, :].bool()
    scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    scores = tap("post-mask-attn-weights", scores)
    if sinks is not None:
        scores = torch.cat([scores, sinks[:, None, None].expand(*scores.shape[:3], 1)], -1)
    probs = tap("attn-probs", scores.softmax(-1)[..., :n])
    return tap("attn-weighted-values", probs @ v)


def sum_of_heads(tap, z, w, name):
    """The output projection without the point attn-residual: a norm comes first."""
    weight = w[name + ".weight"].T
    each = tap("attn-head-outputs", torch.einsum("bhnc,hcd->bhnd", z, weight.reshape(z.shape[1], z.shape[3], -1)))
    return each.sum(1)


def plain_rms(x, weight, eps):
    return rms(None, None, x, weight, eps)


def twice(tap, second):
    """What stands at a point stands at a second one as well."""
    return lambda name, x: tap(second, tap(name, x))


def gated(tap, x, w, l, activation):
    gate = tap("post-fc1", lin(x, w, l + "mlp.gate_proj"))
    up = tap("post-up", lin(x, w, l + "mlp.up_proj"))
    return lin(tap("post-act", act(activation)(gate) * up), w, l + "mlp.down_proj")


def simple_mlp(tap, x, w, into, out, activation):
    x = tap("post-fc1", lin(x, w, into))
    return tap("mlp-residual", lin(tap("post-act", act(activation)(x)), w, out))


def gemma(c, w, ids, tap, mask):
    """Gemma 2 and 3: x + norm(attention(norm(x))), then the same of the MLP; gains are 1 + weight."""
    p, h, kv, eps, size = "model.", c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"], c["head_dim"]
    gain = lambda name: 1 + w[name + ".weight"]
    rp = c["rope_parameters"]
    positions = positions_of(mask)
    x = tap("post-tok-embeddings", w[p + "embed_tokens.weight"][ids] * c["hidden_size"] ** 0.5)
    x = tap("post-pos-embeddings", x)
    for i in range(c["num_hidden_layers"]):
        tap.layer, l = i, f"{p}layers.{i}."
        kind = c["layer_types"][i]
        rope_of = rp.get(kind, rp)
        inv = 1.0 / rope_of.get("rope_theta", 10000.0) ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
        if rope_of.get("rope_type") == "linear":
            inv = inv / rope_of["factor"]
        x = tap("pre-block", x)
        norm = lambda tap, x: rms(tap, "attn-norm-scale", x, gain(l + "input_layernorm"), eps)
        split = lambda y: [heads(lin(y, w, f"{l}self_attn.{s}_proj"), m) for s, m in (("q", h), ("k", kv), ("v", kv))]
        q, k, v = read_by_heads(tap, x, norm, split)
        q, k = unturned(tap, q, k)
        if l + "self_attn.q_norm.weight" in w:
            q, k = plain_rms(q, gain(l + "self_attn.q_norm"), eps), plain_rms(k, gain(l + "self_attn.k_norm"), eps)
        q, k = rope(q, positions, None, size, inv), rope(k, positions, None, size, inv)
        window = c["sliding_window"] if kind == "sliding_attention" else None
        z = attend(tap, q, k, v, mask, c["query_pre_attn_scalar"] ** -0.5, window, c.get("attn_logit_softcapping"))
        y = sum_of_heads(tap, z, w, l + "self_attn.o_proj")
        y = rms(tap, "post-attn-norm-scale", y, gain(l + "post_attention_layernorm"), eps)
        x = tap("post-attn", x + tap("attn-residual", y))
        y = tap("mlp-input", x.clone())
        y = tap("pre-mlp", rms(tap, "mlp-norm-scale", y, gain(l + "pre_feedforward_layernorm"), eps))
        y = gated(tap, y, w, l, c["hidden_activation"])
        y = rms(tap, "post-mlp-norm-scale", y, gain(l + "post_feedforward_layernorm"), eps)
        x = tap("post-mlp", x + tap("mlp-residual", y))
    tap.layer = None
    x = rms(tap, "final-norm-scale", x, gain(p + "norm"), eps)
    return finish(tap, x, w, lambda x: x @ w[p + "embed_tokens.weight"].T, ids, c.get("final_logit_softcapping"))


def olmo2(c, w, ids, tap, mask):
    """x + norm(attention(x)), then x + norm(mlp(x)); all queries are normed together, and all keys."""
    p, h, kv, eps = "model.", c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"]
    size = c["hidden_size"] // h
    positions, theta = positions_of(mask), c["rope_parameters"]["rope_theta"]
    x = tap("post-tok-embeddings", w[p + "embed_tokens.weight"][ids])
    x = tap("post-pos-embeddings", x)
    for i in range(c["num_hidden_layers"]):
        tap.layer, l = i, f"{p}layers.{i}."
        x = tap("pre-block", x)
        split = lambda y: [heads(lin(y, w, f"{l}self_attn.{s}_proj"), m) for s, m in (("q", h), ("k", kv), ("v", kv))]
        q, k, v = read_by_heads(tap, x, lambda tap, x: x, split)
        q, k = (x.transpose(1, 2).flatten(2) for x in unturned(tap, q, k))
        q, k = plain_rms(q, w[l + "self_attn.q_norm.weight"], eps), plain_rms(k, w[l + "self_attn.k_norm.weight"], eps)
        q, k = heads(q, h), heads(k, kv)
        q, k = rope(q, positions, theta, size), rope(k, positions, theta, size)
        y = sum_of_heads(tap, attend(tap, q, k, v, mask, size ** -0.5), w, l + "self_attn.o_proj")
        y = rms(twice(tap, "post-attn-norm-scale"), "attn-norm-scale", y, w[l + "post_attention_layernorm.weight"], eps)
        x = tap("post-attn", x + tap("attn-residual", y))
        y = gated(tap, tap("pre-mlp", tap("mlp-input", x.clone())), w, l, c["hidden_act"])
        y = rms(twice(tap, "post-mlp-norm-scale"), "mlp-norm-scale", y, w[l + "post_feedforward_layernorm.weight"], eps)
        x = tap("post-mlp", x + tap("mlp-residual", y))
    tap.layer = None
    x = rms(tap, "final-norm-scale", x, w[p + "norm.weight"], eps)
    return finish(tap, x, w, lambda x: x @ w["lm_head.weight"].T, ids)


def phi(c, w, ids, tap, mask):
    """Parallel, behind one norm; rotary positions on a part of each head; biases everywhere."""
    p, h, eps = "model.", c["num_attention_heads"], c["layer_norm_eps"]
    size = c["hidden_size"] // h
    rotary, theta = int(size * c["rope_parameters"]["partial_rotary_factor"]), c["rope_parameters"]["rope_theta"]
    positions = positions_of(mask)
    x = tap("post-tok-embeddings", w[p + "embed_tokens.weight"][ids])
    x = tap("post-pos-embeddings", x)
    for i in range(c["num_hidden_layers"]):
        tap.layer, l = i, f"{p}layers.{i}."
        x = tap("pre-block", x)
        norm = lambda tap, x: ln(tap, "attn-norm-scale", x, w, l + "input_layernorm", eps)
        q, k, v = read_by_heads(tap, x, norm, lambda y: [heads(lin(y, w, f"{l}self_attn.{s}_proj"), h) for s in "qkv"])
        q, k = unturned(tap, q, k)
        q, k = rope(q, positions, theta, rotary), rope(k, positions, theta, rotary)
        y = project(tap, attend(tap, q, k, v, mask, size ** -0.5), w, l + "self_attn.dense")
        after = tap("post-attn", x + y)
        y = tap("mlp-input", x.clone())
        y = tap("pre-mlp", ln(tap, "mlp-norm-scale", y, w, l + "input_layernorm", eps))
        x = tap("post-mlp", after + simple_mlp(tap, y, w, l + "mlp.fc1", l + "mlp.fc2", c["hidden_act"]))
    tap.layer = None
    x = ln(tap, "final-norm-scale", x, w, p + "final_layernorm", eps)
    return finish(tap, x, w, lambda x: lin(x, w, "lm_head"), ids)


def phi3(c, w, ids, tap, mask):
    """Llama's block with q, k, v in one matrix and the MLP's branches in another."""
    p, h, kv, eps = "model.", c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"]
    size, f = c["hidden_size"] // h, c["intermediate_size"]
    positions, rp = positions_of(mask), c["rope_parameters"]
    inv = 1.0 / rp["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    factor = 1.0
    if rp.get("rope_type") == "longrope":
        original, most = rp["original_max_position_embeddings"], c["max_position_embeddings"]
        longest = int(positions.max()) + 1
        inv = inv / torch.tensor(rp["long_factor"] if longest > original else rp["short_factor"])
        factor = math.sqrt(1 + math.log(most / original) / math.log(original))
    # Cosines and sines times the factor: what turns is scaled by it.
    turn = lambda x: rope(x, positions, None, size, inv) * factor
    x = tap("post-tok-embeddings", w[p + "embed_tokens.weight"][ids])
    x = tap("post-pos-embeddings", x)
    for i in range(c["num_hidden_layers"]):
        tap.layer, l = i, f"{p}layers.{i}."
        x = tap("pre-block", x)
        norm = lambda tap, x: rms(tap, "attn-norm-scale", x, w[l + "input_layernorm.weight"], eps)
        sizes = [h * size, kv * size, kv * size]
        split = lambda y: [heads(s, s.shape[-1] // size) for s in lin(y, w, l + "self_attn.qkv_proj").split(sizes, -1)]
        q, k, v = read_by_heads(tap, x, norm, split)
        q, k = (turn(x) for x in unturned(tap, q, k))
        y = attend(tap, q, k, v, mask, size ** -0.5, c.get("sliding_window"))
        x = tap("post-attn", x + project(tap, y, w, l + "self_attn.o_proj"))
        y = tap("mlp-input", x.clone())
        y = tap("pre-mlp", rms(tap, "mlp-norm-scale", y, w[l + "post_attention_layernorm.weight"], eps))
        gate, up = lin(y, w, l + "mlp.gate_up_proj").split(f, -1)
        gate, up = tap("post-fc1", gate), tap("post-up", up)
        y = tap("post-act", act(c["hidden_act"])(gate) * up)
        x = tap("post-mlp", x + tap("mlp-residual", lin(y, w, l + "mlp.down_proj")))
    tap.layer = None
    x = rms(tap, "final-norm-scale", x, w[p + "norm.weight"], eps)
    return finish(tap, x, w, lambda x: x @ w["lm_head.weight"].T, ids)


def gptj(c, w, ids, tap, mask):
    """Parallel, behind one norm; rotary positions turn dimensions 2i and 2i+1 together."""
    p, h, eps = "transformer.", c["n_head"], c["layer_norm_epsilon"]
    size, rotary = c["n_embd"] // h, c["rotary_dim"]
    positions = positions_of(mask)

    def turn(x):
        inv = 1.0 / 10000 ** (torch.arange(0, rotary, 2, dtype=torch.float32) / rotary)
        angle = positions[:, None, :, None].float() * inv
        a, b = x[..., 0:rotary:2], x[..., 1:rotary:2]
        pairs = torch.stack([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)
        return torch.cat([pairs.flatten(-2), x[..., rotary:]], -1)

    x = tap("post-tok-embeddings", w[p + "wte.weight"][ids])
    x = tap("post-pos-embeddings", x)
    for i in range(c["n_layer"]):
        tap.layer, l = i, f"{p}h.{i}."
        x = tap("pre-block", x)
        norm = lambda tap, x: ln(tap, "attn-norm-scale", x, w, l + "ln_1", eps)
        q, k, v = read_by_heads(tap, x, norm, lambda y: [heads(lin(y, w, f"{l}attn.{s}_proj"), h) for s in "qkv"])
        q, k = unturned(tap, q, k)
        y = project(tap, attend(tap, turn(q), turn(k), v, mask, size ** -0.5), w, l + "attn.out_proj")
        after = tap("post-attn", x + y)
        y = tap("mlp-input", x.clone())
        y = tap("pre-mlp", ln(tap, "mlp-norm-scale", y, w, l + "ln_1", eps))
        x = tap("post-mlp", after + simple_mlp(tap, y, w, l + "mlp.fc_in", l + "mlp.fc_out", c["activation_function"]))
    tap.layer = None
    x = ln(tap, "final-norm-scale", x, w, p + "ln_f", eps)
    return finish(tap, x, w, lambda x: lin(x, w, "lm_head"), ids)


def stablelm(c, w, ids, tap, mask):
    """Llama's block with layer norms, rotary positions on a part of each head; maybe parallel, with a norm for each head."""
    p, h, kv, eps = "model.", c["num_attention_heads"], c["num_key_value_heads"], c["layer_norm_eps"]
    size = c["hidden_size"] // h
    rotary, theta = int(size * c["rope_parameters"]["partial_rotary_factor"]), c["rope_parameters"]["rope_theta"]
    positions = positions_of(mask)

    def each_head(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        return x * torch.stack([w[f"{name}.norms.{i}.weight"] for i in range(x.shape[1])])[:, None]

    x = tap("post-tok-embeddings", w[p + "embed_tokens.weight"][ids])
    x = tap("post-pos-embeddings", x)
    for i in range(c["num_hidden_layers"]):
        tap.layer, l = i, f"{p}layers.{i}."
        x = tap("pre-block", x)
        norm = lambda tap, x: ln(tap, "attn-norm-scale", x, w, l + "input_layernorm", eps)
        split = lambda y: [heads(lin(y, w, f"{l}self_attn.{s}_proj"), m) for s, m in (("q", h), ("k", kv), ("v", kv))]
        q, k, v = read_by_heads(tap, x, norm, split)
        q, k = unturned(tap, q, k)
        if c["qk_layernorm"]:
            q, k = each_head(q, l + "self_attn.q_layernorm"), each_head(k, l + "self_attn.k_layernorm")
        q, k = rope(q, positions, theta, rotary), rope(k, positions, theta, rotary)
        y = project(tap, attend(tap, q, k, v, mask, size ** -0.5), w, l + "self_attn.o_proj")
        after = tap("post-attn", x + y)
        read, name = (x, "input_layernorm") if c["use_parallel_residual"] else (after, "post_attention_layernorm")
        y = tap("mlp-input", read.clone())
        y = tap("pre-mlp", ln(tap, "mlp-norm-scale", y, w, l + name, eps))
        x = tap("post-mlp", after + tap("mlp-residual", gated(tap, y, w, l, c["hidden_act"])))
    tap.layer = None
    x = ln(tap, "final-norm-scale", x, w, p + "norm", eps)
    return finish(tap, x, w, lambda x: x @ w["lm_head.weight"].T, ids)


def alibi_slopes(h):
    below = 2 ** math.floor(math.log2(h))
    slopes = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    return torch.tensor(slopes + [2 ** (-4 * i / below) for i in range(1, 2 * (h - below), 2)])


def falcon(c, w, ids, tap, mask):
    """Parallel; one key/value head and one norm (7B), or groups and a norm for each sub-block (40B). Falcon RW is sequential, with ALiBi in
    bfloat16: transformers' eager attention adds it twice, scaled, once with the mask (its sdpa adds it once)."""
    p, h, eps = "transformer.", c["num_attention_heads"], c["layer_norm_epsilon"]
    size, new, parallel = c["hidden_size"] // h, c["new_decoder_architecture"], c["parallel_attn"]
    kv = c["num_kv_heads"] if new else 1 if c["multi_query"] else h
    positions, theta = positions_of(mask), c["rope_parameters"]["rope_theta"]
    attn_norm, mlp_norm = ("ln_attn", "ln_mlp") if new else ("input_layernorm", "input_layernorm" if parallel else "post_attention_layernorm")
    bias = (2 * alibi_slopes(h).bfloat16()[None, :, None, None] * positions[:, None, None, :]).float() * size ** -0.5 if c["alibi"] else None
    x = tap("post-tok-embeddings", w[p + "word_embeddings.weight"][ids])
    x = tap("post-pos-embeddings", x)
    for i in range(c["num_hidden_layers"]):
        tap.layer, l = i, f"{p}h.{i}."
        x = tap("pre-block", x)
        norm = lambda tap, x: ln(tap, "attn-norm-scale", x, w, l + attn_norm, eps)

        def split(y):  # for each key/value head its queries, its key, its value
            qkv = lin(y, w, l + "self_attention.query_key_value").unflatten(-1, (kv, h // kv + 2, size))
            return [x.transpose(1, 2) for x in (qkv[..., :-2, :].flatten(2, 3), qkv[..., -2, :], qkv[..., -1, :])]

        q, k, v = read_by_heads(tap, x, norm, split)
        if bias is None:
            q, k = unturned(tap, q, k)
        if bias is None:
            q, k = rope(q, positions, theta, size), rope(k, positions, theta, size)
        y = project(tap, attend(tap, q, k, v, mask, size ** -0.5, bias=bias), w, l + "self_attention.dense")
        after = tap("post-attn", x + y)
        y = tap("mlp-input", (x if parallel else after).clone())
        y = tap("pre-mlp", ln(tap, "mlp-norm-scale", y, w, l + mlp_norm, eps))
        x = tap("post-mlp", after + simple_mlp(tap, y, w, l + "mlp.dense_h_to_4h", l + "mlp.dense_4h_to_h", "gelu"))
    tap.layer = None
    x = ln(tap, "final-norm-scale", x, w, p + "ln_f", eps)
    return finish(tap, x, w, lambda x: x @ w[p + "word_embeddings.weight"].T, ids)


def bloom(c, w, ids, tap, mask):
    """ALiBi: a key's position times the head's slope joins the scores; the embeddings are normed. With
    `apply_residual_connection_post_layernorm` what a sub-block reads, normed, is the stream that it adds to."""
    p, h, eps, d = "transformer.", c["n_head"], c["layer_norm_epsilon"], c["hidden_size"]
    normed = c["apply_residual_connection_post_layernorm"]
    alibi = alibi_slopes(h)[None, :, None, None] * positions_of(mask)[:, None, None, :]

    x = tap("post-tok-embeddings", w[p + "word_embeddings.weight"][ids])
    x = tap("post-pos-embeddings", ln(lambda _, scale: scale, None, x, w, p + "word_embeddings_layernorm", eps))
    for i in range(c["n_layer"]):
        tap.layer, l = i, f"{p}h.{i}."
        x = tap("pre-block", x)
        def norm(tap, x):
            y = ln(tap, "attn-norm-scale", x, w, l + "input_layernorm", eps)
            kept.append(y)  # the fourth is that of the stream: three copies come before it
            return y

        kept, split = [], lambda y: heads(lin(y, w, l + "self_attention.query_key_value"), h).chunk(3, -1)
        q, k, v = read_by_heads(tap, x, norm, split)
        x = kept[3] if normed else x
        y = attend(tap, q, k, v, mask, (d // h) ** -0.5, bias=alibi)
        x = tap("post-attn", x + project(tap, y, w, l + "self_attention.dense"))
        y = tap("mlp-input", x.clone())
        y = ln(tap, "mlp-norm-scale", y, w, l + "post_attention_layernorm", eps)
        x, y = y if normed else x, tap("pre-mlp", y)
        x = tap("post-mlp", x + simple_mlp(tap, y, w, l + "mlp.dense_h_to_4h", l + "mlp.dense_4h_to_h", "gelu_new"))
    tap.layer = None
    x = ln(tap, "final-norm-scale", x, w, p + "ln_f", eps)
    return finish(tap, x, w, lambda x: x @ w[p + "word_embeddings.weight"].T, ids)


FAMILIES = {"gemma2": gemma, "gemma3_text": gemma, "olmo2": olmo2, "phi": phi, "phi3": phi3, "gptj": gptj,
            "stablelm": stablelm, "falcon": falcon, "bloom": bloom}
