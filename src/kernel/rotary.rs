//! Rotary position embeddings, read once and written once.

use std::mem::MaybeUninit;

use candle_core::{D, Result, Tensor};

use super::cpu::parallel;
use super::cpu::simd::vectorized;
use super::{Elements, made, suits};
use crate::model::spec::Pairs;

/// Queries or keys [b, h, n, c] turned by the angles whose `cos` and `sin` [b or 1, 1, n, r/2] are
/// given; a head's first r dimensions turn. What comes back lies as [b, n, h, c].
pub fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Option<Result<Tensor>> {
    let whole = |t: &Tensor| suits(t) && t.is_contiguous() && t.rank() == 4;
    let near = |x: &Tensor| x.stride().last() == Some(&1);
    (suits(x) && x.rank() == 4 && near(x) && whole(cos) && whole(sin))
        .then(|| turned(x, cos, sin, pairs))
}

fn turned(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Result<Tensor> {
    let (b, h, n, c) = x.dims4()?;
    let (rows, half) = (cos.dim(0)?, cos.dim(D::Minus1)?);
    let (x, cos, sin) = (Elements::of(x), Elements::of(cos), Elements::of(sin));
    let strides = x.layout.stride();
    let (x, cos, sin) = (x.f32()?, cos.whole()?, sin.whole()?);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::rows(out, h * c, h * c, |token, out| {
            let (row, at) = (token / n, token % n);
            let angles = (if rows == b { token } else { at }) * half;
            let (cos, sin) = (&cos[angles..angles + half], &sin[angles..angles + half]);
            for (head, out) in out.chunks_exact_mut(c).enumerate() {
                let from = row * strides[0] + head * strides[1] + at * strides[2];
                let x = &x[from..from + c];
                match pairs {
                    Pairs::Halves => halves(out, x, cos, sin),
                    Pairs::Neighbours => neighbours(out, x, cos, sin),
                }
            }
        });
        Ok(())
    };
    // SAFETY: every token's heads are written from end to end.
    unsafe { made((b, n, h, c), fill) }?.transpose(1, 2)
}

vectorized! {
    fn halves(out: &mut [MaybeUninit<f32>], x: &[f32], cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        let (first, rest) = x.split_at(half);
        let (second, still) = rest.split_at(half);
        let (out_first, out_rest) = out.split_at_mut(half);
        let (out_second, out_still) = out_rest.split_at_mut(half);
        for i in 0..half {
            out_first[i].write(first[i] * cos[i] - second[i] * sin[i]);
            out_second[i].write(second[i] * cos[i] + first[i] * sin[i]);
        }
        out_still.write_copy_of_slice(still);
    }
}

vectorized! {
    fn neighbours(out: &mut [MaybeUninit<f32>], x: &[f32], cos: &[f32], sin: &[f32]) {
        let (turned, still) = x.split_at(2 * cos.len());
        let (out_turned, out_still) = out.split_at_mut(2 * cos.len());
        let (pairs, _) = turned.as_chunks::<2>();
        let (out_pairs, _) = out_turned.as_chunks_mut::<2>();
        for (((out, [a, b]), cos), sin) in out_pairs.iter_mut().zip(pairs).zip(cos).zip(sin) {
            out[0].write(a * cos - b * sin);
            out[1].write(b * cos + a * sin);
        }
        out_still.write_copy_of_slice(still);
    }
}
