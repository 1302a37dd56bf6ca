//! Linear algebra: products, decompositions, systems of equations.

pub mod batched_products;
pub mod decompositions;
pub mod diagonal;
pub mod einsum;
pub mod least_squares;
pub mod matmul;
pub mod square;
