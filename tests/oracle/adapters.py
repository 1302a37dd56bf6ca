"""LoRA adapters as PEFT writes them, and the logits that PEFT computes with them.

    python adapters.py FIXTURES OUT      # FIXTURES has the base models; OUT/<case> gets each adapter

Each case has adapter_config.json, adapter_model.safetensors with random factors, and golden.safetensors: `ids` [b,n] of the base
model's golden and `logits` [b,n,v], computed in float64 by the model with the adapter apart, not merged. Needs peft.
"""
import json, os, sys
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

CASES = {
    # A list of modules, ranks and alphas of some of them.
    "llama": dict(base="llama", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"],
                  rank_pattern={"down_proj": 2}, alpha_pattern={r"model.layers.0.self_attn.q_proj": 16}),
    # Conv1D, and the scale of rank-stabilised LoRA.
    "gpt2": dict(base="gpt2", r=4, lora_alpha=6, use_rslora=True, fan_in_fan_out=True, target_modules=["c_attn", "c_proj"]),
    # A regular expression, and biases beside the adapted modules.
    "opt": dict(base="opt", r=3, lora_alpha=9, bias="lora_only",
                target_modules=r".*\.layers\.[01]\.(fc1|self_attn\.k_proj)"),
    # Every linear module, and every bias.
    "gpt-neox": dict(base="gpt-neox", r=2, lora_alpha=4, bias="all", target_modules="all-linear"),
    # An embedding; one layer alone, and a module that is stored whole.
    "embedding": dict(base="llama", r=2, lora_alpha=4, target_modules=["embed_tokens", "gate_proj"]),
    "mistral": dict(base="mistral", r=2, lora_alpha=4, target_modules=["gate_proj"], layers_to_transform=[1], modules_to_save=["lm_head"]),
}


def main(fixtures, out):
    for case, settings in CASES.items():
        torch.manual_seed(len(case))
        settings = dict(settings)
        base = settings.pop("base")
        model = AutoModelForCausalLM.from_pretrained(os.path.join(fixtures, base), dtype=torch.float64, attn_implementation="eager")
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
        # Random factors in float32, so that the file has exactly what was computed with.
        trained = 0
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.data = (p.data + 0.1 * torch.randn(p.shape, dtype=torch.float64)).float().double()
                trained += 1
        directory = os.path.join(out, case)
        os.makedirs(directory, exist_ok=True)
        ids = load_file(os.path.join(fixtures, base, "golden.safetensors"))["ids"].long()
        with torch.no_grad():
            logits = model(ids).logits
            with model.disable_adapter():
                plain = model(ids).logits
        model.float()
        model.save_pretrained(directory, save_embedding_layers=False)
        for extra in ("README.md",):
            path = os.path.join(directory, extra)
            if os.path.exists(path):
                os.remove(path)
        config = json.load(open(os.path.join(directory, "adapter_config.json")))
        config["base_model_name_or_path"] = base
        json.dump(config, open(os.path.join(directory, "adapter_config.json"), "w"), indent=1, sort_keys=True)
        save_file({"ids": ids, "logits": logits.float()}, os.path.join(directory, "golden.safetensors"))
        print(case, trained, "tensors; logits move by", (logits - plain).abs().max().item())


main(*sys.argv[1:])
