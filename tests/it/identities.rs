//! What must hold among the hook points of any model, without goldens.

use candle_core::{D, DType, Tensor};
use precompute::hook::{Capture, Hooks, Layers, Observer, Point, Site, SiteSet, Unobserved};
use precompute::model::spec::NormPlace;
use precompute::model::{Decoder, Input, Options};

use crate::fixture::{Subject, clipped, difference, subjects};

/// Float32 sums taken in another order.
const TOLERANCE: f32 = 2e-5;

fn points(decoder: &Decoder) -> Vec<Point> {
    Point::ALL.into_iter().filter(|point| decoder.spec().has(*point)).collect()
}

fn options() -> Options {
    Options { loss: true, ..Options::default() }
}

fn captured(subject: &Subject) -> Capture {
    let mut capture =
        Capture::new(points(&subject.decoder).into_iter().map(|point| (point, Layers::All)));
    subject.decoder.forward(&subject.input, &options(), &mut capture).unwrap();
    capture
}

fn close(name: &str, what: &str, got: &Tensor, expected: &Tensor) {
    let largest =
        expected.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let difference = difference(got, expected);
    assert!(difference <= TOLERANCE * largest.max(1.0), "{name}: {what} is off by {difference}");
}

#[test]
fn the_pattern_times_the_values_is_what_each_head_gathers() {
    for subject in subjects() {
        let capture = captured(&subject);
        let spec = subject.decoder.spec();
        for layer in 0..spec.layers {
            let at = |point| capture.get(point, Some(layer)).unwrap();
            let v = at(Point::ValueStates);
            let (b, k, m, c) = v.dims4().unwrap();
            let shape = (b, k, spec.heads / k, m, c);
            let repeated = v
                .unsqueeze(2)
                .unwrap()
                .expand(shape)
                .unwrap()
                .reshape((b, spec.heads, m, c))
                .unwrap();
            let z = at(Point::AttnProbs).matmul(&repeated).unwrap();
            close(&subject.name, "attn-weighted-values", &z, at(Point::AttnWeightedValues));
        }
    }
}

#[test]
fn the_stream_is_the_sum_of_what_is_added_to_it() {
    for subject in subjects() {
        let capture = captured(&subject);
        let spec = subject.decoder.spec();
        for layer in 0..spec.layers {
            let at = |point| capture.get(point, Some(layer)).unwrap();
            let before_attn = match spec.norm_place {
                NormPlace::Stream => at(Point::PreAttn),
                _ => at(Point::PreBlock),
            };
            let after = (before_attn + at(Point::AttnResidual)).unwrap();
            close(&subject.name, "post-attn", &after, at(Point::PostAttn));
            let before_mlp = match spec.norm_place {
                NormPlace::After | NormPlace::Stream => at(Point::PreMlp).clone(),
                _ => after,
            };
            let stream = (before_mlp + at(Point::MlpResidual)).unwrap();
            close(&subject.name, "post-mlp", &stream, at(Point::PostMlp));
        }
    }
}

#[test]
fn the_heads_outputs_and_the_bias_are_what_attention_adds() {
    for subject in subjects() {
        let capture = captured(&subject);
        for layer in 0..subject.decoder.spec().layers {
            let at = |point| capture.get(point, Some(layer)).unwrap();
            let bias = subject.decoder.heads(layer).unwrap().b_o;
            let mut sum = at(Point::AttnHeadOutputs).sum(1).unwrap().broadcast_add(&bias).unwrap();
            let spec = subject.decoder.spec();
            if matches!(spec.norm_place, NormPlace::Outputs | NormPlace::Both) {
                // The norm that stands between the sum and what joins the stream.
                let norm = match spec.family {
                    "glm4" => "post_self_attn_layernorm",
                    _ => "post_attention_layernorm",
                };
                let gain = subject.weight(&format!("model.layers.{layer}.{norm}.weight"));
                let gain = if spec.norm.gain_less_one { (gain + 1.0).unwrap() } else { gain };
                let squares = sum.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
                let scale = (squares + spec.norm.eps).unwrap().sqrt().unwrap();
                sum = sum.broadcast_div(&scale).unwrap().broadcast_mul(&gain).unwrap();
            }
            close(&subject.name, "attn-residual", &sum, at(Point::AttnResidual));
        }
    }
}

