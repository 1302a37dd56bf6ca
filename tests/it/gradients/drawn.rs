//! Functions on drawn shapes and views, against central differences in float64.

use super::functions::compare;
use super::harness::inputs_of;
use super::random::Draw;
use super::{drawn_functions as of, drawn_tensors as tensors};
use crate::snippet::engine;

/// Inputs as `inputs` reads them, and a script.
pub type Case = (String, String);

/// Draws a case.
type Drawing = fn(&mut Draw) -> Case;

/// The kinds of cases that are drawn.
const DRAWN: &[(&str, Drawing)] = &[
    ("an element's functions", tensors::elements),
    ("broadcasting", tensors::broadcasting),
    ("complex numbers", tensors::complex),
    ("indexing", tensors::indexing),
    ("a write in place", tensors::writing),
    ("gathering", tensors::gathering),
    ("shapes", tensors::shapes),
    ("joining", tensors::joining),
    ("a reduction", of::reduction),
    ("extremes", of::extremes),
    ("an order", of::order),
    ("a Fourier transform", of::fourier),
    ("einsum", of::einsum),
    ("matmul", of::matmul),
    ("a norm layer", of::norm_layer),
    ("cross entropy", of::cross_entropy),
    ("a decomposition", of::decomposition),
    ("a linear system", of::linear_system),
];

/// How many cases of each kind a test run draws.
const EACH: u64 = 12;

/// `PRECOMPUTE_DRAW=1000` begins with another seed than 0: that of a failure, or for new cases.
#[test]
fn functions_of_drawn_shapes_agree_with_central_differences() {
    let from = std::env::var("PRECOMPUTE_DRAW").map_or(0, |seed| seed.parse().unwrap());
    let engine = engine();
    let mut wrong = Vec::new();
    for seed in from..from + EACH {
        for (kind, draw) in DRAWN {
            let (inputs, script) = draw(&mut Draw::new(seed));
            if let Err(why) = compare(&engine, &script, &inputs_of(&inputs, seed)) {
                wrong.push(format!("seed {seed}, {kind}: {inputs}: {script}\n    {why}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        EACH * DRAWN.len() as u64,
        wrong.join("\n")
    );
}

fn sizes(dims: &[usize]) -> String {
    match dims {
        [] => "-".into(),
        dims => dims.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
    }
}

pub fn input(name: &str, dims: &[usize], what: &str) -> String {
    format!("{name} {} {what}", sizes(dims))
}
