//! Decompositions of matrices: `svd`, `eigh` and `qr` of `torch.linalg`, by faer.
//!
//! The matrices are the last two dims. They are decomposed on the CPU, f64 in f64 and all other
//! dtypes in f32; the results are moved back to the tensor's device. The definitions leave the
//! signs of the vectors open; here they are fixed, so that results are reproducible and comparable.

mod by_faer;

use std::sync::Arc;

use by_faer::{symmetric, thin_qr, thin_svd};

use super::derivatives;
use crate::Result;
use crate::tensor::{Value, graph};

/// The thin singular value decomposition `a = u diag(s) vh` of `[…, m, n]`, with k = min(m, n).
pub struct Svd {
    /// The left singular vectors, the columns of `[…, m, k]`.
    pub u: Value,
    /// The singular values in descending order, `[…, k]`.
    pub s: Value,
    /// The right singular vectors, the rows of `[…, k, n]`.
    pub vh: Value,
}

/// The eigendecomposition `a = vectors diag(values) vectorsᵀ` of symmetric matrices `[…, n, n]`.
pub struct Eigh {
    /// The eigenvalues in ascending order, `[…, n]`.
    pub values: Value,
    /// The orthonormal eigenvectors, the columns of `[…, n, n]`.
    pub vectors: Value,
}

/// The thin decomposition `a = q r` of `[…, m, n]`, with k = min(m, n).
pub struct Qr {
    /// Orthonormal columns, `[…, m, k]`.
    pub q: Value,
    /// An upper triangle, `[…, k, n]`.
    pub r: Value,
}

/// `torch.linalg.svd` with `full_matrices=False`. The element of greatest magnitude in each column
/// of `u` is positive.
///
/// # Errors
/// The tensor has fewer than two dims, is complex or has elements that are NaN or infinite; the
/// algorithm does not converge.
pub fn svd(value: &Value) -> Result<Svd> {
    let parts = thin_svd(&value.detach())?;
    if !value.is_tracked() {
        return Ok(parts);
    }
    let Svd { u, s, vh } = &parts;
    let known = Arc::new(Svd { u: u.deep_copy()?, s: s.deep_copy()?, vh: vh.deep_copy()? });
    let node = |part: Value, which: Factor| {
        node(value, &known, part, move |_, known, gradient| {
            derivatives::svd(known, which, gradient)
        })
    };
    Ok(Svd {
        u: node(parts.u, Factor::Left)?,
        s: node(parts.s, Factor::Values)?,
        vh: node(parts.vh, Factor::Right)?,
    })
}

/// A part of a decomposition: the matrix on the left, the values, or the matrix on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tensor::linalg) enum Factor {
    /// `u`, the eigenvectors, or `q`.
    Left,
    /// The singular values or the eigenvalues.
    Values,
    /// `vh` or `r`.
    Right,
}

/// A part of the decomposition of `value`, in its graph. The gradient is computed from `value`, from
/// what is `known`, all parts in storage of their own, and from the gradient of the part.
fn node<T: Send + Sync + 'static>(
    value: &Value,
    known: &Arc<T>,
    part: Value,
    derivative: impl Fn(&Value, &T, &Value) -> Result<Value> + Send + Sync + 'static,
) -> Result<Value> {
    let known = known.clone();
    graph::operation(
        &[value],
        |_| Ok(part),
        move |back| {
            back.of_one(|| derivative(&back.inputs[0], &known, &derivatives::wide(&back.gradient)?))
        },
    )
}

