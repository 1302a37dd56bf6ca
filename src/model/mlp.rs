//! The feed-forward sub-block, plain or gated (Shazeer 2020).

use candle_core::Tensor;

use super::linear::{Change, Linear};
use super::spec::Activation;
use super::tap::{Halt, Tap};
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
    /// With other tensors for the weights.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let up = self.up.as_ref().map(|up| up.map(f)).transpose()?;
        Ok(Self { fc1: self.fc1.map(f)?, up, fc2: self.fc2.map(f)?, activation: self.activation })
    }

    /// [b, n, d] to [b, n, d].
    pub fn forward(&self, x: &Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let pre = tap.at(Point::PostFc1, self.fc1.forward(x)?)?;
        let up = match &self.up {
            Some(up) => Some(tap.at(Point::PostUp, up.forward(x)?)?),
            None => None,
        };
        let post = self.activation.apply(&pre, up.as_ref())?;
        let post = tap.at(Point::PostAct, post)?;
        Ok(self.fc2.forward(&post)?)
    }
}
