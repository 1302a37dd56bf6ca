//! Single tokens: `m.tokens` and `m.token_id`.

use std::collections::BTreeMap;

use super::{KINDS, kind};

#[test]
fn no_two_tokens_look_the_same_and_each_is_found_by_what_it_looks_like() {
    for name in KINDS {
        let checkpoint = kind(name);
        let tokenizer = checkpoint.tokenizer().unwrap();
        let mut labels = BTreeMap::new();
        for id in (0..420).filter(|&id| tokenizer.decode(&[id]).is_ok()) {
            let label = tokenizer.label(id).unwrap();
            assert!(!label.is_empty(), "{name}: {id}");
            assert_eq!(labels.insert(label.clone(), id), None, "{name}: {label:?}");
        }
        for (label, &id) in &labels {
            match tokenizer.single_token(label) {
                // A text of letters is a word, and as a word it may have another id.
                Ok(found) => assert!(
                    found == id || tokenizer.encode(label, false).unwrap() == [found],
                    "{name}: {label:?} is {id}, not {found}"
                ),
                Err(error) => {
                    assert!(label.starts_with(char::is_alphanumeric), "{name}: {label:?}: {error}");
                    assert!(
                        error.help_text().unwrap().contains(&id.to_string()),
                        "{name}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_space_is_seen_and_bytes_are_told_apart() {
    let labels = |name: &str, text: &str| {
        let checkpoint = kind(name);
        let tokenizer = checkpoint.tokenizer().unwrap();
        tokenizer.labels(&tokenizer.encode(text, false).unwrap()).unwrap()
    };
    assert_eq!(labels("llama2", "the the"), ["▁the", "▁the"]);
    assert_eq!(labels("llama2", "\n"), ["▁", "<0x0A>"]);
    assert_eq!(labels("llama2", "é"), ["▁", "<0xC3>", "<0xA9>"]);
    assert_eq!(labels("byte-level", "the the"), ["the", " the"]);
    assert_eq!(labels("byte-level", "😀"), ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]);
    assert_eq!(labels("wordpiece", "the cats"), ["the", "cat", "##s"]);
    assert_eq!(labels("end-of-word", "the cat"), ["the</w>", "cat</w>"]);
}

#[test]
fn a_word_has_the_id_that_it_has_within_a_text() {
    for name in KINDS {
        let checkpoint = kind(name);
        let tokenizer = checkpoint.tokenizer().unwrap();
        let (alone, both) =
            (tokenizer.encode("a", false).unwrap(), tokenizer.encode("a the", false).unwrap());
        match both.strip_prefix(alone.as_slice()).unwrap() {
            [id] => assert_eq!(tokenizer.single_token(" the").unwrap(), *id, "{name}"),
            _ => assert!(tokenizer.single_token(" the").is_err(), "{name}"),
        }
        // What is in no vocabulary is no token.
        assert!(tokenizer.single_token("☃☃").is_err(), "{name}");
        assert!(tokenizer.single_token("").is_err(), "{name}");
    }
    // A letter of two bytes is not the byte that the vocabulary writes as that letter.
    assert!(kind("byte-level").tokenizer().unwrap().single_token("é").is_err());
    let checkpoint = kind("llama2");
    let tokenizer = checkpoint.tokenizer().unwrap();
    for (text, label) in [("the", "▁the"), (" the", "▁the"), ("▁the", "▁the"), ("\n", "<0x0A>")]
    {
        let id = tokenizer.single_token(text).unwrap();
        assert_eq!(tokenizer.label(id).unwrap(), label, "{text:?}");
    }
}
