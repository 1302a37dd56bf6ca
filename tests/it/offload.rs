//! Models whose blocks stay in host memory. On the CPU the copies are made too, so that their order
//! is checked without a GPU.

use candle_core::{DType, Device};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::{Capture, Layers, Point, Unobserved};
use precompute::model::{Cache, Decoder, Options};

use crate::binary::script;
use crate::fixture::{CASES, Fixture, directory};

fn offloaded(case: &str) -> Decoder {
    let checkpoint =
        Checkpoint::open(directory(case).to_str().unwrap(), &OpenOptions::default()).unwrap();
    Decoder::offloaded(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu).unwrap()
}

fn bits(tensor: &candle_core::Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn results_are_those_of_a_model_that_is_resident() {
    for case in CASES {
        let (fixture, offloaded) = (Fixture::load(case), offloaded(case));
        assert!(offloaded.is_offloaded() && !fixture.decoder.is_offloaded());
        // Twice: the second pass begins with the block that was copied ahead at the end of the
        // first.
        for _ in 0..2 {
            let (mut seen, mut expected) = (
                Capture::new([(Point::PostMlp, Layers::All)]),
                Capture::new([(Point::PostMlp, Layers::All)]),
            );
            let input = fixture.input();
            let here =
                offloaded.forward(&input, &Options::default(), &mut seen).unwrap().logits.unwrap();
            let there = fixture
                .decoder
                .forward(&input, &Options::default(), &mut expected)
                .unwrap()
                .logits
                .unwrap();
            assert_eq!(bits(&here), bits(&there), "{case}");
            let stacked =
                |capture: &Capture| bits(&capture.stacked(Point::PostMlp, &Layers::All).unwrap());
            assert_eq!(stacked(&seen), stacked(&expected), "{case}");
        }
    }
}

#[test]
fn blocks_are_found_in_any_order() {
    let (fixture, offloaded) = (Fixture::load("llama"), offloaded("llama"));
    for layer in (0..fixture.layers()).rev().chain([0, 0]) {
        let (here, there) =
            (offloaded.heads(layer).unwrap(), fixture.decoder.heads(layer).unwrap());
        assert_eq!(bits(&here.w_o), bits(&there.w_o));
        assert_eq!(bits(&here.w_q), bits(&there.w_q));
    }
    assert!(offloaded.heads(fixture.layers()).is_err());
}

#[test]
fn it_generates_from_a_cache() {
    let (fixture, offloaded) = (Fixture::load("gpt-neox"), offloaded("gpt-neox"));
    let input = fixture.input();
    let logits = |decoder: &Decoder| {
        let mut cache = Cache::new(fixture.layers(), 8);
        decoder
            .extend(&input, &mut cache, &Options::default(), &mut Unobserved)
            .unwrap()
            .logits
            .unwrap()
    };
    assert_eq!(bits(&logits(&offloaded)), bits(&logits(&fixture.decoder)));
}

#[test]
fn a_script_may_ask_for_it_anywhere() {
    let ran = script(
        "let m = model(\"demo:opt\", #{offload: true}); m.forward(tensor([[5, 6, 7]])).logits.shape[2] == m.config.vocab_size",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "true\n"), "{}", ran.stderr);
    let ran = script("model(\"demo:opt\", #{offload: \"yes\"})");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("offload"), "{}", ran.stderr);
}
