"""Write a checkpoint of a real model's shape with random weights, for timings: python checkpoint.py OUT [NAME]

NAME: opt-125m (default) | pythia-70m | gpt2 | qwen3-0.6b. Float32 safetensors, so that every peer loads the
same bytes; a 50k-token byte-level tokenizer is not needed by the timings (they pass token ids).
"""
import json, sys, torch, transformers as t
from safetensors.torch import save_file
out, name = sys.argv[1], (sys.argv[2:] or ["opt-125m"])[0]
torch.manual_seed(0)
config = {
    "opt-125m": lambda: t.OPTConfig(dropout=0.0, attention_dropout=0.0),
    "pythia-70m": lambda: t.GPTNeoXConfig(vocab_size=50304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8, intermediate_size=2048, rotary_pct=0.25),
    "gpt2": lambda: t.GPT2Config(),
    "qwen3-0.6b": lambda: t.Qwen3Config(vocab_size=151936, hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128, intermediate_size=3072, tie_word_embeddings=True),
}[name]()
model = t.AutoModelForCausalLM.from_config(config).float()
model.save_pretrained(out, safe_serialization=True)
