"""Write the fixtures: tiny random checkpoints in the formats the Hub serves, and what a right run gives.

    python generate.py OUT [--seed N] [--wide] [CASE ...]

Needs: torch, transformers, safetensors, tokenizers, numpy. Each case becomes OUT/<case>/ with
  config.json, weights (model.safetensors | pytorch_model.bin | sharded safetensors), tokenizer files
  golden.safetensors   see README.md beside this file for its keys
  golden.json          texts with their token ids, greedy continuations, tolerances reached
`reference.py` is checked against transformers first; a case that disagrees is not written.
"""
import argparse, copy, json, os, random, shutil
import numpy as np, torch, transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, processors, trainers
import dense, experts, families, reference, small
from checkpoints import saved

reference.FAMILIES |= families.FAMILIES | dense.FAMILIES | experts.FAMILIES

TEXT = """Saturating the compute and memory hierarchy is a prerequisite of the merge.
When Mary and John went to the store, John gave a drink to Mary. The quick brown fox jumps over the lazy dog.
def hook(x, ctx): return x  # 0123456789 naïve façade — “quotes”, emoji 🙂, tabs\tand\nnewlines.
A residual stream carries what every attention head and every MLP reads and writes, layer after layer.
""" * 4
PROMPTS = ["Saturating the compute and memory hierarchy.", " When Mary and John went to the store,", "naïve 🙂\tx\n\ny  z"]


