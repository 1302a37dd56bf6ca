//! Mixtures of experts: which experts are computed, and the points that some layers have and others
//! lack.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use precompute::hook::{Capture, Hooks, Layers, Point};
use precompute::model::{Decoder, Input, Options};

use crate::binary::script;
use crate::fixture::{Subject, difference, directory, subjects};

/// The subjects that have experts.
fn mixtures() -> Vec<Subject> {
    let mut all = subjects();
    all.retain(|subject| subject.decoder.spec().experts.is_some());
    assert!(all.len() >= 5);
    all
}

fn captured(decoder: &Decoder, input: &Input) -> Capture {
    let points = [Point::ExpertWeights, Point::ExpertOutputs, Point::MlpResidual];
    let mut capture = Capture::new(points.map(|point| (point, Layers::All)));
    decoder.forward(input, &Options::default(), &mut capture).unwrap();
    capture
}

/// The experts of which a token has a share other than 0.
fn chosen(shares: &Tensor) -> Vec<Vec<usize>> {
    let shares = shares.to_dtype(DType::F32).unwrap().flatten_to(1).unwrap();
    let rows = shares.to_vec2::<f32>().unwrap();
    let of = |row: Vec<f32>| (0..row.len()).filter(|expert| row[*expert] != 0.0).collect();
    rows.into_iter().map(of).collect()
}

/// An expert that were computed for a token that does not have it would make NaN of it, share or no
/// share.
#[test]
fn an_expert_that_no_token_has_is_not_computed() {
    for subject in mixtures() {
        let decoder = &subject.decoder;
        let input = Input::tokens(&[5]).unwrap();
        let plain = decoder.logits(&input).unwrap();
        let capture = captured(decoder, &input);
        let mut broken = BTreeMap::new();
        for layer in decoder.spec().layers_with(Point::ExpertWeights) {
            let own = chosen(capture.get(Point::ExpertWeights, Some(layer)).unwrap()).remove(0);
            assert_eq!(own.len(), decoder.spec().experts(layer).unwrap().chosen);
            for name in decoder.checkpoint_names().used.keys() {
                let Some((_, rest)) = name.split_once(&format!("layers.{layer}.")) else {
                    continue;
                };
                let Some((_, rest)) = rest.split_once("experts.") else { continue };
                let expert = rest.split('.').next().unwrap().parse::<usize>();
                if expert.is_ok_and(|expert| !own.contains(&expert)) {
                    let nan = (subject.weight(name) * f64::NAN).unwrap();
                    broken.insert(name.clone(), nan);
                }
            }
        }
        let with_broken = decoder.with_weights(broken).unwrap().logits(&input).unwrap();
        assert_eq!(difference(&with_broken, &plain), 0.0, "{}", subject.name);
    }
}

#[test]
fn as_many_experts_are_chosen_as_the_config_says_and_their_parts_add_up() {
    for subject in mixtures() {
        let spec = subject.decoder.spec();
        let capture = captured(&subject.decoder, &subject.input);
        for layer in spec.layers_with(Point::ExpertWeights) {
            let experts = spec.experts(layer).unwrap();
            let at = |point| capture.get(point, Some(layer)).unwrap();
            let own = chosen(at(Point::ExpertWeights));
            assert!(own.iter().all(|own| own.len() == experts.chosen), "{}", subject.name);
            if experts.shared.is_none() {
                let sum = at(Point::ExpertOutputs).sum(1).unwrap();
                let off = difference(&sum, at(Point::MlpResidual));
                assert!(off < 1e-5, "{}: off by {off}", subject.name);
            }
        }
    }
}

