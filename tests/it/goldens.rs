//! Every hook point and intervention against the goldens, on every fixture.

use candle_core::{D, DType, Device, Tensor};
use precompute::hook::{Capture, Hooks, Layers, Observer, Point, Unobserved};
use precompute::model::family::{FAMILIES, VERIFIED};
use precompute::model::spec::NormPlace;
use precompute::model::{Input, Logits, Options, Output};

use crate::fixture::{CASES, Fixture, difference, directory};

/// As closely as `precompute models --families` says.
fn close(case: &str, what: &str, got: &Tensor, expected: &Tensor) {
    let difference = difference(got, expected);
    println!("{difference:.3e} {case} {what}");
    let stated = VERIFIED.iter().find(|verified| verified.fixture == case).unwrap().difference;
    assert!(stated <= 1e-4 && difference <= stated, "{case}: {what} is off by {difference}");
}

#[test]
fn every_family_is_verified_on_its_fixtures() {
    for entry in std::fs::read_dir(directory("")).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let is_listed = CASES.contains(&name.to_str().unwrap());
        assert_eq!(path.join("golden.safetensors").exists(), is_listed, "{}", path.display());
    }
    for family in FAMILIES {
        assert!(VERIFIED.iter().any(|verified| verified.family == family.name), "{}", family.name);
    }
}

fn run(fixture: &Fixture, observer: &mut dyn Observer) -> Output {
    fixture
        .decoder
        .forward(&fixture.input(), &Options { loss: true, ..Options::default() }, observer)
        .unwrap()
}

fn points(fixture: &Fixture) -> Vec<Point> {
    Point::ALL.into_iter().filter(|point| fixture.decoder.spec().has(*point)).collect()
}

/// What the norm of a sub-block's output divides by, from the goldens of what the sub-block is made
/// of: √(mean square + eps).
fn output_scale(fixture: &Fixture, point: Point, layer: usize) -> Tensor {
    let golden = |point: &str| fixture.golden(&format!("plain/{layer}/{point}")).clone();
    let output = match point {
        Point::PostAttnNormScale => golden("attn-head-outputs").sum(1).unwrap(),
        _ => {
            let act = golden("post-act");
            let (b, n, f) = act.dims3().unwrap();
            let w_out =
                fixture.weight(&format!("model.layers.{layer}.mlp.down_proj.weight")).t().unwrap();
            act.reshape((b * n, f)).unwrap().matmul(&w_out).unwrap().reshape((b, n, ())).unwrap()
        }
    };
    let squares = output.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
    (squares + fixture.decoder.spec().norm.eps).unwrap().sqrt().unwrap()
}

/// Reverses the last dimension.
fn flip(x: &Tensor) -> Tensor {
    let last = x.dim(D::Minus1).unwrap() as u32;
    let order = Tensor::from_iter((0..last).rev(), &Device::Cpu).unwrap();
    x.contiguous().unwrap().index_select(&order, x.rank() - 1).unwrap()
}

#[test]
fn every_point_of_a_plain_pass() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let mut capture =
            Capture::new(points(&fixture).into_iter().map(|point| (point, Layers::All)));
        run(&fixture, &mut capture);
        for point in points(&fixture) {
            let layers = if point.in_block() {
                fixture.decoder.spec().layers_with(point).into_iter().map(Some).collect()
            } else {
                vec![None]
            };
            for layer in layers {
                let key = match layer {
                    Some(layer) => format!("plain/{layer}/{point}"),
                    None => format!("plain/{point}"),
                };
                let mut got = capture.get(point, layer).unwrap().clone();
                let mut expected = match point {
                    Point::PostAttnNormScale | Point::PostMlpNormScale => {
                        output_scale(&fixture, point, layer.unwrap())
                    }
                    _ => layer
                        .and_then(|layer| fixture.of_stream(point, layer))
                        .unwrap_or_else(|| fixture.golden(&key).clone()),
                };
                if point == Point::PostMaskAttnWeights {
                    let masked = expected.le(-1e30).unwrap();
                    assert_eq!(
                        difference(&got.le(-1e30).unwrap(), &masked),
                        0.0,
                        "{case}: {key} masks other places"
                    );
                    let zero = expected.zeros_like().unwrap();
                    got = masked.where_cond(&zero, &got).unwrap();
                    expected = masked.where_cond(&zero, &expected).unwrap();
                }
                close(case, &key, &got, &expected);
            }
        }
    }
}

