//! `matmul`, `einsum`, `svd`, `solve`, `pca`, …: products, decompositions and functions of
//! matrices.

use rhai::{Array, Dynamic, ImmutableString};

use super::arguments::{Call, derive, derive_anew};
use super::{Handle, Masks};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::value::options::describe;
use crate::script::value::record::Record;
use crate::tensor::Value;
use crate::tensor::linalg::cosine_similarity::cosine_similarity;
use crate::tensor::linalg::covariance::{corrcoef, cov};
use crate::tensor::linalg::decompositions::{Eigh, Qr, Svd};
use crate::tensor::linalg::eigen::{self, Eig};
use crate::tensor::linalg::einsum::einsum;
use crate::tensor::linalg::matrix_exp::matrix_exp;
use crate::tensor::linalg::pca::{Pca, pca};
use crate::tensor::linalg::{
    decompositions, diagonal, least_squares, matmul, solve, vector_products,
};
use crate::{Result, bail, error};

/// The most tensors that `einsum` takes without an array around them.
const MOST: usize = 8;

/// Registers products, decompositions and functions of matrices.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Linear algebra");
    install_products(registry);
    install_decompositions(registry);
    install_matrices(registry);
}

fn install_products(registry: &mut Registry) {
    registry
        .declare("matmul(a, b)", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "the matrix product over the last two dims, those before them broadcast; \
            vectors are rows on the left, columns on the right",
            "tensor([[1, 2], [3, 4]]).matmul(tensor([[0, 1], [1, 0]]))",
            "tensor [2, 2] i64 cpu: [[2, 1], [4, 3]]",
        )
        .on_tensor(2..=2, |call| product(call, Masks::Refuse, matmul::matmul));
    registry
        .declare(
            "einsum(equation, first, second, third, more)",
            Purity::Pure,
            OnGpu::FLOATS,
            Gradient::Yes,
        )
        .row(
            "the product over named dims; letters the right side leaves out are summed, \
            `...` stands for any dims; names may be words with spaces between them",
            r#"einsum("ij,jk->ik", tensor([[1, 2], [3, 4]]), tensor([[0, 1], [1, 0]]))"#,
            "tensor [2, 2] i64 cpu: [[2, 1], [4, 3]]",
        )
        .row_for(
            "in words",
            "as einops has it; the equation may come last too",
            "einsum(\"query key, key dim -> query dim\", tensor([[1, 2], [3, 4]]), \
            tensor([[0, 1], [1, 0]]))",
            "tensor [2, 2] i64 cpu: [[2, 1], [4, 3]]",
        )
        .row_for(
            "of one",
            "a letter twice is the diagonal",
            r#"einsum("ii->i", tensor([[1, 2], [3, 4]]))"#,
            "tensor [2] i64 cpu: [1, 4]",
        )
        .row_for(
            "of an array",
            "of any number of tensors",
            r#"einsum("i,j,j->i", [tensor([1, 2]), tensor([3, 4]), tensor([5, 6])])"#,
            "tensor [2] i64 cpu: [39, 78]",
        )
        .on::<ImmutableString, _>(2..=MOST + 1, |call| {
            let equation = call.string_or_absent(0, "an equation")?.unwrap_or_default();
            summed(&equation, operands(call)?)
        })
        // The order of arguments in einops: the tensors first.
        .on_tensor(2..=MOST + 1, |call| {
            let last = call.count() - 1;
            let Some(equation) = call.string_or_absent(last, "the last argument")? else {
                bail!("einsum needs an equation")
            };
            summed(
                &equation,
                (0..last).map(|place| call.tensor(place, "an operand")).collect::<Result<_>>()?,
            )
        });
    registry
        .declare("dot(a, b)", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "the sum of the products of two vectors",
            "dot(tensor([1.0, 2.0]), tensor([3.0, 4.0]))",
            "tensor [] f32 cpu: 11.0",
        )
        .on_tensor(2..=2, |call| product(call, Masks::End, vector_products::dot));
    registry
        .declare("outer(a, b)", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "each element of one vector times each of another",
            "outer(tensor([1, 2]), tensor([3, 4, 5]))",
            "tensor [2, 3] i64 cpu: [[3, 4, 5], [6, 8, 10]]",
        )
        .on_tensor(2..=2, |call| product(call, Masks::Refuse, vector_products::outer));
    registry
        .declare("cosine_similarity(a, b, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the cosine of the angle along a dim: dim 1 if none is named, of vectors their \
            only one",
            "cosine_similarity(tensor([[3.0, 4.0], [1.0, 0.0]]), tensor([0.0, 2.0]), #{dim: \
            -1})",
            "tensor [2] f32 cpu: [0.8, 0.0]",
        )
        .on_tensor(2..=3, |call| {
            let (a, b) = (call.tensor(0, "a")?, call.tensor(1, "b")?);
            let dim = call.int_or_absent(2, "dim")?;
            let value = cosine_similarity(&a.value(), &b.value(), dim)?;
            Masks::End.of_all(value, &[&a, &b])
        });
    registry
        .declare("cov(x, #{correction})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the covariances [m, m] of m variables, the rows of [m, n], divided by one less than \
            the n observations",
            "tensor([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]]).cov()",
            "tensor [2, 2] f32 cpu: [[1.0, -2.0], [-2.0, 4.0]]",
        )
        .on_tensor(1..=1, |call| {
            let correction = call.options().float("correction")?.unwrap_or(1.0);
            derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| cov(x, correction))
        });
    registry
        .declare("corrcoef(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "Pearson's correlations [m, m] of m variables, the rows of [m, n]; of a constant \
            one NaN",
            "tensor([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]]).corrcoef()",
            "tensor [2, 2] f32 cpu: [[1.0, -1.0], [-1.0, 1.0]]",
        )
        .on_tensor(1..=1, |call| derive_anew(&call.tensor(0, "a tensor")?, Masks::End, corrcoef));
}