#[test]
fn without_any_share_the_mlp_adds_the_shared_expert_alone() {
    for subject in mixtures() {
        let decoder = &subject.decoder;
        let none = |_, x: &Tensor| Ok(Some(x.zeros_like()?));
        let residual = |point: &str| {
            let kept = std::cell::RefCell::new(None);
            let mut hooks = Hooks::new();
            hooks.bind(point, Layers::All, none).unwrap();
            hooks
                .bind("mlp-residual", Layers::one(-1), |_, x| {
                    *kept.borrow_mut() = Some(x.clone());
                    Ok(None)
                })
                .unwrap();
            decoder.forward(&subject.input, &Options::default(), &mut hooks).unwrap();
            drop(hooks);
            kept.into_inner().unwrap()
        };
        let (weights, outputs) = (residual("expert-weights"), residual("expert-outputs"));
        assert!(difference(&weights, &outputs) < 1e-6, "{}", subject.name);
        let last = decoder.spec().layers - 1;
        let alone = decoder.spec().experts(last).is_some_and(|it| it.shared.is_none());
        let zero = weights.zeros_like().unwrap();
        assert_eq!(difference(&weights, &zero) == 0.0, alone, "{}", subject.name);
    }
}

#[test]
fn layers_without_a_point_are_left_out_or_an_error() {
    let hybrid = directory("qwen3-moe").display().to_string();
    let ran = script(&format!(
        r#"
        let m = model("{hybrid}");
        let ids = m.encode("abc");
        let seen = m.capture(ids, ["router-logits", "post-act"]);
        print([seen["router-logits"].shape, seen["post-act"].shape]);
        let fired = [];
        m.forward(ids, context([hook("expert-weights", |x, ctx| {{ fired.push(ctx.layer); }})]));
        print(fired);
        m.forward(ids, context([hook("router-logits", |x, ctx| x, #{{layers: 1}})]));
        "#
    ));
    assert_eq!(ran.stdout, "[[2, 1, 3, 4], [1, 1, 3, 24]]\n[0, 2]\n");
    assert_eq!(ran.code, Some(1));
    for part in
        ["layer 1 of this qwen3_moe model has no router-logits", "no mixture of experts", "[0, 2]"]
    {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn models_without_experts_and_mixtures_say_why_they_lack_points() {
    let mixtral = directory("mixtral").display().to_string();
    for (model, point, why) in [
        ("demo:opt", "expert-weights", "its MLP is no mixture of experts"),
        (&mixtral, "post-act", "router-logits, expert-weights and expert-outputs"),
    ] {
        let ran = script(&format!(
            "let m = model(\"{model}\"); m.forward(m.encode(\"a\"), context([hook(\"{point}\", |x, ctx| x)]));"
        ));
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
    let ran = script(&format!("model(\"{mixtral}\").mlp(0)"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("mixture of experts"), "{}", ran.stderr);
}

#[test]
fn gradients_reach_the_experts_of_tokens_and_no_others() {
    let subject = mixtures().into_iter().find(|subject| subject.name == "olmoe").unwrap();
    let input = Input::tokens(&[5, 9]).unwrap();
    let capture = captured(&subject.decoder, &input);
    let own: Vec<usize> =
        chosen(capture.get(Point::ExpertWeights, Some(1)).unwrap()).into_iter().flatten().collect();
    let name = |expert: usize| format!("model.layers.1.mlp.experts.{expert}.up_proj.weight");
    let variables: Vec<candle_core::Var> = (0..4)
        .map(|expert| candle_core::Var::from_tensor(&subject.weight(&name(expert))).unwrap())
        .collect();
    let tensors = variables.iter().enumerate().map(|(e, v)| (name(e), v.as_tensor().clone()));
    let model = subject.decoder.with_weights(tensors.collect()).unwrap();
    let gradients = model.logits(&input).unwrap().sum_all().unwrap().backward().unwrap();
    for (expert, variable) in variables.iter().enumerate() {
        let moved = gradients.get(variable).is_some_and(|gradient| {
            difference(gradient, &Tensor::zeros_like(gradient).unwrap()) > 0.0
        });
        assert_eq!(moved, own.contains(&expert), "expert {expert} of {own:?}");
    }
}
