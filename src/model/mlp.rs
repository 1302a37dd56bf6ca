//! The feed-forward sub-block, plain or gated (Shazeer 2020).

use candle_core::Tensor;

use super::linear::Linear;
use super::pass::{Halt, Tap};
use super::spec::Activation;
use crate::Result;
use crate::hook::Point;

#[derive(Debug, Clone)]
pub struct Mlp {
    /// Into the activation: fc1, or a gated MLP's gate.
    pub fc1: Linear,
    /// A gated MLP's other branch.
    pub up: Option<Linear>,
    pub fc2: Linear,
    pub activation: Activation,
}

impl Mlp {
    /// [b, n, d] to [b, n, d].
    pub fn forward(&self, x: &Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let pre = tap.at(Point::PostFc1, self.fc1.forward(x)?)?;
        let mut post = self.activation.forward(&pre)?;
        if let Some(up) = &self.up {
            let up = tap.at(Point::PostUp, up.forward(x)?)?;
            post = (post * up)?;
        }
        let post = tap.at(Point::PostAct, post)?;
        Ok(self.fc2.forward(&post)?)
    }
}

impl Activation {
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Activation::Relu => x.relu()?,
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::Silu => x.silu()?,
        })
    }
}
