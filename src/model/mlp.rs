//! The MLP (feed-forward sub-block): one network, plain or gated (Shazeer 2020), or a mixture of
//! experts.

use candle_core::Tensor;

use super::experts::{Experts, sigmoid};
use super::linear::{Change, Linear};
use super::spec::{Activation, ClampedGate};
use super::tap::{Halt, Tap};
use crate::Result;
use crate::hook::Point;

/// What stands in a block behind attention.
#[derive(Debug, Clone)]
pub enum Mlp {
    /// One network for every token.
    Dense(Dense),
    /// Several, of which a router chooses some for each token.
    Experts(Box<Experts>),
}

/// fc2(act(fc1(x))), or if it is gated fc2(act(fc1(x)) ∘ up(x)).
#[derive(Debug, Clone)]
pub struct Dense {
    /// Into the activation, d to f: the first projection, or a gated MLP's gate.
    pub fc1: Linear,
    /// A gated MLP's other branch, d to f.
    pub up: Option<Linear>,
    /// f to d.
    pub fc2: Linear,
    pub activation: Activation,
    /// In place of the activation (experts of gpt-oss).
    pub clamped: Option<ClampedGate>,
}

impl Mlp {
    /// The same layer with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        Ok(match self {
            Mlp::Dense(dense) => Mlp::Dense(dense.map(f)?),
            Mlp::Experts(experts) => Mlp::Experts(Box::new(experts.map(f)?)),
        })
    }

    /// [b, n, d] to [b, n, d].
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn forward(&self, x: &Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        match self {
            Mlp::Dense(dense) => dense.forward(x, tap),
            Mlp::Experts(experts) => experts.forward(x, tap),
        }
    }
}

impl Dense {
    /// The same network with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let up = self.up.as_ref().map(|up| up.map(f)).transpose()?;
        Ok(Self { fc1: self.fc1.map(f)?, up, fc2: self.fc2.map(f)?, ..*self })
    }

    /// [b, n, d] to [b, n, d].
    fn forward(&self, x: &Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let pre = tap.at(Point::PostFc1, self.fc1.forward(x)?)?;
        let up = match &self.up {
            Some(up) => Some(tap.at(Point::PostUp, up.forward(x)?)?),
            None => None,
        };
        let post = self.activation.apply(&pre, up.as_ref())?;
        let post = tap.at(Point::PostAct, post)?;
        Ok(self.fc2.forward(&post)?)
    }

    /// Whether a weight is a variable, or computed from one.
    pub fn is_tracked(&self) -> bool {
        let tracked = |linear: &Linear| {
            linear.weight.track_op() || linear.bias.as_ref().is_some_and(Tensor::track_op)
        };
        tracked(&self.fc1) || self.up.as_ref().is_some_and(tracked) || tracked(&self.fc2)
    }

    /// The network without hook points, [.., d] to [.., d].
    ///
    /// # Errors
    /// candle's.
    pub fn plain(&self, x: &Tensor) -> Result<Tensor> {
        let pre = self.fc1.forward(x)?;
        let up = self.up.as_ref().map(|up| up.forward(x)).transpose()?;
        let post = match (self.clamped, &up) {
            (Some(clamped), Some(up)) => clamped.apply(&pre, up)?,
            _ => self.activation.apply(&pre, up.as_ref())?,
        };
        self.fc2.forward(&post)
    }
}

impl ClampedGate {
    fn apply(self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        let gate = gate.minimum(self.limit)?;
        let up = up.clamp(-self.limit, self.limit)?;
        let share = sigmoid(&(&gate * self.sharpness)?)?;
        Ok(((gate * share)? * (up + 1.0)?)?)
    }
}
