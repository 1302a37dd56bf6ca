//! Texts that are shown as they grow.

use precompute::checkpoint::Tokenizer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{KINDS, golden, kind, model};

/// Ids as a model may draw them: any token, with runs of bytes, special tokens and whole texts.
fn drawn(tokenizer: &Tokenizer, texts: &[String]) -> impl Strategy<Value = Vec<u32>> {
    let ids: Vec<u32> = (0..420).filter(|&id| tokenizer.decode(&[id]).is_ok()).collect();
    let short = ids.iter().copied().filter(|&id| {
        let label = tokenizer.label(id).unwrap();
        label.starts_with("<0x") || label.chars().count() < 2
    });
    let (short, ids) = (short.collect::<Vec<_>>(), ids.clone());
    let texts: Vec<Vec<u32>> =
        texts.iter().map(|text| tokenizer.encode(text, true).unwrap()).collect();
    let piece = prop_oneof![
        proptest::collection::vec(proptest::sample::select(ids), 1..8),
        proptest::collection::vec(proptest::sample::select(short), 1..8),
        proptest::sample::select(texts),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// What is given out piece by piece, of a prompt and of the tokens behind it.
fn streamed(tokenizer: &Tokenizer, prompt: &[u32], tokens: &[u32]) -> (String, String) {
    let mut stream = tokenizer.stream();
    let before = stream.push(prompt).unwrap().to_owned();
    let mut after = String::new();
    for token in tokens {
        after.push_str(stream.push(&[*token]).unwrap());
        assert_eq!(stream.settled(), before.len() + after.len());
    }
    after.push_str(stream.finish());
    assert_eq!(stream.text(), format!("{before}{after}"));
    (before, after)
}

#[test]
fn pieces_join_to_the_whole_text_in_every_kind() {
    let texts: Vec<String> = serde_json::from_value(golden()["texts"].clone()).unwrap();
    for name in KINDS {
        let checkpoint = kind(name);
        let tokenizer = checkpoint.tokenizer().unwrap();
        let mut runner =
            TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
        let both = (drawn(tokenizer, &texts), drawn(tokenizer, &texts));
        runner
            .run(&both, |(prompt, tokens)| {
                let (before, after) = streamed(tokenizer, &prompt, &tokens);
                let whole = tokenizer.text(&[prompt, tokens].concat()).unwrap();
                prop_assert_eq!(format!("{before}{after}"), whole);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // A long text, of which only the end is decoded again for each token.
        let sentence = texts.join(" the cat ");
        let ids = tokenizer.encode(&sentence, true).unwrap();
        assert!(ids.len() > 200, "{name}: {}", ids.len());
        let (before, after) = streamed(tokenizer, &ids[..20], &ids[20..]);
        assert_eq!(format!("{before}{after}"), tokenizer.text(&ids).unwrap(), "{name}");
        // Most of a text is there before its end.
        let ids = tokenizer.encode("the cat sat on the mat and the dog", false).unwrap();
        let mut stream = tokenizer.stream();
        let shown: usize = ids.iter().map(|id| stream.push(&[*id]).unwrap().len()).sum();
        assert!(shown > 10, "{name}: {shown} bytes");
    }
}

#[test]
fn the_command_prints_the_text_that_the_script_gives() {
    for name in
        ["llama2", "llama-metaspace", "gemma", "unigram", "wordpiece", "end-of-word", "falcon"]
    {
        let directory = model(name);
        for (prompt, seed) in [("the", 1), ("the the", 2), ("猫 <s>the</s> cat", 3), ("\n the", 4)]
        {
            let script = format!(
                "let out = model({:?}).generate({prompt:?}, #{{max_new_tokens: 24, ignore_eos: true, temperature: 3.0, \
                seed: {seed}}}); print(out.text);",
                directory.path().to_str().unwrap()
            );
            let expected = crate::run::script(&script, &[]).ok();
            let out = crate::run::precompute(directory.path())
                .args(["generate", "--model", ".", "--prompt", prompt, "--max-new-tokens", "24"])
                .args(["--ignore-eos", "--temperature", "3", "--seed", &seed.to_string()])
                .output()
                .unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(
                String::from_utf8(out.stdout).unwrap(),
                expected.stdout(),
                "{name}: {prompt:?}"
            );
        }
    }
}
