//! Panels: some rows of a matrix laid side by side, so that what is read next stands next.

use super::registers::Lanes;

/// Numbers in a line of the cache.
pub const LINE: usize = 16;

/// Rows of numbers: `across` steps from row to row, `along` steps within one.
#[derive(Clone, Copy)]
pub struct Source {
    pub from: *const f32,
    pub across: usize,
    pub along: usize,
}

// SAFETY: it is only read from.
unsafe impl Sync for Source {}

impl Source {
    /// From this row, and this number of each, on.
    pub fn at(self, row: usize, number: usize) -> Self {
        Self { from: self.from.wrapping_add(row * self.across + number * self.along), ..self }
    }
}

/// Writes [depth, width]: the first numbers of all `rows`, then the second, …; zeros where rows are
/// missing.
///
/// # Safety
/// The source has so many rows of `depth` numbers; `to` has depth·width places and a register more;
/// as [`Lanes`].
#[inline(always)]
pub unsafe fn pack<V: Lanes>(
    to: *mut f32,
    width: usize,
    source: Source,
    rows: usize,
    depth: usize,
) {
    // SAFETY: as the caller says.
    unsafe {
        if source.across == 1 && rows == width {
            for at in 0..depth {
                to.add(at * width).copy_from_nonoverlapping(source.at(0, at).from, width);
            }
            return;
        }
        let whole = if source.along == 1 { depth / V::COUNT * V::COUNT } else { 0 };
        for at in (0..whole).step_by(V::COUNT) {
            for first in (0..width).step_by(V::COUNT) {
                let square =
                    turned::<V>(rows.saturating_sub(first), |row| source.at(first + row, at).from);
                // What is written beyond the width is written again, with what belongs there.
                for (i, column) in square.as_ref().iter().enumerate() {
                    column.store(to.add((at + i) * width + first));
                }
            }
        }
        for at in whole..depth {
            for row in 0..width {
                *to.add(at * width + row) = if row < rows { *source.at(row, at).from } else { 0.0 };
            }
        }
    }
}

/// A square of at most `rows` rows, turned.
#[inline(always)]
unsafe fn turned<V: Lanes>(rows: usize, row: impl Fn(usize) -> *const f32) -> V::Square {
    // SAFETY: as the caller says; registers of zeros are registers.
    unsafe {
        let mut square: V::Square = std::mem::zeroed();
        for (i, lanes) in square.as_mut().iter_mut().enumerate().take(rows) {
            *lanes = V::load(row(i));
        }
        V::transpose(square)
    }
}
