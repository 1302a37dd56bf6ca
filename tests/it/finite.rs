//! What is no finite number: queries with nothing left to attend to, and what is said of a pass
//! that makes a NaN or an infinity.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use precompute::hook::{Hooks, Layers, Point, Site};
use precompute::model::finite::{Kind, Origin};
use precompute::model::{Decoder, Input, Options, Output};

use crate::binary::{Ran, Workplace};
use crate::fixture::{Fixture, difference, subjects};

/// Row `at` of [b, h, n, _] to `value`.
fn with_row(x: &Tensor, at: usize, value: f64) -> candle_core::Result<Tensor> {
    let row = (x.narrow(2, at, 1)?.zeros_like()? + value)?;
    Tensor::cat(&[&x.narrow(2, 0, at)?, &row, &x.narrow(2, at + 1, x.dim(2)? - at - 1)?], 2)
}

fn floats(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What a pass gives, and what stands at `points` of layer 0 after `hooks`.
fn run(
    decoder: &Decoder,
    input: &Input,
    mut hooks: Hooks,
    points: &[Point],
) -> (Output, HashMap<Point, Tensor>) {
    let seen = Rc::new(RefCell::new(HashMap::new()));
    for point in points {
        let seen = seen.clone();
        let record = move |site: Site, x: &Tensor| {
            seen.borrow_mut().insert(site.point, x.clone());
            Ok(None)
        };
        hooks.bind(point.name(), Layers::one(0), record).unwrap();
    }
    let output = decoder.forward(input, &Options::default(), &mut hooks).unwrap();
    (output, seen.take())
}

#[test]
fn a_row_of_minus_infinity_attends_to_nothing_in_every_dtype() {
    for subject in subjects() {
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
            let decoder = subject.reload(dtype);
            for point in ["pre-mask-attn-weights", "post-mask-attn-weights"] {
                let mut hooks = Hooks::new();
                hooks
                    .bind(point, Layers::one(0), |_, x| {
                        Ok(Some(with_row(x, 2, f64::NEG_INFINITY)?))
                    })
                    .unwrap();
                let points = [Point::AttnProbs, Point::AttnWeightedValues];
                let (output, seen) = run(&decoder, &subject.input, hooks, &points);
                let what = format!("{} {dtype:?} {point}", subject.name);
                let pattern = &seen[&Point::AttnProbs];
                assert!(
                    floats(&pattern.narrow(2, 2, 1).unwrap()).iter().all(|share| *share == 0.0),
                    "{what}"
                );
                let sums = floats(
                    &pattern.to_dtype(DType::F32).unwrap().sum(3).unwrap().narrow(2, 3, 1).unwrap(),
                );
                // Where a sink takes a share of a query's attention, less is left for the keys.
                let least = if decoder.spec().sinks { 0.0 } else { 0.98 };
                assert!(sums.iter().all(|sum| (least..1.02).contains(sum)), "{what}: {sums:?}");
                let z = &seen[&Point::AttnWeightedValues];
                assert!(floats(&z.narrow(2, 2, 1).unwrap()).iter().all(|z| *z == 0.0), "{what}");
                assert!(
                    floats(&output.logits.unwrap()).iter().all(|logit| logit.is_finite()),
                    "{what}"
                );
                assert_eq!(output.not_finite, None, "{what}");
            }
        }
    }
}

/// The scores are −∞ by what queries and keys are: nobody looks at them, and the fused kernel is at
/// work.
#[test]
fn the_kernel_that_makes_no_scores_agrees_with_those_that_do() {
    for subject in subjects() {
        if subject.decoder.spec().score_cap.is_some() {
            continue; // A cap makes them finite.
        }
        let hooks = || {
            let mut hooks = Hooks::new();
            hooks
                .bind("query-states", Layers::one(0), |_, x| {
                    Ok(Some(with_row(x, 2, f64::NEG_INFINITY)?))
                })
                .unwrap()
                .bind("key-states", Layers::one(0), |_, x| Ok(Some(x.ones_like()?)))
                .unwrap();
            hooks
        };
        let seen = |points: &[Point]| {
            let (_, seen) = run(&subject.decoder, &subject.input, hooks(), points);
            seen[&Point::AttnWeightedValues].clone()
        };
        let fused = seen(&[Point::AttnWeightedValues]);
        assert!(
            floats(&fused.narrow(2, 2, 1).unwrap()).iter().all(|z| *z == 0.0),
            "{}",
            subject.name
        );
        let by_scores = seen(&[Point::AttnWeightedValues, Point::AttnProbs]);
        assert!(difference(&fused, &by_scores) < 1e-5, "{}", subject.name);
    }
}

