//! The derivatives of decompositions and inverses, as PyTorch's `FunctionsManual.cpp` has them. Where
//! a decomposition is not unique, here it is: the signs and phases of vectors are fixed, so that what
//! depends on them has a derivative too. Values that are equal have none: their vectors' gradients
//! are infinite.

use candle_core::{DType, Device, Tensor};

use super::decompositions::{self, Eigh, Factor, Qr, Svd};
use super::eigen::Eig;
use super::matmul::matmul;
use super::matrix_exp::matrix_exp as exponential;
use super::solve::solve;
use crate::Result;
use crate::tensor::elementwise::arithmetic::Arithmetic::{Add, Div, Mul, Sub};
use crate::tensor::elementwise::arithmetic::negate;
use crate::tensor::elementwise::comparison::Comparison;
use crate::tensor::elementwise::complex::{conj, imag, real};
use crate::tensor::elementwise::piecewise;
use crate::tensor::index::gather::gather;
use crate::tensor::index::masked::where_;
use crate::tensor::operand::{Number, Operand};
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::{extremes, sums};
use crate::tensor::shape::{join, triangle};
use crate::tensor::{Complex, Kind, Value, creation, dtype, elements, operand};

/// The value in f64 for f64, and in f32 for all other real dtypes, as decompositions compute.
pub(super) fn wide(value: &Value) -> Result<Value> {
    match Kind::of(value) {
        Kind::F64 | Kind::C64 | Kind::C128 => Ok(value.clone()),
        _ => dtype::cast(value, Kind::F32),
    }
}

/// The transposed matrices.
pub(super) fn turned(value: &Value) -> Result<Value> {
    value.map(Tensor::t)
}

/// The conjugate transposed matrices.
fn adjoint(value: &Value) -> Result<Value> {
    turned(&conj(value)?)
}

fn row(value: &Value) -> Result<Value> {
    value.map(|t| t.unsqueeze(t.rank() - 1))
}

fn column(value: &Value) -> Result<Value> {
    value.map(|t| t.unsqueeze(t.rank()))
}

/// Which elements of n × n matrices are on the diagonal.
fn on_diagonal(n: usize, device: &Device) -> Result<Value> {
    creation::eye(n, n, Kind::Bool, device)
}

/// Square matrices with a vector [.., n] as their diagonal, zeros elsewhere.
fn diagonal(vector: &Value) -> Result<Value> {
    let n = vector.dims().last().copied().unwrap_or(0);
    where_(&on_diagonal(n, vector.device())?, (&row(vector)?).into(), Operand::from(0.0))
}

/// `matrices` with 0 on the diagonal, divided by the differences of the values [.., n] of their
/// column and their row.
fn over_differences(matrices: &Value, values: &Value) -> Result<Value> {
    let differences = Sub.apply(&row(values)?, &column(values)?)?;
    let n = values.dims().last().copied().unwrap_or(0);
    let diagonal = on_diagonal(n, values.device())?;
    let differences = where_(&diagonal, Operand::from(1.0), (&differences).into())?;
    let matrices = where_(&diagonal, Operand::from(0.0), matrices.into())?;
    Div.apply(&matrices, &differences)
}

/// x − xᵀ.
fn skew(x: &Value) -> Result<Value> {
    Sub.apply(x, &turned(x)?)
}

/// Of one part of a singular value decomposition (Townsend 2016, "Differentiating the singular value
/// decomposition").
pub(super) fn svd(known: &Svd, part: Factor, gradient: &Value) -> Result<Value> {
    let Svd { u, s, vh } = known;
    let squares = Mul.apply(s, s)?;
    let between = |inner: &Value| matmul(&matmul(u, inner)?, vh);
    let n = vh.dims()[vh.rank() - 1];
    let (m, k) = (u.dims()[u.rank() - 2], u.dims()[u.rank() - 1]);
    match part {
        Factor::Values => between(&diagonal(gradient)?),
        Factor::Left => {
            let inner = skew(&matmul(&turned(u)?, gradient)?)?;
            let inner = Mul.apply(&over_differences(&inner, &squares)?, &row(s)?)?;
            let within = between(&inner)?;
            if m == k {
                return Ok(within);
            }
            // What of the gradient is outside of the space of u.
            let scaled = Div.apply(gradient, &row(s)?)?;
            let outside = Sub.apply(&scaled, &matmul(u, &matmul(&turned(u)?, &scaled)?)?)?;
            Add.apply(&within, &matmul(&outside, vh)?)
        }
        Factor::Right => {
            let inner = skew(&matmul(vh, &turned(gradient)?)?)?;
            let inner = Mul.apply(&column(s)?, &over_differences(&inner, &squares)?)?;
            let within = between(&inner)?;
            if n == k {
                return Ok(within);
            }
            let scaled = Div.apply(gradient, &column(s)?)?;
            let outside = Sub.apply(&scaled, &matmul(&matmul(&scaled, &turned(vh)?)?, vh)?)?;
            Add.apply(&within, &matmul(u, &outside)?)
        }
    }
}

