//! Weights by the same names in every family, parts of a model on their own, and passes that begin
//! at a block.

use candle_core::{D, DType, Tensor};
use precompute::hook::{Capture, Hooks, Layers, Point, Unobserved};
use precompute::model::load::weights::{BlockNorms, MlpWeights, NormWeights, Projection};
use precompute::model::spec::{NormKind, NormPlace};
use precompute::model::{Input, Options, Start};

use crate::binary::script;
use crate::fixture::{CASES, Fixture, difference, directory, subjects};

const TOLERANCE: f32 = 2e-5;

fn close(case: &str, what: &str, got: &Tensor, expected: &Tensor) {
    let difference = difference(got, expected);
    assert!(difference <= TOLERANCE, "{case}: {what} is off by {difference}");
}

/// x [.., in] through a projection.
fn through(x: &Tensor, by: &Projection) -> Tensor {
    let (mut dims, rows) = (x.dims().to_vec(), x.elem_count() / x.dim(D::Minus1).unwrap());
    let y = x
        .reshape((rows, ()))
        .unwrap()
        .matmul(&by.w.contiguous().unwrap())
        .unwrap()
        .broadcast_add(&by.b)
        .unwrap();
    *dims.last_mut().unwrap() = by.w.dim(1).unwrap();
    y.reshape(dims).unwrap()
}

fn normed(x: &Tensor, norm: &NormWeights) -> Tensor {
    let x = match norm.kind {
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap(),
        NormKind::Rms => x.clone(),
    };
    let scale =
        (x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap() + norm.eps).unwrap().sqrt().unwrap();
    let y = x.broadcast_div(&scale).unwrap().broadcast_mul(&norm.w).unwrap();
    y.broadcast_add(&norm.b).unwrap()
}

/// The MLP's activation is what goldens have at post-act.
fn mlp_is_that_of_the_goldens(
    fixture: &Fixture,
    layer: usize,
    mlp: &MlpWeights,
    norms: &BlockNorms,
) {
    let (case, spec) = (fixture.case, fixture.decoder.spec());
    let golden = |point: &str| fixture.golden(&format!("plain/{layer}/{point}"));
    assert_eq!(mlp.input.w.dims(), [spec.hidden, spec.feed_forward], "{case}");
    assert_eq!(mlp.output.w.dims(), [spec.feed_forward, spec.hidden], "{case}");
    match &mlp.gate {
        Some(gate) => {
            close(case, "w_gate", &through(golden("pre-mlp"), gate), golden("post-fc1"));
            close(case, "w_in", &through(golden("pre-mlp"), &mlp.input), golden("post-up"));
        }
        None => close(case, "w_in", &through(golden("pre-mlp"), &mlp.input), golden("post-fc1")),
    }
    let out = through(golden("post-act"), &mlp.output);
    let out = norms.post_mlp.as_ref().map_or(out.clone(), |norm| normed(&out, norm));
    close(case, "w_out", &out, golden("mlp-residual"));
}

#[test]
fn mlps_and_norms_are_those_of_the_goldens() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let spec = fixture.decoder.spec();
        for layer in 0..spec.layers {
            let golden = |point: &str| fixture.golden(&format!("plain/{layer}/{point}"));
            let norms = fixture.decoder.norms(layer).unwrap();
            match fixture.decoder.mlp(layer) {
                Ok(mlp) => mlp_is_that_of_the_goldens(&fixture, layer, &mlp, &norms),
                Err(error) => {
                    assert!(spec.experts(layer).is_some(), "{case}: {error}");
                    assert!(error.message().contains("mixture of experts"), "{error}");
                }
            }

            let stream = golden("pre-block");
            match spec.norm_place {
                NormPlace::Before | NormPlace::Both | NormPlace::Stream => {
                    close(case, "attn norm", &normed(stream, &norms.attn), golden("pre-attn"));
                    let read = if spec.parallel { stream } else { golden("post-attn") };
                    close(case, "mlp norm", &normed(read, &norms.mlp), golden("pre-mlp"));
                    close(
                        case,
                        "attn_norm",
                        &fixture.decoder.attn_norm(layer, stream).unwrap(),
                        golden("pre-attn"),
                    );
                    close(
                        case,
                        "mlp_norm",
                        &fixture.decoder.mlp_norm(layer, read).unwrap(),
                        golden("pre-mlp"),
                    );
                }
                NormPlace::After => {
                    close(
                        case,
                        "attn norm",
                        &normed(golden("post-attn"), &norms.attn),
                        golden("pre-mlp"),
                    );
                    let next = fixture.decoder.mlp_norm(layer, golden("post-mlp")).unwrap();
                    close(case, "mlp norm", &normed(golden("post-mlp"), &norms.mlp), &next);
                }
                NormPlace::Outputs => {
                    let heads = golden("attn-head-outputs").sum(1).unwrap();
                    close(case, "attn norm", &normed(&heads, &norms.attn), golden("attn-residual"));
                }
            }
            if let Some(norm) = &norms.post_attn {
                let heads = golden("attn-head-outputs").sum(1).unwrap();
                close(case, "post attn norm", &normed(&heads, norm), golden("attn-residual"));
            }
            assert_eq!(norms.post_attn.is_some(), spec.has(Point::PostAttnNormScale), "{case}");
        }
    }
}

