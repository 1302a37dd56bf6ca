"""What transformers' config class of each family reads, and what it takes where config.json has no such field.

    python classes.py ../../src/model/load/classes.json

Of a family: `fields`, the class's fields with their defaults; `nullable`, those that may be null; `others`, other names of a field
(its attribute_map); `also`, what the model's code reads of a config although the class has no such field. Fields that matter to
training, generation and bookkeeping alone are left out: `src/model/load/known.rs` has them.
"""
import dataclasses, json, pathlib, re, sys, typing
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

FAMILIES = """opt gpt_neox gpt2 llama mistral qwen2 qwen3 gemma2 gemma3_text phi phi3 gptj stablelm olmo2 falcon bloom
gemma olmo olmo3 gpt_neo gpt_bigcode starcoder2 nemotron granite cohere cohere2 glm glm4 seed_oss ernie4_5 smollm3 exaone4
ministral helium arcee persimmon codegen
mixtral qwen2_moe qwen3_moe olmoe granitemoe gpt_oss glm4_moe ernie4_5_moe""".split()
# Dropout, caches, other tasks, tokens: src/model/load/known.rs ignores them in every family.
IDLE = re.compile(r"dropout|pdrop|^layerdrop$|^use_cache$|_token_id$|^initializer_range$|^init_std$|^summary_|^is_decoder$|^add_cross_attention$"
                  r"|^output_router_logits$|^router_aux_loss_coef$")
BASE = {f.name for f in dataclasses.fields(transformers.PretrainedConfig)} - {"tie_word_embeddings"}
ALSO = {"head_dim"}


def of(family):
    config = CONFIG_MAPPING[family]
    fields, nullable = {}, []
    for field in dataclasses.fields(config):
        if field.name in BASE or IDLE.search(field.name):
            continue
        made = field.default_factory
        default = field.default if field.default is not dataclasses.MISSING else None if made is dataclasses.MISSING else made()
        name = config.attribute_map.get(field.name, field.name)
        fields[name] = default
        if default is None or type(None) in typing.get_args(field.type) or "None" in str(field.type):
            nullable.append(name)
    code = "".join(p.read_text() for p in pathlib.Path(sys.modules[config.__module__].__file__).parent.glob("modeling_*.py"))
    reads = set(re.findall(r'config\.(\w+)', code)) | set(re.findall(r'getattr\((?:self\.)?config, "(\w+)"', code))
    return {"fields": fields, "nullable": nullable, "others": config.attribute_map, "also": sorted(reads & ALSO - set(fields))}


if __name__ == "__main__":
    lines = [f"{json.dumps(family)}: {json.dumps(of(family))}" for family in FAMILIES]
    pathlib.Path(sys.argv[1]).write_text("{\n" + ",\n".join(lines) + "\n}\n")
