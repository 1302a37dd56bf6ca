//! Linear algebra on the last dims of tensors, batched over the dims before them: the products
//! `matmul`, `dot`, `outer` and `einsum`, and what `torch.linalg` and `numpy.linalg` call `svd`,
//! `eigh`, `qr`, `eig`, `solve`, `inv`, `det`, `lstsq`, `pinv` and `matrix_exp`; and the covariances
//! of rows.

pub mod cosine_similarity;
pub mod covariance;
pub mod decompositions;
mod derivatives;
pub mod diagonal;
pub mod eigen;
pub mod einsum;
pub mod least_squares;
pub mod matmul;
mod matrices;
pub mod matrix_exp;
pub mod pca;
pub mod solve;
mod square_matrices;
pub mod vector_products;

#[cfg(test)]
mod testing;
