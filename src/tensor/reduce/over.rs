//! [`Over`], the dims that a reduction is over, and `ReductionPlan`, what they mean for one
//! shape.

use candle_core::Tensor;

use super::along_dim::Lines;
use crate::tensor::dims;
use crate::{Result, bail};

/// The `dim` and `keepdim` arguments of PyTorch's reductions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Over<'a> {
    /// The dims to reduce; all of them if absent or empty. Negative ones count from the end.
    pub dims: Option<&'a [i64]>,
    /// Whether the reduced dims stay as dims of size 1.
    pub keepdim: bool,
}

/// [`Over`] resolved against the shape of a tensor.
#[derive(Debug, Clone)]
pub(crate) struct ReductionPlan {
    /// The reduced dims, ascending.
    pub dims: Vec<usize>,
    /// The shape of the result.
    pub shape: Vec<usize>,
    /// How many elements are reduced to one.
    pub count: usize,
}

impl Over<'_> {
    /// Resolves the dims against `shape`. A tensor of rank 0 can be reduced over dim 0 or -1, as in
    /// PyTorch.
    ///
    /// # Errors
    /// The shape does not have one of the dims, or one is named twice.
    pub(crate) fn plan(&self, shape: &[usize]) -> Result<ReductionPlan> {
        let mut reduced = match self.dims {
            None | Some([]) => (0..shape.len()).collect(),
            Some(&[0 | -1]) if shape.is_empty() => vec![],
            Some(named) => dims::distinct(named, shape)?,
        };
        reduced.sort_unstable();
        let kept = |i: &usize| !reduced.contains(i);
        let out = (0..shape.len())
            .filter(|i| self.keepdim || kept(i))
            .map(|i| if kept(&i) { shape[i] } else { 1 });
        let (out, count) = (out.collect(), reduced.iter().map(|&i| shape[i]).product());
        Ok(ReductionPlan { dims: reduced, shape: out, count })
    }
}

impl ReductionPlan {
    /// Checks that there are elements to reduce, for reductions that are undefined for none. `call`
    /// names the operation and `shape` is that of the tensor.
    ///
    /// # Errors
    /// An element of the result would be reduced from no elements.
    pub fn needs_elements(&self, call: &str, shape: &[usize]) -> Result<()> {
        if self.count == 0 && !self.shape.contains(&0) {
            bail!(
                "{call} of no elements is undefined, and dims {:?} of a tensor {shape:?} have none",
                self.dims
            );
        }
        Ok(())
    }

    /// Views a CPU tensor as lines, each of which is reduced to one element of the result. If other
    /// dims lie between the reduced ones, the reduced dims of the returned tensor are permuted to
    /// the end.
    ///
    /// # Errors
    /// Those of candle's `permute`.
    pub fn lines(&self, tensor: &Tensor) -> Result<(Tensor, Lines)> {
        let shape = tensor.dims();
        let (first, end) =
            (self.dims.first().copied().unwrap_or(0), self.dims.last().map_or(0, |last| last + 1));
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        if size(&shape[first..end]) == self.count {
            let lines = Lines {
                outer: size(&shape[..first]),
                size: self.count,
                inner: size(&shape[end..]),
            };
            return Ok((tensor.clone(), lines));
        }
        let kept = (0..tensor.rank()).filter(|i| !self.dims.contains(i));
        let order: Vec<usize> = kept.chain(self.dims.iter().copied()).collect();
        Ok((tensor.permute(order)?, Lines { outer: size(&self.shape), size: self.count, inner: 1 }))
    }
}
