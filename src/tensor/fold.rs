//! The one loop behind the reductions on the CPU: parallel, over contiguous memory, whichever dims are reduced.

use candle_core::{Storage, Tensor, WithDType};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::{Result, bail};

/// Elements one after the other that are folded at a time: few enough for f32 to sum them accurately.
const BLOCK: usize = 512;
/// Independent accumulators of a block, for the compiler to vectorise.
const LANES: usize = 16;
/// Columns that are folded side by side.
const COLUMNS: usize = 512;
/// Rows of columns that are folded at a time.
const ROWS: usize = 64;
/// Fewer elements than this are not worth a second thread.
const PIECE: usize = 1 << 15;

/// How elements become one: an accumulator, of a few elements, merged with those of others.
pub trait Fold<T: Copy>: Sync {
    type Acc: Copy + Send + Sync;

    /// The accumulator of no elements.
    fn empty(&self) -> Self::Acc;
    fn one(&self, x: T) -> Self::Acc;
    fn merge(&self, a: Self::Acc, b: Self::Acc) -> Self::Acc;

    /// Of at most [`BLOCK`] elements.
    fn block(&self, elements: &[T]) -> Self::Acc {
        let mut lanes = [self.empty(); LANES];
        let chunks = elements.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane = self.merge(*lane, self.one(x));
            }
        }
        let rest = rest.iter().fold(self.empty(), |acc, &x| self.merge(acc, self.one(x)));
        lanes.into_iter().fold(rest, |a, b| self.merge(a, b))
    }

    /// Of each column of at most [`ROWS`] rows, which are `stride` apart in `rows`, merged into `out`.
    fn columns(&self, rows: &[T], stride: usize, out: &mut [Self::Acc]) {
        for row in rows.chunks(stride) {
            for (acc, &x) in out.iter_mut().zip(row) {
                *acc = self.merge(*acc, self.one(x));
            }
        }
    }
}

/// The accumulators of `tensor` over `dims` (of a CPU tensor, each named once), in row-major order of the dims left.
pub fn fold<T: WithDType, F: Fold<T>>(tensor: &Tensor, dims: &[usize], f: &F) -> Result<Vec<F::Acc>> {
    let mut groups = groups(tensor.dims(), dims);
    let last = groups.iter().rposition(|&(_, reduced)| reduced);
    let size = |groups: &[(usize, bool)]| groups.iter().map(|&(size, _)| size).product::<usize>();
    let mut accs = with_slice(tensor, |elements: &[T]| match last {
        Some(at) => layer(elements, size(&groups[..at]), groups[at].0, size(&groups[at + 1..]), f),
        None => elements.iter().map(|&x| f.one(x)).collect(),
    })?;
    if let Some(at) = last {
        groups[at].0 = 1;
    }
    while let Some(at) = groups.iter().rposition(|&(size, reduced)| reduced && size != 1) {
        let (outer, count, inner) = (size(&groups[..at]), groups[at].0, size(&groups[at + 1..]));
        accs = merge_layer(&accs, outer, count, inner, f);
        groups[at].0 = 1;
    }
    Ok(accs)
}

