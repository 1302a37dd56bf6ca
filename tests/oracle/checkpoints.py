"""The fixtures' checkpoints as `reference` reads them."""
import glob, os, sys
import torch
from safetensors.torch import load_file

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def directories():
    """The fixtures that the command line names, or all."""
    every = sorted(os.path.dirname(path) for path in glob.glob(os.path.join(FIXTURES, "*", "golden.json")))
    return [d for d in every if len(sys.argv) == 1 or os.path.basename(d) in sys.argv[1:]]


def weights(directory, config):
    state = {}
    for path in glob.glob(os.path.join(directory, "model*.safetensors")):
        state.update(load_file(path))
    for path in glob.glob(os.path.join(directory, "pytorch_model*.bin")):
        state.update(torch.load(path, weights_only=True))
    prefix = {"opt": "model.", "gpt2": "transformer.", "bloom": "transformer."}.get(config["model_type"], "")
    return {k if k.startswith(prefix) or k.startswith("lm_head") else prefix + k: v for k, v in state.items()}
