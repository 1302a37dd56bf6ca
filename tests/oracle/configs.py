"""What transformers makes of configs that differ from a family's usual one in a key or a few: tests/fixtures/configs.

    python configs.py ../fixtures/configs [FAMILY ...]

Of each family FAMILY.safetensors (a tiny random checkpoint, float16) and FAMILY.json:
  configs   the usual config, as transformers 5 saves it (new) and as it was before `rope_parameters` (old)
  logits    for each distinct outcome the first six logits at the last position of IDS, in float32
  cases     [style, {key: value, ...}, outcome]: the keys are set in the config of that style. A key `a/b` is b in the map a; the value
            "<drop>" removes it; the key "<head>" adds the tensor `head` to the checkpoint as lm_head.weight. The outcome is a place in
            `logits`, or null: transformers refuses the config, or does not find or fit its weights
Each key of a config is dropped, nulled, flipped or scaled; COMMON and MORE are what well-known checkpoints have besides.
"""
import copy, json, os, re, sys
import torch, transformers
from safetensors.torch import save_file
import experts
from checkpoints import saved
from transformers import AutoModelForCausalLM, CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
IDS = torch.tensor([[3, 17, 5, 29, 11, 2, 38, 23, 7, 31, 13, 1]])
DROP = "<drop>"
IDLE = re.compile(r"dropout|pdrop|^layerdrop$|^use_cache$|_token_id$|^initializer_range$|^init_std$|^summary_|^is_decoder$|^add_cross_attention$"
                  r"|^architectures$|^transformers_version$|^dtype$|^torch_dtype$|^model_type$|^chunk_size|^id2label$|^label2id$|^output_|^return_dict$|^problem_type$"
                  r"|^is_encoder_decoder$|^_name_or_path$|^classifier|^output_router_logits$|^router_aux_loss_coef$")
