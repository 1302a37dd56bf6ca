//! Beam search: against a second telling of the algorithm over whole passes, and against every
//! continuation there is.

use std::cell::Cell;

use candle_core::{D, DType, Tensor};
use precompute::hook::{Hooks, Layers, Observer, Unobserved};
use precompute::model::{Decoder, Generation, GenerationConfig, Input, Sampling};

use crate::binary::script;
use crate::fixture::{Fixture, greedy};

/// Families with learned, rotary and ALiBi positions, grouped heads, windows, and norms elsewhere.
const FEW: &[&str] = &["gpt2", "gpt-neox", "bloom", "gemma2", "phi3-longrope"];

fn plan(max_new_tokens: usize, beams: usize, cache: bool, ends: &[u32]) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens,
        sampling: Sampling::default(),
        beams,
        ends: ends.to_vec(),
        pad: 0,
        cache,
        beyond: false,
    }
}

fn found(
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
    let result = generation.result();
    let real = |row: usize| {
        result.row(row).iter().zip(result.real(row)).skip(before).filter(|(_, real)| **real)
    };
    (0..result.batch()).map(|row| real(row).map(|(id, _)| *id).collect()).collect()
}

/// The logarithms of the next token's probabilities.
fn logarithms(decoder: &Decoder, tokens: &[u32]) -> Vec<f32> {
    let logits = decoder.logits(&Input::tokens(tokens).unwrap()).unwrap();
    let last = logits.get(0).unwrap().get(tokens.len() - 1).unwrap().to_dtype(DType::F32).unwrap();
    candle_nn::ops::log_softmax(&last, D::Minus1).unwrap().to_vec1().unwrap()
}

