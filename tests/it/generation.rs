//! Generation: the goldens' continuations, with a cache and without, padded or alone, under hooks;
//! the options; the command.

use candle_core::Tensor;
use precompute::hook::{Hooks, Layers, Observer, Unobserved};
use precompute::model::{
    Cache, Decoder, Generation, GenerationConfig, Input, Logits, Options, Sampling,
};

use crate::binary::{Workplace, script};
use crate::fixture::{CASES, Fixture, difference, directory, greedy, subjects};

fn plan(max_new_tokens: usize, cache: bool) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens,
        sampling: Sampling::default(),
        beams: 1,
        ends: Vec::new(),
        pad: 0,
        cache,
        beyond: false,
    }
}

/// The new tokens of every row.
fn continued(
    decoder: &Decoder,
    input: Input,
    plan: GenerationConfig,
    observer: &mut dyn Observer,
) -> Vec<Vec<u32>> {
    let before = input.attended();
    let mut generation = Generation::new(decoder, input, plan).unwrap();
    while !generation.is_done() {
        generation.advance(observer).unwrap();
    }
    (0..generation.input().batch())
        .map(|row| generation.input().row(row)[before..].to_vec())
        .collect()
}

#[test]
fn greedy_continuations_are_the_goldens_with_a_cache_and_without() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let (prompt, expected) = greedy(case);
        for cache in [true, false] {
            let input = Input::tokens(&prompt).unwrap();
            let got =
                continued(&fixture.decoder, input, plan(expected.len(), cache), &mut Unobserved);
            assert_eq!(got, [expected.as_slice()], "{case}, cache: {cache}");
        }
    }
}

#[test]
fn a_padded_batch_and_a_repetition_penalty_are_as_in_transformers_own_generate() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let path = directory(case).join("continuation.json");
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let rows =
            |name: &str| -> Vec<Vec<u32>> { serde_json::from_value(golden[name].clone()).unwrap() };
        let prompts = rows("prompts");
        for (left, cache) in [(true, true), (true, false), (false, true), (false, false)] {
            let input = batch(&prompts, left);
            let got = continued(&fixture.decoder, input, plan(8, cache), &mut Unobserved);
            assert_eq!(got, rows("greedy"), "{case}, left: {left}, cache: {cache}");
        }
        let sampling =
            Sampling { repetition_penalty: golden["penalty"].as_f64(), ..Sampling::default() };
        let plan = GenerationConfig { sampling, ..plan(8, true) };
        let got =
            continued(&fixture.decoder, Input::tokens(&prompts[0]).unwrap(), plan, &mut Unobserved);
        let penalised: Vec<u32> = serde_json::from_value(golden["penalised"].clone()).unwrap();
        assert_eq!(got, [penalised], "{case}");
    }
}

#[test]
fn a_pass_in_pieces_is_the_pass_in_one() {
    for subject in subjects() {
        let (decoder, input) = (&subject.decoder, &subject.input);
        let whole = decoder.logits(input).unwrap();
        let mut cache = Cache::new(decoder.spec().layers, 3);
        let mut pieces = Vec::new();
        for end in [5, 6, input.attended()] {
            let rows: Vec<&[u32]> = (0..input.batch()).map(|row| &input.row(row)[..end]).collect();
            let part = Input::new(&Tensor::new(rows, decoder.device()).unwrap(), None).unwrap();
            let output =
                decoder.extend(&part, &mut cache, &Options::default(), &mut Unobserved).unwrap();
            assert_eq!(cache.len(), end, "{}", subject.name);
            pieces.push(output.logits.unwrap());
        }
        let difference = difference(&Tensor::cat(&pieces, 1).unwrap(), &whole);
        assert!(difference < 2e-5, "{}: off by {difference}", subject.name);
        let full = decoder.extend(input, &mut cache, &Options::default(), &mut Unobserved);
        assert!(full.err().unwrap().to_string().contains("holds every token"));
    }
}

