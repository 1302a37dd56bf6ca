//! The floats that functions of whole lines are worked out in.

use super::accumulator::{Bounded, LogSumExp, Sum};
use super::fold::Fold;

/// Elements that f32 sums accurately.
const BLOCK: usize = 512;

/// f32 and f64.
pub trait Float: Bounded + Into<f64> {
    fn round(x: f64) -> Self;
    fn exp(self) -> Self;
    fn sum(row: &[Self]) -> f64;

    /// log Σ e^x.
    fn logsumexp(row: &[Self]) -> f64 {
        let empty = Fold::<Self>::empty(&LogSumExp);
        let merge = |a, b| Fold::<Self>::merge(&LogSumExp, a, b);
        let (most, sum) =
            row.chunks(BLOCK).fold(empty, |acc, block| merge(acc, LogSumExp.block(block)));
        most + sum.ln()
    }
}

macro_rules! float {
    ($($T:ty)*) => {$(
        impl Float for $T {
            fn round(x: f64) -> Self {
                x as $T
            }
            fn exp(self) -> Self {
                <$T>::exp(self)
            }
            fn sum(row: &[Self]) -> f64 {
                row.chunks(BLOCK).map(|block| Sum.block(block)).sum()
            }
        }
    )*};
}
float!(f32 f64);
