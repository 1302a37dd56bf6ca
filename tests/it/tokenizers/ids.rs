//! Ids and texts.

use serde_json::{Map, Value};

use super::{KINDS, checkpoint, golden, open};

/// The fields that warnings name.
const FIELDS: [&str; 5] =
    ["tokenizer_class", "add_prefix_space", "add_bos_token", "add_eos_token", "added_tokens"];

/// One thing that transformers says of each text, with what a case changes of it.
fn all<'a>(case: &'a Value, first: &'a Value, what: &str) -> Vec<&'a Value> {
    let first = first[what].as_array().unwrap().iter().enumerate();
    first.map(|(i, value)| case[what].get(i.to_string()).unwrap_or(value)).collect()
}

#[test]
fn they_are_transformers_or_a_warning_names_the_field() {
    let golden = golden();
    let texts: Vec<&str> =
        golden["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let (mut equal, mut warned) = (0, 0);
    for kind in KINDS {
        let cases = golden["kinds"][kind].as_array().unwrap();
        for case in cases {
            let name = format!("{kind}, {}", case["change"].as_str().unwrap());
            let mut files: Map<String, Value> = case["files"].as_object().unwrap().clone();
            if !case["config"].is_null() {
                files.insert("tokenizer_config.json".into(), case["config"].clone());
            }
            let directory = checkpoint(kind, &files);
            let checkpoint = open(&directory);
            let tokenizer = match checkpoint.tokenizer() {
                Ok(tokenizer) => tokenizer,
                Err(error) => panic!("{name}: {error}"),
            };
            if case.get("error").is_some() {
                continue;
            }
            let mut wrong = Vec::new();
            let first = &cases[0];
            let (ids, plain) = (all(case, first, "ids"), all(case, first, "plain"));
            let (decoded, shown) = (all(case, first, "decoded"), all(case, first, "text"));
            for (i, text) in texts.iter().enumerate() {
                let its =
                    |ids: &Value| -> Vec<u32> { serde_json::from_value(ids.clone()).unwrap() };
                // transformers gives a class's own tokens ids after the vocabulary's where it lacks
                // them. No model has an embedding for those, so they stay text here.
                let of_class = case["change"].as_str().unwrap().starts_with("class ");
                if of_class && its(plain[i]).iter().any(|id| *id >= 320) {
                    continue;
                }
                let got = tokenizer.encode(text, true).unwrap();
                if got != its(ids[i]) {
                    wrong.push(format!("{text:?} gives {got:?}, and in transformers {}", ids[i]));
                }
                let got = tokenizer.encode(text, false).unwrap();
                if got != its(plain[i]) {
                    wrong.push(format!("{text:?} gives {got:?}, and in transformers {}", plain[i]));
                }
                for (got, expected) in [
                    (tokenizer.decode(&its(ids[i])), decoded[i]),
                    (tokenizer.text(&its(ids[i])), shown[i]),
                ] {
                    if got.as_ref().is_ok_and(|got| got != expected.as_str().unwrap()) {
                        wrong
                            .push(format!("{} is {got:?}, and in transformers {expected}", ids[i]));
                    }
                }
            }
            // A class may name a token for padding that no model knows.
            if let Some(pad) = case["pad"].as_u64().filter(|pad| *pad < 320)
                && u64::from(tokenizer.pad_id()) != pad
            {
                wrong.push(format!("the padding is {}, not {pad}", tokenizer.pad_id()));
            }
            let warnings = tokenizer.warnings().join("; ");
            match wrong.is_empty() {
                true => equal += 1,
                false => {
                    warned += 1;
                    let names = FIELDS.iter().any(|field| warnings.contains(field));
                    assert!(names, "{name}: {}", wrong.join("\n"));
                }
            }
            // What a checkpoint usually has is no reason to warn.
            if ["as it is", "no config", "no class"].contains(&case["change"].as_str().unwrap()) {
                assert_eq!(warnings, "", "{name}");
                assert!(wrong.is_empty(), "{name}: {wrong:?}");
            }
        }
    }
    println!("{equal} cases as in transformers, {warned} with a warning");
    assert!(equal > 8 * warned, "{equal} cases as in transformers, {warned} with a warning");
}