fn product(
    call: &Call,
    masks: Masks,
    product: fn(&Value, &Value) -> Result<Value>,
) -> Result<Handle> {
    let (a, b) = (call.tensor(0, "a")?, call.tensor(1, "b")?);
    let value = product(&a.value(), &b.value())?;
    masks.of_all(value, &[&a, &b])
}

fn summed(equation: &str, operands: Vec<Handle>) -> Result<Handle> {
    let values: Vec<_> = operands.iter().map(Handle::value).collect();
    let value = einsum(equation, &values.iter().map(|value| &**value).collect::<Vec<&Value>>())?;
    Masks::Refuse.of_all(value, &operands.iter().collect::<Vec<_>>())
}

/// The tensors after the equation, given as arguments or as one array.
fn operands(call: &Call) -> Result<Vec<Handle>> {
    let array = call.get(1, "tensors").and_then(|given| given.try_cast::<Array>());
    let given = match array {
        Some(array) => array,
        None => return (1..call.count()).map(|place| call.tensor(place, "an operand")).collect(),
    };
    let operand = |given: Dynamic| {
        let what = describe(&given);
        given
            .try_cast::<Handle>()
            .ok_or_else(|| error!("einsum multiplies tensors, and the array holds {what}"))
    };
    given.into_iter().map(operand).collect()
}

fn install_decompositions(registry: &mut Registry) {
    registry
        .declare("svd(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "`#{u, s, vh}`, thin, s descending; the largest element of each column of u is \
            positive",
            "tensor([[3.0, 0.0], [0.0, -4.0]]).svd().s",
            "tensor [2] f32 cpu: [4.0, 3.0]",
        )
        .on_tensor(1..=1, |call| {
            let x = call.tensor(0, "a tensor")?;
            let Svd { u, s, vh } = decompositions::svd(&x.value())?;
            map(&x, [("u", u), ("s", s), ("vh", vh)])
        });
    registry
        .declare("eigh(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "`#{values, vectors}` of a symmetric matrix, ascending, of its lower triangle; \
            the largest element of each vector is positive",
            "tensor([[2.0, 0.0], [0.0, 1.0]]).eigh().values",
            "tensor [2] f32 cpu: [1.0, 2.0]",
        )
        .on_tensor(1..=1, |call| {
            let x = call.tensor(0, "a tensor")?;
            let Eigh { values, vectors } = decompositions::eigh(&x.value())?;
            map(&x, [("values", values), ("vectors", vectors)])
        });
    registry
        .declare("eig(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "`#{values, vectors}` of any square matrix, both complex and in no order; \
            vectors of length 1, the largest element of each positive",
            "tensor([[0.0, -1.0], [1.0, 0.0]]).eig().values.imag.sort().values",
            "tensor [2] f32 cpu: [-1.0, 1.0]",
        )
        .on_tensor(1..=1, |call| {
            let x = call.tensor(0, "a tensor")?;
            let Eig { values, vectors } = eigen::eig(&x.value())?;
            map(&x, [("values", values), ("vectors", vectors)])
        });
    registry
        .declare("eigvals(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "its eigenvalues alone",
            "tensor([[2.0, 1.0], [0.0, 2.0]]).eigvals()",
            "tensor [2] c64 cpu: [2.0+0.0i, 2.0+0.0i]",
        )
        .on_tensor(1..=1, |call| of_matrix(call, eigen::eigvals));
    registry
        .declare("qr(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "`#{q, r}`, thin; the diagonal of r is not negative",
            "tensor([[0.0, 2.0], [1.0, 3.0]]).qr().r",
            "tensor [2, 2] f32 cpu: [[1.0, 3.0], [0.0, 2.0]]",
        )
        .on_tensor(1..=1, |call| {
            let x = call.tensor(0, "a tensor")?;
            let Qr { q, r } = decompositions::qr(&x.value())?;
            map(&x, [("q", q), ("r", r)])
        });
    registry
        .declare("pca(x, k, #{k})", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "`#{components, explained_variance, mean, projected}` of points [n, d]: the k \
            directions in which they spread the most",
            "tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]).pca(1).explained_variance",
            "tensor [1] f32 cpu: [4.0]",
        )
        .on_tensor(1..=2, |call| {
            let (x, k) = (call.tensor(0, "a tensor")?, call.int(1, "k")?);
            let Pca { components, explained_variance, mean, projected } = pca(&x.value(), k)?;
            let parts = [
                ("components", components),
                ("explained_variance", explained_variance),
                ("mean", mean),
                ("projected", projected),
            ];
            map(&x, parts)
        });
}

