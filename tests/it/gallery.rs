//! The shipped scripts on both demo models: each shows the effect that it is there to show.

use candle_core::Tensor;
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::model::{Decoder, Input};
use world::{Split, Task, World};

use crate::run::{Ran, precompute, script};

#[path = "../../examples/train_demo/world.rs"]
#[allow(dead_code)]
mod world;

pub const DEMOS: [&str; 2] = ["demo:opt", "demo:gpt-neox"];

/// Runs a shipped script on a model. Every script saves at least one picture.
pub fn run(name: &str, model: &str) -> Ran {
    run_with(name, model, &[])
}

/// Likewise, with more arguments.
pub fn run_with(name: &str, model: &str, arguments: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("{}/scripts/{name}.rhai", env!("CARGO_MANIFEST_DIR"));
    let output = precompute(directory.path())
        .args(["run", &script, "--model", model, "--out", "out"])
        .args(arguments)
        .output()
        .unwrap();
    let ran = Ran { directory, output }.ok();
    let pictures = std::fs::read_dir(ran.file("")).unwrap().filter(|entry| {
        entry
            .as_ref()
            .is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "svg"))
    });
    assert!(pictures.count() > 0 || name == "ablation", "{name} saved no picture");
    ran
}

pub fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_dtype(candle_core::DType::F32).unwrap().to_vec1().unwrap()
}

