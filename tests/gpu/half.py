"""What transformers itself shows between float32 and a half type: python half.py DTYPE FIXTURE... prints name and difference of each."""
import pathlib, sys
import torch, transformers
from safetensors.torch import load_file

torch.set_grad_enabled(False)
torch.backends.cuda.matmul.allow_tf32 = False
device = "cuda" if torch.cuda.is_available() else "cpu"
half = {"f16": torch.float16, "bf16": torch.bfloat16}[sys.argv[1]]
for fixture in sys.argv[2:]:
    ids = load_file(f"{fixture}/golden.safetensors")["ids"].to(device)
    try:
        logits = [
            transformers.AutoModelForCausalLM.from_pretrained(fixture, dtype=dtype, attn_implementation="eager").to(device).eval()(ids).logits.float()
            for dtype in (torch.float32, half)
        ]
    except Exception as cause:  # a fixture in an older style than this transformers reads
        print(pathlib.Path(fixture).name, "nothing", str(cause).splitlines()[0][:60])
        continue
    print(pathlib.Path(fixture).name, (logits[0] - logits[1]).abs().max().item())