/// As transformers' `generate` tells it: a pass a beam and step, the sequences kept whole.
fn told(decoder: &Decoder, prompt: &[u32], steps: usize, beams: usize, ends: &[u32]) -> Vec<u32> {
    let mut running: Vec<(f64, Vec<u32>)> = vec![(0.0, Vec::new())];
    let mut ended: Vec<(f64, Vec<u32>)> = Vec::new();
    let keep = |ended: &mut Vec<(f64, Vec<u32>)>, sum: f64, tokens: Vec<u32>| {
        ended.push((sum / tokens.len() as f64, tokens));
        ended.sort_by(|a, b| b.0.total_cmp(&a.0));
        ended.truncate(beams);
    };
    for _ in 0..steps {
        let mut candidates: Vec<(f64, Vec<u32>)> = Vec::new();
        for (sum, tokens) in &running {
            let next = logarithms(decoder, &[prompt, tokens].concat());
            let longer = next.iter().enumerate().map(|(token, log)| {
                (sum + f64::from(*log), [tokens.as_slice(), &[token as u32]].concat())
            });
            candidates.extend(longer);
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let best = candidates[0].clone();
        let is_end = |tokens: &[u32]| ends.contains(tokens.last().unwrap());
        for (sum, tokens) in candidates.iter().take(beams).filter(|(_, tokens)| is_end(tokens)) {
            keep(&mut ended, *sum, tokens.clone());
        }
        running =
            candidates.into_iter().filter(|(_, tokens)| !is_end(tokens)).take(beams).collect();
        if ended.len() == beams && ended[beams - 1].0 >= best.0 / best.1.len() as f64 {
            return ended.remove(0).1;
        }
    }
    for (sum, tokens) in running {
        keep(&mut ended, sum, tokens);
    }
    ended.remove(0).1
}

#[test]
fn beams_find_what_the_algorithm_finds_with_a_cache_and_without() {
    let mut other = 0;
    for case in FEW {
        let fixture = Fixture::load(case);
        let (prompt, likeliest) = greedy(case);
        // Two tokens that come soon end a text.
        let candidates = logarithms(&fixture.decoder, &prompt);
        let mut order: Vec<u32> = (0..candidates.len() as u32).collect();
        order.sort_by(|&a, &b| candidates[b as usize].total_cmp(&candidates[a as usize]));
        for (beams, ends) in
            [(2, vec![]), (4, vec![]), (3, vec![order[1], order[5]]), (2, vec![likeliest[2]])]
        {
            let expected = told(&fixture.decoder, &prompt, 4, beams, &ends);
            for cache in [true, false] {
                let input = Input::tokens(&prompt).unwrap();
                let got =
                    found(&fixture.decoder, input, plan(4, beams, cache, &ends), &mut Unobserved);
                assert_eq!(
                    got,
                    [expected.as_slice()],
                    "{case}: {beams} beams, ends {ends:?}, cache: {cache}"
                );
            }
            other += usize::from(expected != likeliest[..expected.len()]);
        }
    }
    assert!(other > 0, "beams never found anything but the greedy text");
}

#[test]
fn as_many_beams_as_tokens_find_the_likeliest_of_all_continuations() {
    let fixture = Fixture::load("gpt2");
    let prompt = &greedy("gpt2").0[..6];
    let first = logarithms(&fixture.decoder, prompt);
    let mut best = (f32::NEG_INFINITY, Vec::new());
    for (token, log) in first.iter().enumerate() {
        let second = logarithms(&fixture.decoder, &[prompt, &[token as u32]].concat());
        let (next, sum) = second
            .iter()
            .enumerate()
            .map(|(next, after)| (next, log + after))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        if sum > best.0 {
            best = (sum, vec![token as u32, next as u32]);
        }
    }
    let got = found(
        &fixture.decoder,
        Input::tokens(prompt).unwrap(),
        plan(2, first.len(), true, &[]),
        &mut Unobserved,
    );
    assert_eq!(got, [best.1]);
}

#[test]
fn a_padded_batch_gives_what_the_texts_alone_give() {
    for case in ["gpt2", "gpt-neox", "bloom"] {
        let fixture = Fixture::load(case);
        let prompt = greedy(case).0;
        let (long, short) = (prompt[..9].to_vec(), prompt[..5].to_vec());
        let ends = [greedy(case).1[1]];
        let alone = |tokens: &[u32]| {
            found(
                &fixture.decoder,
                Input::tokens(tokens).unwrap(),
                plan(5, 3, true, &ends),
                &mut Unobserved,
            )
            .remove(0)
        };
        let expected = [alone(&long), alone(&short)];
        for left in [true, false] {
            let pad = |value: u32| vec![value; 4];
            let join = |value: u32, row: &[u32]| {
                if left { [&pad(value), row].concat() } else { [row, &pad(value)].concat() }
            };
            let tensor =
                |rows: Vec<Vec<u32>>| Tensor::new(rows, &candle_core::Device::Cpu).unwrap();
            let ids = tensor(vec![long.clone(), join(1, &short)]);
            let mask = tensor(vec![vec![1; 9], join(0, &[1; 5])]);
            let input = Input::new(&ids, Some(&mask)).unwrap();
            let got = found(&fixture.decoder, input, plan(5, 3, true, &ends), &mut Unobserved);
            assert_eq!(got, expected, "{case}, left: {left}");
        }
    }
}

#[test]
fn hooks_are_alive_at_every_step_and_see_all_beams() {
    let fixture = Fixture::load("gpt-neox");
    let prompt = greedy("gpt-neox").0;
    let run = |cache: bool, by: f64| {
        let steps = Cell::new(0);
        let mut hooks = Hooks::new();
        let hook = |_, x: &Tensor| {
            assert_eq!(x.dim(0)?, 3);
            steps.set(steps.get() + 1);
            let signs =
                Tensor::arange(0f32, x.dim(2)? as f32, x.device())?.affine(0.7, 0.0)?.sin()?;
            Ok(Some(x.broadcast_add(&(signs * by)?)?))
        };
        hooks.bind("post-mlp", Layers::one(1), hook).unwrap();
        let got = found(
            &fixture.decoder,
            Input::tokens(&prompt).unwrap(),
            plan(5, 3, cache, &[]),
            &mut hooks,
        );
        drop(hooks);
        (got, steps.get())
    };
    let (cached, whole, none) = (run(true, 2.0), run(false, 2.0), run(true, 0.0));
    assert_eq!(cached, whole);
    assert_eq!(cached.1, 5);
    assert_ne!(cached.0, none.0, "the hook moved nothing");
}

#[test]
fn scripts_and_the_command_search_with_beams_and_draw_with_min_p() {
    let ran = script(
        r#"
        let m = model("demo:opt");
        let ids = m.encode("Mary and John went to the");
        let out = m.generate(ids, #{max_new_tokens: 6, num_beams: 4});
        print(out.ids.shape[1] - ids.shape[1]);
        print(out.text.starts_with("Mary and John went to the"));
        print(m.generate(ids, #{max_new_tokens: 6, num_beams: 4, cache: false}).text == out.text);
        print(m.generate(ids, #{max_new_tokens: 6, num_beams: 1}).text == m.generate(ids, #{max_new_tokens: 6}).text);
        let sum = |text| { let all = m.encode(text); m.forward(all, #{loss: true}).unreduced_loss.sum().item() };
        print(sum.call(out.text) <= sum.call(m.generate(ids, #{max_new_tokens: 6}).text) + 0.001);
        let seen = [];
        let look = hook("post-mlp", |x, ctx| { seen.push([x.shape[0], x.shape[1], ctx.step, ctx.all_ids.shape]); }, #{layers: 0});
        m.generate(ids, [look], #{max_new_tokens: 2, num_beams: 3});
        let n = ids.shape[1];
        print(seen == [[3, n, 0, [3, n]], [3, 1, 1, [3, n + 1]]]);
        let v = (arange(m.config.hidden_size).to("f32") * 0.7).sin() * 2.0;
        let steer = hook("post-mlp", |x, ctx| x + v, #{positions: -1});
        print(m.generate(ids, [steer], #{num_beams: 3}).text == m.generate(ids, [steer], #{num_beams: 3, cache: false}).text);
        // The narrowest draw is the greedy one, and each token of a wider one is likely enough.
        print(m.generate(ids, #{min_p: 1.0, seed: 3}).text == m.generate(ids).text);
        let drawn = m.generate(ids, #{min_p: 0.3, temperature: 3.0, seed: 5, max_new_tokens: 12}).ids;
        let likely = true;
        for at in n..drawn.shape[1] {
            let p = (m.forward(drawn[[.., 0..at]], #{logits: "last"}).logits[[0, 0]] / 3.0).softmax(-1);
            likely = likely && p[drawn[[0, at]].item()].item() >= 0.3 * p.max().item() - 0.00001;
        }
        print(likely && drawn.to_array() != m.generate(ids, #{max_new_tokens: 12}).ids.to_array());
        "#,
    );
    assert_eq!(ran.stdout, format!("6\n{}", "true\n".repeat(8)), "{}", ran.stderr);
}

#[test]
fn what_does_not_go_together_is_a_sentence() {
    for (options, said, help) in [
        ("num_beams: 0", "num_beams must be at least 1", ""),
        ("num_beams: -2", "num_beams must be at least 1, not -2", ""),
        ("num_beams: 100000", "beams are more than the", ""),
        (
            "num_beams: 2, temperature: 0.7",
            "num_beams looks for the likeliest text, and temperature draws one by chance",
            "leave out",
        ),
        ("num_beams: 2, top_k: 3", "and top_k draws one by chance", "leave out"),
        ("num_beams: 2, top_p: 0.5", "and top_p draws one by chance", "leave out"),
        ("num_beams: 2, min_p: 0.5", "and min_p draws one by chance", "leave out"),
        ("num_beams: 2, stop: \" and\"", "only a token ends a beam", "m.token_id"),
        ("min_p: 1.5", "min_p must be a number from 0 to 1, not 1.5", ""),
        ("min_p: -0.1", "min_p must be a number from 0 to 1, not -0.1", ""),
        ("min_p: \"a\"", "min_p must be a number, not the string", ""),
    ] {
        let ran = script(&format!(
            "let m = model(\"demo:opt\");\nm.generate(m.encode(\"Mary\"), #{{{options}}})"
        ));
        assert_eq!(ran.code, Some(1), "{options}: {}", ran.stderr);
        let whole = ran.stderr.contains(said)
            && ran.stderr.contains(help)
            && ran.stderr.contains("s.rhai:2:");
        assert!(whole, "{options}: {}", ran.stderr);
    }
}