GATED = dict(vocab_size=40, hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32)
PLAIN = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=32)
GPT = dict(vocab_size=40, n_embd=32, n_layer=2, n_head=4, n_positions=32)
NOPAD = dict(pad_token_id=None)
FOUR = dict(num_local_experts=4, num_experts_per_tok=2)
USUAL = {
    "opt": {**PLAIN, "ffn_dim": 24, "word_embed_proj_dim": 32},
    "gpt_neox": {**PLAIN, "intermediate_size": 24},
    "gpt2": GPT,
    "llama": GATED,
    "mistral": {**GATED, "sliding_window": 5},
    "qwen2": GATED,
    "qwen3": {**GATED, "head_dim": 8},
    "gemma2": {**GATED, "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 16, **NOPAD},
    "gemma3_text": {**GATED, "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 16, **NOPAD},
    "phi": {**PLAIN, "intermediate_size": 24},
    "phi3": {**GATED, "sliding_window": 5, **NOPAD},
    "gptj": {**GPT, "rotary_dim": 4},
    "stablelm": {**GATED, "num_hidden_layers": 2},
    "olmo2": {**GATED, "num_hidden_layers": 2, **NOPAD},
    "falcon": PLAIN,
    "gemma": {**GATED, "head_dim": 8, "num_hidden_layers": 2, **NOPAD},
    "olmo": {**GATED, "num_hidden_layers": 2, "clip_qkv": 2.0, **NOPAD},
    "olmo3": {**GATED, "num_hidden_layers": 2, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"], **NOPAD},
    "gpt_neo": {"vocab_size": 40, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 32, "window_size": 5, "attention_types": [[["global", "local"], 1]], "intermediate_size": 24},
    "gpt_bigcode": {**GPT, "n_inner": 24},
    "starcoder2": {**GATED, "num_hidden_layers": 2, "sliding_window": 5},
    "nemotron": {**GATED, "num_hidden_layers": 2},
    "granite": {**GATED, "num_hidden_layers": 2, "embedding_multiplier": 3.0, "attention_multiplier": 0.4, "residual_multiplier": 0.6, "logits_scaling": 2.0},
    "cohere": {**GATED, "num_hidden_layers": 2, "logit_scale": 0.5, **NOPAD},
    "cohere2": {**GATED, "num_hidden_layers": 2, "logit_scale": 0.5, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"], **NOPAD},
    "glm": {**GATED, "num_hidden_layers": 2, "head_dim": 8, **NOPAD},
    "glm4": {**GATED, "num_hidden_layers": 2, "head_dim": 8, **NOPAD},
    "seed_oss": {**GATED, "num_hidden_layers": 2, "head_dim": 8, **NOPAD},
    "ernie4_5": {**GATED, "num_hidden_layers": 2, "head_dim": 8, **NOPAD},
    "smollm3": {**GATED, "num_hidden_layers": 2, "no_rope_layers": [1, 0], **NOPAD},
    "exaone4": {**GATED, "num_hidden_layers": 2, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]},
    "ministral": {**GATED, "num_hidden_layers": 2, "head_dim": 8, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]},
    "helium": {**GATED, "num_hidden_layers": 2, "head_dim": 8, **NOPAD},
    "arcee": {**GATED, "num_hidden_layers": 2},
    "persimmon": {**PLAIN, "intermediate_size": 24},
    "codegen": {**GPT, "rotary_dim": 4, "n_inner": 24},
    "mixtral": {**GATED, "num_hidden_layers": 2, **FOUR},
    "qwen2_moe": {**GATED, "num_hidden_layers": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "shared_expert_intermediate_size": 20},
    "qwen3_moe": {**GATED, "num_hidden_layers": 2, **FOUR, "moe_intermediate_size": 12},
    "olmoe": {**GATED, "num_hidden_layers": 2, "num_experts": 4, "num_experts_per_tok": 2, "clip_qkv": 0.8, **NOPAD},
    "granitemoe": {**GATED, "num_hidden_layers": 2, **FOUR, "embedding_multiplier": 3.0, "attention_multiplier": 0.4, "residual_multiplier": 0.6, "logits_scaling": 2.0},
    "gpt_oss": {**GATED, "num_hidden_layers": 2, "intermediate_size": 12, **FOUR, "head_dim": 8, "sliding_window": 5, "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 16}},
    "glm4_moe": {**GATED, "num_hidden_layers": 2, "head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "n_group": 2},
    "ernie4_5_moe": {**GATED, "num_hidden_layers": 2, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 12, **NOPAD},
    "bloom": {k: v for k, v in {**PLAIN, "n_layer": 2, "n_head": 4}.items() if k not in ("num_hidden_layers", "num_attention_heads", "max_position_embeddings")},
}
# Keys that checkpoints have, whatever the family.
COMMON = [
    {"rope_theta": 500.0}, {"rope_theta": None}, {"partial_rotary_factor": 0.5}, {"partial_rotary_factor": 1.0}, {"head_dim": 4}, {"head_dim": 16}, {"head_dim": 8},
    {"sliding_window": 4}, {"sliding_window": None}, {"use_sliding_window": True}, {"is_causal": False}, {"is_causal": True}, {"max_sequence_length": 64},
    {"unsloth_fixed": True}, {"rope_interleaved": False}, {"lm_head_bias": False}, {"mlp_bias": False}, {"attention_bias": False}, {"layer_types": None},
    {"hidden_act": "quick_gelu"}, {"hidden_act": "mish"}, {"hidden_act": "relu2"}, {"activation_function": "quick_gelu"}, {"activation": "quick_gelu"}, {"something_unknown": 3},
    {"tie_word_embeddings": True, "<head>": 1}, {"tie_word_embeddings": False, "<head>": 1}, {"use_bidirectional_attention": True}, {"_sliding_window_pattern": 6},
    {"dual_chunk_attention_config": {"chunk_size": 4}}, {"original_max_position_embeddings": 8}, {"n_ctx": 32}, {"seq_length": 64}, {"type_vocab_size": 2},
    {"rotary_pct": 0.5}, {"rotary_emb_base": 500}, {"rotary": True}, {"pretraining_tp": 2}, {"slow_but_exact": True}, {"n_embed": 32}, {"hidden_size": 32}, {"num_hidden_layers": 2},
]
ROPE = [
    {"rope_type": "linear", "factor": 4.0}, {"type": "linear", "factor": 4.0}, {"rope_type": "linear"}, {"rope_type": "dynamic", "factor": 4.0}, {"rope_type": "default"}, {"rope_type": None},
    {"rope_type": "default", "factor": 4.0}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}, {"type": "yarn", "factor": 4.0}, {"rope_type": "yarn"},
    {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 8},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "attention_factor": 1.3, "beta_fast": 16.0, "beta_slow": 2.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "mscale": 1.0, "mscale_all_dim": 0.7, "truncate": False},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "mscale": 0.7}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "truncate": None},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}, {"rope_type": "longrope", "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [2.0, 3.0, 4.0, 5.0], "original_max_position_embeddings": 8},
    {"type": "su", "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [2.0, 3.0, 4.0, 5.0]},
    {"type": "su", "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [2.0, 3.0, 4.0, 5.0], "original_max_position_embeddings": 8},
    {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0], "original_max_position_embeddings": 8}, {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}, {},
]
MORE = {
    "qwen2": [{"use_sliding_window": True, "max_window_layers": n, "sliding_window": 4, "layer_types": DROP} for n in (0, 1, 3)]
    + [{"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention", "sliding_attention", "full_attention"]}, {"layer_types": ["sliding_attention"] * 3}, {"layer_types": ["full_attention"] * 2}],
    "gpt2": [{"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True}],
    "falcon": [{"alibi": True}, {"multi_query": False, "<weights>": "rw", "parallel_attn": False, "alibi": True, "bias": True}],
    "bloom": [{"slow_but_exact": True, "pretraining_tp": 2}],
    "gpt_neox": [{"rotary_pct": share} for share in (0.3, 0.4, 0.7, 0.95, 0.05)] + [{"rope_parameters/partial_rotary_factor": share} for share in (0.4, 0.7, 0.95)],
    "phi": [{"partial_rotary_factor": share} for share in (0.4, 0.7, 0.75)],
    "phi3": [{"partial_rotary_factor": 0.75, "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.2], "long_factor": [2.0, 3.0, 4.0]}, "original_max_position_embeddings": 8}, {"partial_rotary_factor": 0.7}],
    "gemma3_text": [{"use_bidirectional_attention": True}, {"sliding_window_pattern": 2, "layer_types": DROP}, {"rope_local_base_freq": 50.0}, {"rope_local_base_freq": 50.0, "rope_parameters": DROP}]
    + [{"rope_parameters/full_attention/rope_type": "linear", "rope_parameters/full_attention/factor": 4.0}, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_parameters": DROP, "rope_theta": 500.0}],
}
MORE["qwen3"] = MORE["qwen2"]
MORE["gpt_bigcode"] = [{"multi_query": False, "<weights>": "heads"}, {"attention_softmax_in_fp32": False, "scale_attention_softmax_in_fp32": False}]
MORE["gpt_neo"] = [{"attention_layers": ["local", "local"]}, {"attention_types": [[["local"], 2]]}, {"attention_types": [[["local"], 2]], "attention_layers": DROP}, {"attention_layers": DROP}, {"attention_types": [[["sparse"], 2]], "attention_layers": DROP}]
MORE["gemma"] = [{"hidden_act": "gelu"}, {"hidden_activation": "gelu_pytorch_tanh"}, {"hidden_act": "gelu_python"}]
MORE["cohere"] = [{"use_qk_norm": True, "<weights>": "qk"}]
MORE["cohere2"] = [{"sliding_window_pattern": 2, "layer_types": DROP}, {"sliding_window": None, "layer_types": ["full_attention"] * 2}]
MORE["exaone4"] = [{"sliding_window": None, "layer_types": ["full_attention"] * 2}, {"sliding_window_pattern": "LG"}, {"sliding_window_pattern": 2, "layer_types": DROP}, {"sliding_window": None, "sliding_window_pattern": None}]
MORE["smollm3"] = [{"use_sliding_window": True, "sliding_window": 4, "layer_types": DROP}, {"no_rope_layers": DROP, "no_rope_layer_interval": 2}, {"no_rope_layers": [1]}, {"no_rope_layers": [1, 0, 1]}]
for family in ("nemotron", "glm", "glm4"):
    MORE[family] = [{"partial_rotary_factor": share} for share in (0.25, 0.3, 0.4, 0.7, 0.75)]


def put(config, change):
    config = copy.deepcopy(config)
    for key, value in change.items():
        if key.startswith("<"):
            continue
        *path, last = key.split("/")
        at = config
        for part in path:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                return config
        if value == DROP:
            at.pop(last, None)
        else:
            at[last] = value
    return config


def others(value):
    """What else a value of this kind may be."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value * 2, value // 2 if isinstance(value, int) else value / 2]
    if isinstance(value, str):
        return ["relu", "gelu_new", "silu"] if re.search(r"relu|gelu|silu", value) else [value + "x"]
    if isinstance(value, list):
        return [value[::-1], value[1:]]
    return [3]


def changes(config, prefix=""):
    for key, value in config.items():
        if IDLE.search(key):
            continue
        key = prefix + key
        yield {key: DROP}
        yield {key: None}
        if isinstance(value, dict):
            yield from changes(value, key + "/")
        else:
            for other in others(value):
                yield {key: other}


def old_style(family, config):
    config = copy.deepcopy(config)
    rope = config.pop("rope_parameters", None)
    config["torch_dtype"] = config.pop("dtype", None) or "float32"
    config.pop("layer_types", None)
    if family == "olmo3":
        config["rope_theta"], config["rope_scaling"] = rope["full_attention"]["rope_theta"], None
    elif family == "gemma3_text":
        config["rope_theta"], config["rope_local_base_freq"] = rope["full_attention"]["rope_theta"], rope["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = config.pop("_sliding_window_pattern")
    elif family == "gpt_neox":
        config["rotary_emb_base"], config["rotary_pct"] = rope["rope_theta"], rope["partial_rotary_factor"]
    elif rope:
        config["rope_theta"], config["rope_scaling"] = rope["rope_theta"], None
        if family == "gpt_oss":
            config["rope_scaling"] = {k: v for k, v in rope.items() if k != "rope_theta"}
        if "partial_rotary_factor" in rope:
            config["partial_rotary_factor"] = rope["partial_rotary_factor"]
    return config


def random_weights(family, config):
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family].from_dict(copy.deepcopy(config)), attn_implementation="eager")
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(((torch.randn_like(p) * (0.3 if p.dim() > 1 else 0.2)) + (1.0 if p.dim() == 1 and name.endswith("weight") and "gemma" not in family else 0.0)).half().float())
    state = saved(model) if family in experts.FAMILIES else {k: v.clone() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state


def outcome(family, config, state):
    try:
        made = CONFIG_MAPPING[family].from_dict(copy.deepcopy(config))
        model, info = MODEL_FOR_CAUSAL_LM_MAPPING[type(made)].from_pretrained(None, config=made, state_dict={k: v.clone() for k, v in state.items()}, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
        if info["missing_keys"] or info["mismatched_keys"]:
            return None
        with torch.no_grad():
            logits = model.eval()(IDS).logits[0, -1, :6]
        return tuple(round(x, 5) for x in logits.tolist()) if logits.isfinite().all() else None
    except Exception:
        return None


def build(family, out):
    torch.manual_seed(sum(map(ord, family)))
    made = CONFIG_MAPPING[family](**USUAL[family])
    new = {k: v for k, v in json.loads(json.dumps(made.to_dict())).items() if k not in ("id2label", "label2id", "_name_or_path")}
    configs = {"new": new, "old": old_style(family, new)}
    weights = {"": random_weights(family, new)}
    head = (torch.randn(new["vocab_size"], 32) * 0.3).half().float()
    logits, cases, seen = [], [], set()
    for style, config in configs.items():
        ropes = [{"rope_scaling": map_} for map_ in ROPE] + ([{"rope_parameters": map_} for map_ in ROPE] if style == "new" else [])
        for change in [{}, *changes(config), *COMMON, *MORE.get(family, []), *ropes]:
            key = json.dumps([style, change])
            if key in seen:
                continue
            seen.add(key)
            which = change.get("<weights>", "")
            if which not in weights:
                weights[which] = random_weights(family, put(config, change))
            state = dict(weights[which])
            if "<head>" in change:
                state["lm_head.weight"] = head
            result = outcome(family, put(config, change), state)
            if result is not None and result not in logits:
                near = next((at for at, known in enumerate(logits) if max(abs(a - b) for a, b in zip(known, result)) < 3e-5), None)
                if near is None:
                    logits.append(result)
                else:
                    result = logits[near]
            cases.append([style, change, None if result is None else logits.index(result)])
    stored = {f"{which}/{name}" if which else name: tensor.half().contiguous() for which, state in weights.items() for name, tensor in state.items()}
    save_file({**stored, "head": head.half()}, os.path.join(out, f"{family}.safetensors"))
    with open(os.path.join(out, f"{family}.json"), "w") as file:
        file.write('{"configs": ' + json.dumps(configs) + ',\n"logits": ' + json.dumps(logits) + ',\n"cases": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]}\n")
    refused = sum(case[2] is None for case in cases)
    print(family, len(cases), "cases,", refused, "refused,", len(logits), "outcomes", flush=True)


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    for family in sys.argv[2:] or USUAL:
        build(family, sys.argv[1])
