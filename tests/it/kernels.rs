//! The kernels of the CPU in whole passes: with and without scores that someone sees, and with
//! every set of instructions.

use std::process::Command;

use candle_core::Tensor;
use precompute::hook::{Capture, Layers, Point, Unobserved};
use precompute::model::{Input, Options};

use crate::binary::engines;
use crate::fixture::{CASES, Fixture, difference};

fn padded(left: bool) -> Input {
    let (ids, mask): ([[u32; 7]; 2], [[u8; 7]; 2]) = match left {
        true => ([[9, 4, 17, 3, 8, 2, 5], [1, 1, 1, 6, 11, 4, 3]], [[1; 7], [0, 0, 0, 1, 1, 1, 1]]),
        false => {
            ([[9, 4, 17, 3, 8, 2, 5], [6, 11, 4, 3, 1, 1, 1]], [[1; 7], [1, 1, 1, 1, 0, 0, 0]])
        }
    };
    let device = &candle_core::Device::Cpu;
    Input::new(&Tensor::new(&ids, device).unwrap(), Some(&Tensor::new(&mask, device).unwrap()))
        .unwrap()
}

#[test]
fn attention_is_the_same_whether_its_scores_are_seen_or_not() {
    for case in CASES {
        let fixture = Fixture::load(case);
        for input in [fixture.input(), padded(true), padded(false)] {
            let run = |observer: &mut dyn precompute::hook::Observer| {
                fixture
                    .decoder
                    .forward(&input, &Options::default(), observer)
                    .unwrap()
                    .logits
                    .unwrap()
            };
            let unseen = run(&mut Unobserved);
            for point in [
                Point::PreMaskAttnWeights,
                Point::AttnProbs,
                Point::AttnHeadOutputs,
                Point::AttnNormScale,
            ] {
                if fixture.decoder.spec().has(point) {
                    let off = difference(&unseen, &run(&mut Capture::new([(point, Layers::All)])));
                    assert!(off < 1e-5, "{case} with {point}: {off}");
                }
            }
        }
    }
}

/// The GPT-NeoX fixture with wider rows, and weights that only look random.
fn wide() -> tempfile::TempDir {
    let (from, to) = (crate::fixture::directory("gpt-neox"), tempfile::tempdir().unwrap());
    let config = std::fs::read(from.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    (config["hidden_size"], config["intermediate_size"]) = (512.into(), 2048.into());
    std::fs::write(to.path().join("config.json"), config.to_string()).unwrap();
    let mut state = 1u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.1
    };
    let narrow = std::fs::read(from.join("model.safetensors")).unwrap();
    let narrow = safetensors::SafeTensors::deserialize(&narrow).unwrap();
    let mut weights: Vec<_> =
        narrow.iter().filter(|(_, view)| view.dtype() != safetensors::Dtype::BOOL).collect();
    weights.sort_by_key(|(name, _)| *name);
    let wider = |size: &usize| match size {
        48 => 512,
        144 => 3 * 512,
        192 => 2048,
        size => *size,
    };
    let weights = weights.into_iter().map(|(name, narrow)| {
        let dims: Vec<usize> = narrow.shape().iter().map(wider).collect();
        let numbers: Vec<f32> = (0..dims.iter().product()).map(|_| number()).collect();
        (name.to_owned(), Tensor::from_vec(numbers, dims, &candle_core::Device::Cpu).unwrap())
    });
    candle_core::safetensors::save(&weights.collect(), to.path().join("model.safetensors"))
        .unwrap();
    to
}

/// With rows enough, and wide enough, for every way to multiply matrices.
#[test]
fn every_set_of_instructions_gives_the_same_but_for_last_digits() {
    let seen = |cpu: &str, model: &str| {
        let here = crate::binary::Workplace::new(&[(
            "s.rhai",
            "let m = model(param(\"model\", \"demo:opt\", \"\")); let ids = (arange(63) * 5 % 29).reshape([9, 7]); \
             let seen = m.capture(ids, [\"attn-probs\", \"post-mlp\", \"attn-norm-scale\"], #{logits: \"all\"}); \
             save(\"all\", #{logits: m.forward(ids).logits, pattern: seen[\"attn-probs\"], stream: seen[\"post-mlp\"]});",
        )]);
        let mut command: Command =
            here.command(&["run", "s.rhai", "--fresh", "--out", "out", "--set"]);
        let output =
            command.arg(format!("model={model}")).env("PRECOMPUTE_CPU", cpu).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        candle_core::safetensors::load(
            here.path().join("out/all.safetensors"),
            &candle_core::Device::Cpu,
        )
        .unwrap()
    };
    let wide = wide();
    let tiny = ["opt", "gpt-neox", "gemma2", "qwen3"].map(crate::fixture::directory);
    for model in tiny.iter().map(|model| model.as_path()).chain([wide.path()]) {
        let model = model.display().to_string();
        let portable = seen("portable", &model);
        for cpu in engines() {
            for (name, tensor) in seen(cpu, &model) {
                let off = difference(&tensor, &portable[&name]);
                let size = difference(&tensor, &tensor.zeros_like().unwrap());
                assert!(
                    off < 1e-5 * size.max(1.0),
                    "{model} with {cpu}: {name} is {off} off of {size}"
                );
            }
        }
    }
}

/// The goldens again, in processes that use a narrower set of instructions than they do anyway.
#[test]
fn the_goldens_hold_with_every_set_of_instructions() {
    let engines = engines();
    for cpu in &engines[..engines.len() - 1] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command
            .args(["goldens::", "--test-threads", "1"])
            .env("PRECOMPUTE_CPU", cpu)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success()
                && said.contains("test result: ok.")
                && !said.contains(" 0 passed"),
            "{cpu}: {said}"
        );
    }
}

#[test]
fn a_set_that_is_unknown_or_missing_is_an_error_of_every_command() {
    let here = crate::binary::Workplace::new(&[("s.rhai", "print(1);")]);
    let mut wrong = vec![("amx", "PRECOMPUTE_CPU=amx names no set of vector instructions")];
    if !engines().contains(&"avx512") {
        wrong.push(("avx512", "PRECOMPUTE_CPU=avx512: this processor has no AVX-512"));
    }
    for (cpu, sentence) in wrong {
        for command in [&["run", "s.rhai"] as &[&str], &["points"], &["models"]] {
            let output = here.command(command).env("PRECOMPUTE_CPU", cpu).output().unwrap();
            let ran: crate::binary::Ran = output.into();
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{command:?}");
            assert!(ran.stderr.starts_with(&format!("error: {sentence}\n")), "{}", ran.stderr);
            assert!(ran.stderr.contains("help: set it to portable"), "{}", ran.stderr);
        }
    }
    // Empty is unset.
    assert!(here.command(&["points"]).env("PRECOMPUTE_CPU", "").status().unwrap().success());
}