/// `run` of the elements in row-major order, copied only where they do not lie so.
///
/// # Errors
/// A tensor that is not on the CPU or not of `T`.
pub fn with_slice<T: WithDType, R>(tensor: &Tensor, run: impl FnOnce(&[T]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("expected a tensor on the CPU") };
    let start = layout.start_offset();
    Ok(run(&storage.as_slice::<T>()?[start..start + tensor.elem_count()]))
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

/// Elements [outer, count, inner] to accumulators [outer, inner].
fn layer<T: WithDType, F: Fold<T>>(xs: &[T], outer: usize, count: usize, inner: usize, f: &F) -> Vec<F::Acc> {
    if outer * inner == 0 || count == 0 {
        return vec![f.empty(); outer * inner];
    }
    let long = (PIECE / inner).max(ROWS);
    let pieces = if outer == 1 || outer * inner < COLUMNS { count.div_ceil(long) } else { 1 };
    let long = count.div_ceil(pieces);
    let pieces = count.div_ceil(long);
    let mut out = vec![f.empty(); outer * pieces * inner];
    let least = (PIECE / (long * inner)).max(1);
    out.par_chunks_mut(inner).enumerate().with_min_len(least).for_each(|(i, out)| {
        let (row, first) = (i / pieces, i % pieces * long);
        let last = (first + long).min(count);
        let part = &xs[(row * count + first) * inner..(row * count + last) * inner];
        if inner == 1 {
            out[0] = part.chunks(BLOCK).fold(f.empty(), |acc, block| f.merge(acc, f.block(block)));
            return;
        }
        let narrow = (PIECE / ((last - first) * COLUMNS)).max(1);
        out.par_chunks_mut(COLUMNS).enumerate().with_min_len(narrow).for_each(|(column, out)| {
            for rows in part.chunks(ROWS * inner) {
                f.columns(&rows[column * COLUMNS..], inner, out);
            }
        });
    });
    if pieces == 1 { out } else { merge_layer(&out, outer, pieces, inner, f) }
}

fn merge_layer<T: Copy, F: Fold<T>>(accs: &[F::Acc], outer: usize, count: usize, inner: usize, f: &F) -> Vec<F::Acc> {
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

/// Sums: of floats in f64, of integers in i64, wrapping.
pub struct Sum;

impl Fold<f32> for Sum {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    fn one(&self, x: f32) -> f64 {
        x.into()
    }
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
    fn block(&self, elements: &[f32]) -> f64 {
        let mut lanes = [0f32; LANES];
        let chunks = elements.chunks_exact(LANES);
        let rest: f32 = chunks.remainder().iter().sum();
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += x;
            }
        }
        lanes.into_iter().map(f64::from).sum::<f64>() + f64::from(rest)
    }
}

impl Fold<f64> for Sum {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    fn one(&self, x: f64) -> f64 {
        x
    }
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
}

/// Products: of floats in f64, of integers in i64, wrapping.
pub struct Product;

macro_rules! integers {
    ($($T:ty)*) => {$(
        impl Fold<$T> for Sum {
            type Acc = i64;

            fn empty(&self) -> i64 {
                0
            }
            fn one(&self, x: $T) -> i64 {
                x as i64
            }
            fn merge(&self, a: i64, b: i64) -> i64 {
                a.wrapping_add(b)
            }
        }

        impl Fold<$T> for Product {
            type Acc = i64;

            fn empty(&self) -> i64 {
                1
            }
            fn one(&self, x: $T) -> i64 {
                x as i64
            }
            fn merge(&self, a: i64, b: i64) -> i64 {
                a.wrapping_mul(b)
            }
        }
    )*};
}
integers!(u8 u32 i64);

macro_rules! product_of_floats {
    ($($T:ty)*) => {$(
        impl Fold<$T> for Product {
            type Acc = f64;

            fn empty(&self) -> f64 {
                1.0
            }
            fn one(&self, x: $T) -> f64 {
                x.into()
            }
            fn merge(&self, a: f64, b: f64) -> f64 {
                a * b
            }
        }
    )*};
}
product_of_floats!(f32 f64);

/// The sum of a function of each element, in f64.
pub struct SumOf<F>(pub F);

impl<T: Copy + Into<f64>, F: Fn(f64) -> f64 + Sync> Fold<T> for SumOf<F> {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    fn one(&self, x: T) -> f64 {
        self.0(x.into())
    }
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
}

/// A number with a smallest and a largest.
pub trait Bounded: WithDType {
    const LEAST: Self;
    const MOST: Self;
}

macro_rules! bounded {
    ($($T:ty: $least:expr, $most:expr;)*) => {$(
        impl Bounded for $T {
            const LEAST: Self = $least;
            const MOST: Self = $most;
        }
    )*};
}
bounded! {
    u8: u8::MIN, u8::MAX;
    u32: u32::MIN, u32::MAX;
    i64: i64::MIN, i64::MAX;
    f16: f16::NEG_INFINITY, f16::INFINITY;
    bf16: bf16::NEG_INFINITY, bf16::INFINITY;
    f32: f32::NEG_INFINITY, f32::INFINITY;
    f64: f64::NEG_INFINITY, f64::INFINITY;
}

