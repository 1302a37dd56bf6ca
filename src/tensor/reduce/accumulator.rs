//! The accumulators of folds: sums, products, extremes, moments, ….

use candle_core::WithDType;
use half::{bf16, f16};

use super::fold::{COLUMNS, Fold};

/// Sums: of floats in f64, of integers in i64, wrapping.
pub struct Sum;

impl Fold<f32> for Sum {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn one(&self, x: f32) -> f64 {
        x.into()
    }
    #[inline(always)]
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
    #[inline(always)]
    fn block(&self, elements: &[f32]) -> f64 {
        summed(elements, |x| x).into()
    }
    #[inline(always)]
    fn columns(&self, rows: &[f32], stride: usize, out: &mut [f64]) {
        let mut sums = [0f32; COLUMNS];
        let sums = &mut sums[..out.len()];
        for row in rows.chunks(stride) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
        for (out, &sum) in out.iter_mut().zip(sums.iter()) {
            *out += f64::from(sum);
        }
    }
}

/// The sum of `f` of at most a block of elements, in f32.
#[inline(always)]
fn summed(elements: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    /// Independent sums, for the compiler to vectorise.
    const LANES: usize = 64;
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = elements.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += f(chunk[lane]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    for half in [32, 16, 8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

impl Fold<f64> for Sum {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn one(&self, x: f64) -> f64 {
        x
    }
    #[inline(always)]
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
            #[inline(always)]
            fn one(&self, x: $T) -> i64 {
                x as i64
            }
            #[inline(always)]
            fn merge(&self, a: i64, b: i64) -> i64 {
                a.wrapping_add(b)
            }
        }

        impl Fold<$T> for Product {
            type Acc = i64;

            fn empty(&self) -> i64 {
                1
            }
            #[inline(always)]
            fn one(&self, x: $T) -> i64 {
                x as i64
            }
            #[inline(always)]
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
            #[inline(always)]
            fn one(&self, x: $T) -> f64 {
                x.into()
            }
            #[inline(always)]
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
    #[inline(always)]
    fn one(&self, x: T) -> f64 {
        self.0(x.into())
    }
    #[inline(always)]
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
}

/// The sum of squares, in f64.
pub struct Squares;

impl Fold<f64> for Squares {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn one(&self, x: f64) -> f64 {
        x * x
    }
    #[inline(always)]
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
}

impl Fold<f32> for Squares {
    type Acc = f64;

    fn empty(&self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn one(&self, x: f32) -> f64 {
        f64::from(x) * f64::from(x)
    }
    #[inline(always)]
    fn merge(&self, a: f64, b: f64) -> f64 {
        a + b
    }
    #[inline(always)]
    fn block(&self, elements: &[f32]) -> f64 {
        /// Sums of squares that lose no digits in f32.
        const SAFE: std::ops::Range<f32> = 1e-25..1e35;
        let sum = summed(elements, |x| x * x);
        match SAFE.contains(&sum) {
            true => sum.into(),
            false => elements.iter().map(|&x| f64::from(x) * f64::from(x)).sum(),
        }
    }
}

/// The number of elements other than 0.
pub struct Nonzero;

impl<T: WithDType> Fold<T> for Nonzero {
    type Acc = i64;

    fn empty(&self) -> i64 {
        0
    }
    #[inline(always)]
    fn one(&self, x: T) -> i64 {
        (x != T::zero()).into()
    }
    #[inline(always)]
    fn merge(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

/// Whether any element is other than 0.
pub struct Any;

impl<T: WithDType> Fold<T> for Any {
    type Acc = bool;

    fn empty(&self) -> bool {
        false
    }
    #[inline(always)]
    fn one(&self, x: T) -> bool {
        x != T::zero()
    }
    #[inline(always)]
    fn merge(&self, a: bool, b: bool) -> bool {
        a | b
    }
}

/// Whether every element is other than 0.
pub struct All;

impl<T: WithDType> Fold<T> for All {
    type Acc = bool;

    fn empty(&self) -> bool {
        true
    }
    #[inline(always)]
    fn one(&self, x: T) -> bool {
        x != T::zero()
    }
    #[inline(always)]
    fn merge(&self, a: bool, b: bool) -> bool {
        a & b
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

/// The largest element, or NaN if one is NaN.
pub struct Largest;

#[allow(clippy::eq_op)]
impl<T: Bounded> Fold<T> for Largest {
    type Acc = T;

    fn empty(&self) -> T {
        T::LEAST
    }
    #[inline(always)]
    fn one(&self, x: T) -> T {
        x
    }
    #[inline(always)]
    fn merge(&self, a: T, b: T) -> T {
        if a > b || a != a { a } else { b }
    }
}

/// The smallest element, or NaN if one is NaN.
pub struct Smallest;

#[allow(clippy::eq_op)]
impl<T: Bounded> Fold<T> for Smallest {
    type Acc = T;

    fn empty(&self) -> T {
        T::MOST
    }
    #[inline(always)]
    fn one(&self, x: T) -> T {
        x
    }
    #[inline(always)]
    fn merge(&self, a: T, b: T) -> T {
        if a < b || a != a { a } else { b }
    }
}

/// The mean and the squared distances from it, in two passes over each block, so that a mean far
/// from 0 costs no digits.
pub struct Moments;

/// The accumulator of [`Moments`].
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
    #[inline(always)]
    fn one(&self, x: T) -> Moment {
        Moment { count: 1.0, mean: x.into(), squares: 0.0 }
    }
    #[inline(always)]
    fn merge(&self, a: Moment, b: Moment) -> Moment {
        if a.count == 0.0 {
            return b;
        }
        if b.count == 0.0 {
            return a;
        }
        let (count, apart) = (a.count + b.count, b.mean - a.mean);
        let mean = a.mean + apart * b.count / count;
        Moment {
            count,
            mean,
            squares: a.squares + b.squares + apart * apart * a.count * b.count / count,
        }
    }
    #[inline(always)]
    fn block(&self, elements: &[T]) -> Moment {
        let count = elements.len() as f64;
        let mean = SumOf(|x| x).block(elements) / count;
        Moment { count, mean, squares: SumOf(|x: f64| (x - mean) * (x - mean)).block(elements) }
    }
    #[inline(always)]
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

/// log Σ e^x: the largest element m, and Σ e^(x − m).
pub struct LogSumExp;

impl<T: Bounded + Into<f64>> Fold<T> for LogSumExp {
    type Acc = (f64, f64);

    fn empty(&self) -> (f64, f64) {
        (f64::NEG_INFINITY, 0.0)
    }
    #[inline(always)]
    fn one(&self, x: T) -> (f64, f64) {
        (x.into(), 1.0)
    }
    #[inline(always)]
    fn merge(&self, a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
        let most = Fold::<f64>::merge(&Largest, a.0, b.0);
        let share =
            |(top, sum): (f64, f64)| if top == most { sum } else { sum * (top - most).exp() };
        (most, share(a) + share(b))
    }
    #[inline(always)]
    fn block(&self, elements: &[T]) -> (f64, f64) {
        let most: f64 = Largest.block(elements).into();
        let from = if most.is_infinite() { 0.0 } else { most };
        let sum: f64 = elements.iter().map(|&x| (x.into() - from).exp()).sum();
        if most.is_infinite() { (most, 1.0) } else { (most, sum) }
    }
}
