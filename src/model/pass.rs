//! One pass on its way through the decoder: where it is, who looks, and how it may end early.

use candle_core::Tensor;

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
}

impl<'a> Tap<'a> {
    pub fn new(observer: &'a mut dyn Observer, wanted: SiteSet, stop: Option<Site>) -> Self {
        Self { observer, wanted, stop, layer: None }
    }

    fn site(&self, point: Point) -> Site {
        Site { point, layer: self.layer.filter(|_| point.in_block()) }
    }

    /// Whether someone looks at `point`, here: a value that only a hook would see is made only then.
    pub fn wants(&self, point: Point) -> bool {
        let site = self.site(point);
        self.wanted.contains(site) || self.stop == Some(site)
    }

    /// `x` is about to enter block `layer`, or has left the last.
    ///
    /// # Errors
    /// The observer's.
    pub fn boundary(&mut self, layer: usize, x: &Tensor) -> Result<(), Halt> {
        Ok(self.observer.boundary(layer, x)?)
    }

    /// `x` stands at `point`: what goes on from there.
    ///
    /// # Errors
    /// The observer's, or a replacement of another shape. Halts where the pass was asked to stop.
    pub fn at(&mut self, point: Point, x: Tensor) -> Result<Tensor, Halt> {
        let site = self.site(point);
        let mut x = x;
        if self.wanted.contains(site)
            && let Some(left) = self.observer.observe(site, &x)?
        {
            x = replacement(site, &x, left)?;
        }
        if self.stop == Some(site) { Err(Halt::Stopped(x)) } else { Ok(x) }
    }
}

/// What a hook returned, in the dtype and on the device of what it replaces.
fn replacement(site: Site, x: &Tensor, left: Tensor) -> Result<Tensor, Error> {
    if left.dims() != x.dims() {
        return Err(error!("the hook at {site} returned a tensor {:?} in place of {:?}", left.dims(), x.dims())
            .help("return a tensor of the same shape, or nothing"));
    }
    Ok(left.to_device(x.device())?.to_dtype(x.dtype())?.contiguous()?)
}