/// Products that are larger than any float32, in the last block of a pass that begins there: looked
/// for where blocks meet or everywhere.
#[test]
fn the_first_point_is_found_where_nobody_changes_anything() {
    for subject in subjects() {
        let (layers, d) = (subject.decoder.spec().layers, subject.decoder.spec().hidden);
        let decoder = subject.with_matrices_times(1e30);
        for check_finite in [false, true] {
            let stream = Tensor::rand(-1f32, 1.0, (2, 12, d), &Device::Cpu).unwrap();
            let start = Some(precompute::model::Start { layer: layers - 1, stream });
            let options = Options { start, check_finite, ..Options::default() };
            let output = decoder
                .forward(&subject.input, &options, &mut precompute::hook::Unobserved)
                .unwrap();
            let found =
                output.not_finite.unwrap_or_else(|| panic!("{}: nothing is found", subject.name));
            match found.place {
                Origin::Made(Site { layer, .. }) => {
                    assert!(
                        layer.is_none_or(|layer| layer == layers - 1),
                        "{}: {found:?}",
                        subject.name
                    );
                }
                other => panic!("{}: {other:?}", subject.name),
            }
        }
    }
}

#[test]
fn a_weight_that_is_no_number_is_found_at_its_point() {
    let fixture = Fixture::load("gpt2");
    let checkpoint = precompute::checkpoint::Checkpoint::open(
        crate::fixture::directory("gpt2").to_str().unwrap(),
        &precompute::checkpoint::OpenOptions::default(),
    )
    .unwrap();
    use precompute::tensor::WeightSource;
    let load = |name: &str| checkpoint.weights.load(name, DType::F32, &Device::Cpu).unwrap();
    let all = || checkpoint.weights.names().into_iter().map(|name| (name.clone(), load(&name)));
    for (name, number, point, layer) in [
        ("h.1.mlp.c_fc.bias", f32::NAN, Point::PostFc1, Some(1)),
        ("h.0.attn.c_proj.bias", f32::INFINITY, Point::AttnResidual, Some(0)),
        ("h.1.ln_2.weight", f32::NAN, Point::PreMlp, Some(1)),
        ("wte.weight", f32::NAN, Point::PostTokEmbeddings, None),
        ("ln_f.bias", f32::NEG_INFINITY, Point::PostFinalLayerNorm, None),
    ] {
        let weights: std::collections::HashMap<String, Tensor> = all()
            .map(|(known, tensor)| match known == name {
                true => (known, (tensor.zeros_like().unwrap() + f64::from(number)).unwrap()),
                false => (known, tensor),
            })
            .collect();
        let decoder =
            Decoder::load(&checkpoint.config, &weights, DType::F32, &Device::Cpu).unwrap();
        for check_finite in [false, true] {
            let options = Options { check_finite, ..Options::default() };
            let output = decoder
                .forward(&fixture.input(), &options, &mut precompute::hook::Unobserved)
                .unwrap();
            let found = output.not_finite.unwrap();
            assert_eq!(found.place, Origin::Made(Site { point, layer }), "{name}");
            assert_eq!(
                found.kind,
                if number.is_nan() { Kind::Nan } else { Kind::Infinity },
                "{name}"
            );
        }
    }
}