#[test]
fn embedding_and_unembedding_are_those_of_the_goldens() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let spec = fixture.decoder.spec();
        let table = fixture.decoder.embedding().unwrap();
        assert_eq!(table.dims(), [spec.vocabulary, spec.hidden], "{case}");
        let ids = fixture.golden("ids");
        let rows = table.index_select(&ids.flatten_all().unwrap(), 0).unwrap();
        let (b, n) = ids.dims2().unwrap();
        let rows = rows.reshape((b, n, ())).unwrap();
        if spec.embedding == spec.hidden {
            close(case, "embedding", &rows, fixture.golden("plain/post-tok-embeddings"));
        } else {
            let project =
                fixture.weight("decoder.project_in.weight").t().unwrap().contiguous().unwrap();
            let embedded =
                fixture.golden("plain/post-tok-embeddings").reshape((b * n, ())).unwrap();
            let projected = embedded.matmul(&project).unwrap().reshape((b, n, ())).unwrap();
            close(case, "embedding", &rows, &projected);
        }
        let head = fixture.decoder.unembedding().unwrap();
        assert_eq!(head.w.dims(), [spec.hidden, spec.vocabulary], "{case}");
        let mut logits = through(fixture.golden("plain/post-final-layer-norm"), &head);
        if let Some(cap) = spec.logit_cap {
            logits = ((logits / cap).unwrap().tanh().unwrap() * cap).unwrap();
        }
        close(case, "unembedding", &logits, fixture.golden("plain/logits"));
        if let Some(last) = fixture.decoder.final_norm_weights().unwrap() {
            let stream = fixture.golden(&format!("plain/{}/post-mlp", spec.layers - 1));
            close(
                case,
                "final norm",
                &normed(stream, &last),
                fixture.golden("plain/post-final-layer-norm"),
            );
        }
    }
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.to_dtype(DType::F32)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap()
        .iter()
        .map(|x| x.to_bits())
        .collect()
}

/// A batch whose second row has padding, left or right, besides the one without.
fn inputs(subject: &crate::fixture::Subject) -> Vec<Input> {
    let ids = subject.input.ids(&candle_core::Device::Cpu).unwrap();
    let masks = [[0u8, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]];
    let padded = masks.map(|mask| {
        let mask = Tensor::new(&[[1u8; 12], mask], &candle_core::Device::Cpu).unwrap();
        Input::new(&ids, Some(&mask)).unwrap()
    });
    [subject.input.clone()].into_iter().chain(padded).collect()
}

