"""Families with mixtures of experts, as differences from `dense.decoder`: what stands in the MLP's place.

Choices, the same in `src/model`:
- router-logits are the scores as the router's matrix gives them; expert-weights are the shares after top-k, their norm and their factor,
  0 where an expert is not chosen. A token has the experts whose share is not 0, also where a hook made it so, and no gradient reaches a
  share that is 0. expert-outputs are [b,x,n,d], with the share and any factor on what joins the stream; a shared expert is in none of them.
- Layers with experts have no post-fc1, post-up and post-act, and layers without have no points of experts.
"""
import torch
from dense import decoder, each, usual, whole
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


FAMILIES = {name: decoder(how) for name, how in dict(mixtral=mixtral, qwen2_moe=qwen_moe, qwen3_moe=qwen_moe, olmoe=olmoe, granitemoe=granitemoe).items()}
