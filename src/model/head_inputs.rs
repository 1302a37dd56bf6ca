//! The residual stream as each head's projection reads it: a copy for each head, made only where a
//! hook or a capture asks for it.
//!
//! What stands at `pre-attn` is one tensor for all heads. A head whose copy was changed reads that
//! tensor plus what the change makes of the norm, so that changes of `pre-attn` and of copies add up;
//! if nothing stands at `pre-attn` or at the norm's scale, it reads the norm of its copy.

use candle_core::Tensor;

use super::norm::Norm;
use super::tap::{Halt, Tap};
use crate::Result;
use crate::hook::Point;
use crate::kernel::sum::sum;

/// What the heads' query, key and value projections read where copies of the stream were changed or
/// are part of a graph of gradients. `None`: the heads read what attention reads.
#[derive(Debug, Default)]
pub struct HeadInputs {
    /// [b, h, n, d]
    pub q: Option<Tensor>,
    /// [b, k, n, d]
    pub k: Option<Tensor>,
    /// [b, k, n, d]
    pub v: Option<Tensor>,
}

/// The norm between the copies and the projections.
pub struct Between<'a> {
    /// `None` if the projections read the stream itself.
    pub norm: Option<&'a Norm>,
    /// The scale [b, n, 1] that a hook put in place of the norm's own.
    pub scale: Option<Tensor>,
    /// Whether something stands at the norm's scale or at `pre-attn`.
    pub observed: bool,
}

impl HeadInputs {
    /// The copies of the stream x [b, n, d] for `heads` query heads and `kv_heads` key/value heads, as
    /// hooks leave them: before any norm.
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn copies(x: &Tensor, heads: usize, kv_heads: usize, tap: &mut Tap) -> Result<Self, Halt> {
        let mut copies = |point: Point, heads: usize| -> Result<Option<Tensor>, Halt> {
            if !tap.wants(point) {
                return Ok(None);
            }
            let (b, n, d) = x.dims3()?;
            let each = x.unsqueeze(1)?.expand((b, heads, n, d))?.contiguous()?;
            let left = tap.at(point, each.clone())?;
            Ok((left.id() != each.id()).then_some(left))
        };
        Ok(Self {
            q: copies(Point::QueryInput, heads)?,
            k: copies(Point::KeyInput, kv_heads)?,
            v: copies(Point::ValueInput, kv_heads)?,
        })
    }

    /// What the projections read of these copies of the stream x [b, n, d], `read` [b, n, d] being what
    /// stands at `pre-attn`.
    ///
    /// # Errors
    /// candle's.
    pub fn through(self, x: &Tensor, read: &Tensor, between: &Between) -> Result<Self> {
        let each = |copies: Option<Tensor>| {
            copies.map(|copies| between.read_of(&copies, x, read)).transpose()
        };
        Ok(Self { q: each(self.q)?, k: each(self.k)?, v: each(self.v)? })
    }
}

impl Between<'_> {
    fn read_of(&self, copies: &Tensor, x: &Tensor, read: &Tensor) -> Result<Tensor> {
        let normed = self.normed(copies)?;
        if !self.observed {
            return Ok(normed);
        }
        let all = |one: &Tensor| one.unsqueeze(1)?.broadcast_as(copies.shape());
        Ok(sum(&all(read)?, &(normed - all(&self.normed(x)?)?)?)?)
    }

    /// The norm of the stream [b, n, d] or of copies of it [b, h, n, d].
    fn normed(&self, x: &Tensor) -> Result<Tensor> {
        match (self.norm, &self.scale) {
            (None, _) => Ok(x.clone()),
            (Some(norm), None) => norm.plain(x),
            (Some(norm), Some(scale)) if x.rank() == scale.rank() => norm.scaled(x, scale),
            (Some(norm), Some(scale)) => {
                let (b, h, n, _) = x.dims4()?;
                norm.scaled(x, &scale.unsqueeze(1)?.expand((b, h, n, 1))?.contiguous()?)
            }
        }
    }
}
