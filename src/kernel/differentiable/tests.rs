//! Nodes of the graph beside candle's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Var, bail};

use super::*;

fn square(x: &Tensor) -> Result<Tensor> {
    differentiable::<candle_core::Error>(
        &[x],
        |inputs| inputs[0].sqr(),
        |back| Ok(vec![back.of(0, || (back.gradient * (&back.inputs[0] * 2.0)?)?.contiguous())?]),
    )
}

#[test]
fn a_node_has_the_value_and_the_gradient_of_its_operation() {
    let x = Var::new(&[1f64, -2.0, 3.0], &Device::Cpu).unwrap();
    let y = square(x.as_tensor()).unwrap();
    assert!(y.track_op());
    assert_eq!(y.to_vec1::<f64>().unwrap(), [1.0, 4.0, 9.0]);
    let gradients = backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec1::<f64>().unwrap(), [2.0, -4.0, 6.0]);
}

#[test]
fn a_node_may_have_many_inputs() {
    let all: Vec<Var> = (0..5)
        .map(|at| Var::new(&[f64::from(at), 1.0 - f64::from(at)], &Device::Cpu).unwrap())
        .collect();
    let constant = Tensor::new(&[10f64, 20.0], &Device::Cpu).unwrap();
    let inputs: Vec<&Tensor> = all.iter().map(|of| of.as_tensor()).chain([&constant]).collect();
    // Σ (at + 1) · x²
    let y = differentiable::<candle_core::Error>(
        &inputs,
        |inputs| {
            let mut sum = inputs[5].zeros_like()?;
            for (at, x) in inputs.iter().enumerate() {
                sum = (sum + (x.sqr()? * (at as f64 + 1.0))?)?;
            }
            Ok(sum)
        },
        |back| {
            let of = |at: usize, x: &Tensor| {
                back.of(at, || (back.gradient * (x * (2.0 * (at as f64 + 1.0)))?)?.contiguous())
            };
            back.inputs.iter().enumerate().map(|(at, x)| of(at, x)).collect()
        },
    )
    .unwrap();
    for _ in 0..2 {
        let gradients = backward(&y.sum_all().unwrap()).unwrap();
        for (at, x) in all.iter().enumerate() {
            let expected = (x.as_tensor() * (2.0 * (at as f64 + 1.0))).unwrap();
            assert_eq!(
                gradients.get(x).unwrap().to_vec1::<f64>().unwrap(),
                expected.to_vec1::<f64>().unwrap()
            );
        }
    }
}

#[test]
fn without_a_tracked_input_there_is_no_graph() {
    let x = Tensor::new(&[1f64, -2.0], &Device::Cpu).unwrap();
    assert!(!square(&x).unwrap().track_op());
}

#[test]
fn an_operation_that_returns_a_view_of_its_input_leaves_the_input_alone() {
    let x = Var::new(&[[1f64, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    let y = differentiable::<candle_core::Error>(
        &[x.as_tensor()],
        |inputs| inputs[0].narrow(0, 1, 1),
        |back| {
            Ok(vec![
                back.of(0, || back.inputs[0].zeros_like()?.slice_scatter(back.gradient, 0, 1))?,
            ])
        },
    )
    .unwrap();
    assert_eq!(y.to_vec2::<f64>().unwrap(), [[3.0, 4.0]]);
    assert_eq!(x.to_vec2::<f64>().unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
    let gradients = backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec2::<f64>().unwrap(), [[0.0, 0.0], [1.0, 1.0]]);
}

fn gradient(loss: &Tensor, of: &Var) -> Vec<f64> {
    backward(&loss.sum_all().unwrap()).unwrap().get(of).unwrap().to_vec1().unwrap()
}

#[test]
fn gradients_by_nodes_and_by_operations_of_candle_add_up() {
    let x = Var::new(&[1f64, -2.0, 3.0], &Device::Cpu).unwrap();
    let y = square(x.as_tensor()).unwrap();
    // x⁴ + 3x² + x² · x⁴ + 2x
    let z = square(&y).unwrap();
    let mixed = (((&z + (&y * 3.0).unwrap()).unwrap() + (&y * &z).unwrap()).unwrap()
        + (x.as_tensor() * 2.0).unwrap())
    .unwrap();
    let expected = |x: f64| 4.0 * x.powi(3) + 6.0 * x + 6.0 * x.powi(5) + 2.0;
    let expected = [1.0, -2.0, 3.0].map(expected);
    // Twice through one graph, and with its results gone but for the last.
    assert_eq!(gradient(&mixed, &x), expected);
    drop((y, z));
    assert_eq!(gradient(&mixed, &x), expected);
}

#[test]
fn a_way_back_that_fails_leaves_nothing_to_the_next() {
    let x = Var::new(&[1f64, -2.0, 3.0], &Device::Cpu).unwrap();
    let fails = Arc::new(AtomicBool::new(true));
    let first = square(x.as_tensor()).unwrap();
    let asked = fails.clone();
    let last = differentiable::<candle_core::Error>(
        &[&first],
        |inputs| inputs[0].affine(1.0, 0.0),
        move |back| match asked.load(Ordering::Relaxed) {
            true => bail!("not yet"),
            false => Ok(vec![Some(back.gradient.clone())]),
        },
    )
    .unwrap();
    // The first node has its own gradient when the last one fails.
    let both = (&last + &square(&first).unwrap()).unwrap();
    assert!(backward(&both.sum_all().unwrap()).is_err());
    fails.store(false, Ordering::Relaxed);
    let expected = [1f64, -2.0, 3.0].map(|x| 2.0 * x + 4.0 * x.powi(3));
    assert_eq!(gradient(&both, &x), expected);
}

#[test]
fn a_way_back_within_another_has_gradients_of_its_own() {
    let x = Var::new(&[1f64, -2.0, 3.0], &Device::Cpu).unwrap();
    let y = square(x.as_tensor()).unwrap();
    let (inner, of) = (square(&y).unwrap(), x.clone());
    let within = differentiable::<candle_core::Error>(
        &[&y],
        |inputs| inputs[0].affine(1.0, 0.0),
        move |back| {
            assert_eq!(gradient(&inner, &of), [1f64, -2.0, 3.0].map(|x| 4.0 * x.powi(3)));
            Ok(vec![Some(back.gradient.clone())])
        },
    )
    .unwrap();
    // Twice: whichever of the two nodes goes first, y has part of its gradient when it calls.
    let both = ((&within + &square(&y).unwrap()).unwrap() + &within).unwrap();
    assert_eq!(gradient(&both, &x), [1f64, -2.0, 3.0].map(|x| 4.0 * x + 4.0 * x.powi(3)));
}

#[test]
fn what_no_gradient_reaches_is_left_out() {
    let x = Var::new(&[1f64, 2.0], &Device::Cpu).unwrap();
    let other = Var::new(&[3f64, 4.0], &Device::Cpu).unwrap();
    // Through a node and through an operation of candle.
    let mapped = (square(other.as_tensor()).unwrap() * 2.0).unwrap();
    let y = differentiable::<candle_core::Error>(
        &[x.as_tensor(), other.as_tensor(), &mapped],
        |inputs| inputs[0].affine(3.0, 0.0),
        |back| Ok(vec![Some((back.gradient * 3.0)?), None, None]),
    )
    .unwrap();
    let gradients = backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec1::<f64>().unwrap(), [3.0, 3.0]);
    assert!(gradients.get(&other).is_none_or(|g| g.to_vec1::<f64>().unwrap() == [0.0, 0.0]));
}
