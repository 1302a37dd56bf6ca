"""Small tokenizers of every kind, and what transformers' AutoTokenizer makes of them.

    python token_ids.py OUT

writes into OUT one folder a kind (the files of a checkpoint's tokenizer, and the config.json of a model of no weights) and `golden.json`:
for each kind and for each change of its configs the ids of every text, and the text of these ids with special tokens and without. It needs
transformers, tokenizers, sentencepiece and protobuf.
"""

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import sentencepiece  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers  # noqa: E402
from tokenizers import pre_tokenizers, processors, trainers  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()

CORPUS = [
    "the cat sat on the mat, and the dog sat by the cat.",
    "The Cat! Mary and John went to the store; John gave a drink to Mary.",
    "What's the time? It isn't nine o'clock. They're here, I'm there, we've gone.",
    "the capital of France is Paris. the capital of Japan is Tokyo 東京.",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 23456))\n",
    "über den Wolken, Größe und Maß, naïve café",
    "кошка сидела на коврике, the cat сидела",
    "猫はマットの上に座った。猫が好きです。",
    "قطة على السجادة שלום עולם",
    "numbers 0 1 2 3 12 123 1234 3.14159",
] * 4

TEXTS = [
    "the the cat",
    " the cat sat on the mat.",
    "The Cat isn't 1234 , really ! What 's ?",
    "",
    " ",
    "   \t  \n\n  ",
    "\n",
    "a\nb\r\nc",
    "naïve café Größe",
    "e\u0301 n\u0303 ﬁ Å \u212b",
    "猫はマットの上に座った。",
    "кошка сидела",
    "שלום עולם قطة \u202eabc\u202c",
    "😀 👩‍👩‍👧‍👦 🇫🇷 👍🏽!",
    "a\u0000b",
    "\ufeff\u200b\u00a0x\u3000y",
    "\ufffd x \U0010ffff",
    "<s>the</s> cat<pad>",
    "<|im_start|>user\nthe cat<|im_end|> the",
    "x<|endoftext|>y <unk> [CLS] [MASK] <mask>",
    "word<new> <new>word <new>",
    "pneumonoultramicroscopicsilicovolcanoconiosispseudopseudohypo",
    "▁the Ġthe ##ing <0x41>",
    "the<sep>cats <ctl> cat",
    "x" * 61,
    "  two  spaces   three ",
    "don't do not I 'm he 's they 're we 've ' quoted '",
    "Z̴̢̛a̸l̵g̷o",
]


def train(tokenizer, trainer):
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def template(single, *tokens):
    return processors.TemplateProcessing(single=single, pair=f"{single} $B", special_tokens=list(tokens))


def byte_level(vocab=320, add_prefix_space=False, special=("<|endoftext|>",)):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return train(t, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))


def neox():
    t = byte_level(special=("<|endoftext|>", "<|padding|>"))
    t.normalizer = normalizers.NFC()
    return t


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace("{1,3}", "")


def split(regex, special, nfc=False):
    t = Tokenizer(models.BPE())
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    return train(t, trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))


def llama3():
    t = split(LLAMA3, ["<|begin_of_text|>", "<|end_of_text|>"])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False), template("<|begin_of_text|> $A", ("<|begin_of_text|>", 0))])
    return t


def qwen():
    t = split(QWEN, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def spm(kind, vocab, folder, ascii_only=False, **more):
    """A sentencepiece model, as tokenizer.model."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "corpus.txt"
    lines = [line for text in CORPUS for line in text.split("\n") if line]
    text.write_text("\n".join(line for line in lines if line.isascii() or not ascii_only))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), model_type=kind, vocab_size=vocab, minloglevel=2,
        hard_vocab_limit=False, **more)
    (folder / "tokenizer.vocab").unlink()
    text.unlink()


def spm_bpe(folder):
    spm("bpe", 320, folder, byte_fallback=True, ascii_only=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True)


def spm_unigram(folder):
    spm("unigram", 320, folder, user_defined_symbols=["<sep>", "cat"], control_symbols=["<ctl>"])


def llama2():
    """As Llama 2's: merges of a sentencepiece BPE, with a normalizer that prepends and a decoder that strips."""
    with tempfile.TemporaryDirectory() as temporary:
        spm_bpe(Path(temporary))
        proto = read_proto(Path(temporary) / "tokenizer.model")
    from transformers.convert_slow_tokenizer import generate_merges
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    t = Tokenizer(models.BPE(vocab, generate_merges(vocab, scores), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in ("<unk>", "<s>", "</s>")])
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = template("<s> $A", ("<s>", 1))
    return t


def read_proto(path):
    from transformers.convert_slow_tokenizer import import_protobuf
    proto = import_protobuf().ModelProto()
    proto.ParseFromString(Path(path).read_bytes())
    return proto


def llama_metaspace():
    t = llama2()
    t.normalizer = None
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    return t


def gemma():
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    alphabet = [c for c in sorted(set("".join(CORPUS[:4])))]
    byte = [f"<0x{b:02X}>" for b in range(256)]
    train(t, trainers.BpeTrainer(vocab_size=320, special_tokens=special + byte, limit_alphabet=45, initial_alphabet=alphabet,
                                 show_progress=False))
    # The bytes are no added tokens.
    spec = json.loads(t.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] in special]
    t = Tokenizer.from_str(json.dumps(spec))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.post_processor = template("<bos> $A", ("<bos>", 2))
    return t


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    t.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    train(t, trainers.UnigramTrainer(vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>",
                                     show_progress=False))
    t.post_processor = template("$A </s>", ("</s>", 2))
    return t