/// Prompts as one batch, padded on a side.
fn batch(prompts: &[Vec<u32>], left: bool) -> Input {
    let longest = prompts.iter().map(Vec::len).max().unwrap();
    let pad = |row: &[u32], value: u32| {
        let padding = vec![value; longest - row.len()];
        if left { [&padding, row].concat() } else { [row, &padding].concat() }
    };
    let ids: Vec<Vec<u32>> = prompts.iter().map(|row| pad(row, 1)).collect();
    let mask: Vec<Vec<u32>> = prompts.iter().map(|row| pad(&vec![1; row.len()], 0)).collect();
    let tensor = |rows: Vec<Vec<u32>>| Tensor::new(rows, &candle_core::Device::Cpu).unwrap();
    Input::new(&tensor(ids), Some(&tensor(mask))).unwrap()
}

/// The first 9 of a prompt's tokens and the first 5, as a batch.
fn padded(prompt: &[u32], left: bool) -> Input {
    batch(&[prompt[..9].to_vec(), prompt[..5].to_vec()], left)
}

#[test]
fn padding_on_either_side_or_none_gives_the_same_continuation() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let (prompt, _) = greedy(case);
        let alone = [9, 5].map(|n| {
            let input = Input::tokens(&prompt[..n]).unwrap();
            continued(&fixture.decoder, input, plan(8, true), &mut Unobserved).remove(0)
        });
        for (left, cache) in [(true, true), (true, false), (false, true), (false, false)] {
            let got =
                continued(&fixture.decoder, padded(&prompt, left), plan(8, cache), &mut Unobserved);
            assert_eq!(got, alone, "{case}, left: {left}, cache: {cache}");
        }
    }
}

#[test]
fn hooks_that_act_position_by_position_give_the_same_tokens_with_a_cache_and_without() {
    // What each does moves the logits; all act on a position without a look at the others.
    let points = [
        "post-mlp",
        "attn-residual",
        "query-states",
        "key-states",
        "value-states",
        "attn-weighted-values",
        "pre-mlp",
    ];
    for case in CASES {
        let fixture = Fixture::load(case);
        let (prompt, _) = greedy(case);
        let run = |point: Option<&str>, cache: bool| {
            let mut hooks = Hooks::new();
            if let Some(point) = point {
                hooks
                    .bind(point, Layers::All, |_, x| {
                        let c = x.dim(candle_core::D::Minus1)?;
                        let signs: Vec<f32> =
                            (0..c).map(|i| if i % 3 == 0 { -0.5 } else { 1.25 }).collect();
                        Ok(Some(x.broadcast_mul(&Tensor::from_vec(signs, c, x.device())?)?))
                    })
                    .unwrap();
            }
            continued(&fixture.decoder, Input::tokens(&prompt).unwrap(), plan(8, cache), &mut hooks)
        };
        let untouched = run(None, true);
        let mut moved = 0;
        for point in points {
            let with = run(Some(point), true);
            assert_eq!(with, run(Some(point), false), "{case}: {point}");
            moved += usize::from(with != untouched);
        }
        assert!(moved > 0, "{case}: no hook changed a token");
    }
}

#[test]
fn hooks_on_keys_values_scores_and_patterns_see_the_cached_past() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let (prompt, _) = greedy(case);
        let spec = fixture.decoder.spec().clone();
        let seen = std::cell::RefCell::new(Vec::new());
        let mut hooks = Hooks::new();
        let points = [
            "query-states",
            "key-states",
            "value-states",
            "pre-mask-attn-weights",
            "post-mask-attn-weights",
            "attn-probs",
        ];
        for point in points {
            hooks
                .bind(point, Layers::one(-1), |_, x| {
                    seen.borrow_mut().push(x.dims().to_vec());
                    Ok(None)
                })
                .unwrap();
        }
        continued(&fixture.decoder, Input::tokens(&prompt).unwrap(), plan(3, true), &mut hooks);
        drop(hooks);
        let shapes = |n: usize, m: usize| {
            let (h, k, c) = (spec.heads, spec.kv_heads, spec.head_dim);
            [
                vec![1, h, n, c],
                vec![1, k, m, c],
                vec![1, k, m, c],
                vec![1, h, n, m],
                vec![1, h, n, m],
                vec![1, h, n, m],
            ]
        };
        let n = prompt.len();
        assert_eq!(
            seen.into_inner(),
            [shapes(n, n), shapes(1, n + 1), shapes(1, n + 2)].concat(),
            "{case}"
        );
    }
}