#[test]
fn heads_are_the_projections() {
    for subject in subjects() {
        let capture = captured(&subject);
        for layer in 0..subject.decoder.spec().layers {
            let at = |point| capture.get(point, Some(layer)).unwrap();
            let heads = subject.decoder.heads(layer).unwrap();
            let (b, n, d) = at(Point::PreAttn).dims3().unwrap();
            let k = heads.w_v.dim(0).unwrap();
            let x = at(Point::PreAttn).reshape((b, 1, n, d)).unwrap().expand((b, k, n, d)).unwrap();
            let w_v = heads
                .w_v
                .unsqueeze(0)
                .unwrap()
                .expand((b, k, d, heads.w_v.dim(2).unwrap()))
                .unwrap();
            let v = x.contiguous().unwrap().matmul(&w_v.contiguous().unwrap()).unwrap();
            let b_v = heads.b_v.unsqueeze(1).unwrap().unsqueeze(0).unwrap();
            let v = clipped(v.broadcast_add(&b_v).unwrap(), subject.decoder.spec());
            close(&subject.name, "value-states", &v, at(Point::ValueStates));
        }
    }
}

#[test]
fn norm_scales_are_what_norms_divide_by() {
    for subject in subjects() {
        let capture = captured(&subject);
        let spec = subject.decoder.spec();
        for layer in 0..spec.layers {
            let at = |point| capture.get(point, Some(layer)).unwrap();
            let x = match spec.norm_place {
                NormPlace::Before | NormPlace::Both | NormPlace::Stream => {
                    at(Point::PreBlock).clone()
                }
                NormPlace::After => at(Point::PostAttn).clone(),
                NormPlace::Outputs => at(Point::AttnHeadOutputs).sum(1).unwrap(),
            };
            let centred = match spec.norm.kind {
                precompute::model::spec::NormKind::Layer => {
                    x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap()
                }
                precompute::model::spec::NormKind::Rms => x.clone(),
            };
            let squares = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let scale = (squares + spec.norm.eps).unwrap().sqrt().unwrap();
            close(&subject.name, "attn-norm-scale", &scale, at(Point::AttnNormScale));
        }
    }
}

#[test]
fn hooks_that_pass_through_change_nothing() {
    for subject in subjects() {
        let plain = subject.decoder.forward(&subject.input, &options(), &mut Unobserved).unwrap();
        let mut hooks = Hooks::new();
        for point in
            points(&subject.decoder).into_iter().filter(|point| *point != Point::AttnHeadOutputs)
        {
            hooks.bind(point.name(), Layers::All, |_, x| Ok(Some(x.clone()))).unwrap();
        }
        let hooked = subject.decoder.forward(&subject.input, &options(), &mut hooks).unwrap();
        close(&subject.name, "logits", &hooked.logits.unwrap(), plain.logits.as_ref().unwrap());
        close(&subject.name, "loss", &hooked.loss.unwrap(), &plain.loss.unwrap());

        // The sum head by head is another order of the same additions.
        let mut hooks = Hooks::new();
        hooks.bind("attn-head-outputs", Layers::All, |_, _| Ok(None)).unwrap();
        let by_head = subject.decoder.forward(&subject.input, &options(), &mut hooks).unwrap();
        close(&subject.name, "logits", &by_head.logits.unwrap(), &plain.logits.unwrap());
    }
}

#[test]
fn a_pass_that_stops_has_what_a_full_pass_has_there() {
    for subject in subjects() {
        let capture = captured(&subject);
        for point in points(&subject.decoder) {
            let layers = match point.in_block() {
                true => subject.decoder.spec().layers_with(point).into_iter().map(Some).collect(),
                false => vec![None],
            };
            for layer in layers {
                let site = Site { point, layer };
                let stop = Options {
                    stop: Some(site),
                    loss: point == Point::UnreducedLoss,
                    ..Options::default()
                };
                let mut seen = Seen { sites: Vec::new(), only: None };
                let output = subject.decoder.forward(&subject.input, &stop, &mut seen).unwrap();
                let what = format!("stopped at {site}");
                close(
                    &subject.name,
                    &what,
                    &output.stopped.unwrap(),
                    capture.get(point, layer).unwrap(),
                );
                assert!(output.logits.is_none() && output.loss.is_none());
            }
        }
    }
}