/// `torch.linalg.eigh`: eigenvalues and eigenvectors of symmetric matrices. Only the lower triangle
/// is read. The element of greatest magnitude in each vector is positive.
///
/// # Errors
/// The matrices are not square, or as [`svd`].
pub fn eigh(value: &Value) -> Result<Eigh> {
    let parts = symmetric(&value.detach())?;
    if !value.is_tracked() {
        return Ok(parts);
    }
    let Eigh { values, vectors } = &parts;
    let known = Arc::new(Eigh { values: values.deep_copy()?, vectors: vectors.deep_copy()? });
    let node = |part: Value, which: Factor| {
        node(value, &known, part, move |_, known, gradient| {
            derivatives::eigh(known, which, gradient)
        })
    };
    Ok(Eigh {
        values: node(parts.values, Factor::Values)?,
        vectors: node(parts.vectors, Factor::Left)?,
    })
}

/// `torch.linalg.qr`. The diagonal of `r` is not negative.
///
/// # Errors
/// The tensor has fewer than two dims, is complex or has elements that are NaN or infinite.
pub fn qr(value: &Value) -> Result<Qr> {
    let parts = thin_qr(&value.detach())?;
    if !value.is_tracked() {
        return Ok(parts);
    }
    let Qr { q, r } = &parts;
    let known = Arc::new(Qr { q: q.deep_copy()?, r: r.deep_copy()? });
    let node = |part: Value, which: Factor| {
        node(value, &known, part, move |a, known, gradient| {
            derivatives::qr(&derivatives::wide(a)?, known, which, gradient)
        })
    };
    Ok(Qr { q: node(parts.q, Factor::Left)?, r: node(parts.r, Factor::Right)? })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::tensor::linalg::matmul::matmul;
    use crate::tensor::linalg::testing::{assert_close, noise, numbers, transposed};
    use crate::tensor::shape::triangle;
    use crate::tensor::{Kind, Number, creation, dtype};

    const SHAPES: [&[usize]; 6] = [&[5, 3], &[3, 5], &[4, 4], &[2, 3, 6, 2], &[1, 1], &[40, 30]];

    /// The columns of `vectors` multiplied by `values`.
    fn scaled(vectors: &Value, values: &Value) -> Value {
        let values = values.parts()[0].unsqueeze(values.rank() - 1).unwrap();
        vectors.map(|t| t.broadcast_mul(&values)).unwrap()
    }

    fn assert_orthonormal(columns: &Value, what: &str) {
        let product = matmul(&transposed(columns), columns).unwrap();
        let n = product.dims()[product.rank() - 1];
        let identity = creation::eye(n, n, Kind::of(columns), &Device::Cpu).unwrap();
        assert_close(&product, &identity.map(|t| t.broadcast_as(product.dims())).unwrap(), what);
    }

    #[test]
    fn parts_multiply_back() {
        for (dims, kind) in
            SHAPES.into_iter().flat_map(|dims| [(dims, Kind::F32), (dims, Kind::F64)])
        {
            let (a, what) = (noise(dims, kind), format!("{dims:?} {kind:?}"));
            let Svd { u, s, vh } = svd(&a).unwrap();
            assert_close(&matmul(&scaled(&u, &s), &vh).unwrap(), &a, &what);
            assert_orthonormal(&u, &what);
            assert_orthonormal(&transposed(&vh), &what);
            let width = s.dims()[s.rank() - 1];
            assert!(
                numbers(&s)
                    .chunks(width)
                    .all(|s| s.is_sorted_by(|x, y| x >= y) && s.iter().all(|x| *x >= 0.0))
            );
            let columns = numbers(&transposed(&u).map(|t| t.contiguous()).unwrap());
            for column in columns.chunks(dims[dims.len() - 2]) {
                let largest =
                    column.iter().fold(0.0f64, |l, x| if x.abs() > l.abs() { *x } else { l });
                assert!(largest > 0.0, "{what}");
            }

            let Qr { q, r } = qr(&a).unwrap();
            assert_close(&matmul(&q, &r).unwrap(), &a, &what);
            assert_orthonormal(&q, &what);
            let lower = triangle::tril(&r, -1).unwrap();
            assert!(numbers(&lower).into_iter().all(|x| x == 0.0), "{what}");
            let diagonal =
                creation::eye(r.dims()[r.rank() - 2], r.dims()[r.rank() - 1], kind, &Device::Cpu)
                    .unwrap();
            let on_it = r.map(|t| t.broadcast_mul(diagonal.parts()[0])).unwrap();
            assert!(numbers(&on_it).into_iter().all(|x| x >= 0.0), "{what}");

            let square = matmul(&transposed(&a), &a).unwrap();
            let Eigh { values, vectors } = eigh(&square).unwrap();
            assert_close(
                &matmul(&scaled(&vectors, &values), &transposed(&vectors)).unwrap(),
                &square,
                &what,
            );
            assert_orthonormal(&vectors, &what);
            let width = values.dims()[values.rank() - 1];
            assert!(numbers(&values).chunks(width).all(<[f64]>::is_sorted), "{what}");
        }
    }

    /// These matrices are so large that `thin_q` works in several blocks.
    #[test]
    fn parts_of_large_matrices_multiply_back() {
        let near = |a: &Value, b: &Value, what: &str| {
            let (a, b) = (numbers(a), numbers(b));
            let off = a.iter().zip(&b).fold(0.0, |most: f64, (x, y)| most.max((x - y).abs()));
            assert!(
                a.len() == b.len()
                    && off < 1e-10 * b.iter().fold(1.0, |most: f64, x| most.max(x.abs())),
                "{what}"
            );
        };
        let eye = |n: usize| creation::eye(n, n, Kind::F64, &Device::Cpu).unwrap();
        for dims in [[530, 520], [300, 520]] {
            let a = noise(&dims, Kind::F64);
            let Qr { q, r } = qr(&a).unwrap();
            near(&matmul(&q, &r).unwrap(), &a, "qr");
            near(&matmul(&transposed(&q), &q).unwrap(), &eye(dims[0].min(dims[1])), "q");
            let square = matmul(&transposed(&a), &a).unwrap();
            let Eigh { values, vectors } = eigh(&square).unwrap();
            near(
                &matmul(&scaled(&vectors, &values), &transposed(&vectors)).unwrap(),
                &square,
                "eigh",
            );
            near(&matmul(&transposed(&vectors), &vectors).unwrap(), &eye(520), "vectors");
        }
    }

    #[test]
    fn eigh_reads_the_lower_triangle_alone() {
        let a = creation::from_numbers(
            &[2, 99, 1, 2].map(Number::Int),
            &[2, 2],
            Some(Kind::F64),
            &Device::Cpu,
        )
        .unwrap();
        let Eigh { values, .. } = eigh(&a).unwrap();
        let values = numbers(&values);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn faults_are_sentences() {
        let matrix = |dims: &[usize]| noise(dims, Kind::F32);
        let nan = Value::Real(Tensor::new(&[[1.0, f32::NAN]], &Device::Cpu).unwrap());
        assert_eq!(
            svd(&nan).err().unwrap().message(),
            "svd: the tensor [1, 2] has elements that are nan or inf"
        );
        assert_eq!(
            svd(&matrix(&[4])).err().unwrap().message(),
            "svd needs a matrix, not a tensor [4]"
        );
        assert_eq!(
            eigh(&matrix(&[2, 3])).err().unwrap().message(),
            "eigh needs square matrices, not [2, 3]"
        );
        assert!(qr(&dtype::cast(&matrix(&[2, 2]), Kind::C64).unwrap()).is_err());
    }

    #[test]
    fn any_dtype_and_empty_matrices_go_in() {
        for kind in [Kind::F16, Kind::BF16, Kind::I64, Kind::Bool] {
            assert_eq!(Kind::of(&svd(&noise(&[3, 2], kind)).unwrap().s), Kind::F32);
        }
        let Svd { u, s, vh } = svd(&noise(&[2, 0, 3], Kind::F32)).unwrap();
        assert_eq!(
            (u.dims(), s.dims(), vh.dims()),
            ([2, 0, 0].as_slice(), [2, 0].as_slice(), [2, 0, 3].as_slice())
        );
    }
}
