//! The trait that a forward pass calls.

use candle_core::Tensor;

use super::{Site, SiteSet};
use crate::Result;

/// Sees what stands at hook points, and may put something else there.
pub trait Observer {
    /// The sites at which [`observe`](Self::observe) is to be called, of a model with `layers`
    /// blocks. Asked once, before anything runs.
    ///
    /// # Errors
    /// A site that the model does not have.
    fn sites(&mut self, layers: usize) -> Result<SiteSet>;

    /// What stands at `site`. A tensor returned takes its place from there on; it must have the
    /// same shape.
    ///
    /// # Errors
    /// Whatever goes wrong ends the pass and is the pass's error.
    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>>;

    /// The stream `x` [b, n, d] is about to enter block `layer`; after the last block, `layer` is
    /// their count.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    fn boundary(&mut self, _layer: usize, _x: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// Nobody looks.
pub struct Unobserved;

impl Observer for Unobserved {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        Ok(SiteSet::new(layers))
    }

    fn observe(&mut self, _: Site, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

/// Two observers, the second given what the first left.
pub struct Chain<'a> {
    first: (&'a mut dyn Observer, SiteSet),
    second: (&'a mut dyn Observer, SiteSet),
}

impl<'a> Chain<'a> {
    /// # Errors
    /// A site that a model of `layers` blocks does not have.
    pub fn new(
        first: &'a mut dyn Observer,
        second: &'a mut dyn Observer,
        layers: usize,
    ) -> Result<Self> {
        let (a, b) = (first.sites(layers)?, second.sites(layers)?);
        Ok(Self { first: (first, a), second: (second, b) })
    }
}

impl Observer for Chain<'_> {
    fn sites(&mut self, _: usize) -> Result<SiteSet> {
        let mut both = self.first.1.clone();
        both.union(&self.second.1);
        Ok(both)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        let mut left = None;
        for (observer, sites) in [&mut self.first, &mut self.second] {
            if sites.contains(site) {
                left = observer.observe(site, left.as_ref().unwrap_or(x))?.or(left);
            }
        }
        Ok(left)
    }
}
