//! The loops over elements, and over pairs of elements of two broadcast tensors, whose strides they
//! follow: neither is copied.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor, WithDType, bail};

use crate::cpu::parallel;
use crate::cpu::parallel::CHUNK;
use crate::cpu::simd::vectorized;
use crate::elements::{Elements, filled_tensor};

/// `f` of each element of a tensor of the dtype `T` on the CPU, outside of any graph of gradients:
/// a contiguous tensor.
///
/// # Errors
/// It is another tensor.
pub fn map<T: WithDType, U: WithDType>(x: &Tensor, f: impl Fn(T) -> U + Sync) -> Result<Tensor> {
    let given = elements::<T>(x)?;
    let given = &*given;
    let runs = Runs::new(x.dims(), [x.stride()]);
    let fill = |out: &mut [MaybeUninit<U>]| {
        runs.each(out, |out, [at]| of_each(out, &given[at..], runs.steps[0], &f));
    };
    // SAFETY: the runs cover the output, and `of_each` writes all of a run.
    unsafe { filled_tensor(x.shape().clone(), fill) }
}

/// `f` of each pair of elements of two tensors of the dtype `T`, as [`map`].
///
/// # Errors
/// The shapes do not broadcast, or it is another tensor.
pub fn zip<T: WithDType, U: WithDType>(
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(T, T) -> U + Sync,
) -> Result<Tensor> {
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "element by element")?;
    let (wide_a, wide_b) = (a.broadcast_as(&shape)?, b.broadcast_as(&shape)?);
    let (left, right) = (elements::<T>(&wide_a)?, elements::<T>(&wide_b)?);
    let (left, right) = (&*left, &*right);
    let runs = Runs::new(shape.dims(), [wide_a.stride(), wide_b.stride()]);
    let fill = |out: &mut [MaybeUninit<U>]| {
        runs.each(out, |out, [at, other]| {
            of_pairs(out, &left[at..], &right[other..], runs.steps, &f);
        });
    };
    // SAFETY: the runs cover the output, and `of_pairs` writes all of a run.
    unsafe { filled_tensor(shape, fill) }
}

fn elements<T: WithDType>(x: &Tensor) -> Result<Elements<'_, T>> {
    match Elements::of(x) {
        Some(elements) => Ok(elements),
        None => {
            bail!("expected {:?} on the CPU, not {:?} in a graph or elsewhere", T::DTYPE, x.dtype())
        }
    }
}

/// How `N` tensors of one shape lie under the rows of their last dim: dims that all of them step
/// through alike are one.
struct Runs<const N: usize> {
    /// The dims before the last, with the steps of each tensor.
    outer: Vec<(usize, [usize; N])>,
    /// How long a row is.
    width: usize,
    /// The steps within a row.
    steps: [usize; N],
}

impl<const N: usize> Runs<N> {
    fn new(dims: &[usize], strides: [&[usize]; N]) -> Self {
        let mut merged: Vec<(usize, [usize; N])> = Vec::with_capacity(dims.len());
        for (at, &size) in dims.iter().enumerate().filter(|(_, size)| **size != 1) {
            let steps = strides.map(|strides| strides[at]);
            match merged.last_mut() {
                Some((outer, before)) if (0..N).all(|i| before[i] == steps[i] * size) => {
                    (*outer, *before) = (*outer * size, steps);
                }
                _ => merged.push((size, steps)),
            }
        }
        let (width, steps) = merged.pop().unwrap_or((1, [1; N]));
        Self { outer: merged, width, steps }
    }

    /// Calls `write`, on all threads, with the parts of `out` that lie in one row each, and where each
    /// tensor's elements for it begin.
    fn each<U: Send>(&self, out: &mut [U], write: impl Fn(&mut [U], [usize; N]) + Sync) {
        parallel::chunks(out, CHUNK, |chunk, mut out| {
            let first = chunk * CHUNK;
            let (mut row, mut column) = (first / self.width, first % self.width);
            while !out.is_empty() {
                let (part, rest) = out.split_at_mut(out.len().min(self.width - column));
                write(part, self.place(row, column));
                (out, row, column) = (rest, row + 1, 0);
            }
        });
    }

    fn place(&self, mut row: usize, column: usize) -> [usize; N] {
        let mut place = self.steps.map(|step| step * column);
        for (size, steps) in self.outer.iter().rev() {
            for (place, step) in place.iter_mut().zip(steps) {
                *place += row % size * step;
            }
            row /= size;
        }
        place
    }
}

vectorized! {
    /// Writes all of `out`, if x has so many elements at these steps.
    fn of_each[T: Copy, U: Copy, F: Fn(T) -> U](out: &mut [MaybeUninit<U>], x: &[T], step: usize, f: &F) {
        if step == 1 {
            let x = &x[..out.len()];
            for (out, &x) in out.iter_mut().zip(x) {
                out.write(f(x));
            }
        } else {
            for (at, out) in out.iter_mut().enumerate() {
                out.write(f(x[at * step]));
            }
        }
    }
}

vectorized! {
    /// Writes all of `out`, if both have so many elements at these steps.
    fn of_pairs[T: Copy, U: Copy, F: Fn(T, T) -> U](
        out: &mut [MaybeUninit<U>],
        a: &[T],
        b: &[T],
        steps: [usize; 2],
        f: &F,
    ) {
        match steps {
            [1, 1] => {
                let (a, b) = (&a[..out.len()], &b[..out.len()]);
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    out.write(f(a, b));
                }
            }
            [1, 0] => {
                let (a, b) = (&a[..out.len()], b[0]);
                for (out, &a) in out.iter_mut().zip(a) {
                    out.write(f(a, b));
                }
            }
            [0, 1] => {
                let (a, b) = (a[0], &b[..out.len()]);
                for (out, &b) in out.iter_mut().zip(b) {
                    out.write(f(a, b));
                }
            }
            [left, right] => {
                for (at, out) in out.iter_mut().enumerate() {
                    out.write(f(a[at * left], b[at * right]));
                }
            }
        }
    }
}