fn most(t: &Tensor) -> f32 {
    flat(t).into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Row and column of the largest element of [n, m].
pub fn peak(t: &Tensor) -> (usize, usize) {
    let values = flat(t);
    let at = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap();
    (at / t.dims()[1], at % t.dims()[1])
}

/// The recipes over a data set, on every sixth of the sentences that they take without a file.
#[test]
fn what_a_data_set_says() {
    let sentences =
        script("import \"lib/world\" as world; for text in world::texts() { print(text); }", &[])
            .ok();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("texts.txt");
    let every_sixth: Vec<String> =
        sentences.stdout().lines().step_by(6).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, every_sixth.concat()).unwrap();
    let rows = format!("rows={}", file.display());
    let read = ["--read", directory.path().to_str().unwrap(), "--set", &rows];
    let run = |name, model| run_with(name, model, &read);
    for model in DEMOS {
        let losses = std::fs::read(run("dataset_loss", model).file("losses.json")).unwrap();
        let losses: serde_json::Value = serde_json::from_slice(&losses).unwrap();
        let of = |kind: &str| {
            let rows = losses.as_array().unwrap();
            rows.iter().find(|row| row["kind"] == kind).unwrap()["loss"].as_f64().unwrap()
        };
        // The end of a sentence is certain once the answer is there; a name's beginning is not.
        assert!(of("signs") < 0.2 && of("signs") < of("word begins"), "{model}: {losses}");
        let effects = run("mean_ablation", model).tensor("effects");
        // Some head is needed, and most are not.
        let sorted = {
            let mut all = flat(&effects);
            all.sort_by(f32::total_cmp);
            all
        };
        assert!(
            sorted[sorted.len() - 1] > 4.0 * sorted[sorted.len() / 2].abs(),
            "{model}: {sorted:?}"
        );
        let examples =
            std::fs::read(run("max_activating_examples", model).file("examples.json")).unwrap();
        let examples: serde_json::Value = serde_json::from_slice(&examples).unwrap();
        let examples = examples.as_array().unwrap();
        assert_eq!(examples.len(), 20);
        for pair in examples.windows(2).filter(|pair| pair[0]["neuron"] == pair[1]["neuron"]) {
            assert!(
                pair[0]["activation"].as_f64() >= pair[1]["activation"].as_f64(),
                "{model}: {pair:?}"
            );
        }
        let index = std::fs::read(run("harvest", model).file("acts/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        assert!(
            index["rows"].as_u64() > Some(300) && index["columns"]["x"]["shape"].is_array(),
            "{model}: {index}"
        );
    }
}

#[test]
fn induction_heads() {
    for model in DEMOS {
        let scores = run("induction_heads", model).tensors("scores.safetensors");
        assert!(most(&scores["induction"]) > 0.5, "{model}: {}", most(&scores["induction"]));
        assert!(
            most(&scores["previous token"]) > 0.3,
            "{model}: {}",
            most(&scores["previous token"])
        );
        // What an induction head copies, a head of an earlier layer has put one token further.
        assert!(peak(&scores["previous token"]).0 < peak(&scores["induction"]).0, "{model}");
    }
}

#[test]
fn loss_by_position() {
    for model in DEMOS {
        let losses = flat(&run("loss_by_position", model).tensor("losses"));
        let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
        assert!(mean(&losses[..23]) > 5.0 && mean(&losses[25..]) < 1.5, "{model}: {losses:?}");
    }
}

#[test]
fn logit_lens() {
    for model in DEMOS {
        let ran = run("logit_lens", model);
        assert!(
            ran.stdout().starts_with("after the prompt comes  Mary"),
            "{model}: {}",
            ran.stdout()
        );
        let answer = &ran.tensors("lens.safetensors")["answer"];
        let (layers, n) = answer.dims2().unwrap();
        let at = |layer: usize| flat(&answer.get(layer).unwrap())[n - 1];
        assert!(at(0) < 0.1 && at(layers - 1) > 0.8, "{model}: {} {}", at(0), at(layers - 1));
    }
}

#[test]
fn direct_logit_attribution() {
    for model in DEMOS {
        let parts = run("direct_logit_attribution", model).tensors("attribution.safetensors");
        // The parts that speak for the right answer are in the later half of the model.
        let sums = |t: &Tensor| flat(&t.reshape((4, ())).unwrap().sum(1).unwrap());
        let (heads, mlps) = (sums(&parts["heads"]), sums(&parts["mlps"]));
        assert!(heads[2] + heads[3] + mlps[2] + mlps[3] > 3.0, "{model}: {heads:?} {mlps:?}");
    }
}

#[test]
fn activation_patching() {
    for model in DEMOS {
        let restored = run("activation_patching", model).tensor("restored");
        let n = restored.dims()[1];
        let values: Vec<Vec<f32>> = restored.to_vec2().unwrap();
        // Before block 0 the answer hangs on the one token that differs.
        let subject = peak(&restored.narrow(0, 0, 1).unwrap()).1;
        assert!(
            values[0][subject] > 0.95 && subject < n - 1 && subject > 5,
            "{model}: {:?}",
            values[0]
        );
        // In between it is with one of the two.
        for row in &values {
            assert!(row[subject] > 0.5 || row[n - 1] > 0.5, "{model}: {row:?}");
        }
        // The tokens before the one that differs can restore nothing.
        assert!(
            values.iter().all(|row| row[..subject].iter().all(|share| share.abs() < 1e-3)),
            "{model}"
        );
    }
}

#[test]
fn head_patching() {
    for model in DEMOS {
        let restored = run("head_patching", model).tensors("restored.safetensors");
        assert_eq!(restored.len(), 5);
        // A head's z follows from its values and its pattern: patching both would patch it.
        assert!(most(&restored["z"]) > 0.2, "{model}: {}", most(&restored["z"]));
    }
}

#[test]
fn ablation() {
    for model in DEMOS {
        let ablated = run("ablation", model).tensors("ablation.safetensors");
        assert!(most(&ablated["zero"]) > 0.1 && most(&ablated["mean"]) > 0.1, "{model}");
    }
}

/// The heads that copy are what repetition hangs on.
#[test]
fn without_its_induction_heads_a_model_does_not_repeat() {
    for model in DEMOS {
        let scores: Vec<Vec<f32>> =
            run("induction_heads", model).tensors("scores.safetensors")["induction"]
                .to_vec2()
                .unwrap();
        let heads: Vec<(usize, usize)> =
            (0..16).map(|i| (i / 4, i % 4)).filter(|&(l, h)| scores[l][h] > 0.3).collect();
        let hooks: Vec<String> = heads
            .iter()
            .map(|(layer, head)| {
                format!("hook(\"attn-weighted-values\", |z, ctx| {{ z[[.., {head}]] = 0.0; }}, #{{layers: {layer}}})")
            })
            .collect();
        let hooks = hooks.join(", ");
        let ran = crate::run::script(
            &format!(
                r#"
                let m = model("{model}");
                seed(2);
                let random = (rand([8, 24]) * (m.config.vocab_size - 300) + 300).floor().to("i64");
                let ids = cat([random, random], 1);
                fn late(losses) {{ losses.unreduced_loss[[.., 24..]].mean().item() }}
                print(late(m.forward(ids, #{{loss: true}})));
                print(late(m.forward(ids, context([{hooks}]), #{{loss: true}})));
                "#
            ),
            &[],
        );
        let losses: Vec<f32> =
            ran.ok().stdout().lines().map(|line| line.parse().unwrap()).collect();
        assert!(losses[0] < 1.0 && losses[1] > 3.0, "{model}, heads {heads:?}: {losses:?}");
    }
}

#[test]
fn steering() {
    for model in DEMOS {
        let ran = run("steering", model);
        let rows = std::fs::read_to_string(ran.file("steering.csv")).unwrap();
        assert!(
            rows.contains(" Mary") && rows.contains(" John"),
            "{model}: the answer does not turn\n{rows}"
        );
    }
}

#[test]
fn causal_tracing() {
    for model in DEMOS {
        let tensors = run("causal_tracing", model).tensors("tracing.safetensors");
        let one = |name: &str| flat(&tensors[name])[0];
        let (clean, blurred) = (one("clean"), one("blurred"));
        assert!(clean > 0.8 && blurred < 0.5, "{model}: {clean} {blurred}");
        assert!(most(&tensors["restored"]) > 0.8 * clean, "{model}");
    }
}

#[test]
fn attention_view() {
    for model in DEMOS {
        let pattern = run("attention_view", model).tensor("pattern");
        let sums = flat(&pattern.sum(2).unwrap());
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{model}: {sums:?}");
    }
}

#[test]
fn neuron_topk() {
    for model in DEMOS {
        let active = run("neuron_topk", model).tensor("activations");
        assert!(active.rank() == 3 && most(&active) > 0.5, "{model}");
    }
}

#[test]
fn composition_scores() {
    for model in DEMOS {
        let found = run("induction_heads", model).tensors("scores.safetensors");
        let scores = run("composition_scores", model).tensors("composition.safetensors");
        let heads = 4;
        let index = |(layer, head): (usize, usize)| layer * heads + head;
        let (writer, reader) =
            (index(peak(&found["previous token"])), index(peak(&found["induction"])));
        // The induction head's keys read what the previous-token head wrote: more than what other
        // heads wrote.
        let column: Vec<f32> = flat(&scores["K"].narrow(1, reader, 1).unwrap());
        let larger = column.iter().filter(|score| **score > column[writer]).count();
        assert!(
            larger <= 1,
            "{model}: {larger} heads compose more strongly than head {writer}: {column:?}"
        );
    }
}

#[test]
fn svd_interpret() {
    for model in DEMOS {
        let parts = run("svd_interpret", model).tensors("svd.safetensors");
        let s = flat(&parts["s"]);
        assert!(s.windows(2).all(|pair| pair[0] >= pair[1]), "{model}");
        // W_OV has the rank of a head.
        assert!(s[31] > 1e-4 && s[32] < 1e-4 * s[0], "{model}: {:?}", &s[30..34]);
    }
}

#[test]
fn power_spectrum() {
    for model in DEMOS {
        let parts = run("power_spectrum", model).tensors("power.safetensors");
        let n = parts["frequencies"].dims1().unwrap();
        assert_eq!(parts["mean_power"].dims(), [4, n]);
        assert!(flat(&parts["mean_power"]).iter().all(|power| power.is_finite() && *power > 0.0));
    }
}

#[test]
fn bidirectional_attention_and_high_pass_filter() {
    for model in DEMOS {
        let losses = run("bidirectional_attention", model).tensors("losses.safetensors");
        assert!(losses["causal"].dims() == losses["bidirectional"].dims(), "{model}");
        let csv =
            std::fs::read_to_string(run("high_pass_filter", model).file("losses.csv")).unwrap();
        let losses: Vec<f32> = csv
            .lines()
            .skip(1)
            .map(|line| line.split(',').nth(1).unwrap().parse().unwrap())
            .collect();
        assert!(losses[losses.len() - 1] > losses[0] + 0.5, "{model}: {losses:?}");
    }
}

/// The accuracies that the model card states, from the embedded float16 files: of the whole
/// vocabulary the likeliest next token is the right one.
#[test]
fn what_the_model_card_says_the_demos_know() {
    for model in DEMOS {
        let checkpoint = Checkpoint::open(model, &OpenOptions::default()).unwrap();
        let (dtype, device) = (candle_core::DType::F32, candle_core::Device::Cpu);
        let decoder =
            Decoder::load(&checkpoint.config, &checkpoint.weights, dtype, &device).unwrap();
        let tokenizer = checkpoint.tokenizer().unwrap();
        // The likeliest token after each of each text. Texts of one length are read together.
        let likeliest = |texts: &[Vec<u32>]| -> Vec<Vec<u32>> {
            let mut by_length = std::collections::BTreeMap::<usize, Vec<usize>>::new();
            for (text, ids) in texts.iter().enumerate() {
                by_length.entry(ids.len()).or_default().push(text);
            }
            let mut best = vec![Vec::new(); texts.len()];
            for (length, alike) in by_length {
                for some in alike.chunks(16) {
                    let ids: Vec<u32> = some.iter().flat_map(|&text| texts[text].clone()).collect();
                    let ids = Tensor::from_vec(ids, (some.len(), length), &device).unwrap();
                    let logits = decoder.logits(&Input::new(&ids, None).unwrap()).unwrap();
                    let tokens: Vec<Vec<u32>> = logits.argmax(2).unwrap().to_vec2().unwrap();
                    some.iter().zip(tokens).for_each(|(&text, tokens)| best[text] = tokens);
                }
            }
            best
        };
        let mut world = World::new(2026);
        for (task, least) in [(Task::IndirectObject, 95), (Task::Fact, 98), (Task::Agreement, 95)] {
            let sentences: Vec<_> =
                (0..200).map(|_| world.sentence(task, Split::HeldOut)).collect();
            let prompts: Vec<Vec<u32>> =
                sentences.iter().map(|s| tokenizer.encode(&s.prompt, true).unwrap()).collect();
            let answers = sentences.iter().map(|s| tokenizer.single_token(&s.answer).unwrap());
            let right = likeliest(&prompts)
                .iter()
                .zip(answers)
                .filter(|(best, answer)| best.last() == Some(answer))
                .count();
            println!("{model}: {} {:.1} %", task.name(), right as f32 / 2.0);
            assert!(right >= 2 * least, "{model}: {} {right} of 200", task.name());
        }
        let (with, without) =
            (tokenizer.encode("When", true).unwrap(), tokenizer.encode("When", false).unwrap());
        let opening = with[..with.len() - without.len()].to_vec();
        let (mut right, mut total) = (0, 0);
        let rounds = (0..20).map(|_| {
            let round = world.random_tokens(300..decoder.spec().vocabulary as u32, 25);
            [opening.clone(), round.clone(), round].concat()
        });
        let rounds: Vec<Vec<u32>> = rounds.collect();
        for (ids, best) in rounds.iter().zip(likeliest(&rounds)) {
            // The second round's first token can't be known.
            let second = opening.len() + 25;
            right += (second..ids.len() - 1).filter(|&i| best[i] == ids[i + 1]).count();
            total += ids.len() - 1 - second;
        }
        println!("{model}: induction {:.1} %", 100.0 * right as f32 / total as f32);
        assert!(right * 100 >= 95 * total, "{model}: induction {right} of {total}");
    }
}