def configs(seed, wide):
    r = random.Random(seed)
    k = lambda *xs: r.choice(xs) if seed else xs[0]
    layers, big = k(3, 2, 4, 5), 2 if wide else 1
    few = k(2, 3, 4)  # the tests' fixtures stay small
    h, c = k(4, 2, 6) * big, k(12, 8, 16)
    d = h * c
    t = transformers
    common = dict(initializer_range=0.15)
    # What the project writes for itself is smaller than the cases that it was given.
    vocab, head = 56, k(8, 4, 16)
    width = h * head
    sixths = 24  # of a width that six heads share
    llama_like = dict(vocab_size=vocab, hidden_size=width, num_hidden_layers=few, num_attention_heads=h, num_key_value_heads=h // 2, intermediate_size=3 * width, max_position_embeddings=64, pad_token_id=None, **common)
    return {
        "opt": lambda: t.OPTConfig(vocab_size=320, hidden_size=d, word_embed_proj_dim=d, num_hidden_layers=layers, num_attention_heads=h, ffn_dim=k(4, 3) * d, max_position_embeddings=64, dropout=0.0, attention_dropout=0.0, activation_function="relu", init_std=0.15),
        "opt-post-norm": lambda: t.OPTConfig(vocab_size=320, hidden_size=d, word_embed_proj_dim=d // 2, num_hidden_layers=layers, num_attention_heads=h, ffn_dim=4 * d, max_position_embeddings=64, dropout=0.0, attention_dropout=0.0, do_layer_norm_before=False, init_std=0.15),
        "gpt-neox": lambda: t.GPTNeoXConfig(vocab_size=336, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, intermediate_size=4 * d, rotary_pct=k(0.25, 0.5, 1.0) if c % 8 == 0 else 0.5, max_position_embeddings=64, hidden_act="gelu", **common),
        "gpt-neox-sequential": lambda: t.GPTNeoXConfig(vocab_size=336, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, intermediate_size=4 * d, rotary_pct=1.0, use_parallel_residual=False, max_position_embeddings=64, hidden_act=k("gelu", "gelu_new"), **common),
        "gpt2": lambda: t.GPT2Config(vocab_size=320, n_embd=d, n_layer=layers, n_head=h, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common),
        "llama": lambda: t.LlamaConfig(vocab_size=320, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, num_key_value_heads=h // 2, intermediate_size=3 * d, max_position_embeddings=64, tie_word_embeddings=False, **common),
        "llama3-rope": lambda: t.LlamaConfig(vocab_size=320, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, num_key_value_heads=1, intermediate_size=3 * d, max_position_embeddings=64, tie_word_embeddings=True, rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16), **common),
        "llama-biased": lambda: t.LlamaConfig(**{**llama_like, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}),
        "mistral": lambda: t.MistralConfig(vocab_size=320, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, num_key_value_heads=h // 2, intermediate_size=3 * d, max_position_embeddings=64, sliding_window=5, head_dim=c, **common),
        "qwen2": lambda: t.Qwen2Config(vocab_size=320, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, num_key_value_heads=h // 2, intermediate_size=3 * d, max_position_embeddings=64, tie_word_embeddings=True, **common),
        "gemma2": lambda: t.Gemma2Config(**{**llama_like, "initializer_range": 0.08, "pad_token_id": 0, "head_dim": head, "sliding_window": 5, "query_pre_attn_scalar": 2 * head, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0}),
        "gemma3": lambda: t.Gemma3TextConfig(**{**llama_like, "num_hidden_layers": 3, "head_dim": 2 * head, "sliding_window": 5, "query_pre_attn_scalar": head, "sliding_window_pattern": 3, "layer_types": ["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(3)], "rope_parameters": {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}),
        "phi": lambda: t.PhiConfig(vocab_size=vocab, hidden_size=width, num_hidden_layers=few, num_attention_heads=h, intermediate_size=4 * width, max_position_embeddings=64, hidden_act="gelu_new", rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5), **common),
        "phi3": lambda: t.Phi3Config(**{**llama_like, "sliding_window": 7, "tie_word_embeddings": False}),
        "phi3-longrope": lambda: t.Phi3Config(**{**llama_like, "original_max_position_embeddings": 16, "tie_word_embeddings": False, "rope_parameters": dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + i / 10 for i in range(head // 2)], long_factor=[1.5 + i for i in range(head // 2)], original_max_position_embeddings=16, factor=4.0)}),
        "gptj": lambda: t.GPTJConfig(vocab_size=vocab, n_embd=width, n_layer=few, n_head=h, n_positions=64, rotary_dim=head // 2, tie_word_embeddings=False, **common),
        "stablelm": lambda: t.StableLmConfig(**{**llama_like, "use_qkv_bias": True, "tie_word_embeddings": False, "rope_parameters": dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)}),
        "stablelm-parallel": lambda: t.StableLmConfig(**{**llama_like, "use_parallel_residual": True, "qk_layernorm": True, "tie_word_embeddings": False, "rope_parameters": dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)}),
        "olmo2": lambda: t.Olmo2Config(**{**llama_like, "tie_word_embeddings": False}),
        "falcon": lambda: t.FalconConfig(vocab_size=vocab, hidden_size=width, num_hidden_layers=few, num_attention_heads=h, max_position_embeddings=64, bias=False, **common),
        "falcon-grouped": lambda: t.FalconConfig(vocab_size=vocab, hidden_size=width, num_hidden_layers=few, num_attention_heads=h, num_kv_heads=h // 2, new_decoder_architecture=True, max_position_embeddings=64, bias=False, **common),
        "bloom": lambda: t.BloomConfig(vocab_size=vocab, hidden_size=sixths, n_layer=few, n_head=k(6, 4, 2), **common),
        "gpt2-by-layer": lambda: t.GPT2Config(vocab_size=vocab, n_embd=width, n_layer=few, n_head=h, n_positions=64, scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common),
        "falcon-alibi": lambda: t.FalconConfig(vocab_size=vocab, hidden_size=sixths, num_hidden_layers=few, num_attention_heads=k(6, 4, 2), max_position_embeddings=64, bias=True, alibi=True, multi_query=False, parallel_attn=False, **common),
        "bloom-stream": lambda: t.BloomConfig(vocab_size=vocab, hidden_size=width, n_layer=few, n_head=h, apply_residual_connection_post_layernorm=True, **common),
        "qwen3": lambda: t.Qwen3Config(vocab_size=320, hidden_size=d, num_hidden_layers=layers, num_attention_heads=h, num_key_value_heads=h // 2, intermediate_size=3 * d, max_position_embeddings=64, head_dim=2 * c, tie_word_embeddings=True, **common),
    }


def randomise(model):
    """Biases, norms and gains are born constant; give them values, so that a swapped one shows."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.2)
            p.copy_(p.half().float())  # exact in float16, so a half checkpoint loads to these values
        for name, b in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                b.copy_((torch.randn_like(b) * 0.2).half().float())


def byte_level(directory, family, vocab):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"] if family == "opt" else ["<|endoftext|>", "<|padding|>"]
    tok.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=vocab, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    if family != "opt":
        tok.post_processor = processors.ByteLevel(trim_offsets=False)
        tok.save(os.path.join(directory, "tokenizer.json"))
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": special[0], "eos_token": special[0], "unk_token": special[0]}, open(os.path.join(directory, "tokenizer_config.json"), "w"), indent=1)
        return lambda s: tok.encode(s).ids
    # As facebook/opt-125m has it: vocab.json and merges.txt, no tokenizer.json; </s> opens every text.
    tok.model.save(directory)
    one = lambda s: {"__type": "AddedToken", "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    json.dump({"errors": "replace", "unk_token": one("</s>"), "bos_token": one("</s>"), "eos_token": one("</s>"), "pad_token": one("<pad>"), "add_prefix_space": False, "add_bos_token": True, "special_tokens_map_file": None, "name_or_path": "patrickvonplaten/opt-30b", "tokenizer_class": "GPT2Tokenizer"}, open(os.path.join(directory, "tokenizer_config.json"), "w"))
    json.dump({k: one(v) for k, v in dict(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>").items()}, open(os.path.join(directory, "special_tokens_map.json"), "w"))
    return lambda s: [2] + tok.encode(s).ids


def high_pass(cutoff):
    def hook(x, layer):
        freqs = torch.fft.fftfreq(x.shape[1])
        keep = (freqs.abs() >= cutoff).float()
        return torch.fft.ifft(torch.fft.fft(x, dim=1) * keep[None, :, None], dim=1).real
    return hook


def bidirectional():
    kept = {}
    def steal(x, layer): kept["x"] = x
    def patch(x, layer): return kept["x"]
    return {"pre-mask-attn-weights": steal, "post-mask-attn-weights": patch}


def hub_style(case, c):
    """config.json as the Hub has it for this family: most checkpoints predate `rope_parameters`."""
    c = copy.deepcopy({k: v for k, v in c.items() if not k.startswith("_") or k == "_remove_final_layer_norm"})
    if case in ("gpt-neox", "llama", "llama3-rope", "mistral"):
        rope = c.pop("rope_parameters")
        c["torch_dtype"] = c.pop("dtype", None) or "float32"
        if case == "gpt-neox":
            c["rotary_pct"], c["rotary_emb_base"] = rope["partial_rotary_factor"], int(rope["rope_theta"])
        else:
            c["rope_theta"] = rope["rope_theta"]
            scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
            c["rope_scaling"] = scaling if scaling.get("rope_type") != "default" else None
    if case in ("gemma2", "phi", "phi3", "phi3-longrope", "stablelm", "stablelm-parallel", "olmo2", "falcon", "falcon-grouped", "falcon-alibi", "gemma", "olmo", "starcoder2", "granite", "cohere", "nemotron", "seed-oss", "ernie4_5", "smollm3"):
        rope = c.pop("rope_parameters")
        c["torch_dtype"] = c.pop("dtype", None) or "float32"
        c["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            part = rope.pop("partial_rotary_factor")
            if case.startswith(("phi", "stablelm", "nemotron")) and not case.startswith("phi3"):
                c["partial_rotary_factor"] = part
        if rope.get("rope_type") == "longrope":
            c["rope_scaling"] = {"type": "longrope", "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}
            c["original_max_position_embeddings"] = rope["original_max_position_embeddings"]
        else:
            c["rope_scaling"] = None
    if case == "gemma2":
        c["cache_implementation"] = "hybrid"
        c["hidden_act"] = c["hidden_activation"]
        c.pop("layer_types")
    if case == "gemma3":
        rope = c.pop("rope_parameters")
        c["torch_dtype"] = c.pop("dtype", None) or "float32"
        c["rope_theta"], c["rope_local_base_freq"] = rope["full_attention"]["rope_theta"], rope["sliding_attention"]["rope_theta"]
        c["rope_scaling"] = {"rope_type": "linear", "factor": rope["full_attention"]["factor"]}
        c["sliding_window_pattern"] = 3
        c.pop("layer_types")
    return c


def build(case, make, out, seed):
    torch.manual_seed(seed)
    config = make()
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    randomise(model)
    directory = os.path.join(out, case)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    family = "opt" if case.startswith("opt") else "other"
    tiny = config.vocab_size <= 56
    encode = small.tokenizer(directory) if tiny else byte_level(directory, family, 312)
    c = config.to_dict()
    c = {**c, "architectures": [type(model).__name__]}
    json.dump(hub_style(case, c), open(os.path.join(directory, "config.json"), "w"), indent=1, default=str)
    # Mixtures of experts have other names in memory than in files.
    state = saved(model) if config.model_type in experts.FAMILIES else {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    tied = getattr(config, "tie_word_embeddings", False) or case.startswith("opt") or case.startswith("gpt2")
    if tied:
        state.pop("lm_head.weight", None)
    if case == "opt":  # the Hub's opt-125m: one float16 pickle
        torch.save({k: v.half() for k, v in state.items()}, os.path.join(directory, "pytorch_model.bin"))
    elif case == "opt-post-norm":  # older pickles name the tensors without "model."
        torch.save({k.removeprefix("model."): v for k, v in state.items()}, os.path.join(directory, "pytorch_model.bin"))
    elif case == "gpt2":  # the Hub's gpt2 has no "transformer." prefix, and carries the mask buffers
        extra = {f"h.{i}.attn.bias": torch.ones(64, 64).tril()[None, None] for i in range(config.n_layer)}
        save_file({**{k.removeprefix("transformer."): v for k, v in state.items()}, **extra}, os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})
    elif case == "llama":  # sharded, with an index
        keys, index = sorted(state), {}
        for n, part in enumerate((keys[::2], keys[1::2]), 1):
            file = f"model-{n:05d}-of-00002.safetensors"
            save_file({k: state[k] for k in part}, os.path.join(directory, file), metadata={"format": "pt"})
            index.update({k: file for k in part})
        json.dump({"metadata": {"total_size": sum(v.nbytes for v in state.values())}, "weight_map": index}, open(os.path.join(directory, "model.safetensors.index.json"), "w"), indent=1)
    elif case == "bloom":  # an older pickle without the prefix
        torch.save({k.removeprefix("transformer."): v.half() for k, v in state.items()}, os.path.join(directory, "pytorch_model.bin"))
    elif case != "gptj" and (config.model_type in families.FAMILIES | dense.FAMILIES | experts.FAMILIES or case == "gpt2-by-layer"):  # half types, as newer checkpoints have them
        save_file({k: v.half() for k, v in state.items()}, os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})
    elif case == "gpt-neox":  # the Hub's pythia: float16, and the rotary and mask buffers ride along
        extra = {f"gpt_neox.layers.{i}.attention.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool).tril() for i in range(config.num_hidden_layers)}
        extra |= {f"gpt_neox.layers.{i}.attention.masked_bias": torch.tensor(-1e9, dtype=torch.half) for i in range(config.num_hidden_layers)}
        extra |= {f"gpt_neox.layers.{i}.attention.rotary_emb.inv_freq": torch.rand(3, dtype=torch.half) for i in range(config.num_hidden_layers)}
        named = {("embed_out.weight" if k == "lm_head.weight" else k): v.half() for k, v in state.items()}
        save_file({**named, **extra}, os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})
    else:
        save_file(state, os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})

    # What the project writes for itself is computed in float64, then rounded.
    w = {k: v.double() if tiny else v for k, v in (state if config.model_type in experts.FAMILIES else model.state_dict()).items()}
    c = json.loads(json.dumps(c, default=str))
    ids = torch.tensor([encode(PROMPTS[0])[:12], encode(PROMPTS[1])[:12]])
    n = ids.shape[1]
    golden, reached = {"ids": ids}, {}

    def seen(**kw):
        store = {}
        hooks = {p: (lambda x, l, p=p: store.__setitem__(p if l is None else f"{l}/{p}", x.clone())) for p in reference.STORED}
        return reference.run(c, w, ids, hooks), store

    with torch.no_grad():
        logits, store = seen()
        hf = model(ids, output_hidden_states=True, output_attentions=True)
    reached["logits"] = (hf.logits - logits).abs().max().item()
    reached["attn-probs"] = max((a - store[f"{i}/attn-probs"]).abs().max().item() for i, a in enumerate(hf.attentions))
    L = len(hf.attentions)
    reached["pre-block"] = max((hf.hidden_states[i] - store[f"{i}/pre-block"]).abs().max().item() for i in range(L))
    assert max(reached.values()) < 5e-5, (case, reached)
    golden |= {f"plain/{k}": v for k, v in store.items()}

    # A hook that shows wherever it is: softmax and norms do not see a constant that is added.
    for p in reference.STORED[:-1]:
        if not any(k.split("/")[-1] == p for k in store):
            continue  # post-up: gated MLPs alone
        change = (lambda x, l: x * (1 + torch.arange(x.shape[1])[None, :, None] / 8)) if p.endswith("-scale") else (lambda x, l: x.flip(-1))
        golden[f"changed/{p}"] = reference.run(c, w, ids, {p: change})[:, -1]
        effect = (golden[f"changed/{p}"] - logits[:, -1]).abs().max().item()
        assert effect > 1e-2, (case, p, effect)
    last = L - 1
    golden["ablate_head_1_last_layer"] = reference.run(c, w, ids, {"attn-weighted-values": lambda x, l: torch.cat([x[:, :1], x[:, 1:2] * 0, x[:, 2:]], 1) if l == last else x})
    golden["bidirectional"] = reference.run(c, w, ids, bidirectional())
    for cutoff in (0.1,):
        golden[f"high_pass_attn_residual/{cutoff}"] = reference.run(c, w, ids, {"attn-residual": high_pass(cutoff)})
    stack = torch.stack([store[f"{i}/post-mlp"] for i in range(L)])  # [l,b,n,d]
    fft = torch.fft.rfft(stack, dim=2)
    golden["power/frequencies"] = torch.fft.rfftfreq(n)
    golden["power/mean_of_squares_real"], golden["power/mean_of_squares_imag"] = (lambda m: (m.real.clone(), m.imag.clone()))((fft ** 2).mean((1, 3)))
    golden["power/mean_power"] = fft.abs().pow(2).mean((1, 3))
    for i in range(last):  # logit lens: final norm and unembedding on each block's output; on the last's they give the logits
        golden[f"logit_lens/{i}"] = reference.run(c, w, ids, {"post-mlp": lambda x, l, i=i: store[f"{i}/post-mlp"] if l == last else x})
    # Padding: the second row is three tokens shorter; its real positions must not notice.
    for side in ("left", "right"):
        mask = torch.ones_like(ids)
        padded = ids.clone()
        where = slice(0, 3) if side == "left" else slice(n - 3, n)
        padded[1] = torch.cat([torch.ones(3, dtype=ids.dtype), ids[1, :-3]] if side == "left" else [ids[1, :-3], torch.ones(3, dtype=ids.dtype)])
        mask[1, where] = 0
        out = reference.run(c, w, padded, mask=mask)
        short = reference.run(c, w, ids[1:, :-3])
        real = out[1:, 3:] if side == "left" else out[1:, :-3]
        reached[f"{side}-pad"] = (real - short).abs().max().item()
        assert reached[f"{side}-pad"] < 5e-5, (case, side, reached)
        golden |= {f"padded_{side}/ids": padded, f"padded_{side}/mask": mask, f"padded_{side}/logits": out}
    greedy = ids[:1]
    margin = []
    for _ in range(12):
        step = reference.run(c, w, greedy)[:, -1]
        top = step.topk(2).values[0]
        margin.append((top[0] - top[1]).item())
        greedy = torch.cat([greedy, step.argmax(-1, keepdim=True)], 1)
    rounded = lambda v: v if v.dtype == torch.int64 else v.clamp(min=torch.finfo(torch.float32).min).float()
    save_file({k: rounded(v).contiguous() for k, v in golden.items()}, os.path.join(directory, "golden.safetensors"))
    json.dump({"texts": [{"text": s, "ids": encode(s)} for s in PROMPTS], "greedy": {"prompt_ids": ids[0].tolist(), "continuation": greedy[0, n:].tolist(), "smallest_margin": min(margin)}, "transformers": transformers.__version__, "max_abs_difference_to_transformers": reached}, open(os.path.join(directory, "golden.json"), "w"), indent=1, ensure_ascii=False)
    print(f"{case:22}", {k: f"{v:.1e}" for k, v in reached.items()}, f"margin {min(margin):.3f}", sorted(os.listdir(directory)))


if __name__ == "__main__":
    a = argparse.ArgumentParser()
    a.add_argument("out"); a.add_argument("cases", nargs="*"); a.add_argument("--seed", type=int, default=0); a.add_argument("--wide", action="store_true")
    a = a.parse_args()
    all_ = configs(a.seed, a.wide) | small.CONFIGS
    for case in a.cases or all_:
        build(case, all_[case], a.out, a.seed)