/// Of one part of the decomposition of symmetric matrices. Both triangles have a gradient, as in
/// PyTorch: a change of the matrices is taken to keep them symmetric.
pub(super) fn eigh(known: &Eigh, part: Factor, gradient: &Value) -> Result<Value> {
    let Eigh { values, vectors } = known;
    let inner = match part {
        Factor::Values => diagonal(gradient)?,
        _ => over_differences(&matmul(&turned(vectors)?, gradient)?, values)?,
    };
    matmul(&matmul(vectors, &inner)?, &turned(vectors)?)
}

/// Of one part of the decomposition of any square matrices: V⁻ᴴ (diag(g) or (Vᴴ G) / E) Vᴴ.
pub(super) fn eig(known: &Eig, part: Factor, gradient: &Value) -> Result<Value> {
    let Eig { values, vectors } = known;
    let turned = adjoint(vectors)?;
    let inner = match part {
        Factor::Values => diagonal(gradient)?,
        _ => {
            let gradient = phase_fixed(vectors, gradient)?;
            let own = matmul(&turned, &gradient)?;
            // The vectors keep their length.
            let n = own.dims()[own.rank() - 1];
            let lengths =
                where_(&on_diagonal(n, own.device())?, (&real(&own)?).into(), Operand::from(0.0))?;
            let lengths = sums::sum(&lengths, Over { dims: Some(&[-2]), keepdim: true })?;
            let kept = matmul(&turned, &Mul.apply(vectors, &lengths)?)?;
            over_differences(&Sub.apply(&own, &kept)?, &conj(values)?)?
        }
    };
    solve_complex(&turned, &matmul(&inner, &turned)?)
}

/// The gradient with regard to eigenvectors whose phase is not fixed yet: the largest element of
/// each, which is made positive, has a part across, for its angle turns the whole vector back.
fn phase_fixed(vectors: &Value, gradient: &Value) -> Result<Value> {
    let over = Over { dims: Some(&[-2]), keepdim: true };
    let turn = imag(&sums::sum(&Mul.apply(&conj(gradient)?, vectors)?, over)?)?;
    let place = extremes::argmax(&real(vectors)?, over)?;
    let largest = gather(&piecewise::abs(vectors)?, -2, &place)?;
    let across = Div.apply(&turn, &largest)?;
    let n = vectors.dims()[vectors.rank() - 1] as i64;
    let [from, to, by] = [0, n, 1].map(Number::Int);
    let numbers = creation::arange(from, to, by, None, vectors.device())?;
    let here = Comparison::Eq.apply(&column(&numbers)?, &place)?;
    let across = where_(&here, (&across).into(), Operand::from(0.0))?;
    let across = across.real("eig")?.clone();
    Add.apply(gradient, &Value::Complex(Complex { re: across.zeros_like()?, im: across }))
}

/// The x with a x = b of complex matrices, as real ones of twice the size.
fn solve_complex(a: &Value, b: &Value) -> Result<Value> {
    let (re, im) = (real(a)?, imag(a)?);
    let rows = [join::cat(&[re.clone(), negate(&im)?], -1)?, join::cat(&[im, re], -1)?];
    let right = join::cat(&[real(b)?, imag(b)?], -2)?;
    let found = solve(&join::cat(&rows, -2)?, &right)?;
    let n = b.dims()[b.rank() - 2];
    let part = |at: usize| -> Result<Tensor> {
        let found = found.real("eig")?;
        Ok(found.narrow(found.rank() - 2, at * n, n)?)
    };
    Ok(Value::Complex(Complex { re: part(0)?, im: part(1)? }))
}

/// Of one part of the decomposition of `a` into q and r.
pub(super) fn qr(a: &Value, known: &Qr, part: Factor, gradient: &Value) -> Result<Value> {
    let Qr { q, r } = known;
    let (m, n) = (a.dims()[a.rank() - 2], a.dims()[a.rank() - 1]);
    let zeros = |like: &Value| like.map(Tensor::zeros_like);
    let (of_q, of_r) = match part {
        Factor::Left => (gradient.clone(), zeros(r)?),
        _ => (zeros(q)?, gradient.clone()),
    };
    if m >= n {
        return tall_qr(q, r, &of_q, &of_r);
    }
    // a = [x y] = q [u w] with square x and u, so that w = qᵀ y.
    let columns =
        |value: &Value, start: usize, len: usize| value.map(|t| t.narrow(t.rank() - 1, start, len));
    let (y, of_w) = (columns(a, m, n - m)?, columns(&of_r, m, n - m)?);
    let of_q = Add.apply(&of_q, &matmul(&y, &turned(&of_w)?)?)?;
    let of_x = tall_qr(q, &columns(r, 0, m)?, &of_q, &columns(&of_r, 0, m)?)?;
    join::cat(&[of_x, matmul(q, &of_w)?], -1)
}

