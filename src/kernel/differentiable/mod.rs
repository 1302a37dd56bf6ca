//! Operations with a derivative of their own.
//!
//! candle records an operation as a node of its graph of gradients if one of its inputs is tracked:
//! a variable, or computed from one. The loops of this crate take only tensors outside of any graph.
//! [`differentiable`] joins the two: the operation computes with detached inputs, as fast as without
//! gradients, and its result is put into the graph together with its derivative.
//!
//! candle fills a tensor with zeros for each tensor of the graph and adds every gradient to it, on one
//! thread. Gradients that pass from one of these operations to another do not go through candle: each
//! result is a node behind a token, a node of one number, by which candle orders the way back, and the
//! gradients themselves are gathered in a `Sink`.

mod node;
mod source;
#[cfg(test)]
mod tests;
pub mod watch;
mod way_back;

use std::cell::Cell;

use candle_core::{Result, Tensor};

pub use source::forget;
pub use way_back::backward;

/// The gradients with regard to the inputs of an operation, in their order and shapes; `None` for
/// one that is not asked for or on which the result does not depend.
pub type Gradients = Vec<Option<Tensor>>;

/// What a derivative is computed from.
pub struct Backward<'a> {
    /// The inputs of the operation, detached.
    pub inputs: Vec<Tensor>,
    /// Its result, detached.
    pub output: Tensor,
    /// The gradient with regard to the result, in its shape, contiguous.
    pub gradient: &'a Tensor,
    tracked: Vec<bool>,
}

impl Backward<'_> {
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
/// tracked, the result is a node of the graph whose gradients `derivative` gives; [`backward`] goes
/// back through it.
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
    Ok(node::attach(output, inputs, detached, Box::new(derivative))?)
}