#[test]
fn what_hooks_see_with_a_cache_is_what_they_see_without() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let (prompt, _) = greedy(case);
        for point in ["key-states", "value-states", "attn-probs", "post-mlp"] {
            let last = |cache: bool| {
                let kept = std::cell::RefCell::new(Vec::new());
                let mut hooks = Hooks::new();
                hooks
                    .bind(point, Layers::All, |_, x| {
                        kept.borrow_mut().push(x.copy()?);
                        Ok(None)
                    })
                    .unwrap();
                continued(
                    &fixture.decoder,
                    Input::tokens(&prompt).unwrap(),
                    plan(4, cache),
                    &mut hooks,
                );
                drop(hooks);
                kept.into_inner()
            };
            for (cached, whole) in last(true).iter().zip(&last(false)) {
                // Of queries only the new are there.
                let (new, all) =
                    (cached.dims()[cached.rank() - 2], whole.dims()[cached.rank() - 2]);
                let whole = whole.narrow(cached.rank() - 2, all - new, new).unwrap();
                let difference = difference(cached, &whole.contiguous().unwrap());
                assert!(difference < 2e-5, "{case}: {point} is off by {difference}");
            }
        }
    }
}

#[test]
fn a_seed_makes_a_draw_repeatable_and_the_narrowest_draw_is_greedy() {
    let fixture = Fixture::load("gpt2");
    let (prompt, expected) = greedy("gpt2");
    let run = |sampling: Sampling| {
        let plan = GenerationConfig { sampling, ..plan(expected.len(), true) };
        continued(&fixture.decoder, Input::tokens(&prompt).unwrap(), plan, &mut Unobserved)
            .remove(0)
    };
    let drawn = |seed| Sampling { temperature: Some(2.0), seed, ..Sampling::default() };
    assert_eq!(run(drawn(1)), run(drawn(1)));
    assert_ne!(run(drawn(1)), run(drawn(2)));
    assert_eq!(run(Sampling { top_k: Some(1), ..drawn(1) }), expected);
    assert_eq!(run(Sampling { top_p: Some(1e-9), ..drawn(1) }), expected);
    assert_eq!(run(Sampling { temperature: Some(0.0), ..drawn(1) }), expected);
    let narrow = run(Sampling { top_k: Some(3), top_p: Some(0.5), ..drawn(1) });
    let logits = |tokens: &[u32]| {
        let options = Options { logits: Logits::Last, ..Options::default() };
        let output = fixture
            .decoder
            .forward(&Input::tokens(tokens).unwrap(), &options, &mut Unobserved)
            .unwrap();
        output.logits.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let mut text = prompt.clone();
    for token in narrow {
        let logits = logits(&text);
        let above = logits.iter().filter(|logit| **logit > logits[token as usize]).count();
        assert!(above < 3, "{token} is not among the 3 likeliest");
        text.push(token);
    }
}

#[test]
fn the_script_sees_steps_and_positions_and_gets_ids_and_text() {
    let ran = script(
        r#"
        let m = model("demo:opt");
        let ids = m.encode("Mary and John went to the");
        let seen = [];
        let ctx = context([ hook("post-mlp", |x, ctx| {
            seen.push([ctx.step, ctx.positions.to_array()[0], x.shape[1], ctx.ids.shape, ctx.mask.shape]);
        }, #{layers: 0}) ]);
        let out = m.generate(ids, ctx, #{max_new_tokens: 3});
        let n = ids.shape[1];
        print(out.ids.shape[1] - n);
        print(out.ids[0][..n].to_array() == ids[0].to_array());
        print(out.text);
        print(seen);
        let whole = m.generate(ids, #{max_new_tokens: 3, cache: false});
        print(whole.ids.to_array() == out.ids.to_array());
        let batch = m.generate(m.encode(["Mary and John went to the", "Mary"], #{pad: "left"}), #{max_new_tokens: 3});
        print(batch.text[0] == out.text);
        print(batch.ids.shape);
        print(m.generate(ids).ids.shape[1] - n);
        "#,
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "3");
    assert_eq!(lines[1], "true");
    assert!(lines[2].starts_with("Mary and John went to the "), "{}", lines[2]);
    assert!(
        lines[3].ends_with("[1, [8], 1, [1, 1], [1, 1]], [2, [9], 1, [1, 1], [1, 1]]]"),
        "{}",
        lines[3]
    );
    assert_eq!(lines[4..], ["true", "true", "[2, 11]", "10"]);
    assert_eq!(ran.stderr, "", "nothing is streamed where standard error is no terminal");
}

#[test]
fn strings_and_tokens_stop_a_text_and_the_rest_of_a_batch_goes_on() {
    let ran = script(
        r#"
        let m = model("demo:opt");
        let text = "Mary and John went to the store.";
        let ids = m.encode(text);
        let free = m.generate(ids, #{max_new_tokens: 20}).text;
        let stopped = m.generate(ids, #{max_new_tokens: 20, stop: " and"}).text;
        print(stopped.ends_with(" and") && free.starts_with(stopped) && stopped.len < free.len);
        let token = m.generate(ids, #{max_new_tokens: 20, stop: [m.token_id(" and"), "never"]}).text;
        print(token == stopped);
        let out = m.generate(m.encode([text, "The keys to the"]), #{max_new_tokens: 20, stop: " and"});
        print(out.text[0] == stopped);
        print(out.ids.mask.sum(1).to_array()[0] < out.ids.shape[1]);
        print(m.generate(ids, #{max_new_tokens: 5, temperature: 1.0, seed: 1}).text
           == m.generate(ids, #{max_new_tokens: 5, temperature: 1.0, seed: 1}).text);
        "#,
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "true\ntrue\ntrue\ntrue\ntrue\n");
}

#[test]
fn a_checkpoints_own_end_of_text_ends_it_unless_ignored() {
    let case = "gpt2";
    let (_, expected) = greedy(case);
    let workplace = Workplace::new(&[]);
    let copy = workplace.path().join("model");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(directory(case)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    workplace.write(
        "model/generation_config.json",
        format!("{{\"eos_token_id\": [7777, {}]}}", expected[2]).as_bytes(),
    );
    let (prompt, _) = greedy(case);
    let body = format!(
        "let m = model(\"model\"); let ids = tensor({prompt:?}).unsqueeze(0);\n\
         for ignore in [false, true] {{\n\
         let out = m.generate(ids, #{{max_new_tokens: {}, ignore_eos: ignore}});\n\
         print(out.ids.shape[1] - ids.shape[1]); }}",
        expected.len()
    );
    workplace.write("s.rhai", body.as_bytes());
    let ran = workplace.run(&["run", "s.rhai"]);
    let ends = expected.iter().position(|token| *token == expected[2]).unwrap() + 1;
    assert_eq!(ran.stdout, format!("{ends}\n{}\n", expected.len()), "{}", ran.stderr);
}

#[test]
fn what_can_not_be_generated_is_a_sentence() {
    for (call, expected) in [
        ("m.generate(ids, #{max_new_tokens: 0})", "max_new_tokens must be at least 1"),
        ("m.generate(ids, #{max_new_tokens: -3})", "max_new_tokens must be at least 1, not -3"),
        (
            "m.generate(ids, #{temperature: -1.0})",
            "temperature must be a number of at least 0, not -1",
        ),
        ("m.generate(ids, #{top_p: 1.5})", "top_p must be above 0 and at most 1, not 1.5"),
        ("m.generate(ids, #{top_k: 0})", "top_k must be at least 1"),
        ("m.generate(ids, #{repetition_penalty: 0})", "repetition_penalty must be above 0, not 0"),
        (
            "m.generate(ids, #{stop: 1.5})",
            "stop must be a string, a token id or an array of them, not 1.5",
        ),
        ("m.generate(ids, #{stop: \"\"})", "an empty string would end every text at once"),
        ("m.generate(ids, #{temprature: 1})", "generate has no option temprature"),
        ("m.generate(ids, #{max_new_tokens: 2000})", "pass the model's"),
        ("m.generate(ids, context([hook(\"post-mlp\", |x, ctx| x / ())]))", "/"),
        (
            "m.generate(ids, context([hook(\"post-mlp\", |x, ctx| x * (0.0 / 0.0))]))",
            "the logits of row 0 are no numbers at step 0",
        ),
    ] {
        let ran = script(&format!(
            "let m = model(\"demo:opt\");\nlet ids = m.encode(\"Mary and\");\n{call}"
        ));
        assert_eq!(ran.code, Some(1), "{call}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(expected) && ran.stderr.contains("s.rhai:3:"),
            "{call}: {}",
            ran.stderr
        );
    }
}

#[test]
fn rotary_models_go_on_past_their_positions_when_asked() {
    let text = |id: &str, options: &str| {
        script(&format!(
            "let m = model(\"{id}\");\n\
             let ids = zeros([1, m.config.max_position_embeddings + 4]).to(\"i64\") + 5;\n\
             print(m.forward(ids, #{{logits: \"last\"{options}}}).logits.shape[1]);"
        ))
    };
    let refused = text("demo:gpt-neox", "");
    assert!(refused.stderr.contains("beyond: true"), "{}", refused.stderr);
    let asked = text("demo:gpt-neox", ", beyond: true");
    assert_eq!(asked.stdout, "1\n", "{}", asked.stderr);
    assert!(asked.stderr.starts_with("warning: "), "{}", asked.stderr);
    let learned = text("demo:opt", ", beyond: true");
    assert_eq!(learned.code, Some(1));
    assert!(!learned.stderr.contains("beyond: true\n"), "{}", learned.stderr);
}

#[test]
fn the_command_continues_prompts_with_hooks_at_work() {
    let workplace = Workplace::new(&[
        ("hooks.rhai", "[hook(\"post-mlp\", |x, ctx| x * 0.0)]"),
        ("context.rhai", "context([hook(\"post-mlp\", |x, ctx| x * 0.0)])"),
        ("none.rhai", "3"),
        ("broken.rhai", "[hook(\"post-mlp\", |x, ctx| nothing)]"),
    ]);
    let generate = |arguments: &[&str]| {
        let mut all = vec!["generate", "--model", "demo:opt", "--max-new-tokens", "6"];
        all.extend(arguments);
        workplace.run(&all)
    };
    let plain = generate(&["--prompt", "Mary and John went to the"]);
    assert_eq!(plain.code, Some(0), "{}", plain.stderr);
    assert!(
        plain.stdout.starts_with("Mary and John went to the ") && plain.stdout.ends_with('\n'),
        "{}",
        plain.stdout
    );
    assert!(
        plain.stderr.starts_with("6 tokens in ") && plain.stderr.ends_with(" a second\n"),
        "{}",
        plain.stderr
    );

    let batch = generate(&["--prompt", "Mary and John went to the", "--prompt", "The"]);
    assert_eq!(batch.stdout.lines().count(), 2);
    assert_eq!(batch.stdout.lines().next(), plain.stdout.lines().next());
    assert_eq!(
        generate(&["--prompt", "Mary and John went to the", "--no-cache"]).stdout,
        plain.stdout
    );

    let hooked = generate(&["--prompt", "Mary and John went to the", "--hooks", "hooks.rhai"]);
    assert_ne!(hooked.stdout, plain.stdout);
    assert_eq!(
        generate(&["--prompt", "Mary and John went to the", "--hooks", "context.rhai"]).stdout,
        hooked.stdout
    );

    let wrong = generate(&["--prompt", "Mary", "--hooks", "none.rhai"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("must be an array of hooks or a context"), "{}", wrong.stderr);
    let broken = generate(&["--prompt", "Mary", "--hooks", "broken.rhai"]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("broken.rhai:1:"), "{}", broken.stderr);
    let cold = generate(&["--prompt", "Mary", "--temperature", "-1"]);
    assert!(
        cold.stderr.contains("temperature must be") && !cold.stderr.contains("-->"),
        "{}",
        cold.stderr
    );
    assert_eq!(cold.code, Some(1));
}