/// Remembers the order in which sites are reached.
struct Seen {
    sites: Vec<Site>,
    only: Option<SiteSet>,
}

impl Observer for Seen {
    fn sites(&mut self, layers: usize) -> precompute::Result<SiteSet> {
        Ok(self.only.clone().unwrap_or_else(|| SiteSet::new(layers)))
    }

    fn observe(&mut self, site: Site, _: &Tensor) -> precompute::Result<Option<Tensor>> {
        self.sites.push(site);
        Ok(None)
    }
}

#[test]
fn a_hook_after_the_stop_is_refused_and_one_before_it_runs() {
    for subject in subjects() {
        let layers = subject.decoder.spec().layers;
        let everything = |only: Option<SiteSet>| Seen { sites: Vec::new(), only };
        let mut all = SiteSet::new(layers);
        for point in points(&subject.decoder) {
            all.insert_all(point, &Layers::All).unwrap();
        }
        let mut seen = everything(Some(all));
        subject.decoder.forward(&subject.input, &options(), &mut seen).unwrap();
        let order = seen.sites;
        let stop_at = order.len() / 2;
        for (i, &site) in
            order.iter().enumerate().filter(|(_, site)| site.point != Point::UnreducedLoss)
        {
            let mut one = SiteSet::new(layers);
            one.insert(site);
            let stop = Options { stop: Some(order[stop_at]), ..Options::default() };
            let mut seen = everything(Some(one));
            let result = subject.decoder.forward(&subject.input, &stop, &mut seen);
            assert_eq!(
                result.is_ok(),
                i <= stop_at,
                "{}: {site} with a stop at {}",
                subject.name,
                order[stop_at]
            );
            assert_eq!(seen.sites.len(), usize::from(i <= stop_at));
        }
    }
}

#[test]
fn a_half_precision_pass_is_near_and_finite() {
    for subject in subjects() {
        for dtype in [DType::F16, DType::BF16] {
            let half = subject.reload(dtype);
            // Near a tie a token has other experts in another dtype: here it has the same.
            let capture = captured(&subject);
            let mut hooks = Hooks::new();
            if subject.decoder.spec().has(Point::ExpertWeights) {
                let shares = |site: Site, _: &Tensor| {
                    Ok(capture.get(Point::ExpertWeights, site.layer).cloned())
                };
                hooks.bind("expert-weights", Layers::All, shares).unwrap();
            }
            let output = half.forward(&subject.input, &options(), &mut hooks).unwrap();
            let logits = output.logits.unwrap();
            let full = subject.decoder.logits(&subject.input).unwrap();
            let spread = full
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            let bound = if dtype == DType::F16 { 0.02 } else { 0.15 };
            let difference = difference(&logits, &full);
            assert!(
                difference <= bound * spread,
                "{}: {dtype:?} is off by {difference} of {spread}",
                subject.name
            );
        }
    }
}

#[test]
fn a_failed_pass_leaves_the_model_as_it_was() {
    for subject in subjects() {
        let before = subject.decoder.logits(&subject.input).unwrap();
        let mut hooks = Hooks::new();
        hooks.bind("pre-mlp", Layers::one(1), |_, _| Err(precompute::Error::new("no"))).unwrap();
        let error = subject.decoder.forward(&subject.input, &options(), &mut hooks).unwrap_err();
        assert_eq!(error.message(), "no");
        assert_eq!(difference(&subject.decoder.logits(&subject.input).unwrap(), &before), 0.0);
    }
}

#[test]
fn tokens_that_come_later_change_nothing_before_them() {
    for subject in subjects() {
        let full = subject.decoder.logits(&subject.input).unwrap();
        let half = Input::new(
            &subject.input.ids(&candle_core::Device::Cpu).unwrap().narrow(1, 0, 6).unwrap(),
            None,
        )
        .unwrap();
        let logits = subject.decoder.logits(&half).unwrap();
        close(&subject.name, "the first six positions", &logits, &full.narrow(1, 0, 6).unwrap());
    }
}