fn warned(body: &str, arguments: &[&str]) -> Ran {
    let here = Workplace::new(&[]);
    let text =
        format!("let m = model(\"demo:opt\"); let ids = m.encode(\"When Mary went\");\n{body}");
    here.write("s.rhai", text.as_bytes());
    let ran = here.run(&[&["run", "s.rhai"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{body}\n{}", ran.stderr);
    ran
}

#[test]
fn a_pass_is_warned_of_once_and_the_hook_is_named() {
    let nan = "0.0/0.0";
    let inf = "1.0/0.0";
    for (body, said) in [
        (
            format!("m.forward(ids, context([hook(\"post-mlp\", |x, ctx| x * ({nan}), #{{layers: 1}})]));"),
            "NaN, first at post-mlp of layer 1, after the hook at line 2",
        ),
        (
            format!("m.forward(ids, context([hook(\"pre-block\", |x, ctx| {{ x[[0, 1, 2]] = {inf}; }}, #{{layers: 2}})]));"),
            "an infinity, first at pre-block of layer 2, after the hook at line 2",
        ),
        (
            format!(
                "m.forward(ids, context([\nhook(\"post-act\", |x, ctx| x, #{{layers: 2}}),\nhook(\"post-act\", |x, ctx| x * {inf})]));"
            ),
            "NaN, first at post-act of layer 0, after the hook at line 4",
        ),
        // Of scores and patterns, which may be large, where blocks meet.
        (
            format!("m.forward(ids, context([hook(\"attn-probs\", |x, ctx| x * ({nan}), #{{layers: 1}})]));"),
            "NaN, first in layer 1, after the hook at line 2; --check-finite tells at which point",
        ),
        (
            format!("m.capture(ids, \"post-mlp\", context([hook(\"logits\", |x, ctx| x * ({nan}))]), #{{logits: \"all\"}});"),
            "NaN, first at logits, after the hook at line 2",
        ),
        (
            "m.forward(ids, context([hook(\"attn-norm-scale\", |x, ctx| x * 0.0, #{layers: 2})]));".to_owned(),
            "NaN, first in layer 2, after the hook at line 2; --check-finite tells at which point",
        ),
        (
            "m.forward(ids, context([hook(\"final-norm-scale\", |x, ctx| x * 0.0)]));".to_owned(),
            "this pass made an infinity of finite numbers, first at post-final-layer-norm",
        ),
        (
            "m.generate(ids, context([hook(\"post-mlp\", |x, ctx| { x[[0, 0, 0]] = 1e38; x[[0, 0, 1]] = -1e38; }, #{layers: 3})]), #{max_new_tokens: 3});".to_owned(),
            "",
        ),
    ] {
        let ran = warned(&body, &[]);
        let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        match said {
            "" => assert!(warnings.len() <= 1, "{body}\n{}", ran.stderr),
            said => assert!(warnings.len() == 1 && warnings[0].contains(said), "{body}\n{}", ran.stderr),
        }
    }
}

#[test]
fn every_point_is_looked_at_when_asked() {
    let made =
        "m.forward(ids, context([hook(\"attn-norm-scale\", |x, ctx| x * 0.0, #{layers: 2})]));";
    let ran = warned(made, &["--check-finite"]);
    assert!(
        ran.stderr
            .contains("this pass made an infinity of finite numbers, first at pre-attn of layer 2"),
        "{}",
        ran.stderr
    );
    let left = "m.forward(ids, context([hook(\"attn-probs\", |x, ctx| x * (0.0/0.0), #{layers: 1})]), #{check_finite: true});";
    let ran = warned(left, &[]);
    assert!(
        ran.stderr.contains("NaN, first at attn-probs of layer 1, after the hook at line 2"),
        "{}",
        ran.stderr
    );
}

#[test]
fn infinities_that_tell_something_and_what_was_given_are_not_warned_of() {
    for body in [
        "m.forward(ids, context([hook(\"logits\", |x, ctx| { x[[.., .., 5]] = -1.0/0.0; })]), #{loss: true});",
        "m.forward(ids, context([hook(\"pre-mask-attn-weights\", |x, ctx| { x[[.., 1, 2]] = -1.0/0.0; })]));",
        "m.forward(ids, context([hook(\"post-mask-attn-weights\", |x, ctx| { x[[.., 1, 2, 1]] = -1.0/0.0; })]));",
        "m.generate(ids, context([hook(\"logits\", |x, ctx| { x[[.., .., 5]] = -1.0/0.0; })]), #{max_new_tokens: 2});",
        "let x = m.capture(ids, \"pre-block\", #{layers: 1}); x[[0, 0, 0]] = 0.0/0.0; m.forward(ids, #{start: \"pre-block@1\", from: x});",
        "m.forward(ids, context([hook(\"post-mlp\", |x, ctx| x * 2.0)]), #{loss: true});",
    ] {
        for arguments in [&[] as &[&str], &["--check-finite"]] {
            let ran = warned(body, arguments);
            assert!(!ran.stderr.contains("warning"), "{body} {arguments:?}\n{}", ran.stderr);
        }
    }
}

/// What is not finite is not kept for a later pass, of which nothing would be said then.
#[test]
fn the_same_pass_again_is_warned_of_again() {
    let pass =
        "m.forward(ids, context([hook(\"post-mlp\", |x, ctx| x * (0.0/0.0), #{layers: 0})]));";
    let ran = warned(&format!("{pass}\n{pass}"), &[]);
    let lines: Vec<&str> =
        ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    assert!(lines[1].contains("post-mlp of layer 0, after the hook at line 3"), "{}", ran.stderr);
}
