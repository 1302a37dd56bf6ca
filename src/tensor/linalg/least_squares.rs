//! What a decomposition says of data: its principal components, and the solution nearest to fitting
//! it.

use candle_core::{DType, Device, Tensor};

use super::decompositions::{Svd, matrices, svd};
use super::matmul::matmul;
use crate::tensor::{Kind, Value, device, dtype};
use crate::{Result, bail, error};

/// The directions in which points spread the most.
pub struct Pca {
    /// `[k, d]`, of length 1.
    pub components: Value,
    /// The variance along each, `[k]`.
    pub explained_variance: Value,
    /// `[d]`.
    pub mean: Value,
    /// The points less their mean, along the components: `[n, k]`.
    pub projected: Value,
}

/// The `k` principal components of `[n, d]`, n points. The largest element of each component is
/// positive.
///
/// # Errors
/// Other than two dims, fewer than two points, a `k` that is not in 1..=min(n, d), complex numbers,
/// nan or inf.
pub fn pca(value: &Value, k: i64) -> Result<Pca> {
    let &[n, d] = value.dims() else {
        return Err(error!("pca needs points as rows, [n, d], not a tensor {:?}", value.dims())
            .help("flatten the dims before the last, as in x.reshape([-1, d])"));
    };
    if n < 2 {
        bail!("pca needs at least two points, and a tensor [{n}, {d}] has {n}");
    }
    let most = n.min(d) as i64;
    if !(1..=most).contains(&k) {
        bail!("pca: a tensor [{n}, {d}] has 1 to {most} components, not {k}");
    }
    let (k, (x, ..)) = (k as usize, matrices(value, "pca")?);
    let points = device::transfer(&x, &Device::Cpu)?.to_dtype(DType::F64)?;
    let mean = points.mean_keepdim(0)?.to_dtype(x.dtype())?.to_device(x.device())?;
    let centered = x.broadcast_sub(&mean)?;
    let (s, vh) = {
        let Svd { s, vh, .. } = svd(&Value::Real(centered.clone()))?;
        (s.real("pca")?.narrow(0, 0, k)?, vh.real("pca")?.narrow(0, 0, k)?)
    };
    let components = vh.broadcast_mul(&signs(&vh)?)?;
    Ok(Pca {
        projected: matmul(&Value::Real(centered), &Value::Real(components.t()?))?,
        components: Value::Real(components),
        explained_variance: Value::Real((s.sqr()? / (n - 1) as f64)?),
        mean: Value::Real(mean.squeeze(0)?),
    })
}

/// For each row 1 or -1, whichever makes its largest element positive.
fn signs(rows: &Tensor) -> Result<Tensor> {
    let largest = rows.abs()?.contiguous()?.argmax_keepdim(1)?;
    let chosen = rows.contiguous()?.gather(&largest, 1)?;
    Ok(chosen.ge(&chosen.zeros_like()?)?.to_dtype(rows.dtype())?.affine(2.0, -1.0)?)
}

/// The x of least `|a x - b|`, and of those the shortest: for a of `[…, m, n]`, b of `[…, m, k]`
/// gives `[…, n, k]` and b of `[…, m]` gives `[…, n]`.
///
/// # Errors
/// Shapes that do not fit, complex numbers, nan or inf.
pub fn lstsq(a: &Value, b: &Value) -> Result<Value> {
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
    let inverse = inverse(s.real("lstsq")?, m.max(n), None)?;
    let turned = matmul(&u.map(|t| t.t())?, &float(y)?)?;
    let scaled = turned.map(|t| t.broadcast_mul(&inverse.unsqueeze(inverse.rank())?))?;
    let solution = matmul(&vh.map(|t| t.t())?, &scaled)?;
    let mut shape = [batch, &[n]].concat();
    shape.extend((!vector).then_some(k));
    solution.map(|t| t.reshape(shape.as_slice()))
}

/// One over each singular value; 0 for those that are zeros which rounding has spoilt: at most
/// `share` of the largest, if none is given as much as a dtype with `size` rows or columns leaves
/// open.
fn inverse(s: &Tensor, size: usize, share: Option<f64>) -> Result<Tensor> {
    if s.elem_count() == 0 {
        return Ok(s.clone());
    }
    let epsilon = if s.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() };
    let least = (s.max_keepdim(s.rank() - 1)? * share.unwrap_or(epsilon * size as f64))?;
    Ok(s.broadcast_gt(&least)?.where_cond(&s.recip()?, &s.zeros_like()?)?)
}

