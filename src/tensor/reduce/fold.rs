//! The one loop behind the reductions on the CPU: parallel, over contiguous memory, whichever dims
//! are reduced.

use std::mem::MaybeUninit;

use candle_core::{Tensor, WithDType};

use crate::Result;
use crate::kernel::cpu::parallel;
use crate::kernel::cpu::simd::vectorized;
use crate::tensor::elements::{self, with_slice};
use crate::tensor::elementwise::loops;

/// Neighbouring elements that are folded at a time, so few that f32 sums them accurately.
pub(crate) const BLOCK: usize = 1024;
/// Independent accumulators of a block, which the compiler keeps in vector registers.
pub(crate) const LANES: usize = 32;
/// Columns that are folded together.
pub(crate) const COLUMNS: usize = 512;
/// Rows of columns that are folded at a time.
const ROWS: usize = 64;
/// Fewer elements than this are not worth a second thread.
const PIECE: usize = 1 << 15;

/// How elements are reduced to one: each gives an accumulator, and accumulators are merged.
pub trait Fold<T: Copy>: Sync {
    type Acc: Copy + Send + Sync;

    /// The accumulator of no elements.
    fn empty(&self) -> Self::Acc;
    fn one(&self, x: T) -> Self::Acc;
    fn merge(&self, a: Self::Acc, b: Self::Acc) -> Self::Acc;

    /// Of at most [`BLOCK`] elements.
    #[inline(always)]
    fn block(&self, elements: &[T]) -> Self::Acc {
        let mut lanes = [self.empty(); LANES];
        let (chunks, rest) = elements.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                lanes[lane] = self.merge(lanes[lane], self.one(chunk[lane]));
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane = self.merge(*lane, self.one(x));
        }
        for half in [16, 8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] = self.merge(lanes[lane], lanes[lane + half]);
            }
        }
        lanes[0]
    }

    /// Of each column of at most [`ROWS`] rows, which are `stride` apart in `rows`, merged into
    /// `out`.
    #[inline(always)]
    fn columns(&self, rows: &[T], stride: usize, out: &mut [Self::Acc]) {
        for row in rows.chunks(stride) {
            for (acc, &x) in out.iter_mut().zip(row) {
                *acc = self.merge(*acc, self.one(x));
            }
        }
    }
}

/// The accumulators of `tensor` over `dims` (of a CPU tensor, each named once), in row-major order
/// of the dims left, each as `finish` makes it.
pub fn fold<T: WithDType, F: Fold<T>, U: Copy + Send>(
    tensor: &Tensor,
    dims: &[usize],
    f: &F,
    finish: impl Fn(F::Acc) -> U + Sync,
) -> Result<Vec<U>> {
    let mut groups = groups(tensor.dims(), dims);
    let size = |groups: &[(usize, bool)]| groups.iter().map(|&(size, _)| size).product::<usize>();
    let Some(at) = groups.iter().rposition(|&(_, reduced)| reduced) else {
        let one = |elements: &[T]| loops::mapped(elements, |&x| finish(f.one(x)));
        return Ok(with_slice(tensor, one)?);
    };
    let (outer, count, inner) = (size(&groups[..at]), groups[at].0, size(&groups[at + 1..]));
    if groups[..at].iter().all(|&(_, reduced)| !reduced) {
        let all = |elements: &[T]| layer(elements, [outer, count, inner], f, finish);
        return Ok(with_slice(tensor, all)?);
    }
    let mut accs =
        with_slice(tensor, |elements: &[T]| layer(elements, [outer, count, inner], f, |acc| acc))?;
    groups[at].0 = 1;
    while let Some(at) = groups.iter().rposition(|&(size, reduced)| reduced && size != 1) {
        let (outer, count, inner) = (size(&groups[..at]), groups[at].0, size(&groups[at + 1..]));
        accs = merge_layer(&accs, outer, count, inner, f);
        groups[at].0 = 1;
    }
    Ok(loops::mapped(&accs, |&acc| finish(acc)))
}

/// Runs of neighbouring dims that are all reduced or all kept, with their sizes.
fn groups(shape: &[usize], dims: &[usize]) -> Vec<(usize, bool)> {
    let mut groups: Vec<(usize, bool)> = Vec::new();
    for (i, &size) in shape.iter().enumerate().filter(|&(_, &size)| size != 1) {
        let reduced = dims.contains(&i);
        match groups.last_mut() {
            Some((total, same)) if *same == reduced => *total *= size,
            _ => groups.push((size, reduced)),
        }
    }
    groups
}