#[test]
fn a_hook_at_every_point_reaches_the_logits() {
    for case in CASES {
        let fixture = Fixture::load(case);
        for point in points(&fixture).into_iter().filter(|point| !UNSTATED.contains(point)) {
            let mut hooks = Hooks::new();
            hooks
                .bind(point.name(), Layers::All, |site, x| {
                    if !site.point.name().ends_with("-scale") {
                        return Ok(Some(flip(x)));
                    }
                    let n = x.dim(1)? as u32;
                    let factor =
                        (Tensor::arange(0u32, n, &Device::Cpu)?.to_dtype(DType::F32)? / 8.0)?;
                    Ok(Some(x.broadcast_mul(&(factor + 1.0)?.reshape((1, (), 1))?)?))
                })
                .unwrap();
            let logits = run(&fixture, &mut hooks).logits.unwrap();
            let last = logits.narrow(1, logits.dim(1).unwrap() - 1, 1).unwrap().squeeze(1).unwrap();
            let key = format!("changed/{point}");
            close(case, &key, &last, fixture.golden(&key));
        }
    }
}

/// Points of which the goldens have no change: a loss has no logits, and the others are held to
/// what follows from those that have one.
const UNSTATED: [Point; 3] =
    [Point::UnreducedLoss, Point::PostAttnNormScale, Point::PostMlpNormScale];

#[test]
fn what_norms_of_outputs_divide_by_reaches_the_logits() {
    let mut tried = 0;
    for case in CASES {
        let fixture = Fixture::load(case);
        for (point, output) in [
            (Point::PostAttnNormScale, Point::AttnResidual),
            (Point::PostMlpNormScale, Point::MlpResidual),
        ] {
            if !fixture.decoder.spec().has(point) {
                let mut hooks = Hooks::new();
                hooks.bind(point.name(), Layers::All, |_, _| Ok(None)).unwrap();
                let refused =
                    fixture.decoder.forward(&fixture.input(), &Options::default(), &mut hooks);
                let error = refused.err().unwrap().to_string();
                assert!(error.contains(&format!("model has no {point}: ")), "{case}: {error}");
                continue;
            }
            // The norm has no bias: dividing by more is to give less.
            let factor = ((Tensor::arange(0u32, 12u32, &Device::Cpu)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap()
                / 8.0)
                .unwrap()
                + 1.0)
                .unwrap()
                .reshape((1, 12, 1))
                .unwrap();
            let logits = |point: Point, times: bool| {
                let change = |x: &Tensor| {
                    if times { x.broadcast_mul(&factor) } else { x.broadcast_div(&factor) }
                };
                let mut hooks = Hooks::new();
                hooks.bind(point.name(), Layers::All, |_, x| Ok(Some(change(x)?))).unwrap();
                run(&fixture, &mut hooks).logits.unwrap()
            };
            let (by_scale, by_output) = (logits(point, true), logits(output, false));
            close(case, point.name(), &by_scale, &by_output);
            let plain = run(&fixture, &mut Unobserved).logits.unwrap();
            assert!(difference(&by_scale, &plain) > 0.01, "{case}: {point} changes nothing");
            if fixture.decoder.spec().norm_place == NormPlace::Outputs {
                let known = match point {
                    Point::PostAttnNormScale => "changed/attn-norm-scale",
                    _ => "changed/mlp-norm-scale",
                };
                close(
                    case,
                    known,
                    &by_scale.narrow(1, 11, 1).unwrap().squeeze(1).unwrap(),
                    fixture.golden(known),
                );
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 12);
}

#[test]
fn a_change_of_the_unreduced_loss_reaches_the_loss() {
    let fixture = Fixture::load("opt");
    let mut hooks = Hooks::new();
    hooks.bind("unreduced-loss", Layers::All, |_, x| Ok(Some((x.zeros_like()? + 3.0)?))).unwrap();
    let output = run(&fixture, &mut hooks);
    assert_eq!(output.loss.unwrap().to_scalar::<f32>().unwrap(), 3.0);
}

#[test]
fn attention_without_the_mask() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let kept = std::cell::RefCell::new(None);
        let mut hooks = Hooks::new();
        hooks
            .bind("pre-mask-attn-weights", Layers::All, |_, x| {
                *kept.borrow_mut() = Some(x.clone());
                Ok(None)
            })
            .unwrap()
            .bind("post-mask-attn-weights", Layers::All, |_, _| Ok(kept.borrow_mut().take()))
            .unwrap();
        let logits = run(&fixture, &mut hooks).logits.unwrap();
        drop(hooks);
        close(case, "bidirectional", &logits, fixture.golden("bidirectional"));
    }
}

#[test]
fn one_head_ablated() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let mut hooks = Hooks::new();
        hooks
            .bind("attn-weighted-values", Layers::one(-1), |_, x| {
                let zero = x.narrow(1, 1, 1)?.zeros_like()?;
                let rest = x.narrow(1, 2, x.dim(1)? - 2)?;
                Ok(Some(Tensor::cat(&[&x.narrow(1, 0, 1)?, &zero, &rest], 1)?))
            })
            .unwrap();
        let logits = run(&fixture, &mut hooks).logits.unwrap();
        close(
            case,
            "ablate_head_1_last_layer",
            &logits,
            fixture.golden("ablate_head_1_last_layer"),
        );
    }
}