/// The pseudoinverse of `[…, m, n]`, `[…, n, m]`: singular values of at most `rtol` of the largest
/// count as zeros.
///
/// # Errors
/// Fewer than two dims, complex numbers, nan or inf, an `rtol` below 0.
pub fn pinv(value: &Value, rtol: Option<f64>) -> Result<Value> {
    let (x, m, n) = matrices(value, "pinv")?;
    if let Some(rtol) = rtol.filter(|rtol| *rtol < 0.0 || rtol.is_nan()) {
        bail!("pinv: rtol must be 0 or more, not {rtol}");
    }
    let Svd { u, s, vh } = svd(&Value::Real(x))?;
    let inverse = inverse(s.real("pinv")?, m.max(n), rtol)?;
    let scaled = u.map(|t| t.broadcast_mul(&inverse.unsqueeze(inverse.rank() - 1)?)?.t())?;
    matmul(&vh.map(|t| t.t())?, &scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::elementwise::loops;
    use crate::tensor::{Number, creation};

    fn noise(dims: &[usize], kind: Kind) -> Value {
        let count = dims.iter().product::<usize>();
        let elements: Vec<f64> =
            (0..count).map(|i| ((i * i * 31 + i * 17 + 5) % 97) as f64 / 48.0 - 1.0).collect();
        let value = Value::Real(loops::place(elements, dims, &Device::Cpu).unwrap());
        dtype::cast(&value, kind).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        creation::to_numbers(value).unwrap().into_iter().map(Number::to_f64).collect()
    }

    fn assert_close(a: &Value, b: &Value, what: &str) {
        assert_eq!((a.dims(), Kind::of(a)), (b.dims(), Kind::of(b)), "{what}");
        let tolerance = if Kind::of(a) == Kind::F64 { 1e-12 } else { 1e-5 };
        let largest = numbers(b).into_iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
        for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
            assert!((x - y).abs() < tolerance * largest, "{what}: {x} and {y}");
        }
    }

    fn transposed(value: &Value) -> Value {
        value.map(|t| t.t()).unwrap()
    }

    #[test]
    fn components_carry_the_variance() {
        let x = noise(&[30, 4], Kind::F64);
        let Pca { components, explained_variance, mean, projected } = pca(&x, 4).unwrap();
        let eye = creation::eye(4, 4, Kind::F64, &Device::Cpu).unwrap();
        assert_close(&matmul(&components, &transposed(&components)).unwrap(), &eye, "components");
        let back = matmul(&projected, &components)
            .unwrap()
            .map(|t| t.broadcast_add(mean.parts()[0]))
            .unwrap();
        assert_close(&back, &x, "all components give the points back");
        let covariance =
            matmul(&transposed(&projected), &projected).unwrap().map(|t| t / 29.0).unwrap();
        let diagonal = eye.map(|t| t.broadcast_mul(explained_variance.parts()[0])).unwrap();
        assert_close(&covariance, &diagonal, "covariance");
        let two = pca(&x, 2).unwrap();
        assert_eq!(
            (two.components.dims(), two.projected.dims()),
            ([2, 4].as_slice(), [30, 2].as_slice())
        );
        assert_eq!(numbers(&two.explained_variance), numbers(&explained_variance)[..2]);
        for row in numbers(&components).chunks(4) {
            assert!(row.iter().fold(0.0f64, |l, x| if x.abs() > l.abs() { *x } else { l }) > 0.0);
        }
    }

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
        // Of rank 1: the shortest of many solutions.
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
            pca(&matrix(&[5, 3]), 4).err().unwrap().message(),
            "pca: a tensor [5, 3] has 1 to 3 components, not 4"
        );
        assert!(pca(&matrix(&[1, 3]), 1).is_err() && pca(&matrix(&[3]), 1).is_err());
        assert_eq!(
            numbers(&lstsq(&noise(&[0, 3], Kind::F32), &noise(&[0], Kind::F32)).unwrap()),
            [0.0; 3]
        );
    }
}
