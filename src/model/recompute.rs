//! Gradient checkpointing (Chen et al. 2016): of a block nothing but its input is kept for the way
//! back, where the block is computed again.

use candle_core::{Tensor, Var};

use super::attention_inputs::LayerInputs;
use super::block::Block;
use super::decoder::Options;
use super::kv_cache::Past;
use super::tap::{Halt, Tap};
use crate::hook::{SiteSet, Unobserved};
use crate::kernel::differentiable::{Backward, Gradients, backward, differentiable, without_graph};
use crate::{Error, Result};

/// What [`Block::add`] of a layer gives for the stream x [b, n, d], without hooks and without a cache.
///
/// # Errors
/// candle's.
pub fn recomputed(block: &Block, layer: usize, x: &Tensor, inputs: &LayerInputs) -> Result<Tensor> {
    let mut weights = Vec::new();
    let frozen = block.map(&mut |weight| {
        if weight.track_op() {
            weights.push(weight.clone());
        }
        Ok(weight.clone())
    })?;
    let all: Vec<&Tensor> = std::iter::once(x).chain(&weights).collect();
    let again = inputs.clone();
    differentiable(
        &all,
        |given| without_graph(|| alone(block, layer, &given[0], inputs)),
        move |back| derivative(&frozen, layer, &again, back).map_err(candle_core::Error::wrap),
    )
}

/// Computes the block again from its input, and goes back through it.
fn derivative(
    block: &Block,
    layer: usize,
    inputs: &LayerInputs,
    back: &Backward,
) -> Result<Gradients> {
    let roots =
        back.inputs.iter().map(Var::from_tensor).collect::<candle_core::Result<Vec<_>>>()?;
    let mut weights = roots[1..].iter();
    let block = block.map(&mut |weight| {
        let root = weight.track_op().then(|| weights.next()).flatten();
        Ok(root.map_or_else(|| weight.clone(), |root| root.as_tensor().clone()))
    })?;
    let y = alone(&block, layer, roots[0].as_tensor(), inputs)?;
    let found = backward(&(y * back.gradient)?.sum_all()?)?;
    Ok(roots.iter().map(|root| found.get(root).cloned()).collect())
}

fn alone(block: &Block, layer: usize, x: &Tensor, inputs: &LayerInputs) -> Result<Tensor> {
    let mut observer = Unobserved;
    let mut tap = Tap::new(&mut observer, SiteSet::new(layer + 1), &Options::default());
    tap.layer = Some(layer);
    match block.add(x.clone(), inputs, Past::NONE, &mut tap) {
        Ok(x) => Ok(x),
        Err(Halt::Failed(error)) => Err(error),
        Err(Halt::Stopped(_)) => Err(Error::new("a block alone does not stop")),
    }
}
