//! What a softmax does to a row.

use super::math::exp_or_zero;
use super::vectorized;

/// Independent sums and maxima.
const LANES: usize = 32;

/// Scores to e^(score − the largest), in place: their sum.
pub fn exponentials(scores: &mut [f32]) -> f32 {
    let most = largest(scores);
    exponentials_from(scores, most)
}

/// As [`exponentials`], where the largest is known.
pub fn exponentials_from(scores: &mut [f32], most: f32) -> f32 {
    /// So many float32 add up to the last digits; more are added in double precision.
    const PIECE: usize = 2048;
    scores.chunks_mut(PIECE).map(|scores| f64::from(raise(scores, most))).sum::<f64>() as f32
}

vectorized! {
    pub fn largest(scores: &[f32]) -> f32 {
        let mut most = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = scores.as_chunks::<LANES>();
        for scores in whole {
            for lane in 0..LANES {
                most[lane] = if scores[lane] > most[lane] { scores[lane] } else { most[lane] };
            }
        }
        most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &score| if score > most { score } else { most })
    }
}

vectorized! {
    fn raise(scores: &mut [f32], most: f32) -> f32 {
        let mut sums = [0f32; LANES];
        let (whole, rest) = scores.as_chunks_mut::<LANES>();
        for scores in whole {
            for lane in 0..LANES {
                scores[lane] = exp_or_zero::<FUSED>(scores[lane] - most);
                sums[lane] += scores[lane];
            }
        }
        let mut sum = sums.iter().sum::<f32>();
        for score in rest {
            *score = exp_or_zero::<FUSED>(*score - most);
            sum += *score;
        }
        sum
    }
}

vectorized! {
    pub fn divide(numbers: &mut [f32], by: f32) {
        for number in numbers {
            *number /= by;
        }
    }
}
