"""The smallest cases that the tests take: two layers 16 wide, and a tokenizer of some bytes. `generate.py` writes them as the others."""
import json, os
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

COMMON = dict(vocab_size=56, initializer_range=0.25, max_position_embeddings=64)
GATED = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, pad_token_id=None, **COMMON)
GPT = dict(vocab_size=56, n_embd=16, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.25)
LATE = dict(num_hidden_layers=3)
FOUR = dict(num_local_experts=4, num_experts_per_tok=2)
THREE = ["sliding_attention", "sliding_attention", "full_attention"]

CONFIGS = {
    "gemma": lambda: t.GemmaConfig(**GATED, head_dim=8),
    "olmo": lambda: t.OlmoConfig(**GATED, clip_qkv=0.8),
    "gpt-neo": lambda: t.GPTNeoConfig(hidden_size=16, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=5, resid_dropout=0.0, embed_dropout=0.0, attention_dropout=0.0, **COMMON),
    "starcoder2": lambda: t.Starcoder2Config(**GATED, sliding_window=5),
    "granite": lambda: t.GraniteConfig(**GATED, embedding_multiplier=3.0, attention_multiplier=0.4, residual_multiplier=0.6, logits_scaling=2.0, attention_bias=True),
    "cohere": lambda: t.CohereConfig(**GATED, logit_scale=0.5, use_qk_norm=True),
    "cohere2": lambda: t.Cohere2Config(**{**GATED, **LATE}, logit_scale=0.5, sliding_window=5, layer_types=THREE),
    "nemotron": lambda: t.NemotronConfig(**{**GATED, "initializer_range": 0.15}, head_dim=8, attention_bias=True),
    "glm": lambda: t.GlmConfig(**GATED, head_dim=8),
    "glm4": lambda: t.Glm4Config(**GATED, head_dim=8),
    "gpt-bigcode": lambda: t.GPTBigCodeConfig(**GPT),
    "gpt-bigcode-heads": lambda: t.GPTBigCodeConfig(**GPT, multi_query=False),
    "seed-oss": lambda: t.SeedOssConfig(**GATED, head_dim=8, attention_out_bias=True),
    "ernie4_5": lambda: t.Ernie4_5Config(**GATED, head_dim=8, use_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    "smollm3": lambda: t.SmolLM3Config(**GATED, no_rope_layers=[1, 0]),
    "exaone4": lambda: t.Exaone4Config(**{**GATED, **LATE}, sliding_window=5, layer_types=THREE),
    "ministral": lambda: t.MinistralConfig(**GATED, head_dim=4, sliding_window=5, layer_types=["sliding_attention", "full_attention"]),
    "helium": lambda: t.HeliumConfig(**GATED, head_dim=4, attention_bias=True),
    "arcee": lambda: t.ArceeConfig(**{**GATED, "initializer_range": 0.15}, mlp_bias=True),
    "persimmon": lambda: t.PersimmonConfig(**{k: v for k, v in GATED.items() if k != "num_key_value_heads"} | {"initializer_range": 0.15, "hidden_size": 32}),
    "codegen": lambda: t.CodeGenConfig(**{**GPT, "rotary_dim": 2}),
    "olmo3": lambda: t.Olmo3Config(**{**GATED, **LATE}, sliding_window=5, layer_types=THREE, rope_parameters={"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
    "mixtral": lambda: t.MixtralConfig(**GATED, **FOUR, sliding_window=5),
    "qwen2-moe": lambda: t.Qwen2MoeConfig(**GATED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, shared_expert_intermediate_size=20),
    "qwen3-moe": lambda: t.Qwen3MoeConfig(**{**GATED, **LATE}, **FOUR, moe_intermediate_size=12, norm_topk_prob=True, mlp_only_layers=[1]),
    "olmoe": lambda: t.OlmoeConfig(**{**GATED, "intermediate_size": 12}, num_experts=4, num_experts_per_tok=2, eos_token_id=None),
    "granitemoe": lambda: t.GraniteMoeConfig(**{**GATED, "intermediate_size": 12}, **FOUR, embedding_multiplier=3.0, attention_multiplier=0.4, residual_multiplier=0.6, logits_scaling=2.0),
    "gpt-oss": lambda: t.GptOssConfig(**{**GATED, "intermediate_size": 12}, **FOUR, head_dim=8, sliding_window=5, swiglu_limit=1.5, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 16}),
    "glm4-moe": lambda: t.Glm4MoeConfig(**GATED, head_dim=8, n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=12, n_group=4, topk_group=2, routed_scaling_factor=1.5, use_qk_norm=True, attention_bias=True),
    "ernie4_5-moe": lambda: t.Ernie4_5_MoeConfig(**{**GATED, **LATE}, moe_num_experts=4, moe_k=2, moe_intermediate_size=12, moe_norm_min=0.9),
}


def tokenizer(directory):
    """Bytes, of those alone that the prompts and lower-case words have, and two names."""
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder, tok.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    special = ["<|endoftext|>", "<|padding|>", "<unk>"]
    texts = ["Saturating abcdefghijklmnopqrstuvwxyz.", "When Mary and John went to the store,", "naïve 🙂\tx\n\ny  z"]
    tok.train_from_iterator(texts + [" Mary John"] * 9, trainers.BpeTrainer(vocab_size=56, min_frequency=9, special_tokens=special, show_progress=False))
    assert len(tok.encode(" Mary John").ids) == 2 and tok.get_vocab_size() <= 56, tok.get_vocab_size()
    tok.save(os.path.join(directory, "tokenizer.json"), pretty=False)
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": special[0], "eos_token": special[0], "unk_token": "<unk>"}, open(os.path.join(directory, "tokenizer_config.json"), "w"))
    return lambda s: tok.encode(s).ids
