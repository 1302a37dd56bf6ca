//! `lstsq` and `pinv`: least-squares solutions and the pseudoinverse, by the singular value
//! decomposition.

use candle_core::{DType, Tensor};

use super::decompositions::{Svd, svd};
use super::derivatives;
use super::matmul::matmul;
use super::matrices::matrices;
use crate::kernel::elementwise::Binary;
use crate::tensor::{Kind, Value, dtype, graph};
use crate::{Result, bail, error};

/// `torch.linalg.lstsq`: the x that minimises `|a x - b|`, and of several the one of least norm.
/// For a of shape `[…, m, n]`, b of `[…, m, k]` gives `[…, n, k]` and b of `[…, m]` gives `[…, n]`.
///
/// # Errors
/// The shapes do not fit; a tensor is complex or has elements that are NaN or infinite.
pub fn lstsq(a: &Value, b: &Value) -> Result<Value> {
    graph::operation(
        &[a, b],
        |inputs| nearest(inputs[0], inputs[1]),
        |back| {
            let wide = |value: &Value| derivatives::wide(value);
            let (a, b, gradient) =
                (wide(&back.inputs[0])?, wide(&back.inputs[1])?, wide(&back.gradient)?);
            let inverse = pinv(&a, None)?;
            let vector = b.rank() + 1 == a.rank();
            let column = |value: &Value| match vector {
                true => value.map(|t| t.unsqueeze(t.rank())),
                false => Ok(value.clone()),
            };
            let gradient = column(&gradient)?;
            Ok(vec![
                back.of(0, || {
                    let of_inverse = matmul(&gradient, &derivatives::turned(&column(&b)?)?)?;
                    derivatives::pinv(&a, &inverse, &of_inverse)
                })?,
                back.of(1, || {
                    let found = matmul(&derivatives::turned(&inverse)?, &gradient)?;
                    found.map(|t| t.reshape(b.dims()))
                })?,
            ])
        },
    )
}

fn nearest(a: &Value, b: &Value) -> Result<Value> {
    let (x, m, n) = matrices(a, "lstsq")?;
    let batch = &a.dims()[..a.rank() - 2];
    let vector = b.rank() + 1 == a.rank();
    let rows = if vector { b.map(|t| t.unsqueeze(b.rank()))? } else { b.clone() };
    let fits = rows.rank() == a.rank() && rows.dims()[..a.rank() - 1] == a.dims()[..a.rank() - 1];
    if !fits {
        return Err(error!("lstsq: shapes {:?} and {:?} do not fit", a.dims(), b.dims())
            .help("a of [.., m, n] takes b of [.., m, k] or [.., m]"));
    }
    let (y, _, k) = matrices(&rows, "lstsq")?;
    let work =
        if x.dtype() == DType::F64 || y.dtype() == DType::F64 { Kind::F64 } else { Kind::F32 };
    let float = |t: Tensor| dtype::cast(&Value::Real(t), work);
    let Svd { u, s, vh } = svd(&float(x)?)?;
    let inverse = reciprocals(s.real("lstsq")?, m.max(n), None)?;
    let turned = matmul(&u.map(|t| t.t())?, &float(y)?)?;
    let scaled = turned.map(|t| Binary::Mul.apply(t, &inverse.unsqueeze(inverse.rank())?))?;
    let solution = matmul(&vh.map(|t| t.t())?, &scaled)?;
    let mut shape = [batch, &[n]].concat();
    shape.extend((!vector).then_some(k));
    solution.map(|t| t.reshape(shape.as_slice()))
}

/// The reciprocal of each singular value, and 0 for those that are 0 up to rounding: at most `rtol`
/// times the largest one. The default for `rtol` is PyTorch's, the machine epsilon times `size`,
/// the greater of the matrix's sizes.
fn reciprocals(s: &Tensor, size: usize, rtol: Option<f64>) -> Result<Tensor> {
    if s.elem_count() == 0 {
        return Ok(s.clone());
    }
    let epsilon = if s.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() };
    let least = (s.max_keepdim(s.rank() - 1)? * rtol.unwrap_or(epsilon * size as f64))?;
    Ok(s.broadcast_gt(&least)?.where_cond(&s.recip()?, &s.zeros_like()?)?)
}

