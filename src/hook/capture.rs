//! Records the tensors at chosen hook points.

use candle_core::Tensor;

use super::recorded::{Recorded, not_reached};
use super::{Layers, Observer, Point, Site, SiteSet};
use crate::Result;

/// An observer that records the tensors at the points asked for, and changes nothing.
///
/// ```
/// use precompute::hook::{Capture, Layers, Point};
///
/// let mut capture =
///     Capture::new([(Point::PostMlp, Layers::All), (Point::AttnProbs, Layers::one(-1))]);
/// ```
pub struct Capture {
    wanted: Vec<(Point, Layers)>,
    recorded: Recorded,
}

impl Capture {
    /// Records each point in its layers. The layers of a point outside the blocks mean nothing.
    pub fn new(wanted: impl IntoIterator<Item = (Point, Layers)>) -> Self {
        Self { wanted: wanted.into_iter().collect(), recorded: Recorded::default() }
    }

    /// What the last pass recorded.
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// The tensor at one site of the last pass.
    pub fn get(&self, point: Point, layer: Option<usize>) -> Option<&Tensor> {
        self.recorded.get(Site { point, layer })
    }

    /// The tensors at `point` in `layers`, stacked to [l, …] in the order of `layers`; of a point
    /// outside the blocks its only tensor.
    ///
    /// # Errors
    /// The last pass did not reach one of the sites, or was not asked for it.
    pub fn stacked(&self, point: Point, layers: &Layers) -> Result<Tensor> {
        self.recorded.stacked(point, layers, not_reached)
    }
}

impl Observer for Capture {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        self.recorded = Recorded::new(layers);
        let mut sites = SiteSet::new(layers);
        for (point, wanted) in &self.wanted {
            sites.insert_all(*point, wanted)?;
        }
        Ok(sites)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        self.recorded.insert(site, x.clone());
        Ok(None)
    }
}
