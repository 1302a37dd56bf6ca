//! Records the gradients with regard to what stands at chosen hook points.
//!
//! candle keeps gradients of variables alone. Here the tensor at a point becomes either a variable,
//! with which the graph begins, or the result of an operation that changes nothing and sees the
//! gradient on its way back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::{Layers, Observer, Point, Recorded, Site, SiteSet};
use crate::Result;
use crate::kernel::differentiable::differentiable;
use crate::system::interrupt;

/// The same numbers as `x`, a tensor of a graph, through which a gradient passes as `visit` gives it
/// back.
///
/// # Errors
/// There is no memory for the copy.
pub fn through(
    x: &Tensor,
    visit: impl Fn(&Tensor) -> candle_core::Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    differentiable(
        &[x],
        |inputs| Ok(inputs[0].clone()),
        move |back| Ok(vec![Some(visit(back.gradient)?)]),
    )
}

/// An observer that makes the tensors at the points asked for part of a graph, and records what
/// stands there and, on the way back, its gradient. It changes no number.
///
/// The graph begins at the first of the points: what a pass computes before is not differentiated.
pub struct GradientCapture {
    wanted: Vec<(Point, Layers)>,
    activations: Recorded,
    /// The tensors with which a graph begins.
    roots: BTreeMap<Site, Var>,
    /// The gradients that passed since they were last taken, in the order of the way back.
    passed: Arc<Mutex<Vec<(Site, Tensor)>>>,
}

impl GradientCapture {
    /// Records each point in its layers. The layers of a point outside the blocks mean nothing.
    pub fn new(wanted: impl IntoIterator<Item = (Point, Layers)>) -> Self {
        Self {
            wanted: wanted.into_iter().collect(),
            activations: Recorded::default(),
            roots: BTreeMap::new(),
            passed: Arc::default(),
        }
    }

    /// What stood at the points in the last pass, after its hooks.
    pub fn activations(&self) -> &Recorded {
        &self.activations
    }

    /// The gradients of one way back through the last pass, whose gradients of variables are in
    /// `variables`, in the order in which they were computed. A site on which the metric does not
    /// depend is missing.
    pub fn take(&self, variables: &GradStore) -> Vec<(Site, Tensor)> {
        let mut passed =
            std::mem::take(&mut *self.passed.lock().unwrap_or_else(PoisonError::into_inner));
        let roots = self.roots.iter().rev();
        passed.extend(roots.filter_map(|(site, root)| Some((*site, variables.get(root)?.clone()))));
        passed
    }

    /// The gradients of [`take`](Self::take) by their sites.
    pub fn by_site(&self, gradients: Vec<(Site, Tensor)>) -> Recorded {
        let mut recorded = self.activations.emptied();
        gradients.into_iter().for_each(|(site, gradient)| recorded.insert(site, gradient));
        recorded
    }
}

impl Observer for GradientCapture {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        self.activations = Recorded::new(layers);
        (self.roots, self.passed) = (BTreeMap::new(), Arc::default());
        let mut sites = SiteSet::new(layers);
        for (point, wanted) in &self.wanted {
            sites.insert_all(*point, wanted)?;
        }
        Ok(sites)
    }

    fn observe(&mut self, _: Site, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn record(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        self.activations.insert(site, x.detach());
        if !x.track_op() {
            let root = Var::from_tensor(x)?;
            let tensor = root.as_tensor().clone();
            self.roots.insert(site, root);
            return Ok(Some(tensor));
        }
        let passed = self.passed.clone();
        let record = move |gradient: &Tensor| {
            interrupt::check_run().map_err(candle_core::Error::wrap)?;
            let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
            passed.push((site, gradient.clone()));
            Ok(gradient.clone())
        };
        Ok(Some(through(x, record)?))
    }
}
