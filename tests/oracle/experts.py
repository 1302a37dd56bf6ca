"""Families with mixtures of experts, as differences from `dense.decoder`: what stands in the MLP's place.

Choices, the same in `src/model`:
- router-logits are the scores as the router's matrix gives them; expert-weights are the shares after top-k, their norm and their factor,
  0 where an expert is not chosen. A token has the experts whose share is not 0, also where a hook made it so, and no gradient reaches a
  share that is 0. expert-outputs are [b,x,n,d], with the share and any factor on what joins the stream; a shared expert is in none of them.
- Layers with experts have no post-fc1, post-up and post-act, and layers without have no points of experts.
"""
import math
import torch
from dense import decoder, each, frequencies, usual, whole
from families import gated
from reference import act, lin


def network(c, w, name, parts=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = (f"{name}.{part}" for part in parts)
    return lambda y: lin(act(c["hidden_act"])(lin(y, w, gate)) * lin(y, w, up), w, down)


def chosen(scores, k):
    """1 for the k best of each token, else 0."""
    return torch.zeros_like(scores).scatter(-1, scores.topk(k, -1).indices, 1.0).detach()


def softmax(k, norm=False):
    def route(scores):
        scores = scores.softmax(-1)
        shares = scores * chosen(scores, k)
        return shares / shares.sum(-1, keepdim=True) if norm else shares
    return route


def softmax_of_chosen(k):
    return lambda scores: scores.masked_fill(chosen(scores, k) == 0, -torch.inf).softmax(-1)


def mixture(count, router, route, expert, shared=None, by=1.0):
    """`router(y, w, l)` gives scores, `route(scores)` shares, `expert(w, l, e)` and `shared(w, l)` functions of y."""
    def mlp(tap, y, w, l):
        shares = tap("expert-weights", route(tap("router-logits", router(y, w, l))))
        outputs = torch.stack([expert(w, l, e)(y) for e in range(count)], 1) * by
        outputs = tap("expert-outputs", outputs * (shares * (shares != 0)).transpose(1, 2)[..., None])
        return outputs.sum(1) + (shared(w, l)(y) if shared else 0.0)
    return mlp


def listed(c, prefix="mlp.experts", **parts):
    return lambda w, l, e: network(c, w, f"{l}{prefix}.{e}", **parts)


def mixtral(c):
    router = lambda y, w, l: lin(y, w, l + "block_sparse_moe.gate")
    expert = listed(c, "block_sparse_moe.experts", parts=("w1", "w3", "w2"))
    return dict(mlp=mixture(c["num_local_experts"], router, softmax_of_chosen(c["num_experts_per_tok"]), expert),
                window=lambda i: c["sliding_window"])


def some_layers(c, has, sparse):
    """Experts in the layers for which `has` is true."""
    def mlp(tap, y, w, l):
        return sparse(tap, y, w, l) if has(int(l.split(".")[-2])) else gated(tap, y, w, l, c["hidden_act"])
    return mlp


def qwen_moe(c):
    def shared(w, l):
        one = network(c, w, l + "mlp.shared_expert")
        return lambda y: lin(y, w, l + "mlp.shared_expert_gate").sigmoid() * one(y)

    three, router = c["model_type"] == "qwen3_moe", lambda y, w, l: lin(y, w, l + "mlp.gate")
    sparse = mixture(c["num_local_experts" if three else "num_experts"], router, softmax(c["num_experts_per_tok"], c["norm_topk_prob"]), listed(c), None if three else shared)
    has = lambda i: (i + 1) % c["decoder_sparse_step"] == 0 and i not in c["mlp_only_layers"]
    return dict(mlp=some_layers(c, has, sparse), qk_norm=each(c) if three else None)


def olmoe(c):
    router = lambda y, w, l: lin(y, w, l + "mlp.gate")
    return dict(mlp=mixture(c["num_experts"], router, softmax(c["num_experts_per_tok"], c["norm_topk_prob"]), listed(c)), qk_norm=whole(c))


def granitemoe(c):
    def expert(w, l, e):
        into, out = w[l + "block_sparse_moe.input_linear.weight"][e], w[l + "block_sparse_moe.output_linear.weight"][e]

        def one(y):
            gate, up = (y @ into.T).chunk(2, -1)
            return (act(c["hidden_act"])(gate) * up) @ out.T
        return one

    router, by = lambda y, w, l: lin(y, w, l + "block_sparse_moe.router.layer"), c["residual_multiplier"]
    return dict(mlp=mixture(c["num_local_experts"], router, softmax_of_chosen(c["num_experts_per_tok"]), expert, by=by), mlp_scale=1.0, residual_scale=by,
                embedding_scale=c["embedding_multiplier"], scale=c["attention_multiplier"], logit_scale=1 / c["logits_scaling"])


def gpt_oss(c):
    def expert(w, l, e):
        into, into_bias, out, out_bias = (w[f"{l}mlp.experts.{name}"][e] for name in ("gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias"))

        def one(y):
            both = y @ into + into_bias
            gate, up = both[..., ::2].clamp(max=c["swiglu_limit"]), both[..., 1::2].clamp(-c["swiglu_limit"], c["swiglu_limit"])
            return (gate * (gate * c["swiglu_alpha"]).sigmoid() * (up + 1)) @ out + out_bias
        return one

    inv, factor = yarn(c, usual(c)["size"])
    return dict(mlp=mixture(c["num_local_experts"], lambda y, w, l: lin(y, w, l + "mlp.router"), softmax_of_chosen(c["num_experts_per_tok"]), expert),
                sinks="self_attn.sinks", inv=lambda i: inv, turn_scale=factor)


def yarn(c, size):
    """The frequencies and the factor on cosines and sines (Peng et al. 2023), without truncation."""
    rp = c["rope_parameters"]
    theta, factor, original = rp["rope_theta"], rp["factor"], rp["original_max_position_embeddings"]
    place = lambda turns: size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
    low, high = max(place(rp["beta_fast"]), 0), min(place(rp["beta_slow"]), size - 1)
    ramp = ((torch.arange(size // 2, dtype=torch.get_default_dtype()) - low) / (high - low)).clamp(0, 1)
    inv = frequencies(theta, size)
    return inv / factor * ramp + inv * (1 - ramp), 0.1 * math.log(factor) + 1


def grouped(c):
    """DeepSeek 3's choice: of the groups whose two best are best, by corrected scores; the shares are not corrected."""
    count, k, groups = c["n_routed_experts"], c["num_experts_per_tok"], c["n_group"]

    def mlp(tap, y, w, l):
        def route(scores):
            scores = scores.sigmoid()
            by = scores + w[l + "mlp.gate.e_score_correction_bias"]
            best = by.unflatten(-1, (groups, -1)).topk(2, -1).values.sum(-1)
            among = chosen(best, c["topk_group"]).repeat_interleave(count // groups, -1)
            shares = scores * chosen(by.masked_fill(among == 0, -torch.inf), k)
            return (shares / (shares.sum(-1, keepdim=True) + 1e-20) if c["norm_topk_prob"] else shares) * c["routed_scaling_factor"]
        return mixture(count, lambda y, w, l: lin(y, w, l + "mlp.gate"), route, listed(c), lambda w, l: network(c, w, l + "mlp.shared_experts"))(tap, y, w, l)
    return some_layers(c, lambda i: i >= c["first_k_dense_replace"], mlp)


def glm4_moe(c):
    return dict(mlp=grouped(c), qk_norm=each(c) if c["use_qk_norm"] else None)


def ernie4_5_moe(c):
    def sparse(tap, y, w, l):
        def route(scores):
            scores = scores.softmax(-1)
            shares = scores * chosen(scores + w[l + "mlp.moe_statics.e_score_correction_bias"], c["moe_k"])
            return shares / shares.sum(-1, keepdim=True).clamp(min=c["moe_norm_min"])
        return mixture(c["moe_num_experts"], lambda y, w, l: lin(y, w, l + "mlp.gate"), route, listed(c), lambda w, l: network(c, w, l + "mlp.shared_experts"))(tap, y, w, l)

    has = lambda i: (i + 1) % c["moe_layer_interval"] == 0 and c["moe_layer_start_index"] <= i <= c["moe_layer_end_index"]
    return dict(mlp=some_layers(c, has, sparse), neighbours=True)


FAMILIES = {name: decoder(how) for name, how in dict(mixtral=mixtral, qwen2_moe=qwen_moe, qwen3_moe=qwen_moe, olmoe=olmoe, granitemoe=granitemoe, gpt_oss=gpt_oss, glm4_moe=glm4_moe, ernie4_5_moe=ernie4_5_moe).items()}
