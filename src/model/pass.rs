//! One pass on its way through the decoder: where it is, who looks, and how it may end early.

use candle_core::Tensor;

use super::decoder::Options;
use super::finite::Watch;
use crate::hook::{Observer, Point, Site, SiteSet};
use crate::{Error, error};

/// Why a pass does not go on.
pub enum Halt {
    /// It has reached the site it was asked to stop at, where this stands.
    Stopped(Tensor),
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

/// Shows the observer what stands at each point it wants, and hands on what it leaves there.
pub struct Tap<'a> {
    observer: &'a mut dyn Observer,
    wanted: SiteSet,
    stop: Option<Site>,
    /// The block the pass is in.
    pub layer: Option<usize>,
    pub watch: Watch,
}

impl<'a> Tap<'a> {
    pub fn new(observer: &'a mut dyn Observer, wanted: SiteSet, options: &Options) -> Self {
        Self {
            observer,
            wanted,
            stop: options.stop,
            layer: None,
            watch: Watch::new(options.check_finite),
        }
    }

    pub fn site(&self, point: Point) -> Site {
        Site { point, layer: self.layer.filter(|_| point.in_block()) }
    }

    /// Whether someone looks at `point`, here: a value that only a hook would see is made only
    /// then.
    pub fn wants(&self, point: Point) -> bool {
        let site = self.site(point);
        self.wanted.contains(site)
            || self.stop == Some(site)
            // Not the sum head by head, which is another order of the same additions.
            || (self.watch.every() && point != Point::AttnHeadOutputs)
    }

    /// `x` is about to enter block `layer`, or has left the last.
    ///
    /// # Errors
    /// The observer's.
    pub fn boundary(&mut self, layer: usize, x: &Tensor) -> Result<(), Halt> {
        // What is no finite number is not to be kept for a later pass, which would say nothing of
        // it.
        match self.watch.found() {
            None => Ok(self.observer.boundary(layer, x)?),
            Some(_) => Ok(()),
        }
    }

    /// `x` stands at `point`: what goes on from there.
    ///
    /// # Errors
    /// The observer's, or a replacement of another shape. Halts where the pass was asked to stop.
    pub fn at(&mut self, point: Point, x: Tensor) -> Result<Tensor, Halt> {
        let site = self.site(point);
        let mut x = x;
        self.watch.before_hooks(site, &x)?;
        if self.wanted.contains(site)
            && let Some(left) = self.observer.observe(site, &x)?
        {
            let left = replacement(site, &x, left)?;
            self.watch.after_hooks(site, &x, &left)?;
            x = left;
        }
        if self.stop == Some(site) { Err(Halt::Stopped(x)) } else { Ok(x) }
    }
}

/// What a hook returned, in the dtype and on the device of what it replaces.
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
