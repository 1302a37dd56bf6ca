//! The trait through which a forward pass shows its tensors.

use candle_core::Tensor;

use super::{Site, SiteSet};
use crate::Result;

/// Sees the tensors at hook points, and may replace them.
pub trait Observer {
    /// The sites at which the pass is to call [`observe`](Self::observe), for a model with `layers`
    /// blocks. Called once a pass, before anything runs.
    ///
    /// # Errors
    /// The observer was asked for a site that the model does not have.
    fn sites(&mut self, layers: usize) -> Result<SiteSet>;

    /// Called with the tensor `x` at `site`. A tensor that is returned replaces `x` in the rest of
    /// the pass, in the dtype and on the device of `x`; it must have the shape of `x`.
    ///
    /// # Errors
    /// Any error ends the pass, which returns it.
    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>>;

    /// Called after [`observe`](Self::observe) with the tensor `x` that now stands at `site`. It may
    /// return the same numbers as another tensor, which is part of a graph of gradients.
    ///
    /// # Errors
    /// Any error ends the pass, which returns it.
    fn record(&mut self, _site: Site, _x: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Called with the residual stream `x` [b, n, d] before each block, and once after the last
    /// block with `layer` = the number of blocks.
    ///
    /// # Errors
    /// Any error ends the pass, which returns it.
    fn boundary(&mut self, _layer: usize, _x: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// The observer of a pass without hooks.
pub struct Unobserved;

impl Observer for Unobserved {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        Ok(SiteSet::new(layers))
    }

    fn observe(&mut self, _: Site, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }
}
