//! The loops around the tiles.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::amx::Amx;
use super::engine::{Engine, Start};
use super::panel::{LINE, Source};
use super::product::{Cores, Matrix};
use super::vector::{Avx2, Avx512};
use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::Disjoint;

/// A product that is to be made.
pub struct Blocks<'a> {
    /// m, n, k
    pub shape: [usize; 3],
    pub out: *mut f32,
    pub step: usize,
    pub left: Matrix<'a>,
    pub right: Matrix<'a>,
    pub bias: Option<&'a [f32]>,
}

// SAFETY: `out` belongs to the product, and each task writes columns of its own.
unsafe impl Sync for Blocks<'_> {}

/// Words whose contents are not known yet, from the beginning of a cache line on.
#[derive(Default)]
struct Space(Vec<f32>);

impl Space {
    /// For so many words, with what a last register may write beyond them.
    fn of(&mut self, words: usize) -> &mut [MaybeUninit<f32>] {
        let words = words + 2 * LINE;
        if self.0.capacity() < words {
            self.0 = Vec::with_capacity(words);
        }
        let words = self.0.spare_capacity_mut();
        let first = words.as_ptr().align_offset(4 * LINE);
        &mut words[first..]
    }
}

thread_local! {
    /// A right panel, and sums that wait for the next depth.
    static OWN: RefCell<[Space; 2]> = RefCell::default();
}

/// Compiles the parts of a product that compute for an engine's instructions.
macro_rules! compiled {
    ($name:ident, $Engine:ty, $features:literal) => {
        /// # Safety
        /// `out` is the product's; the processor has the instructions.
        pub unsafe fn $name(&self, cores: Cores) {
            #[target_feature(enable = $features)]
            unsafe fn pack(
                blocks: &Blocks,
                to: *mut f32,
                rows: Range<usize>,
                depths: Range<usize>,
            ) -> bool {
                // SAFETY: as the caller says.
                unsafe { blocks.pack::<$Engine>(to, rows, depths) }
            }

            #[target_feature(enable = $features)]
            unsafe fn strips(
                blocks: &Blocks,
                left: *const f32,
                own: [*mut f32; 2],
                block: &Range<usize>,
                rows: &Range<usize>,
                strips: &Range<usize>,
            ) -> bool {
                // SAFETY: as the caller says.
                unsafe { blocks.strips::<$Engine>(left, own, block, rows, strips) }
            }

            // SAFETY: as the caller says.
            unsafe { self.run::<$Engine>(cores, pack, strips) }
        }
    };
}

type Pack = unsafe fn(&Blocks, *mut f32, Range<usize>, Range<usize>) -> bool;
type Strips = unsafe fn(
    &Blocks,
    *const f32,
    [*mut f32; 2],
    &Range<usize>,
    &Range<usize>,
    &Range<usize>,
) -> bool;

