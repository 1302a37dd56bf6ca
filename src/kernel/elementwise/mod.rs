//! Functions of each element, and of each pair of elements of two broadcast tensors.
//!
//! On the CPU they run on the threads of this crate: candle's own element-wise operations end when
//! every thread of its pool has come to a barrier, so that beside other work they wait for a thread
//! that the system keeps from running.

mod functions;
mod loops;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor};

use super::differentiable::{Backward, Gradients, differentiable};
pub use functions::{cos, erf, exp, ln, rsqrt, sigmoid, sin, sqrt, tanh};
pub use loops::{map, zip};

/// Arithmetic on the pairs of elements of two tensors of one dtype, whose shapes broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
}

/// Evaluates `$body` with `$T` for the dtype of a tensor on the CPU, and `$other` for one elsewhere
/// or of a dtype that is not listed.
macro_rules! on_cpu {
    ($x:expr, $T:ident in [$($dtype:ident: $type:ty),*] => $body:expr, $other:expr) => {
        match $x.dtype() {
            $(DType::$dtype if $x.device().is_cpu() => {
                type $T = $type;
                $body
            })*
            _ => $other,
        }
    };
}

impl Binary {
    /// The result for each pair. Integers wrap; half types are computed in float32 and rounded.
    ///
    /// # Errors
    /// The shapes do not broadcast, or the dtypes or devices differ.
    pub fn apply(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        differentiable(&[a, b], |of| self.plain(&of[0], &of[1]), move |back| self.gradients(back))
    }

    fn plain(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        if a.dtype() != b.dtype() || !b.device().is_cpu() {
            return self.by_candle(a, b);
        }
        let floats = on_cpu!(a, T in [F32: f32, F64: f64, F16: half::f16, BF16: half::bf16] => Some(match self {
            Binary::Add => zip(a, b, |x: T, y: T| x + y),
            Binary::Sub => zip(a, b, |x: T, y: T| x - y),
            Binary::Mul => zip(a, b, |x: T, y: T| x * y),
            Binary::Div => zip(a, b, |x: T, y: T| x / y),
        }), None);
        if let Some(floats) = floats {
            return floats;
        }
        on_cpu!(a, T in [I64: i64, U32: u32, U8: u8] => match self {
            Binary::Add => zip(a, b, T::wrapping_add),
            Binary::Sub => zip(a, b, T::wrapping_sub),
            Binary::Mul => zip(a, b, T::wrapping_mul),
            Binary::Div => self.by_candle(a, b),
        }, self.by_candle(a, b))
    }

    fn by_candle(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        match self {
            Binary::Add => a.broadcast_add(b),
            Binary::Sub => a.broadcast_sub(b),
            Binary::Mul => a.broadcast_mul(b),
            Binary::Div => a.broadcast_div(b),
        }
    }

    fn gradients(self, back: &Backward) -> Result<Gradients> {
        let (a, b, g) = (&back.inputs[0], &back.inputs[1], back.gradient);
        let of_a = || match self {
            Binary::Add | Binary::Sub => sum_to(g, a),
            Binary::Mul => sum_to(&self.plain(g, b)?, a),
            Binary::Div => sum_to(&self.plain(g, b)?, a),
        };
        let of_b = || match self {
            Binary::Add => sum_to(g, b),
            Binary::Sub => neg(&sum_to(g, b)?),
            Binary::Mul => sum_to(&self.plain(g, a)?, b),
            // −a / b² = −(a / b) / b
            Binary::Div => {
                let share = self.plain(&back.output, b)?;
                neg(&sum_to(&Binary::Mul.plain(g, &share)?, b)?)
            }
        };
        Ok(vec![back.of(0, of_a)?, back.of(1, of_b)?])
    }
}

/// The sum of x over the dims along which `of` was broadcast to its shape.
fn sum_to(x: &Tensor, of: &Tensor) -> Result<Tensor> {
    if x.dims() == of.dims() {
        return Ok(x.clone());
    }
    let before = x.rank() - of.rank();
    let alike = |dim: usize| dim >= before && of.dims()[dim - before] == x.dims()[dim];
    let summed: Vec<usize> = (0..x.rank()).filter(|dim| !alike(*dim)).collect();
    x.sum_keepdim(summed)?.reshape(of.shape())
}

/// A function of each element of a float tensor: its dtype's own arithmetic on the CPU, else candle's,
/// and how its gradient follows from the argument, the result and the gradient of that.
macro_rules! unary {
    ($($(#[$about:meta])* $name:ident: $x:ident => $y:expr, $by_candle:ident, |$back:ident| $gradient:expr;)*) => {$(
        $(#[$about])*
        ///
        /// # Errors
        /// The dtype is no float.
        pub fn $name(x: &Tensor) -> Result<Tensor> {
            let plain = |x: &Tensor| {
                on_cpu!(x, T in [F32: f32, F64: f64, F16: half::f16, BF16: half::bf16] => map(x, |$x: T| $y), x.$by_candle())
            };
            differentiable(&[x], |of| plain(&of[0]), |$back| {
                Ok(vec![$back.of(0, || $gradient)?])
            })
        }
    )*};
}

unary! {
    /// −x
    neg: x => -x, neg, |back| neg(back.gradient);
    /// |x|
    abs: x => if x.is_sign_negative() { -x } else { x }, abs, |back| {
        Binary::Mul.plain(back.gradient, &back.inputs[0].sign()?)
    };
    /// x²
    sqr: x => x * x, sqr, |back| {
        Binary::Mul.plain(back.gradient, &affine(&back.inputs[0], 2.0, 0.0)?)
    };
    /// 1 / x
    recip: x => number::<T>(1.0) / x, recip, |back| {
        Binary::Mul.plain(back.gradient, &neg(&sqr(&back.output)?)?)
    };
}

/// x · `by` + `more`, each rounded to the dtype of x, a float.
///
/// # Errors
/// candle's.
pub fn affine(x: &Tensor, by: f64, more: f64) -> Result<Tensor> {
    let plain = |x: &Tensor| {
        on_cpu!(x, T in [F32: f32, F64: f64, F16: half::f16, BF16: half::bf16] => {
            let (by, more) = (number::<T>(by), number::<T>(more));
            map(x, |x: T| x * by + more)
        }, x.affine(by, more))
    };
    differentiable(
        &[x],
        |of| plain(&of[0]),
        move |back| Ok(vec![back.of(0, || affine(back.gradient, by, 0.0))?]),
    )
}

fn number<T: candle_core::WithDType>(x: f64) -> T {
    T::from_f64(x)
}
