//! Rust closures as hooks: what an embedding program binds.

use candle_core::Tensor;

use super::{Layers, Named, Observer, Site, SiteSet};
use crate::{Result, bail};

type Closure<'a> = Box<dyn FnMut(Site, &Tensor) -> Result<Option<Tensor>> + 'a>;

struct Bound<'a> {
    named: Named,
    layers: Layers,
    /// Where it fires in the pass that runs.
    sites: SiteSet,
    closure: Closure<'a>,
}

/// Closures bound to points, run in the order in which they were bound, each given what the one
/// before left.
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
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds `hook` to a point, by its name or its TransformerLens name. What it returns takes the
    /// tensor's place.
    ///
    /// # Errors
    /// An unknown name, with the nearest; layers for a point that is in no block, or twice.
    pub fn bind(
        &mut self,
        name: &str,
        layers: Layers,
        hook: impl FnMut(Site, &Tensor) -> Result<Option<Tensor>> + 'a,
    ) -> Result<&mut Self> {
        let named = Named::parse(name)?;
        let layers = named.layers(layers)?;
        self.bound.push(Bound { named, layers, sites: SiteSet::new(0), closure: Box::new(hook) });
        Ok(self)
    }
}

impl Named {
    /// The layers that the name and `asked` say together.
    ///
    /// # Errors
    /// Both name layers, or the point is in no block.
    pub fn layers(&self, asked: Layers) -> Result<Layers> {
        match (self.layer, asked) {
            (None, Layers::All) => Ok(Layers::All),
            (None, asked) if self.point.in_block() => Ok(asked),
            (None, _) => bail!("{} is not in a block: it takes no layers", self.point),
            (Some(layer), Layers::All) => Ok(Layers::one(layer)),
            (Some(layer), _) => {
                bail!("the name already says layer {layer}: leave out the layers option")
            }
        }
    }

    /// The sites of a model with `count` layers.
    ///
    /// # Errors
    /// A layer that the model does not have.
    pub fn sites(&self, layers: &Layers, count: usize) -> Result<SiteSet> {
        let mut sites = SiteSet::new(count);
        if self.point.in_block() {
            sites.insert_all(self.point, layers.resolve(count).map_err(|e| e.at(self.point))?);
        } else {
            sites.insert_all(self.point, []);
        }
        Ok(sites)
    }
}

impl Observer for Hooks<'_> {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        let mut all = SiteSet::new(layers);
        for bound in &mut self.bound {
            bound.sites = bound.named.sites(&bound.layers, layers)?;
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
