//! The connection between a forward pass and its observer: the pass calls [`Tap::at`] at every hook
//! point.

use candle_core::Tensor;

use super::decoder::Options;
use super::finite::Watch;
use crate::hook::{Observer, Point, Site, SiteSet, standing};
use crate::kernel::differentiable::is_without_graph;
use crate::{Error, error};

/// Why a pass ends before its end. It is the error type of the forward pass, so that `?` ends it.
pub enum Halt {
    /// The pass reached the site where it was asked to stop, with this tensor.
    Stopped(Tensor),
    /// An error.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

impl From<candle_core::Error> for Halt {
    fn from(error: candle_core::Error) -> Self {
        Halt::Failed(error.into())
    }
}

/// Points that add nothing where every point is examined for numbers that are not finite: the sum of
/// the heads' or experts' outputs and the stream that heads have copies of are examined, and computing
/// these would change the order of additions.
const PARTS: [Point; 5] = [
    Point::AttnHeadOutputs,
    Point::QueryInput,
    Point::KeyInput,
    Point::ValueInput,
    Point::ExpertOutputs,
];

/// Calls the observer at the sites that it wants, and knows which block the pass is in.
pub struct Tap<'a> {
    observer: &'a mut dyn Observer,
    wanted: SiteSet,
    stop: Option<Site>,
    checkpoint: bool,
    /// The index of the block that the pass is in; `None` outside the blocks.
    pub layer: Option<usize>,
    /// Whether a hook replaced the tensor of the last call of [`at`](Self::at).
    pub replaced: bool,
    /// Watches for numbers that are not finite.
    pub watch: Watch,
}

impl<'a> Tap<'a> {
    /// `wanted` are the sites of [`Observer::sites`].
    pub fn new(observer: &'a mut dyn Observer, wanted: SiteSet, options: &Options) -> Self {
        Self {
            observer,
            wanted,
            stop: options.stop,
            checkpoint: options.checkpoint,
            layer: None,
            replaced: false,
            watch: Watch::new(options.check_finite),
        }
    }

    /// The site of `point` where the pass is now.
    pub fn site(&self, point: Point) -> Site {
        Site { point, layer: self.layer.filter(|_| point.in_block()) }
    }

    /// Whether the tensor at `point` is asked for where the pass is now. Tensors that the pass itself
    /// does not need are computed only then.
    pub fn wants(&self, point: Point) -> bool {
        let site = self.site(point);
        self.wanted.contains(site)
            || self.stop == Some(site)
            || (self.watch.every() && !PARTS.contains(&point))
    }

    /// Whether the block that the pass is in may be computed again on the way back: the pass is asked
    /// for it, and nothing is asked for between the block's first point and its last, so that no hook
    /// would run twice.
    pub fn recomputes(&self) -> bool {
        let within =
            |point: &Point| point.in_block() && !matches!(point, Point::PreBlock | Point::PostMlp);
        self.checkpoint
            && !is_without_graph()
            && !Point::ALL.into_iter().filter(within).any(|point| self.wants(point))
    }

    /// Called with the residual stream `x` before block `layer`, and after the last block.
    ///
    /// # Errors
    /// The observer's.
    pub fn boundary(&mut self, layer: usize, x: &Tensor) -> Result<(), Halt> {
        // An observer may keep the stream for a later pass to resume from, which would not warn of
        // numbers that are not finite already.
        match self.watch.found() {
            None => Ok(self.observer.boundary(layer, x)?),
            Some(_) => Ok(()),
        }
    }

    /// Called with the tensor `x` at `point`: calls the observer if it wants the site, and gives the
    /// tensor with which the pass goes on.
    ///
    /// # Errors
    /// [`Halt::Stopped`] if the pass was asked to stop here. [`Halt::Failed`] with the observer's
    /// error, or if it returned a tensor of another shape.
    pub fn at(&mut self, point: Point, x: Tensor) -> Result<Tensor, Halt> {
        let site = self.site(point);
        let mut x = x;
        self.watch.before_hooks(site, &x)?;
        self.replaced = false;
        if self.wanted.contains(site) {
            if let Some(left) = self.observer.observe(site, &x)? {
                let left = replacement(site, &x, left)?;
                self.watch.after_hooks(site, &x, &left)?;
                x = left;
                self.replaced = true;
            }
            x = self.observer.record(site, &x)?.unwrap_or(x);
        }
        standing::note(&x, site);
        if self.stop == Some(site) { Err(Halt::Stopped(x)) } else { Ok(x) }
    }
}

/// The tensor `left` that a hook returned in place of `x`, with the dtype and on the device of `x`.
fn replacement(site: Site, x: &Tensor, left: Tensor) -> Result<Tensor, Error> {
    if left.dims() != x.dims() {
        return Err(error!(
            "the hook at {site} returned a tensor {:?} in place of {:?}",
            left.dims(),
            x.dims()
        )
        .help("return a tensor of the same shape, or nothing"));
    }
    Ok(left.to_device(x.device())?.to_dtype(x.dtype())?.contiguous()?)
}