/// The largest element, or NaN where one is.
pub struct Largest;

#[allow(clippy::eq_op)]
impl<T: Bounded> Fold<T> for Largest {
    type Acc = T;

    fn empty(&self) -> T {
        T::LEAST
    }
    fn one(&self, x: T) -> T {
        x
    }
    fn merge(&self, a: T, b: T) -> T {
        if a > b || a != a { a } else { b }
    }
}

/// The smallest element, or NaN where one is.
pub struct Smallest;

#[allow(clippy::eq_op)]
impl<T: Bounded> Fold<T> for Smallest {
    type Acc = T;

    fn empty(&self) -> T {
        T::MOST
    }
    fn one(&self, x: T) -> T {
        x
    }
    fn merge(&self, a: T, b: T) -> T {
        if a < b || a != a { a } else { b }
    }
}

/// Mean and spread, block by block in two passes, so that a mean far from 0 costs no digits.
pub struct Moments;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    pub count: f64,
    pub mean: f64,
    /// The sum of the squared distances from the mean.
    pub squares: f64,
}

impl<T: Copy + Into<f64>> Fold<T> for Moments {
    type Acc = Moment;

    fn empty(&self) -> Moment {
        Moment::default()
    }
    fn one(&self, x: T) -> Moment {
        Moment { count: 1.0, mean: x.into(), squares: 0.0 }
    }
    fn merge(&self, a: Moment, b: Moment) -> Moment {
        if a.count == 0.0 {
            return b;
        }
        if b.count == 0.0 {
            return a;
        }
        let (count, apart) = (a.count + b.count, b.mean - a.mean);
        let mean = a.mean + apart * b.count / count;
        Moment { count, mean, squares: a.squares + b.squares + apart * apart * a.count * b.count / count }
    }
    fn block(&self, elements: &[T]) -> Moment {
        let count = elements.len() as f64;
        let mean = SumOf(|x| x).block(elements) / count;
        Moment { count, mean, squares: SumOf(|x: f64| (x - mean) * (x - mean)).block(elements) }
    }
    fn columns(&self, rows: &[T], stride: usize, out: &mut [Moment]) {
        let count = rows.chunks(stride).count() as f64;
        let (mut means, mut squares) = ([0.0; COLUMNS], [0.0; COLUMNS]);
        let means = &mut means[..out.len()];
        for row in rows.chunks(stride) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += x.into());
        }
        means.iter_mut().for_each(|mean| *mean /= count);
        for row in rows.chunks(stride) {
            for ((squares, mean), &x) in squares.iter_mut().zip(means.iter()).zip(row) {
                let apart = x.into() - mean;
                *squares += apart * apart;
            }
        }
        for ((acc, &mean), &squares) in out.iter_mut().zip(means.iter()).zip(&squares) {
            *acc = Fold::<T>::merge(self, *acc, Moment { count, mean, squares });
        }
    }
}

/// log Σ e^x, as the largest element and the sum of e to the power of what each lacks of it.
pub struct LogSumExp;

impl<T: Bounded + Into<f64>> Fold<T> for LogSumExp {
    type Acc = (f64, f64);

    fn empty(&self) -> (f64, f64) {
        (f64::NEG_INFINITY, 0.0)
    }
    fn one(&self, x: T) -> (f64, f64) {
        (x.into(), 1.0)
    }
    fn merge(&self, a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
        let most = Fold::<f64>::merge(&Largest, a.0, b.0);
        let share = |(top, sum): (f64, f64)| if top == most { sum } else { sum * (top - most).exp() };
        (most, share(a) + share(b))
    }
    fn block(&self, elements: &[T]) -> (f64, f64) {
        let most: f64 = Largest.block(elements).into();
        let from = if most.is_infinite() { 0.0 } else { most };
        let sum: f64 = elements.iter().map(|&x| (x.into() - from).exp()).sum();
        if most.is_infinite() { (most, 1.0) } else { (most, sum) }
    }
}
