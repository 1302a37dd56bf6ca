"""Write fixtures/<case>/continuation.json: what transformers' own `generate` gives, with its own cache.

    python continuations.py [CASE ...]   # all without a case; needs torch, transformers

Keys: `prompts`, two lists of ids of different lengths, and `pad`; `greedy`, each one's next tokens in a batch padded on the
left; `penalised`, the first prompt's alone under a repetition penalty of `penalty`; `smallest_margin`, between the first and
the second choice along all of them. A case whose margin is below 1e-3 is not written.
"""
import json, os
import torch, transformers
from checkpoints import directories

NEW, PAD, PENALTY = 8, 1, 1.3
transformers.logging.set_verbosity_error()


def margin(scores):
    top = torch.stack(scores).topk(2).values
    return (top[..., 0] - top[..., 1]).min().item()


for directory in directories():
    golden = json.load(open(os.path.join(directory, "golden.json")))
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    model.generation_config = transformers.GenerationConfig(max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=PAD, return_dict_in_generate=True, output_scores=True)
    every = golden["greedy"]["prompt_ids"] + golden["texts"][1]["ids"] + golden["texts"][2]["ids"]
    for start in range(len(every) - 14):  # prompts along which no choice is a near tie
        prompts = [every[start:start + 9], every[start + 9:start + 14]]
        ids = torch.tensor([prompts[0], [PAD] * 4 + prompts[1]])
        mask = torch.tensor([[1] * 9, [0] * 4 + [1] * 5])
        batch = model.generate(ids, attention_mask=mask)
        alone = model.generate(ids[:1], attention_mask=mask[:1], repetition_penalty=PENALTY)
        smallest = min(margin(batch.scores), margin(alone.scores))
        if smallest > 1e-3:
            break
    assert smallest > 1e-3, directory
    out = {"prompts": prompts, "pad": PAD, "greedy": batch.sequences[:, 9:].tolist(), "penalty": PENALTY, "penalised": alone.sequences[0, 9:].tolist(), "smallest_margin": smallest, "transformers": transformers.__version__}
    json.dump(out, open(os.path.join(directory, "continuation.json"), "w"), indent=1)
    print(os.path.basename(directory.rstrip("/")), start, f"{smallest:.3g}", out["greedy"], out["penalised"])
