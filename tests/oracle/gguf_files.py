"""GGUF files of tiny random models, written by llama.cpp's `gguf`, and what transformers computes with the same weights.

    python gguf_files.py ../fixtures/gguf [ARCHITECTURE ...]

Each model's matrices are quantised, and transformers gets what is left of them. `modified` says what llama.cpp's converter
(convert_hf_to_gguf.py) does to a family's tensors; names are gguf's own. Needs gguf, and sentencepiece for llama's tokenizer.
"""
import json, pathlib, sys

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
TEXT = "The cat sat on the mat,  and 12345 dogs didn't.\n\nÜber!"

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=56, max_position_embeddings=64)
GROUPS = dict(num_key_value_heads=2)
LONG = [1.0 + 0.7 * i for i in range(4)]
SHORT = [1.0 + 0.1 * i for i in range(4)]

# The family, what its config has beside the sizes, and the type of the blocks.
CASES = {
    "llama": ("llama", dict(**GROUPS, vocab_size=0, rms_norm_eps=1e-5, rope_theta=5e5, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)), "Q8_0"),
    "qwen2": ("qwen2", dict(**GROUPS, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True), "Q4_0"),
    "qwen3": ("qwen3", dict(**GROUPS, head_dim=16, rope_theta=1e6), "Q5_1"),
    "gemma": ("gemma", dict(num_key_value_heads=1, head_dim=16, hidden_activation="gelu_pytorch_tanh"), "Q8_0"),
    "gemma2": ("gemma2", dict(**GROUPS, head_dim=16, query_pre_attn_scalar=16, sliding_window=4, attn_logit_softcapping=20.0,
                              final_logit_softcapping=10.0), "Q8_0"),
    "gemma3": ("gemma3_text", dict(**GROUPS, num_hidden_layers=3, head_dim=16, query_pre_attn_scalar=16, sliding_window=4,
                                   sliding_window_pattern=2, rope_theta=1e6, rope_local_base_freq=1e4), "Q8_0"),
    "phi3": ("phi3", dict(**GROUPS, pad_token_id=0, sliding_window=5, original_max_position_embeddings=32, rope_scaling=dict(
        type="longrope", short_factor=SHORT, long_factor=LONG)), "Q5_0"),
    "gpt2": ("gpt2", dict(vocab_size=0), "F16"),
    "gptneox": ("gpt_neox", dict(rotary_pct=0.5, use_parallel_residual=True), "Q4_1"),
    "olmo2": ("olmo2", dict(**GROUPS, pad_token_id=0, rms_norm_eps=1e-6), "Q8_0"),
    "stablelm": ("stablelm", dict(**GROUPS, partial_rotary_factor=0.5, qk_layernorm=True, use_parallel_residual=True), "Q8_0"),
    "falcon": ("falcon", dict(new_decoder_architecture=True, num_kv_heads=2, bias=False), "BF16"),
}


def model_of(arch):
    family, own, _ = CASES[arch]
    sizes = {**SIZES, **own}
    if not sizes["vocab_size"]:
        sizes["vocab_size"] = len(tokenizer_of(arch)["tokens"])
    theta = sizes.pop("rope_theta", None)
    if arch == "gpt2":
        sizes.update(n_inner=sizes.pop("intermediate_size"))
    config = AutoConfig.for_model(family, **sizes, **({"rope_theta": theta} if theta else {}), attn_implementation="eager")
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, w in model.named_parameters():
            w.copy_(torch.randn(w.shape) * 0.3 + (1.0 if "norm" in name and name.endswith("weight") and "gemma" not in family else 0.0))
    return model, {**config.to_dict(), **sizes, **({"rope_theta": theta} if theta else {})}