fn install_matrices(registry: &mut Registry) {
    registry
        .declare("lstsq(a, b)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the x for which a x comes nearest to b, the shortest of them",
            "lstsq(tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), tensor([3.0, 4.0, 5.0]))",
            "tensor [2] f32 cpu: [3.0, 2.0]",
        )
        .on_tensor(2..=2, |call| product(call, Masks::End, least_squares::lstsq));
    registry
        .declare("solve(a, b)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the x for which a x = b, of square a [.., n, n] and b [.., n, k], [.., n] or \
            [n]; a singular matrix is an error",
            "solve(tensor([[2.0, 0.0], [0.0, 4.0]]), tensor([1.0, 1.0]))",
            "tensor [2] f32 cpu: [0.5, 0.25]",
        )
        .on_tensor(2..=2, |call| product(call, Masks::End, solve::solve));
    registry
        .declare("inv(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the inverse; a singular matrix is an error",
            "tensor([[2.0, 1.0], [0.0, 1.0]]).inv()",
            "tensor [2, 2] f32 cpu: [[0.5, -0.5], [0.0, 1.0]]",
        )
        .on_tensor(1..=1, |call| of_matrix(call, solve::inv));
    registry
        .declare("pinv(x, #{rtol})", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the pseudoinverse, of any shape; singular values of at most rtol of the \
            largest count as 0",
            "tensor([[2.0], [0.0]]).pinv()",
            "tensor [1, 2] f32 cpu: [[0.5, 0.0]]",
        )
        .on_tensor(1..=1, |call| {
            let rtol = call.options().float("rtol")?;
            derive(&call.tensor(0, "a tensor")?, Masks::End, |x| least_squares::pinv(x, rtol))
        });
    registry
        .declare("det(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row("the determinant", "tensor([[1.0, 2.0], [3.0, 4.0]]).det()", "tensor [] f32 cpu: -2.0")
        .on_tensor(1..=1, |call| of_matrix(call, solve::det));
    registry
        .declare("trace(x)", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row("the sum of the diagonal", "tensor([[1, 2], [3, 4]]).trace()", "tensor [] i64 cpu: 5")
        .on_tensor(1..=1, |call| of_matrix(call, diagonal::trace));
    registry
        .declare("matrix_exp(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the exponential of a square matrix",
            "tensor([[0.0, 1.0], [0.0, 0.0]]).matrix_exp()",
            "tensor [2, 2] f32 cpu: [[1.0, 1.0], [0.0, 1.0]]",
        )
        .on_tensor(1..=1, |call| of_matrix(call, matrix_exp));
}

fn of_matrix(call: &Call, of: fn(&Value) -> Result<Value>) -> Result<Handle> {
    derive(&call.tensor(0, "a tensor")?, Masks::End, of)
}

fn map<const N: usize>(input: &Handle, parts: [(&str, Value); N]) -> Result<Record> {
    parts
        .into_iter()
        .map(|(name, value)| Ok((name, Dynamic::from(Masks::End.of_all(value, &[input])?))))
        .collect()
}
