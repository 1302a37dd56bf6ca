"""The fixtures' checkpoints as `reference` reads them."""
import glob, os, sys, tempfile
import torch
from safetensors.torch import load_file

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def directories():
    """The fixtures that the command line names, or all."""
    every = sorted(os.path.dirname(path) for path in glob.glob(os.path.join(FIXTURES, "*", "golden.json")))
    return [d for d in every if len(sys.argv) == 1 or os.path.basename(d) in sys.argv[1:]]


def stored(directory):
    """A checkpoint's tensors under its own names."""
    state = {}
    for path in glob.glob(os.path.join(directory, "model*.safetensors")):
        state.update(load_file(path))
    for path in glob.glob(os.path.join(directory, "pytorch_model*.bin")):
        state.update(torch.load(path, weights_only=True))
    return state


def names(directory, config):
    """The checkpoint's name of each weight, by its usual name: some leave out a prefix."""
    prefix = {"opt": "model.", "gpt2": "transformer.", "bloom": "transformer."}.get(config["model_type"], "")
    return {k if k.startswith(prefix) or k.startswith("lm_head") else prefix + k: k for k in stored(directory)}


def weights(directory, config):
    """A checkpoint's tensors under the names that `reference` has for them."""
    state = stored(directory)
    return {usual: state[own] for usual, own in names(directory, config).items()}


def saved(model):
    """A model's tensors under the names that its files have."""
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        return {k: v for path in glob.glob(directory + "/*.safetensors") for k, v in load_file(path).items()}
