//! Rust closures as hooks, for programs that embed this library.

use candle_core::Tensor;

use super::{Layers, Observer, PointName, Site, SiteSet};
use crate::Result;

type Closure<'a> = Box<dyn FnMut(Site, &Tensor) -> Result<Option<Tensor>> + 'a>;

struct Bound<'a> {
    name: PointName,
    layers: Layers,
    /// Where it runs in the current pass.
    sites: SiteSet,
    closure: Closure<'a>,
}

/// Closures bound to points. At a point they run in the order in which they were bound, each on the
/// tensor that the one before it returned.
///
/// ```
/// use precompute::hook::{Hooks, Layers};
///
/// let mut hooks = Hooks::new();
/// hooks.bind("attn-residual", Layers::All, |_site, x| Ok(Some(x.zeros_like()?)))?;
/// # Ok::<(), precompute::Error>(())
/// ```
#[derive(Default)]
pub struct Hooks<'a> {
    bound: Vec<Bound<'a>>,
}

impl<'a> Hooks<'a> {
    /// No hooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds `hook` to a point, by the point's name or its TransformerLens name. A tensor that the
    /// hook returns replaces the one it was given; it must have the same shape.
    ///
    /// # Errors
    /// No point has the name (the error suggests the nearest one), or `layers` is given for a point
    /// that is in no block or whose name gives the layer already.
    pub fn bind(
        &mut self,
        name: &str,
        layers: Layers,
        hook: impl FnMut(Site, &Tensor) -> Result<Option<Tensor>> + 'a,
    ) -> Result<&mut Self> {
        let name = PointName::parse(name)?;
        let layers = name.layers(layers)?;
        self.bound.push(Bound { name, layers, sites: SiteSet::new(0), closure: Box::new(hook) });
        Ok(self)
    }
}

impl Observer for Hooks<'_> {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        let mut all = SiteSet::new(layers);
        for bound in &mut self.bound {
            bound.sites = bound.name.sites(&bound.layers, layers)?;
            all.union(&bound.sites);
        }
        Ok(all)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        let mut left: Option<Tensor> = None;
        for bound in self.bound.iter_mut().filter(|bound| bound.sites.contains(site)) {
            left = (bound.closure)(site, left.as_ref().unwrap_or(x))?.or(left);
        }
        Ok(left)
    }
}
