//! Keeps what stands at points.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Layers, Observer, Point, Site, SiteSet};
use crate::{Result, error};

/// An observer that keeps what stands at the points asked for, and changes nothing.
pub struct Capture {
    points: Vec<Point>,
    layers: Layers,
    kept: BTreeMap<Site, Tensor>,
}

impl Capture {
    /// `points`, in `layers` where they are in a block.
    pub fn new(points: impl IntoIterator<Item = Point>, layers: Layers) -> Self {
        Self { points: points.into_iter().collect(), layers, kept: BTreeMap::new() }
    }

    /// What stood at one site of the pass.
    pub fn get(&self, point: Point, layer: Option<usize>) -> Option<&Tensor> {
        self.kept.get(&Site { point, layer })
    }

    /// What stood at `point`: its tensor, or one [l, …] over the layers asked for, in the order
    /// asked.
    ///
    /// # Errors
    /// The pass did not reach the point.
    pub fn stacked(&self, point: Point, layers: usize) -> Result<Tensor> {
        let missing = |site: Site| error!("the pass did not reach {site}");
        if !point.in_block() {
            let site = Site { point, layer: None };
            return self.kept.get(&site).cloned().ok_or_else(|| missing(site));
        }
        let tensors = self.layers.resolve(layers)?.into_iter().map(|layer| {
            let site = Site { point, layer: Some(layer) };
            self.kept.get(&site).ok_or_else(|| missing(site))
        });
        Ok(Tensor::stack(&tensors.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

impl Observer for Capture {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        let mut sites = SiteSet::new(layers);
        let asked = self.layers.resolve(layers)?;
        for &point in &self.points {
            sites.insert_all(point, asked.iter().copied());
        }
        Ok(sites)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        self.kept.insert(site, x.clone());
        Ok(None)
    }
}
