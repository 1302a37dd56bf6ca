//! Gradients as PyTorch gives them: samples of their elements (tests/oracle/gradients.py).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::fixture::directory;

/// A gradient, or a sample of its elements.
pub struct GoldenGradient {
    /// The largest absolute element of the whole.
    pub largest: f32,
    elements: Vec<f32>,
    /// The shape, if the elements are all that there are.
    whole: Option<Vec<usize>>,
}

impl GoldenGradient {
    pub fn whole(gradient: &Tensor) -> Self {
        let elements = numbers(gradient);
        Self { largest: largest(&elements), elements, whole: Some(gradient.dims().to_vec()) }
    }

    fn sample(stored: &Tensor) -> Self {
        let mut elements = numbers(stored);
        let largest = elements.remove(0);
        Self { largest, elements, whole: None }
    }

    /// The largest absolute difference; infinite where the shapes differ or one is not a number.
    pub fn difference(&self, got: &Tensor) -> f32 {
        let all = numbers(got);
        let differences: Vec<f32> = match &self.whole {
            Some(dims) if dims != got.dims() => return f32::INFINITY,
            Some(_) => all.iter().zip(&self.elements).map(|(a, b)| (a - b).abs()).collect(),
            None => {
                let place = |i: usize| i * 7919 % all.len();
                let at = |(i, golden): (usize, &f32)| (all[place(i)] - golden).abs();
                let sampled = self.elements.iter().enumerate().map(at);
                sampled.chain([(largest(&all) - self.largest).abs()]).collect()
            }
        };
        let worse = |most: f32, x: f32| if x.is_nan() { f32::INFINITY } else { most.max(x) };
        differences.into_iter().fold(0.0, worse)
    }
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn largest(elements: &[f32]) -> f32 {
    elements.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// The gradients of a case, by key.
pub fn golden_gradients(case: &str) -> BTreeMap<String, GoldenGradient> {
    let file = directory(case).join("gradient-samples.safetensors");
    let samples = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    samples.iter().map(|(key, x)| (key.clone(), GoldenGradient::sample(x))).collect()
}
