//! `matmul`, `einsum`, `svd`, `solve`, `pca`, …: products, decompositions and what follows from
//! them.

use rhai::{Array, Dynamic, Engine, ImmutableString};

use super::arguments::{Call, define, derive};
use super::{Handle, Masks};
use crate::script::value::options::describe;
use crate::script::value::record::Record;
use crate::tensor::Value;
use crate::tensor::linalg::cosine_similarity::cosine_similarity;
use crate::tensor::linalg::decompositions::{Eigh, Qr, Svd};
use crate::tensor::linalg::eigen::{self, Eig};
use crate::tensor::linalg::einsum::einsum;
use crate::tensor::linalg::matrix_exp::matrix_exp;
use crate::tensor::linalg::pca::{Pca, pca};
use crate::tensor::linalg::{
    decompositions, diagonal, least_squares, matmul, solve, vector_products,
};
use crate::{Result, bail, error};

/// The most tensors `einsum` takes without an array around them.
const MOST: usize = 8;

pub fn install(engine: &mut Engine) {
    install_products(engine);
    install_decompositions(engine);
    install_matrices(engine);
}

fn install_products(engine: &mut Engine) {
    type Product = fn(&Value, &Value) -> Result<Value>;
    let products = [
        ("matmul", Masks::Refuse, matmul::matmul as Product),
        ("dot", Masks::End, vector_products::dot),
        ("outer", Masks::Refuse, vector_products::outer),
        ("lstsq", Masks::End, least_squares::lstsq),
        ("solve", Masks::End, solve::solve),
    ];
    for (name, masks, product) in products {
        define::<Handle, Handle>(engine, name, 2..=2, &[], move |call| {
            let (a, b) = (call.tensor(0, "a")?, call.tensor(1, "b")?);
            let value = product(&a.value(), &b.value())?;
            masks.of_all(value, &[&a, &b])
        });
    }
    define::<Handle, Handle>(engine, "cosine_similarity", 2..=3, &["dim"], |call| {
        let (a, b) = (call.tensor(0, "a")?, call.tensor(1, "b")?);
        let dim = call.int_or_absent(2, "dim")?;
        let value = cosine_similarity(&a.value(), &b.value(), dim)?;
        Masks::End.of_all(value, &[&a, &b])
    });
    define::<ImmutableString, Handle>(engine, "einsum", 2..=MOST + 1, &[], |call| {
        let equation = call.string_or_absent(0, "an equation")?.unwrap_or_default();
        summed(&equation, operands(call)?)
    });
    // As einops has it: the tensors first.
    define::<Handle, Handle>(engine, "einsum", 2..=MOST + 1, &[], |call| {
        let last = call.count() - 1;
        let Some(equation) = call.string_or_absent(last, "the last argument")? else {
            bail!("einsum needs an equation")
        };
        summed(
            &equation,
            (0..last).map(|place| call.tensor(place, "an operand")).collect::<Result<_>>()?,
        )
    });
}

fn summed(equation: &str, operands: Vec<Handle>) -> Result<Handle> {
    let values: Vec<_> = operands.iter().map(Handle::value).collect();
    let value = einsum(equation, &values.iter().map(|value| &**value).collect::<Vec<&Value>>())?;
    Masks::Refuse.of_all(value, &operands.iter().collect::<Vec<_>>())
}

/// The tensors after the equation, or those of the one array there.
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

fn install_decompositions(engine: &mut Engine) {
    define::<Handle, Record>(engine, "svd", 1..=1, &[], |call| {
        let x = call.tensor(0, "a tensor")?;
        let Svd { u, s, vh } = decompositions::svd(&x.value())?;
        map(&x, [("u", u), ("s", s), ("vh", vh)])
    });
    define::<Handle, Record>(engine, "eigh", 1..=1, &[], |call| {
        let x = call.tensor(0, "a tensor")?;
        let Eigh { values, vectors } = decompositions::eigh(&x.value())?;
        map(&x, [("values", values), ("vectors", vectors)])
    });
    define::<Handle, Record>(engine, "eig", 1..=1, &[], |call| {
        let x = call.tensor(0, "a tensor")?;
        let Eig { values, vectors } = eigen::eig(&x.value())?;
        map(&x, [("values", values), ("vectors", vectors)])
    });
    define::<Handle, Record>(engine, "qr", 1..=1, &[], |call| {
        let x = call.tensor(0, "a tensor")?;
        let Qr { q, r } = decompositions::qr(&x.value())?;
        map(&x, [("q", q), ("r", r)])
    });
    define::<Handle, Record>(engine, "pca", 1..=2, &["k"], |call| {
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

fn install_matrices(engine: &mut Engine) {
    type Of = fn(&Value) -> Result<Value>;
    let functions = [
        ("det", solve::det as Of),
        ("eigvals", eigen::eigvals),
        ("inv", solve::inv),
        ("matrix_exp", matrix_exp),
        ("trace", diagonal::trace),
    ];
    for (name, of) in functions {
        define::<Handle, Handle>(engine, name, 1..=1, &[], move |call| {
            derive(&call.tensor(0, "a tensor")?, Masks::End, of)
        });
    }
    define::<Handle, Handle>(engine, "pinv", 1..=1, &["rtol"], |call| {
        let rtol = call.options().float("rtol")?;
        derive(&call.tensor(0, "a tensor")?, Masks::End, |x| least_squares::pinv(x, rtol))
    });
}

fn map<const N: usize>(input: &Handle, parts: [(&str, Value); N]) -> Result<Record> {
    parts
        .into_iter()
        .map(|(name, value)| Ok((name, Dynamic::from(Masks::End.of_all(value, &[input])?))))
        .collect()
}