#[test]
fn a_pass_that_begins_at_a_block_is_the_whole_pass_to_the_last_bit() {
    for subject in subjects() {
        let layers = subject.decoder.spec().layers;
        for (which, input) in inputs(&subject).iter().enumerate() {
            let mut capture = Capture::new([(Point::PreBlock, Layers::All)]);
            let options = Options { loss: true, ..Options::default() };
            subject.decoder.forward(input, &options, &mut capture).unwrap();
            let whole = subject.decoder.forward(input, &options, &mut Unobserved).unwrap();
            for layer in 0..layers {
                let stream = capture.get(Point::PreBlock, Some(layer)).unwrap().clone();
                let options = Options {
                    start: Some(Start { layer, stream: stream.clone() }),
                    ..options.clone()
                };
                let part = subject.decoder.forward(input, &options, &mut Unobserved).unwrap();
                let what = format!("{} from {layer}, input {which}", subject.name);
                assert_eq!(
                    bits(part.logits.as_ref().unwrap()),
                    bits(whole.logits.as_ref().unwrap()),
                    "{what}"
                );
                assert_eq!(
                    bits(part.loss.as_ref().unwrap()),
                    bits(whole.loss.as_ref().unwrap()),
                    "{what}"
                );
                if layer + 1 < layers {
                    let next = subject.decoder.block(layer, &stream, input).unwrap();
                    assert_eq!(
                        bits(&next),
                        bits(capture.get(Point::PreBlock, Some(layer + 1)).unwrap()),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_comes_before_the_start_is_refused() {
    let subject = &subjects()[0];
    let stream = Tensor::zeros(
        (2, 12, subject.decoder.spec().hidden),
        DType::F32,
        &candle_core::Device::Cpu,
    )
    .unwrap();
    let options = Options { start: Some(Start { layer: 1, stream }), ..Options::default() };
    for (point, layers, allowed) in [
        ("post-tok-embeddings", Layers::All, false),
        ("post-mlp", Layers::one(0), false),
        ("pre-block", Layers::one(1), true),
        ("post-mlp", Layers::one(1), true),
        ("logits", Layers::All, true),
    ] {
        let ran = std::cell::Cell::new(false);
        let mut hooks = Hooks::new();
        hooks
            .bind(point, layers, |_, _| {
                ran.set(true);
                Ok(None)
            })
            .unwrap();
        let output = subject.decoder.forward(&subject.input, &options, &mut hooks);
        drop(hooks);
        assert_eq!((output.is_ok(), ran.get()), (allowed, allowed), "{point}");
        if let Err(error) = output {
            assert!(
                error.to_string().contains("comes before pre-block@1, where the pass is to begin"),
                "{error}"
            );
        }
    }
}

/// Each says its sentence, and nothing has run by then.
#[test]
fn what_is_wrong_with_a_start_or_a_part_is_said() {
    let ids = "let m = model(\"demo:opt\"); let ids = m.encode(\"When Mary went\");";
    for (body, said) in [
        ("m.forward(ids, #{start: \"pre-block@1\"})", "from, what stands there, is missing"),
        ("m.forward(ids, #{from: zeros([1, 2, 3])})", "start, where it begins, is missing"),
        (
            "m.forward(ids, #{start: \"post-mlp@1\", from: zeros([1, 2, 3])})",
            "and not at post-mlp@1",
        ),
        (
            "m.forward(ids, #{start: \"pre-block\", from: zeros([1, 2, 3])})",
            "start: every block has pre-block; which one?",
        ),
        (
            "m.forward(ids, #{start: \"pre-block@9\", from: zeros([1, 2, 3])})",
            "there is no layer 9",
        ),
        (
            "m.forward(ids, #{start: \"pre-block@1\", from: zeros([1, 2, 3])})",
            "what enters a block is [b, n, d], here [1, ",
        ),
        (
            "let x = m.capture(ids, \"pre-block\", #{layers: 2}); m.forward(ids, context([hook(\"post-mlp\", |x, ctx| x)]), #{start: \"pre-block@2\", from: x})",
            "post-mlp@0 comes before pre-block@2",
        ),
        (
            "let x = m.capture(ids, \"pre-block\", #{layers: 2}); m.capture(ids, \"pre-block\", #{start: \"pre-block@2\", from: x})",
            "pre-block@0 comes before pre-block@2",
        ),
        (
            "let x = m.capture(ids, \"pre-block\", #{layers: 2}); m.forward(ids, #{start: \"pre-block@2\", from: x, stop: \"post-mlp@0\"})",
            "it would never stop",
        ),
        ("m.block(0, zeros([3, 4]))", "block reads the residual stream [b, n, d]"),
        ("m.block(0, zeros([1, 3, 4]))", "what enters a block is [b, n, d], here [1, 3, "),
        ("m.block(7, zeros([1, 3, 4]))", "there is no layer 7"),
        ("m.mlp(4)", "there is no layer 4"),
        ("m.norms(-5)", "there is no layer -5"),
        ("m.attn_norm(0, zeros([3]))", "attn_norm reads the residual stream"),
        ("m.weight(\"nope\")", "m.weights(\"*\") has the names of all"),
        ("m.weight(\"embed_tokens\")", "did you mean model.decoder.embed_tokens.weight?"),
        (
            "m.weight(\"model.decoder.layers.0.fc1.wieght\")",
            "did you mean model.decoder.layers.0.fc1.weight",
        ),
        ("m.weights(\"*.fc9.*\")", "no weight of the checkpoint is called \"*.fc9.*\""),
        ("m.weights(\"[\")", "is no pattern"),
    ] {
        let ran = script(&format!("{ids}\n{body}"));
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{body}\n{}", ran.stderr);
    }
}

/// A mixture of experts has no matrices of its own.
const OF_MLP: &str = r#"
            let mlp = m.mlp(-1);
            let read = m.capture(ids, "pre-mlp")[last];
            let pre = read.matmul(mlp.w_in) + mlp.b_in;
            if mlp.w_gate == () {
                print(same.call(pre, m.capture(ids, "post-fc1")[last]));
            } else {
                print(same.call(pre, m.capture(ids, "post-up")[last])
                    && same.call(read.matmul(mlp.w_gate) + mlp.b_gate, m.capture(ids, "post-fc1")[last]));
            }
"#;

#[test]
fn scripts_have_weights_and_parts_in_every_family() {
    for case in CASES {
        let model = directory(case);
        let experts = Fixture::load(case).decoder.spec().experts.is_some();
        let of_mlp = if experts { "print(true);" } else { OF_MLP };
        let text = format!(
            r#"
            let m = model({:?});
            let ids = m.encode("When Mary and John went to the store");
            let x = m.capture(ids, "pre-block");                  // [l, b, n, d]
            let last = m.config.num_hidden_layers - 1;
            let same = |a, b| (a - b).abs().max().item() <= 2e-5;
            {of_mlp}
            print(m.embedding().shape == [m.config.vocab_size, m.config.hidden_size]);
            print(m.unembedding().w.shape == [m.config.hidden_size, m.config.vocab_size]);
            print(m.norms(0).attn.w.shape == [m.config.hidden_size]);
            print(m.weights("*").len() > 10 && m.weights("*").values()[0].len() > 0);
            let whole = m.forward(ids).logits;
            let equal = |a, b| (a - b).abs().max().item() == 0.0;
            print(equal.call(m.forward(ids, #{{start: `pre-block@${{last}}`, from: x[last]}}).logits, whole));
            print(equal.call(m.forward(ids, #{{start: "pre-block@-1", from: x[last]}}).logits, whole));
            print(equal.call(m.block(0, x[0]), x[1]));
            "#,
            model.to_str().unwrap()
        );
        let ran = script(&text);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "true\n".repeat(8).as_str()),
            "{case}\n{}",
            ran.stderr
        );
    }
}

/// A padded batch: the mask says which keys a block's queries see.
#[test]
fn a_block_of_a_padded_batch_takes_a_mask() {
    let ran = script(
        r#"
        let m = model("demo:opt");
        let ids = m.encode(["When Mary and John went to the store", "one two"]);
        let x = m.capture(ids, "pre-block");
        print((m.block(1, x[1], #{mask: ids.mask}) - x[2]).abs().max().item() == 0.0);
        print((m.block(1, x[1]) - x[2]).abs().max().item() == 0.0);
        "#,
    );
    assert_eq!(ran.stdout, "true\nfalse\n", "{}", ran.stderr);
}

/// An edge that is knocked out of a pass is knocked out of a block.
#[test]
fn a_block_takes_a_mask_of_attention() {
    let ran = script(
        r#"
        let m = model("demo:opt");
        let ids = m.encode("When Mary and John went to the store");
        let n = ids.shape[1];
        let mask = ones([1, n, n]);
        mask[[0, n - 1, 2]] = 0;
        let x = m.capture(ids, "pre-block", #{mask: mask});
        print((m.block(1, x[1], #{mask: mask}) - x[2]).abs().max().item() == 0.0);
        print((m.block(1, x[1]) - x[2]).abs().max().item() == 0.0);
        "#,
    );
    assert_eq!(ran.stdout, "true\nfalse\n", "{}", ran.stderr);
}