/// `torch.linalg.pinv`: the Moore–Penrose pseudoinverse `[…, n, m]` of `[…, m, n]`. Singular values
/// of at most `rtol` times the largest count as 0.
///
/// # Errors
/// The tensor has fewer than two dims, is complex or has elements that are NaN or infinite; `rtol`
/// is negative or NaN.
pub fn pinv(value: &Value, rtol: Option<f64>) -> Result<Value> {
    let (x, m, n) = matrices(value, "pinv")?;
    if let Some(rtol) = rtol.filter(|rtol| *rtol < 0.0 || rtol.is_nan()) {
        bail!("pinv: rtol must be 0 or more, not {rtol}");
    }
    if value.is_tracked() {
        return graph::operation(
            &[value],
            |inputs| pinv(inputs[0], rtol),
            |back| {
                back.of_one(|| {
                    let wide = |value: &Value| derivatives::wide(value);
                    let (a, gradient) = (wide(&back.inputs[0])?, wide(&back.gradient)?);
                    derivatives::pinv(&a, &wide(&back.output)?, &gradient)
                })
            },
        );
    }
    let Svd { u, s, vh } = svd(&Value::Real(x))?;
    let inverse = reciprocals(s.real("pinv")?, m.max(n), rtol)?;
    let scaled = u.map(|t| Binary::Mul.apply(t, &inverse.unsqueeze(inverse.rank() - 1)?)?.t())?;
    matmul(&vh.map(|t| t.t())?, &scaled)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tensor::linalg::testing::{noise, numbers, transposed};
    use crate::tensor::{Number, creation};

    #[test]
    fn the_solution_leaves_an_orthogonal_rest() {
        let cases: [[&[usize]; 3]; 5] = [
            [&[6, 3], &[6, 2], &[3, 2]],
            [&[6, 3], &[6], &[3]],
            [&[3, 6], &[3, 2], &[6, 2]],
            [&[2, 6, 3], &[2, 6, 4], &[2, 3, 4]],
            [&[2, 6, 3], &[2, 6], &[2, 3]],
        ];
        for [a_dims, b_dims, x_dims] in cases {
            let (a, b) = (noise(a_dims, Kind::F64), noise(b_dims, Kind::F64));
            let x = lstsq(&a, &b).unwrap();
            assert_eq!(x.dims(), x_dims);
            let column = |v: &Value| {
                if a_dims.len() > v.rank() {
                    v.map(|t| t.unsqueeze(t.rank()))
                } else {
                    Ok(v.clone())
                }
            };
            let (x, b) = (column(&x).unwrap(), column(&b).unwrap());
            let rest = matmul(&a, &x).unwrap().parts()[0].sub(b.parts()[0]).unwrap();
            let normal = matmul(&transposed(&a), &Value::Real(rest)).unwrap();
            assert!(numbers(&normal).into_iter().all(|x| x.abs() < 1e-11), "{a_dims:?}");
        }
        // A matrix of rank 1 has many solutions, of which the one of least norm is found.
        let a = creation::from_numbers(&[1, 1, 2, 2].map(Number::Int), &[2, 2], None, &Device::Cpu)
            .unwrap();
        let b = creation::from_numbers(&[2, 4].map(Number::Int), &[2], None, &Device::Cpu).unwrap();
        assert!(numbers(&lstsq(&a, &b).unwrap()).into_iter().all(|x| (x - 1.0).abs() < 1e-6));
    }

    #[test]
    fn faults_are_sentences() {
        let matrix = |dims: &[usize]| noise(dims, Kind::F32);
        assert_eq!(
            lstsq(&matrix(&[4, 3]), &matrix(&[3])).unwrap_err().message(),
            "lstsq: shapes [4, 3] and [3] do not fit"
        );
        assert_eq!(
            numbers(&lstsq(&noise(&[0, 3], Kind::F32), &noise(&[0], Kind::F32)).unwrap()),
            [0.0; 3]
        );
    }
}
