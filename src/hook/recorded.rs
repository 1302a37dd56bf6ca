//! Tensors by the site where they stood.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Layers, Point, Site};
use crate::{Error, Result, error};

/// What one pass recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// How many layers the pass's model has.
    layers: usize,
    tensors: BTreeMap<Site, Tensor>,
}

impl Recorded {
    /// Nothing yet, of a pass of a model with `layers` blocks.
    pub fn new(layers: usize) -> Self {
        Self { layers, tensors: BTreeMap::new() }
    }

    /// Nothing yet, of a pass of the same model.
    pub fn emptied(&self) -> Self {
        Self::new(self.layers)
    }

    /// Records the tensor at a site.
    pub fn insert(&mut self, site: Site, x: Tensor) {
        self.tensors.insert(site, x);
    }

    /// The tensor at a site.
    pub fn get(&self, site: Site) -> Option<&Tensor> {
        self.tensors.get(&site)
    }

    /// The tensors at `point` in `layers`, stacked to [l, …] in the order of `layers`; of a point
    /// outside the blocks its only tensor.
    ///
    /// # Errors
    /// `missing` of the first site without a tensor.
    pub fn stacked(
        &self,
        point: Point,
        layers: &Layers,
        missing: impl Fn(Site) -> Error,
    ) -> Result<Tensor> {
        let at = |layer: Option<usize>| {
            let site = Site { point, layer };
            self.tensors.get(&site).ok_or_else(|| missing(site))
        };
        if !point.in_block() {
            return at(None).cloned();
        }
        let tensors = layers.resolve(self.layers)?.into_iter().map(|layer| at(Some(layer)));
        Ok(Tensor::stack(&tensors.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// The error for a site that a pass did not reach, or was not asked for.
pub fn not_reached(site: Site) -> Error {
    error!("the pass did not reach {site}")
}