def wordpiece():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    train(t, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                                       show_progress=False))
    t.post_processor = template("[CLS] $A [SEP]", ("[CLS]", 2), ("[SEP]", 3))
    return t


def wordlevel():
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return train(t, trainers.WordLevelTrainer(vocab_size=200, special_tokens=["<unk>", "</s>"], show_progress=False))


def end_of_word():
    """As GPT-1's and CLIP's: a word's last token has a suffix."""
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.BPEDecoder("</w>")
    return train(t, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "</s>"], end_of_word_suffix="</w>",
                                        show_progress=False))


def falcon():
    t = byte_level(special=("<|endoftext|>",))
    spec = json.loads(t.to_str())
    t = Tokenizer.from_str(json.dumps(spec))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    return t


# name: (tokenizer, model_type, tokenizer_config)
END = "<|endoftext|>"
LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
KINDS = {
    "byte-level": (byte_level, "gpt2", {"tokenizer_class": "GPT2Tokenizer", "bos_token": END, "eos_token": END, "unk_token": END}),
    "neox": (neox, "gpt_neox", {"tokenizer_class": "GPTNeoXTokenizer", "bos_token": END, "eos_token": END, "unk_token": END}),
    # Without tokenizer.json: vocab.json and merges.txt.
    "slow": (byte_level, "opt", {"tokenizer_class": "GPT2Tokenizer", "bos_token": END, "eos_token": END, "unk_token": END,
                                 "add_bos_token": True}),
    "slow-qwen": (qwen, "qwen2", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": END,
                                  "bos_token": None}),
    # Only tokenizer.model.
    "spm": (spm_bpe, "llama", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, **LLAMA}),
    "spm-bare": (spm_bpe, "mistral", {}),
    "spm-unigram": (spm_unigram, "stablelm", {"add_eos_token": True}),
    "falcon": (falcon, "falcon", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}),
    "llama3": (llama3, "llama", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>",
                                 "eos_token": "<|end_of_text|>"}),
    "qwen": (qwen, "qwen2", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": END, "bos_token": None}),
    "llama2": (llama2, "llama", {"tokenizer_class": "PreTrainedTokenizerFast", **LLAMA}),
    "llama-metaspace": (llama_metaspace, "llama", {"tokenizer_class": "LlamaTokenizer", "legacy": False, **LLAMA}),
    "gemma": (gemma, "gemma2", {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>",
                                "pad_token": "<pad>"}),
    "unigram": (unigram, "stablelm", {"tokenizer_class": "PreTrainedTokenizerFast", **LLAMA, "pad_token": "<pad>"}),
    "wordpiece": (wordpiece, "stablelm", {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "cls_token": "[CLS]",
                                          "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}),
    "wordlevel": (wordlevel, "stablelm", {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}),
    "end-of-word": (end_of_word, "stablelm", {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}),
}

IM = {"content": "<|im_start|>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}


def token(content, **more):
    return {**IM, "content": content, **more}


# What may stand in the configs beside a tokenizer: (name, changes of tokenizer_config.json, other files).
CHANGES = [
    ("as it is", {}, {}),
    ("no config", None, {}),
    ("no class", {"tokenizer_class": None}, {}),
    ("added_tokens_decoder", {"added_tokens_decoder": {"400": IM, "401": token("<|im_end|>"), "402": token("<new>", special=False)}}, {}),
    ("added, stripping", {"added_tokens_decoder": {
        "400": token("<new>", lstrip=True, rstrip=True, special=False), "401": token("the", single_word=True, special=False)}}, {}),
    ("added, normalized", {"added_tokens_decoder": {"400": token("<NEW>", normalized=True, special=False)}}, {}),
    ("added_tokens.json", {}, {"added_tokens.json": {"<|im_end|>": 401, "<|im_start|>": 400, "<new>": 402}}),
    ("both", {"added_tokens_decoder": {"400": IM}}, {"added_tokens.json": {"<|im_end|>": 400, "<new>": 401}}),
    ("add_prefix_space", {"add_prefix_space": True}, {}),
    ("no add_prefix_space", {"add_prefix_space": False}, {}),
    ("add_bos_token", {"add_bos_token": True}, {}),
    ("no add_bos_token", {"add_bos_token": False}, {}),
    ("add_eos_token", {"add_eos_token": True}, {}),
    ("legacy", {"legacy": True}, {}),
    ("no legacy", {"legacy": False}, {}),
    ("clean_up", {"clean_up_tokenization_spaces": True}, {}),
    ("no clean_up", {"clean_up_tokenization_spaces": False}, {}),
    ("clean_up of BPE", {"clean_up_tokenization_spaces": True,
                         "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}, {}),
    ("model_max_length", {"model_max_length": 4}, {}),
    ("sides", {"padding_side": "left", "truncation_side": "left", "model_input_names": ["input_ids"]}, {}),
    ("additional_special_tokens", {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}, {}),
    ("extra_special_tokens", {"extra_special_tokens": ["<new>"]}, {}),
    ("extra_special_tokens by name", {"extra_special_tokens": {"image_token": "<new>"}}, {}),
    ("a token by a name", {"image_token": "<new>"}, {}),
    ("special_tokens_map", {}, {"special_tokens_map.json": {
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "pad_token": "<new>",
        "eos_token": {k: v for k, v in token("cat", rstrip=True).items() if k != "special"}}}),
    ("special_tokens_map beside a decoder", {"added_tokens_decoder": {"400": IM}}, {"special_tokens_map.json": {
        "additional_special_tokens": ["<|im_end|>"], "pad_token": "<new>"}}),
    ("another eos", {"eos_token": "<new>"}, {}),
    ("an eos that strips", {"eos_token": {**token("the", lstrip=True), "__type": "AddedToken"}}, {}),
    ("do_lower_case", {"do_lower_case": True}, {}),
    ("no do_lower_case", {"do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False}, {}),
    ("split_special_tokens", {"split_special_tokens": True}, {}),
    ("errors", {"errors": "strict"}, {}),
    ("use_fast", {"use_fast": False, "from_slow": True, "sp_model_kwargs": {}, "spaces_between_special_tokens": True}, {}),
    ("class GPT2", {"tokenizer_class": "GPT2Tokenizer"}, {}),
    ("class Llama", {"tokenizer_class": "LlamaTokenizer"}, {}),
    ("class LlamaFast", {"tokenizer_class": "LlamaTokenizerFast"}, {}),
    ("class GPTNeoXFast", {"tokenizer_class": "GPTNeoXTokenizerFast"}, {}),
    ("class Fast", {"tokenizer_class": "PreTrainedTokenizerFast"}, {}),
    ("class Backend", {"tokenizer_class": "TokenizersBackend"}, {}),
    ("class unknown", {"tokenizer_class": "MyTokenizer"}, {}),
    ("class Qwen2", {"tokenizer_class": "Qwen2Tokenizer"}, {}),
    ("class Gemma", {"tokenizer_class": "GemmaTokenizer"}, {}),
    ("class Cohere", {"tokenizer_class": "CohereTokenizer"}, {}),
]


def compact(path):
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")))


def ask(folder):
    """The ids and texts, or why there are none."""
    try:
        return asked(AutoTokenizer.from_pretrained(folder))
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def asked(t):
    if len(t(TEXTS[0], add_special_tokens=False)["input_ids"]) < 2:
        return {"error": f"{type(t).__name__} found no vocabulary"}
    ids = [t(text)["input_ids"] for text in TEXTS]
    plain = [t(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    return {
        "class": type(t).__name__, "ids": ids, "plain": plain,
        "decoded": [t.decode(i) for i in ids], "text": [t.decode(i, skip_special_tokens=True) for i in ids],
        "pad": t.pad_token_id,
    }


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    golden = {"transformers": transformers.__version__, "texts": TEXTS, "kinds": {}}
    for name, (build, model_type, config) in KINDS.items():
        folder = out / name
        folder.mkdir(parents=True)
        if name.startswith("spm"):
            build(folder)
        else:
            tokenizer = build()
            (folder / "tokenizer.json").write_text(tokenizer.to_str())
            compact(folder / "tokenizer.json")
        if name.startswith("slow"):
            (folder / "tokenizer.json").unlink()
            tokenizer.model.save(str(folder))
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        cases = []
        first = None
        for change, fields, files in CHANGES:
            with tempfile.TemporaryDirectory() as temporary:
                at = Path(temporary) / "checkpoint"
                shutil.copytree(folder, at)
                changed = None if fields is None else {k: v for k, v in {**config, **fields}.items() if v is not None or k == "bos_token"}
                if changed is not None:
                    (at / "tokenizer_config.json").write_text(json.dumps(changed))
                for file, content in files.items():
                    (at / file).write_text(json.dumps(content))
                said = ask(at)
            first = first or said
            # Only what differs from the kind as it is.
            kept = {key: said[key] if first is said or not isinstance(said[key], list) else
                    {i: x for i, x in enumerate(said[key]) if x != first[key][i]}
                    for key in said}
            cases.append({"change": change, "config": changed, "files": files, **kept})
        golden["kinds"][name] = cases
    (out / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
