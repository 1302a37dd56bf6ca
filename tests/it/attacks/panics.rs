//! Libraries that panic on what others wrote: the panic becomes a sentence of the file's, and what
//! was going on goes on.

use serde_json::{Value, json};

use super::forge::ended;
use crate::binary::Workplace;
use crate::fixture::directory;

/// A model `m` whose tokenizer.json has `value` in place of `field`.
fn with_tokenizer(field: &str, value: Value) -> Workplace {
    let here = Workplace::new(&[]);
    for entry in std::fs::read_dir(directory("gpt2")).unwrap() {
        let path = entry.unwrap().path();
        here.write(
            &format!("m/{}", path.file_name().unwrap().to_str().unwrap()),
            &std::fs::read(&path).unwrap(),
        );
    }
    let path = here.path().join("m/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    tokenizer[field] = value;
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    here
}

fn tokenizers() -> Vec<(&'static str, &'static str, Value)> {
    let template = |single: Value, tokens: Value| json!({"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens});
    let special = json!([{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
    let replace = |pattern: Value| json!({"type": "Replace", "pattern": pattern, "content": "x"});
    vec![
        ("an empty pattern", "normalizer", replace(json!({"String": ""}))),
        ("an empty expression", "normalizer", replace(json!({"Regex": ""}))),
        ("an expression that is none", "normalizer", replace(json!({"Regex": "(("}))),
        (
            "an empty split",
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false}),
        ),
        (
            "an expression that goes back and forth",
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": true}),
        ),
        (
            "a charsmap of nonsense",
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
        ),
        (
            "an empty charsmap",
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": ""}),
        ),
        (
            "a charsmap that lies",
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "ALQCAACEAAA="}),
        ),
        ("a token that is not there", "post_processor", template(special.clone(), json!({}))),
        (
            "a token without ids",
            "post_processor",
            template(special.clone(), json!({"[X]": {"id": "[X]", "ids": [], "tokens": []}})),
        ),
        (
            "more ids than tokens",
            "post_processor",
            template(special, json!({"[X]": {"id": "[X]", "ids": [1, 2, 3], "tokens": ["a"]}})),
        ),
        ("a template of nothing", "post_processor", template(json!([]), json!({}))),
        (
            "a length of 0",
            "truncation",
            json!({"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0}),
        ),
        (
            "a stride beyond",
            "truncation",
            json!({"direction": "Right", "max_length": 1, "strategy": "OnlySecond", "stride": 9}),
        ),
        (
            "a padding of 0",
            "padding",
            json!({"strategy": {"Fixed": 0}, "direction": "Left", "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": ""}),
        ),
        ("a model of nothing", "model", json!({"type": "BPE", "vocab": {}, "merges": []})),
        ("a unigram of nothing", "model", json!({"type": "Unigram", "unk_id": 7, "vocab": []})),
        (
            "a unigram without its unknown",
            "model",
            json!({"type": "Unigram", "unk_id": 9, "vocab": [["a", -1.0]], "byte_fallback": false}),
        ),
        (
            "a unigram of infinities",
            "model",
            json!({"type": "Unigram", "unk_id": 0, "vocab": [["", 0.0], ["a", -1e308]]}),
        ),
        (
            "words of nothing",
            "model",
            json!({"type": "WordPiece", "unk_token": "", "continuing_subword_prefix": "", "max_input_chars_per_word": 0, "vocab": {}}),
        ),
        (
            "a level of nothing",
            "model",
            json!({"type": "WordLevel", "vocab": {}, "unk_token": "x"}),
        ),
        (
            "merges of what is not there",
            "model",
            json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}),
        ),
        (
            "the last id",
            "model",
            json!({"type": "BPE", "vocab": {"a": 4294967295u32}, "merges": []}),
        ),
        (
            "an added token without text",
            "added_tokens",
            json!([{"id": 0, "content": "", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}]),
        ),
        (
            "an added token far away",
            "added_tokens",
            json!([{"id": 4294967295u32, "content": "a", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}]),
        ),
        (
            "a decoder that strips more than there is",
            "decoder",
            json!({"type": "Strip", "content": "a", "start": 18446744073709551615u64, "stop": 18446744073709551615u64}),
        ),
        ("a decoder without a pattern", "decoder", replace(json!({"String": ""}))),
        ("a length of digits", "pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
    ]
}

#[test]
fn a_tokenizer_of_nonsense_is_a_sentence_or_works() {
    const USED: &str = "\
        let m = model(\"m\"); let n = 0;\n\
        for f in [|| m.encode(\"Hello a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"), || m.encode([\"a\", \"bb\"], #{special: false}), || m.decode([0, 1, 2]), || m.tokens(\"a b\"), || m.token_id(\"a\"), || m.encode(\"\")] {\n\
            try { f.call(); } catch (e) { n += 1; print(e); }\n\
        }\n\
        print(\"went on\")";
    for (what, field, value) in tokenizers() {
        let here = with_tokenizer(field, value);
        here.write("s.rhai", USED.as_bytes());
        let ran = ended(here.command(&["run", "s.rhai"]), "");
        assert_eq!(ran.code, Some(0), "{what}: {}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("went on"), "{what}: {}", ran.stdout);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        for raw in ["this is a bug", "panicked", "unwrap", ".rs:", "index out of"] {
            assert!(!said.contains(raw), "{what}: {said}");
        }
    }
}

/// The panic of a library ends neither the session nor what it holds.
#[test]
fn a_session_outlives_a_broken_tokenizer() {
    let template = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": [], "special_tokens": {}});
    let here = with_tokenizer("post_processor", template);
    let typed = "let kept = 42; let m = model(\"m\");\ntry { m.encode(\"a\") } catch (e) { print(e) }\nkept\nmodel(\"demo:opt\").encode(\"a\").shape\n";
    let ran = ended(here.command(&["repl"]), typed);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("tokenizer")
            && ran.stdout.contains("42")
            && ran.stdout.contains("[1, "),
        "{}",
        ran.stdout
    );
}
