//! Sums: of two tensors of one shape, and of all heads.

use candle_core::{Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::vectorized;
use super::{Elements, made, suits};

/// a + b, for tensors of one shape that lie in one piece.
pub fn sum(a: &Tensor, b: &Tensor) -> Option<Result<Tensor>> {
    let alike = a.dims() == b.dims() && a.is_contiguous() && b.is_contiguous();
    (suits(a) && suits(b) && alike).then(|| add(a, b))
}

fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (left, right) = (Elements::of(a), Elements::of(b));
    let (left, right) = (left.whole()?, right.whole()?);
    let fill = |out: &mut [std::mem::MaybeUninit<f32>]| {
        parallel::chunks(out, CHUNK, |piece, out| {
            let at = piece * CHUNK..piece * CHUNK + out.len();
            add_part(out, &left[at.clone()], &right[at]);
        });
        Ok(())
    };
    // SAFETY: the parts are all of it, and each is written from end to end.
    unsafe { made(a.shape().clone(), fill) }
}

/// [b, h, ..] to [b, ..]: the sum over h, for a tensor that lies in one piece.
pub fn sum_of_heads(each: &Tensor) -> Option<Result<Tensor>> {
    (suits(each)
        && each.is_contiguous()
        && each.rank() > 2
        && each.dim(1).is_ok_and(|heads| heads > 0))
    .then(|| {
        let dims = each.dims();
        let (heads, size) = (dims[1], dims[2..].iter().product::<usize>());
        let elements = Elements::of(each);
        let elements = elements.whole()?;
        let fill = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let rows = out.chunks_mut(size.max(1)).zip(elements.chunks((heads * size).max(1)));
            rows.for_each(|(out, heads)| {
                parallel::chunks(out, CHUNK, |piece, out| {
                    add_heads(out, &heads[piece * CHUNK..], size)
                });
            });
            Ok(())
        };
        // SAFETY: the rows are all of it, and each is written from end to end.
        unsafe { made([&dims[..1], &dims[2..]].concat(), fill) }
    })
}

vectorized! {
    /// Heads begin `size` apart.
    fn add_heads(out: &mut [std::mem::MaybeUninit<f32>], heads: &[f32], size: usize) {
        const NEAR: usize = 1024;
        for (part, out) in out.chunks_mut(NEAR).enumerate() {
            let mut sums = [0f32; NEAR];
            for head in heads.chunks(size) {
                for (sum, x) in sums.iter_mut().zip(&head[part * NEAR..][..out.len()]) {
                    *sum += x;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                out.write(sum);
            }
        }
    }
}

vectorized! {
    fn add_part(out: &mut [std::mem::MaybeUninit<f32>], a: &[f32], b: &[f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            out.write(a + b);
        }
    }
}
