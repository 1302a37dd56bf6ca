//! Eigenvalues and eigenvectors of matrices that need not be symmetric: `eig`, `eigvals`.

use std::sync::Arc;

use faer::{Mat, c64};

use super::decompositions::Factor;
use super::derivatives;
use super::square_matrices::SquareMatrices;
use crate::tensor::{Value, graph};
use crate::{Result, error};

/// The eigendecomposition `a = vectors diag(values) vectors⁻¹` of matrices `[…, n, n]`, all
/// complex.
pub struct Eig {
    /// The eigenvalues in no particular order, `[…, n]`.
    pub values: Value,
    /// The eigenvectors of length 1, the columns of `[…, n, n]`.
    pub vectors: Value,
}

/// `torch.linalg.eig`: eigenvalues and eigenvectors of square matrices. The element of greatest
/// magnitude in each vector is real and positive, the first of several that are equal up to
/// rounding.
///
/// # Errors
/// The matrices are not square; the tensor has fewer than two dims, is complex or has elements that
/// are NaN or infinite; the algorithm does not converge.
pub fn eig(value: &Value) -> Result<Eig> {
    let parts = decomposed(&value.detach())?;
    if !value.is_tracked() {
        return Ok(parts);
    }
    let Eig { values, vectors } = &parts;
    let known = Arc::new(Eig { values: values.deep_copy()?, vectors: vectors.deep_copy()? });
    let node = |part: Value, which: Factor| {
        let known = known.clone();
        graph::operation(
            &[value],
            |_| Ok(part),
            move |back| back.of_one(|| derivatives::eig(&known, which, &back.gradient)),
        )
    };
    Ok(Eig {
        values: node(parts.values, Factor::Values)?,
        vectors: node(parts.vectors, Factor::Left)?,
    })
}

fn decomposed(value: &Value) -> Result<Eig> {
    let squares = SquareMatrices::of(value, "eig")?;
    let n = squares.n;
    let parts = squares.each(|matrix| {
        if n == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let eigen =
            matrix.eigen().map_err(|_| error!("eig did not converge on {}", squares.name()))?;
        let values: Vec<c64> = eigen.S().column_vector().iter().copied().collect();
        let mut vectors = vec![c64::new(0.0, 0.0); n * n];
        for (j, vector) in eigen.U().col_iter().enumerate() {
            let length = vector.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
            let first = c64::new(0.0, 0.0);
            let largest = vector.iter().fold(first, |most, z| {
                if z.norm() > most.norm() * (1.0 + 1e-9) { *z } else { most }
            });
            let turn = if largest.norm() > 0.0 {
                largest.conj() / largest.norm() / length
            } else {
                c64::new(1.0, 0.0)
            };
            for (i, z) in vector.iter().enumerate() {
                vectors[i * n + j] = z * turn;
            }
        }
        Ok((values, vectors))
    })?;
    let (values, vectors): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    Ok(Eig {
        values: squares.complex(values.concat(), &[n])?,
        vectors: squares.complex(vectors.concat(), &[n, n])?,
    })
}

/// `torch.linalg.eigvals`: the complex eigenvalues of square matrices in no particular order, `[…,
/// n]`.
///
/// # Errors
/// As [`eig`].
pub fn eigvals(value: &Value) -> Result<Value> {
    // The order of the values with vectors may be another, so that both come from one call.
    if value.is_tracked() { Ok(eig(value)?.values) } else { values(value) }
}

fn values(value: &Value) -> Result<Value> {
    let squares = SquareMatrices::of(value, "eigvals")?;
    let of = |matrix: &Mat<f64>| match squares.n {
        0 => Ok(Vec::new()),
        _ => matrix
            .eigenvalues()
            .map_err(|_| error!("eigvals did not converge on {}", squares.name())),
    };
    squares.complex(squares.each(of)?.concat(), &[squares.n])
}