/// Elements [outer, count, inner] to what `finish` makes of accumulators [outer, inner].
fn layer<T: WithDType, F: Fold<T>, U: Copy + Send>(
    xs: &[T],
    [outer, count, inner]: [usize; 3],
    f: &F,
    finish: impl Fn(F::Acc) -> U + Sync,
) -> Vec<U> {
    if outer * inner == 0 || count == 0 {
        return vec![finish(f.empty()); outer * inner];
    }
    let long = (PIECE / inner).max(ROWS);
    let pieces = if outer == 1 || outer * inner < COLUMNS { count.div_ceil(long) } else { 1 };
    if pieces == 1 {
        return part(xs, [outer, count, inner], count, f, finish);
    }
    let long = count.div_ceil(pieces);
    let pieces = count.div_ceil(long);
    let accs = part(xs, [outer, count, inner], long, f, |acc| acc);
    loops::mapped(&merge_layer(&accs, outer, pieces, inner, f), |&acc| finish(acc))
}

/// Of each `long` elements of the count: [outer, pieces, inner].
fn part<T: WithDType, F: Fold<T>, U: Copy + Send>(
    xs: &[T],
    [outer, count, inner]: [usize; 3],
    long: usize,
    f: &F,
    finish: impl Fn(F::Acc) -> U + Sync,
) -> Vec<U> {
    let pieces = count.div_ceil(long);
    let least = (PIECE / (long * inner)).max(1);
    let one = |i: usize, out: &mut [MaybeUninit<U>]| {
        let (row, first) = (i / pieces, i % pieces * long);
        let last = (first + long).min(count);
        let part = &xs[(row * count + first) * inner..(row * count + last) * inner];
        if inner == 1 {
            out[0].write(finish(line(part, f)));
            return;
        }
        let narrow = (PIECE / ((last - first) * COLUMNS)).max(1) * COLUMNS;
        parallel::chunks(out, narrow, |task, out| {
            for (column, out) in out.chunks_mut(COLUMNS).enumerate() {
                let mut accs = [f.empty(); COLUMNS];
                columns(part, task * narrow + column * COLUMNS, inner, &mut accs[..out.len()], f);
                for (out, acc) in out.iter_mut().zip(accs) {
                    out.write(finish(acc));
                }
            }
        });
    };
    let fill = |out: &mut [MaybeUninit<U>]| match out.len() / inner {
        1 => one(0, out),
        _ => parallel::chunks(out, least * inner, |task, out| {
            out.chunks_mut(inner).enumerate().for_each(|(i, out)| one(task * least + i, out));
        }),
    };
    // SAFETY: the chunks of all rows cover the output, and `one` writes all of a row.
    unsafe { elements::filled_vec(outer * pieces * inner, fill) }
}

vectorized! {
    /// The accumulator of elements one after the other.
    fn line[T: Copy, F: Fold<T>](elements: &[T], f: &F) -> F::Acc {
        let mut acc = f.empty();
        for block in elements.chunks(BLOCK) {
            acc = f.merge(acc, f.block(block));
        }
        acc
    }
}

vectorized! {
    /// The columns of rows `stride` apart, from the `first` on, merged into `out`.
    fn columns[T: Copy, F: Fold<T>](rows: &[T], first: usize, stride: usize, out: &mut [F::Acc], f: &F) {
        for rows in rows.chunks(ROWS * stride) {
            f.columns(&rows[first..], stride, out);
        }
    }
}

fn merge_layer<T: Copy, F: Fold<T>>(
    accs: &[F::Acc],
    outer: usize,
    count: usize,
    inner: usize,
    f: &F,
) -> Vec<F::Acc> {
    let mut out = vec![f.empty(); outer * inner];
    if out.is_empty() || count == 0 {
        return out;
    }
    for (out, accs) in out.chunks_mut(inner).zip(accs.chunks(count * inner)) {
        for row in accs.chunks(inner) {
            for (acc, &x) in out.iter_mut().zip(row) {
                *acc = f.merge(*acc, x);
            }
        }
    }
    out
}
