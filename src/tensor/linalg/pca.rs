//! `pca`: principal component analysis.

use candle_core::{DType, Device, Tensor};

use super::decompositions::{Svd, svd};
use super::matmul::matmul;
use super::matrices::matrices;
use crate::kernel::elementwise;
use crate::kernel::elementwise::Binary;
use crate::tensor::{Value, device};
use crate::{Result, bail, error};

/// The `k` principal components of `n` points with `d` coordinates.
pub struct Pca {
    /// The components, orthonormal rows `[k, d]`.
    pub components: Value,
    /// The variance of the points along each component, descending, `[k]`.
    pub explained_variance: Value,
    /// The mean of the points, `[d]`.
    pub mean: Value,
    /// The coordinates of the centred points along the components, `[n, k]`.
    pub projected: Value,
}

/// The first `k` principal components of the points in the rows of `[n, d]`, by the singular value
/// decomposition of the centred points. The element of greatest magnitude in each component is
/// positive.
///
/// # Errors
/// The tensor does not have two dims, is complex or has elements that are NaN or infinite; there
/// are fewer than two points; `k` is not from 1 to min(n, d).
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
    let centered = Binary::Sub.apply(&x, &mean)?;
    let (s, vh) = {
        let Svd { s, vh, .. } = svd(&Value::Real(centered.clone()))?;
        (s.real("pca")?.narrow(0, 0, k)?, vh.real("pca")?.narrow(0, 0, k)?)
    };
    let components = Binary::Mul.apply(&vh, &signs(&vh.detach())?)?;
    Ok(Pca {
        projected: matmul(&Value::Real(centered), &Value::Real(components.t()?))?,
        components: Value::Real(components),
        explained_variance: Value::Real((s.sqr()? / (n - 1) as f64)?),
        mean: Value::Real(mean.squeeze(0)?),
    })
}

/// For each row 1 or -1, the sign that makes its element of greatest magnitude positive.
fn signs(rows: &Tensor) -> Result<Tensor> {
    let largest = elementwise::abs(rows)?.contiguous()?.argmax_keepdim(1)?;
    let chosen = rows.contiguous()?.gather(&largest, 1)?;
    Ok(chosen.ge(&chosen.zeros_like()?)?.to_dtype(rows.dtype())?.affine(2.0, -1.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::linalg::testing::{assert_close, noise, numbers, transposed};
    use crate::tensor::{Kind, creation};

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
    fn faults_are_sentences() {
        let matrix = |dims: &[usize]| noise(dims, Kind::F32);
        assert_eq!(
            pca(&matrix(&[5, 3]), 4).err().unwrap().message(),
            "pca: a tensor [5, 3] has 1 to 3 components, not 4"
        );
        assert!(pca(&matrix(&[1, 3]), 1).is_err() && pca(&matrix(&[3]), 1).is_err());
    }
}