#[test]
fn the_logit_lens() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let mut capture = Capture::new([(Point::PostMlp, Layers::All)]);
        run(&fixture, &mut capture);
        for layer in 0..fixture.layers() {
            let stream = capture.get(Point::PostMlp, Some(layer)).unwrap();
            // On the last block's output the lens gives the logits.
            let key = match layer + 1 == fixture.layers() {
                true => "plain/logits".into(),
                false => format!("logit_lens/{layer}"),
            };
            let lens =
                fixture.decoder.unembed(&fixture.decoder.final_norm(stream).unwrap()).unwrap();
            close(case, &key, &lens, fixture.golden(&key));

            let mut hooks = Hooks::new();
            hooks.bind("post-mlp", Layers::one(-1), |_, _| Ok(Some(stream.clone()))).unwrap();
            let patched = run(&fixture, &mut hooks).logits.unwrap();
            close(case, &key, &patched, fixture.golden(&key));
        }
    }
}

#[test]
fn padding_on_either_side() {
    for case in CASES {
        let fixture = Fixture::load(case);
        for side in ["left", "right"] {
            let golden = |what: &str| fixture.golden(&format!("padded_{side}/{what}"));
            let input = Input::new(golden("ids"), Some(golden("mask"))).unwrap();
            let logits = fixture.decoder.logits(&input).unwrap();
            let real = golden("mask").to_dtype(DType::F32).unwrap().unsqueeze(2).unwrap();
            let masked = |t: &Tensor| t.broadcast_mul(&real).unwrap();
            close(case, &format!("padded_{side}"), &masked(&logits), &masked(golden("logits")));

            let last = Options { logits: Logits::Last, ..Options::default() };
            let last =
                fixture.decoder.forward(&input, &last, &mut Unobserved).unwrap().logits.unwrap();
            for (row, position) in [11, if side == "left" { 11 } else { 8 }].into_iter().enumerate()
            {
                let expected = logits.narrow(0, row, 1).unwrap().narrow(1, position, 1).unwrap();
                close(case, "last", &last.narrow(0, row, 1).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn the_loss_does_not_depend_on_the_padding_side() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let options = Options { loss: true, ..Options::default() };
        let loss = |input: &Input| {
            let output = fixture.decoder.forward(input, &options, &mut Unobserved).unwrap();
            output.loss.unwrap().to_scalar::<f32>().unwrap()
        };
        let [left, right] = ["left", "right"].map(|side| {
            let golden = |what: &str| fixture.golden(&format!("padded_{side}/{what}"));
            loss(&Input::new(golden("ids"), Some(golden("mask"))).unwrap())
        });
        assert!((left - right).abs() < 1e-5, "{case}: {left} {right}");
        // The mean over all 11 + 8 real targets of both rows.
        let ids = fixture.golden("ids");
        let full = loss(&Input::new(&ids.narrow(0, 0, 1).unwrap(), None).unwrap());
        let short = loss(
            &Input::new(&ids.narrow(0, 1, 1).unwrap().narrow(1, 0, 9).unwrap(), None).unwrap(),
        );
        assert!(
            (left - (full * 11.0 + short * 8.0) / 19.0).abs() < 1e-5,
            "{case}: {left} {full} {short}"
        );
    }
}

#[test]
fn a_stream_far_from_zero_stays_within_twice_pytorchs_own_error() {
    let with_one = CASES.iter().filter(|case| directory(case).join("shifted.safetensors").exists());
    let with_one: Vec<&&str> = with_one.collect();
    assert_eq!(with_one.len(), 10);
    for case in with_one {
        let fixture = Fixture::load(case);
        let shifted = candle_core::safetensors::load(
            directory(case).join("shifted.safetensors"),
            &Device::Cpu,
        )
        .unwrap();
        for (name, shift) in [("+1e4", 1e4), ("-1e4", -1e4)] {
            let mut hooks = Hooks::new();
            hooks.bind("pre-block", Layers::one(0), |_, x| Ok(Some((x + shift)?))).unwrap();
            let logits = run(&fixture, &mut hooks).logits.unwrap().to_dtype(DType::F64).unwrap();
            let expected = &shifted[&format!("{name}/logits")];
            let error =
                (logits - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let error = error.to_scalar::<f64>().unwrap();
            let pytorch = shifted[&format!("{name}/difference")].to_scalar::<f64>().unwrap();
            println!("{case} {name}: {error:.3e}, PyTorch {pytorch:.3e}");
            assert!(
                error <= 2.0 * pytorch,
                "{case}: shifted by {name}, off by {error}; PyTorch is off by {pytorch}"
            );
        }
    }
}
