//! What a set of instructions does of a product: it packs panels, and multiplies two of them.

use super::panel::Source;

/// What the sums of a tile begin with: rows `step` apart, or one for all where that is 0.
#[derive(Clone, Copy)]
pub struct Start {
    pub from: *const f32,
    pub step: usize,
}

impl Start {
    /// Nothing yet.
    pub fn zero() -> Self {
        static ZEROS: [f32; 64] = [0.0; 64];
        Self { from: ZEROS.as_ptr(), step: 0 }
    }
}

/// # Safety
/// Every function is for processors that have the instructions, inlined into one that is compiled
/// for them. Sizes are those that [`words`](Self::words) and the constants say.
pub unsafe trait Engine {
    /// A tile of the result.
    const ROWS: usize;
    const COLUMNS: usize;
    /// The depth of a panel: one of the right matrix's stays in the nearest cache.
    const DEPTH: usize;
    /// Rows of the left matrix, a multiple of ROWS, whose panels of one depth stay in a core's own
    /// cache.
    const BLOCK: usize;
    /// Strips of COLUMNS columns for which those panels are read while they are near.
    const STRIPS: usize;

    /// What a panel takes.
    fn words(rows: usize, depth: usize) -> usize;

    /// Packs `rows` rows of the left matrix: whether the engine can multiply their numbers.
    unsafe fn pack_left(to: *mut f32, source: Source, rows: usize, depth: usize) -> bool;

    /// Packs `columns` columns of the right matrix, which are the source's rows: whether the engine
    /// can multiply their numbers.
    unsafe fn pack_right(to: *mut f32, source: Source, columns: usize, depth: usize) -> bool;

    /// out [ROWS, COLUMNS] = start + left·right, of two panels of this depth. Of the rows the first
    /// `rows` need be right. Meanwhile DEPTH numbers from `ahead` on, if there are any, are
    /// fetched for a later panel.
    unsafe fn tile(
        rows: usize,
        depth: usize,
        panels: [*const f32; 2],
        start: Start,
        out: (*mut f32, usize),
        ahead: *const f32,
    );

    /// Before the first tile on a thread, and after the last.
    #[inline(always)]
    unsafe fn begin() {}
    #[inline(always)]
    unsafe fn end() {}
}