impl Blocks<'_> {
    compiled!(amx, Amx, "avx512f,avx512bw,avx512dq,avx512vl");
    compiled!(avx512, Avx512, "avx512f");
    compiled!(avx2, Avx2, "avx2,fma");

    unsafe fn run<E: Engine>(&self, cores: Cores, pack: Pack, strips: Strips) {
        let [m, n, k] = self.shape;
        let all = n.div_ceil(E::COLUMNS);
        let threads = if cores == Cores::All { parallel::threads() } else { 1 };
        // With too few strips for the threads, these share their rows too.
        let (each, shares) = match threads > 1 && all < 4 * threads {
            true => (1, (2 * threads).div_ceil(all)),
            false => (all.div_ceil(threads * all.div_ceil(threads * E::STRIPS)), 1),
        };
        let mut space = Space::default();
        for block in parts(m, E::BLOCK) {
            let panels = block.len().div_ceil(E::ROWS);
            let left = Disjoint::new(
                space.of(panels * k.div_ceil(E::DEPTH) * E::words(E::ROWS, E::DEPTH)),
            );
            let packed = |panel: usize| {
                let within = block.start + panel * E::ROWS
                    ..block.end.min(block.start + (panel + 1) * E::ROWS);
                parts(k, E::DEPTH).enumerate().fold(true, |fits, (layer, depths)| {
                    let to = left.at(place::<E>(panels, layer, panel, depths.len())).cast();
                    // SAFETY: every panel has a place of its own.
                    unsafe { pack(self, to, within.clone(), depths) && fits }
                })
            };
            let fits = match cores {
                Cores::All => {
                    let fits = AtomicBool::new(true);
                    parallel::each(panels, |panel| {
                        fits.fetch_and(packed(panel), Ordering::Relaxed);
                    });
                    fits.into_inner()
                }
                Cores::One => (0..panels).all(packed),
            };
            let shared = panels.div_ceil(shares);
            let made = |task: usize| {
                let (chunk, share) = (task / shares, task % shares);
                let range = chunk * each..all.min((chunk + 1) * each);
                let first = block.end.min(block.start + share * shared * E::ROWS);
                let rows = first..block.end.min(first + shared * E::ROWS);
                if rows.is_empty() {
                    return;
                }
                let fits = fits
                    && OWN.with_borrow_mut(|[right, sums]| {
                        let right = right.of(E::words(E::COLUMNS, E::DEPTH)).as_mut_ptr().cast();
                        let sums =
                            sums.of(each * shared * E::ROWS * E::COLUMNS).as_mut_ptr().cast();
                        let left = left.at(0).cast_const().cast();
                        // SAFETY: every task has a part of its own.
                        unsafe { strips(self, left, [right, sums], &block, &rows, &range) }
                    });
                if !fits {
                    self.without_amx(
                        &rows,
                        range.start * E::COLUMNS..n.min(range.end * E::COLUMNS),
                    );
                }
            };
            match cores {
                Cores::All => parallel::each(all.div_ceil(each) * shares, made),
                Cores::One => (0..all.div_ceil(each) * shares).for_each(made),
            }
        }
    }

    /// A part that has numbers which the engine can't multiply, such as infinite ones: vector
    /// registers take all.
    fn without_amx(&self, rows: &Range<usize>, columns: Range<usize>) {
        let blocks = Blocks {
            shape: [rows.len(), columns.len(), self.shape[2]],
            out: self.out.wrapping_add(rows.start * self.step + columns.start),
            step: self.step,
            left: self.left.from(rows.start, 0),
            right: self.right.from(0, columns.start),
            bias: self.bias.map(|bias| &bias[columns]),
        };
        // SAFETY: a processor with AMX has AVX-512; the part is this task's.
        unsafe { blocks.avx512(Cores::One) }
    }

    #[inline(always)]
    unsafe fn pack<E: Engine>(
        &self,
        to: *mut f32,
        rows: Range<usize>,
        depths: Range<usize>,
    ) -> bool {
        let Matrix { numbers, steps } = self.left;
        let source = Source { from: numbers.as_ptr(), across: steps[0], along: steps[1] };
        // SAFETY: as the caller says.
        unsafe { E::pack_left(to, source.at(rows.start, depths.start), rows.len(), depths.len()) }
    }

    /// Some strips of columns, for some rows of the block that is packed in `left`: whether the
    /// engine could multiply their numbers. `right` is for a panel, `sums` for those that wait
    /// for the next depth.
    #[inline(always)]
    unsafe fn strips<E: Engine>(
        &self,
        left: *const f32,
        [right, sums]: [*mut f32; 2],
        block: &Range<usize>,
        rows: &Range<usize>,
        strips: &Range<usize>,
    ) -> bool {
        let panels = [block, rows].map(|rows| rows.len().div_ceil(E::ROWS));
        let first = (rows.start - block.start) / E::ROWS;
        let mut fits = true;
        // SAFETY: as the caller says.
        unsafe {
            E::begin();
            'all: for (layer, depths) in parts(self.shape[2], E::DEPTH).enumerate() {
                let left = left.wrapping_add(place::<E>(panels[0], layer, first, depths.len()));
                for strip in strips.clone() {
                    let sums = sums
                        .wrapping_add((strip - strips.start) * panels[1] * E::ROWS * E::COLUMNS);
                    let next = match strip + 1 < strips.end {
                        true => self.columns::<E>(strip + 1, depths.start),
                        false => self.columns::<E>(strips.start, depths.end),
                    };
                    fits = self.strip::<E>(left, [right, sums], rows, strip, &depths, next);
                    if !fits {
                        break 'all;
                    }
                }
            }
            E::end();
        }
        fits
    }

    /// A strip's columns, as the rows that they are packed as, from this depth on.
    #[inline(always)]
    fn columns<E: Engine>(&self, strip: usize, depth: usize) -> Source {
        let Matrix { numbers, steps } = self.right;
        Source { from: numbers.as_ptr(), across: steps[1], along: steps[0] }
            .at(strip * E::COLUMNS, depth)
    }

    /// One strip of columns, at one depth; while it is multiplied the next is fetched.
    #[inline(always)]
    unsafe fn strip<E: Engine>(
        &self,
        left: *const f32,
        [right, sums]: [*mut f32; 2],
        rows: &Range<usize>,
        strip: usize,
        depths: &Range<usize>,
        next: Source,
    ) -> bool {
        let [_, n, k] = self.shape;
        let first = strip * E::COLUMNS;
        let columns = E::COLUMNS.min(n - first);
        // SAFETY: as the caller says; what is only fetched may lie anywhere.
        unsafe {
            if !E::pack_right(right, self.columns::<E>(strip, depths.start), columns, depths.len())
            {
                return false;
            }
            let mut bias = [0f32; 64];
            if let Some(all) = self.bias {
                bias[..columns].copy_from_slice(&all[first..first + columns]);
            }
            for (panel, row) in (0..rows.len()).step_by(E::ROWS).enumerate() {
                let count = E::ROWS.min(rows.len() - row);
                let left = left.add(panel * E::words(E::ROWS, depths.len()));
                let own = (sums.add(panel * E::ROWS * E::COLUMNS), E::COLUMNS);
                let start = match (depths.start, self.bias) {
                    (0, None) => Start::zero(),
                    (0, Some(_)) => Start { from: bias.as_ptr(), step: 0 },
                    _ => Start { from: own.0, step: own.1 },
                };
                let out = self.out.add((rows.start + row) * self.step + first);
                let whole = columns == E::COLUMNS && count == E::ROWS;
                let last = depths.end == k;
                let out_or_own = if last && whole { (out, self.step) } else { own };
                // Each tile fetches one column.
                let ahead =
                    if next.along == 1 && panel < E::COLUMNS { next.at(panel, 0) } else { next }
                        .from;
                E::tile(count, depths.len(), [left, right], start, out_or_own, ahead);
                if last && !whole {
                    for i in 0..count {
                        out.add(i * self.step)
                            .copy_from_nonoverlapping(own.0.add(i * own.1), columns);
                    }
                }
            }
        }
        true
    }
}

/// Where a panel of the left matrix stands: those of one depth one after the other, depth by depth.
fn place<E: Engine>(panels: usize, layer: usize, panel: usize, depth: usize) -> usize {
    layer * panels * E::words(E::ROWS, E::DEPTH) + panel * E::words(E::ROWS, depth)
}

/// `all` in parts of at most `most`.
fn parts(all: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..all).step_by(most).map(move |start| start..all.min(start + most))
}
