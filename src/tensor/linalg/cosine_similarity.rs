//! `cosine_similarity`: the cosine of the angle between vectors along a dim.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::kernel::cpu::simd::vectorized;
use crate::kernel::elements::Float;
use crate::tensor::elements::with_slice;
use crate::tensor::elementwise::arithmetic::Arithmetic::{self, Div, Mul, Sub};
use crate::tensor::elementwise::comparison::Comparison;
use crate::tensor::graph::Back;
use crate::tensor::index::masked;
use crate::tensor::operand::Operand;
use crate::tensor::reduce::along_dim::Lines;
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::{by_candle, sums};
use crate::tensor::{Kind, Value, dims, dtype, elements, graph, operand};

/// `torch.nn.functional.cosine_similarity`: the cosine of the angle between the vectors along `dim`
/// of two broadcast tensors. The dim is dropped; by default it is 1, or 0 for vectors. Integers
/// give f32.
///
/// # Errors
/// The shapes do not broadcast or do not have the dim; a tensor is complex; they are on different
/// devices.
pub fn cosine_similarity(a: &Value, b: &Value, dim: Option<i64>) -> Result<Value> {
    let call = "cosine_similarity";
    let device = operand::common_device(a.into(), b.into(), call)?;
    let shape = dims::broadcast(a.dims(), b.dims(), call)?;
    let dim = dims::dim(dim.unwrap_or(i64::from(shape.len() > 1)), &shape)?;
    let kind = operand::promote(a.into(), b.into()).to_float();
    let work = if kind == Kind::F64 { DType::F64 } else { DType::F32 };
    let side = |x: &Value| {
        let t = Operand::from(x).value(Kind::of(x), &device)?.real(call)?.to_dtype(work)?;
        Ok::<_, crate::Error>(t.broadcast_as(shape.as_slice())?)
    };
    let (a, b) = (Value::Real(side(a)?), Value::Real(side(b)?));
    let compute = |a: &Tensor, b: &Tensor| match work {
        _ if !device.is_cpu() => Ok(by_candle::cosine(a, b, dim, EPS)?),
        DType::F64 => cosines::<f64>(a, b, dim),
        _ => cosines::<f32>(a, b, dim),
    };
    let cosine = graph::operation(
        &[&a, &b],
        |inputs| Ok(Value::Real(compute(inputs[0].real(call)?, inputs[1].real(call)?)?)),
        move |back| {
            let (a, b) = (&back.inputs[0], &back.inputs[1]);
            Ok(vec![
                back.of(0, || turning(a, b, back, dim))?,
                back.of(1, || turning(b, a, back, dim))?,
            ])
        },
    )?;
    dtype::cast(&cosine, kind)
}

/// The gradient of `a`: b/(|a||b|) less the part of it along a, which does not turn a. A norm that
/// counts as [`EPS`] is constant.
fn turning(a: &Value, b: &Value, back: &Back, dim: usize) -> Result<Value> {
    let over = Over { dims: Some(&[dim as i64]), keepdim: true };
    let column = |value: &Value| value.map(|t| t.unsqueeze(dim));
    let (gradient, cosine) = (column(&back.gradient)?, column(&back.output)?);
    let (norm, other) = (sums::norm(a, 2.0, over)?, sums::norm(b, 2.0, over)?);
    let least = |norm: &Value| Arithmetic::Maximum.apply(norm, EPS);
    let across = Div.apply(&Div.apply(b, &least(&norm)?)?, &least(&other)?)?;
    let along = Div.apply(&Mul.apply(a, &cosine)?, &Mul.apply(&norm, &norm)?)?;
    let still = Comparison::Lt.apply(&norm, EPS)?;
    let along = masked::where_(&still, Operand::from(0.0), (&along).into())?;
    Mul.apply(&gradient, &Sub.apply(&across, &along)?)
}

/// The `eps` of PyTorch: smaller norms count as this one, so that a zero vector has similarity 0.
const EPS: f64 = 1e-8;

vectorized! {
    /// The inner products a·a, b·b and a·b, in f64.
    fn inner_products[T: Float](a: &[T], b: &[T]) -> [f64; 3] {
        /// The number of independent sums, which the compiler can keep in vector registers.
        const LANES: usize = 16;
        let (mut aa, mut bb, mut ab) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in whole_a.iter().zip(whole_b) {
            for lane in 0..LANES {
                let (a, b): (f64, f64) = (a[lane].into(), b[lane].into());
                aa[lane] += a * a;
                bb[lane] += b * b;
                ab[lane] += a * b;
            }
        }
        for (lane, (&a, &b)) in rest_a.iter().zip(rest_b).enumerate() {
            let (a, b): (f64, f64) = (a.into(), b.into());
            aa[lane] += a * a;
            bb[lane] += b * b;
            ab[lane] += a * b;
        }
        [aa, bb, ab].map(|sums| sums.iter().sum())
    }
}

/// [`cosine_similarity`] of two CPU tensors of one shape and of dtype `T`.
fn cosines<T: Float>(a: &Tensor, b: &Tensor, dim: usize) -> Result<Tensor> {
    let lines = Lines::along(a.dims(), dim);
    let cosines = with_slice(a, |a: &[T]| {
        with_slice(b, |b: &[T]| {
            lines.fill(1, 0.0, |tile, (left, right): &mut (Vec<T>, Vec<T>), out: &mut [f64]| {
                let pairs = tile
                    .read(a, left)
                    .chunks(lines.size)
                    .zip(tile.read(b, right).chunks(lines.size));
                for ((a, b), out) in pairs.zip(out) {
                    let [aa, bb, ab] = inner_products(a, b);
                    *out = ab / (aa.sqrt().max(EPS) * bb.sqrt().max(EPS));
                }
            })
        })
    })??;
    let mut shape = a.dims().to_vec();
    shape.remove(dim);
    Ok(elements::from_vec(cosines, &shape, &Device::Cpu)?.to_dtype(T::DTYPE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::linalg::testing::{iota, numbers};
    use crate::tensor::{Number, creation};

    #[test]
    fn cosines_of_a_zero_vector_are_zero() {
        let a = creation::from_numbers(&[3, 4, 0, 0].map(Number::Int), &[2, 2], None, &Device::Cpu)
            .unwrap();
        let b = creation::from_numbers(&[4, 3].map(Number::Int), &[2], None, &Device::Cpu).unwrap();
        let out = cosine_similarity(&a, &b, None).unwrap();
        assert_eq!(out.dims(), [2]);
        let cosines = numbers(&out);
        assert!((cosines[0] - 0.96).abs() < 1e-6 && cosines[1] == 0.0);
        assert_eq!(cosine_similarity(&a, &b, Some(0)).unwrap().dims(), [2]);
        assert_eq!(cosine_similarity(&b, &b, None).unwrap().rank(), 0);
        let (a, b) = (iota(&[3, 40, 5], Kind::F32), iota(&[40, 1], Kind::F32));
        for dim in 0..3 {
            let here = cosine_similarity(&a, &b, Some(dim - 3)).unwrap();
            let wide = b.parts()[0].broadcast_as(a.dims()).unwrap();
            let there = by_candle::cosine(a.parts()[0], &wide, dim as usize, EPS).unwrap();
            assert_eq!(here.dims(), there.dims());
            for (x, y) in numbers(&here).into_iter().zip(numbers(&Value::Real(there))) {
                assert!((x - y).abs() < 1e-6, "{dim}: {x} and {y}");
            }
        }
    }
}