def modified(arch, name, w, config):
    """The tensors that the converter makes of one, by their names in transformers."""
    heads = config["num_attention_heads"] if "num_attention_heads" in config else config["n_head"]
    kv = config.get("num_key_value_heads") or heads
    if arch == "llama" and (".q_proj." in name or ".k_proj." in name):
        n = heads if ".q_proj." in name else kv
        w = w.reshape(n, 2, w.shape[0] // n // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)
    if arch.startswith("gemma") and name.endswith("norm.weight"):
        w = w + 1
    if arch == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        w = w.T
    if arch == "gptneox" and ".query_key_value." in name:
        parts = w.reshape(heads, 3, -1, *w.shape[1:])
        w = np.concatenate([parts[:, i].reshape(-1, *w.shape[1:]) for i in range(3)])
    if arch == "falcon" and ".query_key_value." in name:
        kv = config["num_kv_heads"]
        parts = w.reshape(kv, heads // kv + 2, -1, w.shape[1])
        w = np.concatenate([x.reshape(-1, w.shape[1]) for x in (parts[:, :-2], parts[:, -2], parts[:, -1])])
    return np.ascontiguousarray(w)


def tokenizer_of(arch):
    """What the metadata have of a tokenizer, and the ids of a text."""
    if arch == "llama":
        import sentencepiece
        path = FIXTURES / "tokenizers/spm"
        sp = sentencepiece.SentencePieceProcessor(model_file=str(path / "tokenizer.model"))
        n = sp.get_piece_size()
        kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i) else 1
        return dict(model="llama", tokens=[sp.id_to_piece(i) for i in range(n)], scores=[sp.get_score(i) for i in range(n)],
                    kinds=[kind(i) for i in range(n)], bos=sp.bos_id(), eos=sp.eos_id(), unknown=sp.unk_id(), add_bos=True,
                    ids=[sp.bos_id()] + sp.encode(TEXT))
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "gpt2")
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    by_id = {**{i: t for t, i in inner["model"]["vocab"].items()}, **{a["id"]: a["content"] for a in inner["added_tokens"]}}
    special = {a["id"] for a in inner["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in inner["model"]["merges"]]
    return dict(model="gpt2", pre="gpt-2", tokens=[by_id[i] for i in range(len(by_id))], merges=merges,
                kinds=[3 if i in special else 1 for i in range(len(by_id))], eos=tokenizer.eos_token_id, add_bos=False,
                ids=tokenizer(TEXT)["input_ids"])


def write(arch, out):
    family, own, kind = CASES[arch]
    model, config = model_of(arch)
    get = lambda *names: next((config[n] for n in names if config.get(n) is not None), None)
    layers, heads, hidden = get("num_hidden_layers", "n_layer"), get("num_attention_heads", "n_head"), get("hidden_size", "n_embd")
    w = gguf.GGUFWriter(str(out / f"{arch}.gguf"), arch)
    w.add_block_count(layers)
    w.add_context_length(get("max_position_embeddings", "n_positions"))
    w.add_embedding_length(hidden)
    w.add_feed_forward_length(get("ffn_hidden_size", "intermediate_size", "n_inner") or 4 * hidden)
    w.add_head_count(heads)
    kv = config["num_kv_heads"] if arch == "falcon" else get("num_key_value_heads") or heads
    if arch not in ("gpt2", "gptneox"):
        w.add_head_count_kv(kv)
    if "rms_norm_eps" in config:
        w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        w.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon"))
    head = get("head_dim") or hidden // heads
    if arch in ("qwen3", "gemma", "gemma2", "gemma3"):
        w.add_key_length(head)
        w.add_value_length(head)
    if "rope_theta" in config and arch not in ("gemma", "gemma2"):
        w.add_rope_freq_base(config["rope_theta"])
    if arch in ("llama", "phi3", "gptneox", "stablelm"):
        w.add_rope_dimension_count(int(head * (get("rotary_pct", "partial_rotary_factor") or 1.0)))
    if arch == "gptneox" or arch == "stablelm":
        w.add_parallel_residual(config["use_parallel_residual"])
    if arch in ("gemma2", "gemma3", "phi3"):
        w.add_sliding_window(config["sliding_window"])
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        w.add_final_logit_softcapping(config["final_logit_softcapping"])
    if arch == "gemma3":
        w.add_sliding_window_pattern(config["sliding_window_pattern"])
    if arch == "llama":
        scaling, dims, base = own["rope_scaling"], head, config["rope_theta"]
        factors = []
        for i in range(0, dims, 2):
            wave = 2 * np.pi * base ** (i / dims)
            low, high = (scaling["original_max_position_embeddings"] / scaling[f"{end}_freq_factor"] for end in ("low", "high"))
            smooth = (scaling["original_max_position_embeddings"] / wave - 1.0) / (4.0 - 1.0)
            factors.append(1.0 if wave < high else scaling["factor"] if wave > low else 1 / ((1 - smooth) / scaling["factor"] + smooth))
        w.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
    if arch == "phi3":
        original = config["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(config["max_position_embeddings"] / original) / np.log(original))))
        w.add_tensor("rope_factors_long.weight", np.array(LONG, np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(SHORT, np.float32))
    golden = {}
    if not own.get("vocab_size", 1):
        t = tokenizer_of(arch)
        w.add_tokenizer_model(t["model"])
        w.add_token_list(t["tokens"])
        w.add_token_types(t["kinds"])
        if "scores" in t:
            w.add_token_scores(t["scores"])
            w.add_unk_token_id(t["unknown"])
            w.add_bos_token_id(t["bos"])
            w.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}")
        else:
            w.add_tokenizer_pre(t["pre"])
            w.add_token_merges(t["merges"])
        w.add_eos_token_id(t["eos"])
        w.add_add_bos_token(t["add_bos"])
        golden["token_ids"] = np.array(t["ids"], np.int64)
    names = gguf.get_tensor_name_map({name: a for a, name in gguf.MODEL_ARCH_NAMES.items()}[arch], layers)
    tied = config.get("tie_word_embeddings", False) or model.get_output_embeddings().weight is model.get_input_embeddings().weight
    state, stacked = {}, {}
    for name, x in model.state_dict().items():
        if name.endswith((".attn.bias", "masked_bias", "inv_freq")) or (tied and name in ("lm_head.weight", "embed_out.weight")):
            continue
        state[name] = x.numpy()
    kinds = gguf.GGMLQuantizationType
    for name, x in state.items():
        x = modified(arch, name, x, config)
        if x.ndim > 1:
            data = gguf.quants.quantize(x, kinds[kind])
            kept = gguf.quants.dequantize(data, kinds[kind]).astype(np.float32)
        else:
            data, kept = x.astype(np.float32), x.astype(np.float32)
        # What is left of it goes back to transformers: what the converter did is undone by the inverse permutation.
        order = modified(arch, name, np.arange(x.size).reshape(state[name].shape).astype(np.float64), config)
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            back = kept - 1
        else:
            back = np.empty(x.size, np.float32)
            back[order.reshape(-1).astype(np.int64)] = kept.reshape(-1)
        model.state_dict()[name].copy_(torch.from_numpy(back.reshape(state[name].shape)))
        if ".norms." in name:
            stem = name[: name.index(".norms.")]
            stacked.setdefault(stem, []).append(data)
            continue
        own_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        w.add_tensor(own_name, data, raw_dtype=kinds[kind] if x.ndim > 1 else kinds.F32)
    for stem, rows in stacked.items():
        w.add_tensor(names.get_name(stem) + ".weight", np.stack(rows))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    ids = torch.arange(3, 3 + 2 * 9).reshape(2, 9) * 7 % 53
    with torch.no_grad():
        o = model(ids, output_hidden_states=True, output_attentions=True)
    golden.update(ids=ids.numpy(), logits=o.logits.numpy())
    for layer in range(layers):
        golden[f"{layer}.pre-block"] = o.hidden_states[layer].numpy()
        golden[f"{layer}.attn-weights"] = o.attentions[layer].numpy()
    save_file({name: np.ascontiguousarray(x) for name, x in golden.items()}, out / f"{arch}.safetensors")


out = pathlib.Path(sys.argv[1])
out.mkdir(exist_ok=True)
for arch in sys.argv[2:] or CASES:
    write(arch, out)
    print(arch, (out / f"{arch}.gguf").stat().st_size)