/// (G_q + q copyltu(m)) r⁻ᵀ with m = r G_rᵀ − G_qᵀ q (Seeger et al. 2017, "Auto-differentiating linear
/// algebra"); `copyltu` copies the lower triangle to the upper.
fn tall_qr(q: &Value, r: &Value, of_q: &Value, of_r: &Value) -> Result<Value> {
    let m = Sub.apply(&matmul(r, &turned(of_r)?)?, &matmul(&turned(of_q)?, q)?)?;
    let symmetric = Add.apply(&triangle::tril(&m, 0)?, &turned(&triangle::tril(&m, -1)?)?)?;
    let sum = Add.apply(of_q, &matmul(q, &symmetric)?)?;
    turned(&solve(r, &turned(&sum)?)?)
}

/// Of the pseudoinverse of `a` (Golub & Pereyra 1973), which is `inverse`.
pub(super) fn pinv(a: &Value, inverse: &Value, gradient: &Value) -> Result<Value> {
    let (of, back) = (turned(gradient)?, turned(inverse)?);
    let (m, n) = (a.dims()[a.rank() - 2], a.dims()[a.rank() - 1]);
    if m <= n {
        let k = matmul(&of, inverse)?;
        let turned_k = matmul(&k, &back)?;
        let first = turned(&matmul(inverse, &k)?)?;
        let third = matmul(&matmul(a, inverse)?, &turned_k)?;
        let fourth = matmul(&matmul(&back, inverse)?, &Sub.apply(&of, &matmul(&k, a)?)?)?;
        return Add.apply(&Sub.apply(&Sub.apply(&turned_k, &first)?, &third)?, &fourth);
    }
    let k = matmul(inverse, &of)?;
    let turned_k = matmul(&back, &k)?;
    let first = turned(&matmul(&k, inverse)?)?;
    let second = matmul(&matmul(&Sub.apply(&of, &matmul(a, &k)?)?, inverse)?, &back)?;
    let fourth = matmul(&matmul(&turned_k, inverse)?, a)?;
    Sub.apply(&Add.apply(&Sub.apply(&second, &first)?, &turned_k)?, &fourth)
}

/// Of the determinant: the cofactors, from the singular values, so that it is exact for singular
/// matrices too.
pub(super) fn det(a: &Value, gradient: &Value) -> Result<Value> {
    let Svd { u, s, vh } = decompositions::svd(a)?;
    let n = a.dims()[a.rank() - 1];
    let sign = Mul.apply(&super::solve::det(&u)?, &super::solve::det(&vh)?)?;
    let values = elements::to_vec::<f64>(&s.real("det")?.to_dtype(DType::F64)?)?;
    let mut others = vec![1.0; values.len()];
    for (others, values) in others.chunks_mut(n.max(1)).zip(values.chunks(n.max(1))) {
        for (i, other) in others.iter_mut().enumerate() {
            let rest = values.iter().enumerate().filter(|&(j, _)| j != i);
            *other = rest.map(|(_, value)| value).product();
        }
    }
    let others = Value::Real(elements::from_vec(others, s.dims(), &Device::Cpu)?);
    let others = operand::transfer(&dtype::cast(&others, Kind::of(&s))?, a.device())?;
    let weight = Mul.apply(&wide(gradient)?, &sign)?;
    let scaled = Mul.apply(&others, &column(&weight)?)?;
    matmul(&Mul.apply(&u, &row(&scaled)?)?, &vh)
}

/// Of the exponential: the block at the upper right of the exponential of [aᵀ g; 0 aᵀ] (Mathias 1996,
/// "A chain rule for matrix functions").
pub(super) fn matrix_exp(a: &Value, gradient: &Value) -> Result<Value> {
    let n = a.dims()[a.rank() - 1];
    let a = turned(a)?;
    let zeros = a.map(Tensor::zeros_like)?;
    let rows = [join::cat(&[a.clone(), gradient.clone()], -1)?, join::cat(&[zeros, a], -1)?];
    let both = exponential(&join::cat(&rows, -2)?)?;
    both.map(|t| t.narrow(t.rank() - 2, 0, n)?.narrow(t.rank() - 1, n, n))
}
