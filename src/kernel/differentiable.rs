//! Operations with a derivative of their own.
//!
//! candle records an operation as a node of its graph of gradients if one of its inputs is tracked:
//! a variable, or computed from one. The loops of this crate take only tensors outside of any graph.
//! [`differentiable`] joins the two: the operation computes with detached inputs, as fast as without
//! gradients, and its result is put into the graph together with its derivative.

mod node;
pub mod watch;

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};
use node::{Node, storage_length};

use super::elements::address;

/// The gradients with regard to the inputs of an operation, in their order and shapes; `None` for
/// one that is not asked for or on which the result does not depend.
pub type Gradients = Vec<Option<Tensor>>;

/// What a derivative is computed from.
pub struct Backward<'a> {
    /// The inputs of the operation, detached.
    pub inputs: Vec<Tensor>,
    /// Its result, detached.
    pub output: Tensor,
    /// The gradient with regard to the result, in its shape.
    pub gradient: &'a Tensor,
    tracked: Vec<bool>,
}

impl Backward<'_> {
    fn new<'a>(inputs: &[&Tensor], output: &Tensor, gradient: &'a Tensor) -> Backward<'a> {
        Backward {
            inputs: inputs.iter().map(|input| input.detach()).collect(),
            output: output.detach(),
            gradient,
            tracked: inputs.iter().map(|input| input.track_op()).collect(),
        }
    }

    /// Whether the gradient of an input is asked for.
    pub fn wants(&self, input: usize) -> bool {
        self.tracked[input]
    }

    /// The gradient of one input, which `gradient` computes only if it is asked for.
    ///
    /// # Errors
    /// Those of `gradient`.
    pub fn of(
        &self,
        input: usize,
        gradient: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Option<Tensor>> {
        if self.wants(input) { gradient().map(Some) } else { Ok(None) }
    }
}

thread_local! {
    /// How many calls of [`without_graph`] are in progress.
    static WITHOUT_GRAPH: Cell<usize> = const { Cell::new(0) };
}

/// Calls `f`, in which results are not put into any graph, whatever they are computed from.
pub fn without_graph<R>(f: impl FnOnce() -> R) -> R {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            WITHOUT_GRAPH.set(WITHOUT_GRAPH.get() - 1);
        }
    }
    WITHOUT_GRAPH.set(WITHOUT_GRAPH.get() + 1);
    let _guard = Guard;
    f()
}

/// Whether a call of [`without_graph`] is in progress on this thread. Results of candle's own
/// operations must be detached then by who keeps them.
pub fn is_without_graph() -> bool {
    WITHOUT_GRAPH.get() > 0
}

/// The result of `compute` on one or more inputs, which it gets detached. If one of them is
/// tracked, the result is a node of the graph whose gradients `derivative` gives.
///
/// `compute` must make its result anew or return an input or a view of one, since the node takes
/// the result's storage for its own.
///
/// # Errors
/// Those of `compute`.
pub fn differentiable<E: From<candle_core::Error>>(
    inputs: &[&Tensor],
    compute: impl FnOnce(&[Tensor]) -> std::result::Result<Tensor, E>,
    derivative: impl Fn(&Backward) -> Result<Gradients> + Send + Sync + 'static,
) -> std::result::Result<Tensor, E> {
    let detached: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let output = compute(&detached)?;
    if is_without_graph() || !inputs.iter().any(|input| input.track_op()) {
        return Ok(output);
    }
    Ok(attach(output, inputs, Box::new(derivative))?)
}

type Derivative = Box<dyn Fn(&Backward) -> Result<Gradients> + Send + Sync>;

/// Puts `output`, which was computed from `inputs`, into their graph.
fn attach(output: Tensor, inputs: &[&Tensor], derivative: Derivative) -> Result<Tensor> {
    let shared = inputs.iter().any(|input| address(input) == address(&output));
    let whole = output.is_contiguous() && storage_length(&output) == Some(output.elem_count());
    let output = if shared || !whole { output.force_contiguous()? } else { output };
    match *inputs {
        [a] => a.apply_op1(Node::of(&output, derivative)?),
        [a, b] => a.apply_op2(b, Node::of(&output, derivative)?),
        [a, b, c] => a.apply_op3(b, c, Node::of(&output, derivative)?),
        _ => attach_many(&output, inputs, derivative),
    }
}

/// A node of any number of inputs, where candle has nodes of three at most. Each tracked input
/// becomes the input of a token, a node of one number, and the tokens together are the input of the
/// node. On the way back the node leaves the gradients where the tokens, whose turn comes next,
/// find them.
fn attach_many(output: &Tensor, inputs: &[&Tensor], derivative: Derivative) -> Result<Tensor> {
    let left: Arc<Mutex<Gradients>> = Arc::default();
    let tracked: Vec<bool> = inputs.iter().map(|input| input.track_op()).collect();
    let mut tokens = Vec::new();
    for (at, input) in inputs.iter().enumerate().filter(|(at, _)| tracked[*at]) {
        let left = left.clone();
        tokens.push(differentiable::<candle_core::Error>(
            &[input],
            |inputs| Tensor::zeros(1, inputs[0].dtype(), inputs[0].device()),
            move |_| Ok(vec![lock(&left).get_mut(at).and_then(Option::take)]),
        )?);
    }
    let tokens = Tensor::cat(&tokens, 0)?;
    let inputs: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let derivative = move |back: &Backward| {
        let inputs = inputs.clone();
        let (output, gradient) = (back.output.clone(), back.gradient);
        let all = Backward { inputs, output, gradient, tracked: tracked.clone() };
        *lock(&left) = derivative(&all)?;
        Ok(vec![Some(back.inputs[0].zeros_like()?)])
    };
    tokens.apply_op1(Node::of(output, Box::new(derivative))?)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn square(x: &Tensor) -> Result<Tensor> {
        differentiable::<candle_core::Error>(
            &[x],
            |inputs| inputs[0].sqr(),
            |back| {
                Ok(vec![back.of(0, || (back.gradient * (&back.inputs[0] * 2.0)?)?.contiguous())?])
            },
        )
    }

    #[test]
    fn a_node_has_the_value_and_the_gradient_of_its_operation() {
        let x = Var::new(&[1f64, -2.0, 3.0], &Device::Cpu).unwrap();
        let y = square(x.as_tensor()).unwrap();
        assert!(y.track_op());
        assert_eq!(y.to_vec1::<f64>().unwrap(), [1.0, 4.0, 9.0]);
        let gradients = y.sum_all().unwrap().backward().unwrap();
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
            let gradients = y.sum_all().unwrap().backward().unwrap();
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
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec2::<f64>().unwrap(), [[0.0, 0.0], [1.0, 1.0]]);
    }
}
