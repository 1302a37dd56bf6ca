//! Gradients at every hook point, on every fixture, against PyTorch's autograd over the oracle's
//! equations in float64.

use std::collections::BTreeSet;

use candle_core::{DType, Tensor};
use precompute::hook::{GradientCapture, Layers, Point, Site};
use precompute::model::{Decoder, Options, Output};

use crate::fixture::{CASES, Fixture, INPUTS, difference};
use crate::golden_gradient::{GoldenGradient, golden_gradients};

/// The largest error, as a share of the golden's largest element.
const CLOSE: f32 = 1e-4;

/// The sum over rows of logits[row, -1, 5] - logits[row, -1, 9].
fn metric(output: &Output) -> Tensor {
    let logits = output.logits.as_ref().unwrap();
    let last = logits.narrow(1, logits.dim(1).unwrap() - 1, 1).unwrap();
    let at = |token| last.narrow(2, token, 1).unwrap().sum_all().unwrap();
    (at(5) - at(9)).unwrap()
}

fn loss(output: &Output) -> Tensor {
    output.loss.clone().unwrap()
}

/// The gradients of `of` with regard to what stands at `points`, in every layer.
fn gradients(
    decoder: &Decoder,
    fixture: &Fixture,
    points: &[Point],
    of: fn(&Output) -> Tensor,
    checkpoint: bool,
) -> Vec<(Site, Tensor)> {
    let mut watch = GradientCapture::new(points.iter().map(|point| (*point, Layers::All)));
    let options = Options { loss: true, gradients: true, checkpoint, ..Options::default() };
    let output = decoder.forward(&fixture.input(), &options, &mut watch).unwrap();
    let variables = of(&output).backward().unwrap();
    watch.take(&variables)
}

fn key(site: Site) -> String {
    match site.layer {
        Some(layer) => format!("{layer}/{}", site.point),
        None => site.point.to_string(),
    }
}

fn check(case: &str, how: &str, found: &[(Site, Tensor)], prefix: &str, within: f32) -> usize {
    let goldens = golden_gradients(case);
    let mut checked = 0;
    for (site, got) in found {
        let key = format!("{prefix}{}", key(*site));
        let Some(golden) = goldens.get(&key) else { continue };
        hold(case, how, &key, got, golden, within);
        checked += 1;
    }
    checked
}

fn hold(case: &str, how: &str, key: &str, got: &Tensor, golden: &GoldenGradient, within: f32) {
    let off = golden.difference(got) / golden.largest;
    println!("{off:.3e} {case} {how} {key}");
    assert_eq!(got.dtype(), DType::F32);
    assert!(off <= within, "{case}: the gradient at {key} ({how}) is off by {off}");
}

/// The points of which the goldens have gradients.
fn points(case: &str, prefix: &str) -> Vec<Point> {
    let goldens = golden_gradients(case);
    let stated: BTreeSet<&str> =
        goldens.keys().filter_map(|key| key.strip_prefix(prefix)?.rsplit('/').next()).collect();
    let has = |point: &Point| stated.contains(point.name());
    Point::ALL.into_iter().filter(has).collect()
}

fn fixtures() -> impl Iterator<Item = Fixture> {
    CASES.iter().map(|case| Fixture::load(case))
}

#[test]
fn every_point_in_one_pass() {
    for fixture in fixtures() {
        let points = points(fixture.case, "");
        let found = gradients(&fixture.decoder, &fixture, &points, metric, false);
        let checked = check(fixture.case, "together", &found, "", CLOSE);
        let expected = golden_gradients(fixture.case);
        let stated =
            expected.keys().filter(|key| !key.starts_with("loss/") && !key.starts_with("weight/"));
        assert_eq!(checked, stated.count(), "{}", fixture.case);
    }
}

/// Then a pass takes its fast ways, which give no scores, patterns, single heads or scales.
#[test]
fn each_point_alone() {
    for fixture in fixtures() {
        for point in points(fixture.case, "") {
            let found = gradients(&fixture.decoder, &fixture, &[point], metric, false);
            assert!(check(fixture.case, "alone", &found, "", CLOSE) > 0);
        }
    }
}

/// What heads and MLPs read of the stream, and queries and keys before they are rotated: alone, where
/// heads read the norms of their copies, and beside every other point, where they read what stands at
/// pre-attn and what their copies differ.
#[test]
fn at_what_heads_and_mlps_read() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let has = |point: &Point| fixture.decoder.spec().has(*point);
        let inputs: Vec<Point> = INPUTS.into_iter().filter(has).collect();
        let all: Vec<Point> = Point::ALL.into_iter().filter(has).collect();
        let alone = inputs.iter().map(|point| ("alone", vec![*point]));
        for (how, points) in alone.chain([("together", inputs.clone()), ("of all", all)]) {
            let mut checked = 0;
            for (site, got) in gradients(&fixture.decoder, &fixture, &points, metric, false) {
                let key = format!("gradient/{}", key(site));
                let Some(golden) = fixture.golden.get(&key) else { continue };
                hold(case, how, &key, &got, &GoldenGradient::whole(golden), CLOSE);
                checked += 1;
            }
            let expected = points.iter().filter(|point| INPUTS.contains(point)).count();
            assert_eq!(checked, expected, "{case}, {how}");
        }
    }
}

/// A gradient at another point does not hang on whether copies of the stream are looked at.
#[test]
fn every_point_beside_the_inputs_of_heads() {
    for fixture in fixtures() {
        let has = |point: &Point| fixture.decoder.spec().has(*point);
        let all: Vec<Point> = Point::ALL.into_iter().filter(has).collect();
        let found = gradients(&fixture.decoder, &fixture, &all, metric, false);
        assert!(check(fixture.case, "of all", &found, "", CLOSE) > 20);
    }
}

#[test]
fn of_the_loss() {
    for fixture in fixtures() {
        let points = points(fixture.case, "loss/");
        let found = gradients(&fixture.decoder, &fixture, &points, loss, false);
        assert_eq!(check(fixture.case, "loss", &found, "loss/", CLOSE), found.len());
        assert!(found.len() >= 3);
    }
}

/// Blocks in which nothing is looked at are computed again on the way back.
#[test]
fn with_blocks_computed_again() {
    for fixture in fixtures() {
        for points in [&[Point::PostMlp][..], &[Point::PreBlock, Point::PostMlp], &[Point::PreMlp]]
        {
            let found = gradients(&fixture.decoder, &fixture, points, metric, true);
            assert!(check(fixture.case, "computed again", &found, "", CLOSE) > 0);
        }
    }
}

/// A model of a half type computes in float32 where gradients are taken: as the model in float32
/// whose weights are those of the half type.
#[test]
fn of_half_models_in_float32() {
    for dtype in [DType::F16, DType::BF16] {
        for case in ["opt", "gpt-neox", "llama", "qwen3", "gemma2", "bloom"] {
            let fixture = Fixture::load(case);
            let points: Vec<Point> =
                Point::ALL.into_iter().filter(|point| fixture.decoder.spec().has(*point)).collect();
            let rounded = fixture.rounded(dtype);
            let half = gradients(&fixture.reload(dtype), &fixture, &points, loss, false);
            let wide = gradients(&rounded, &fixture, &points, loss, false);
            assert!(!half.is_empty() && half.len() == wide.len());
            for ((site, half), (_, wide)) in half.iter().zip(&wide) {
                assert_eq!(half.dtype(), DType::F32);
                let most = wide.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
                let off = difference(half, wide) / most.to_scalar::<f32>().unwrap();
                assert!(off <= CLOSE, "{case} {dtype:?} {site} is off by {off}");
            }
        }
    }
}
