//! The nodes of candle's graph by which operations with a derivative of their own are part of it.

use std::sync::{Arc, Mutex, OnceLock};

#[cfg(feature = "cuda")]
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, Layout, Result, Shape,
    Storage, Tensor, TensorId, bail,
};

use super::source::{Sink, Source, lock};
use super::watch::show;
use super::{Backward, Gradients};
use crate::elements::address;

pub type Derivative = Box<dyn Fn(&Backward) -> Result<Gradients> + Send + Sync>;

/// Puts `output`, which was computed from `inputs`, into their graph. `detached` are the inputs
/// outside of it.
///
/// # Errors
/// candle's.
pub fn attach(
    output: Tensor,
    inputs: &[&Tensor],
    detached: Vec<Tensor>,
    derivative: Derivative,
) -> Result<Tensor> {
    let shared = inputs.iter().any(|input| address(input) == address(&output));
    let whole = output.is_contiguous() && storage_length(&output) == Some(output.elem_count());
    let output = if shared || !whole { output.force_contiguous()? } else { output };
    let (shape, sink) = (output.shape().clone(), Arc::new(Sink::of(&output)));
    let taken = Taken::default();
    output.inplace_op1(&taken)?;

    let of_input = |input: &&Tensor| input.track_op().then(|| Source::of(input)).transpose();
    let sources = inputs.iter().map(of_input).collect::<Result<Vec<_>>>()?;
    let tokens: Vec<Tensor> = sources.iter().flatten().map(|source| source.token.clone()).collect();
    let step = Arc::new(Step {
        inputs: detached,
        sources,
        output: OnceLock::new(),
        id: OnceLock::new(),
        sink: sink.clone(),
        derivative,
    });
    let token = token_of(&tokens, Token { step: Some(step.clone()) })?;
    let source = Arc::default();
    let value = Value { taken, shape, sink: sink.clone(), source: Arc::clone(&source) };
    let result = token.apply_op1(value)?;
    // All are set once.
    let _ = step.output.set(result.detach());
    let _ = step.id.set(result.id());
    let _ = source.set(Source::new(result.id(), token, sink));
    Ok(result)
}

/// The token of a tensor that no node of this module made. On the way back what is in `sink` goes on to
/// the tensor.
///
/// # Errors
/// candle's.
pub fn entrance(x: &Tensor, sink: Arc<Sink>) -> Result<Tensor> {
    x.apply_op1(Entrance(sink))
}

/// A token computed from one or more others. candle has nodes of three inputs at most.
fn token_of(tokens: &[Tensor], node: Token) -> Result<Tensor> {
    match tokens {
        [] => bail!("a node of the graph has an input in it"),
        [a] => a.apply_op1(node),
        [a, b] => a.apply_op2(b, node),
        [a, b, c] => a.apply_op3(b, c, node),
        [a, b, rest @ ..] => a.apply_op3(b, &token_of(rest, Token { step: None })?, node),
    }
}

/// An operation, for the way back.
struct Step {
    inputs: Vec<Tensor>,
    /// Those of the tracked inputs.
    sources: Vec<Option<Arc<Source>>>,
    output: OnceLock<Tensor>,
    /// The number of the output in the graph.
    id: OnceLock<TensorId>,
    /// Where the gradients with regard to the output are.
    sink: Arc<Sink>,
    derivative: Derivative,
}

impl Step {
    /// Adds to the gradients of the inputs what they get by this operation.
    fn go_back(&self) -> Result<()> {
        let (Some(gradient), Some(output)) = (self.sink.take(), self.output.get()) else {
            // Nothing that was gone back through depends on the output.
            return Ok(());
        };
        if let Some(&id) = self.id.get() {
            show(id, &gradient);
        }
        let gradients = (self.derivative)(&Backward {
            inputs: self.inputs.clone(),
            output: output.clone(),
            gradient: &gradient,
            tracked: self.sources.iter().map(Option::is_some).collect(),
        })?;
        if gradients.len() != self.sources.len() {
            bail!("a derivative gives as many gradients as there are inputs")
        }
        for (source, gradient) in self.sources.iter().zip(gradients) {
            if let (Some(source), Some(gradient)) = (source, gradient) {
                show(source.id, &gradient);
                source.sink.add(&gradient)?;
            }
        }
        Ok(())
    }
}

/// The node of a token. With a step, its turn on the way back is that of the operation.
struct Token {
    step: Option<Arc<Step>>,
}

impl Token {
    fn go_back<const N: usize>(&self, tokens: [&Tensor; N]) -> Result<[Option<Tensor>; N]> {
        if let Some(step) = &self.step {
            step.go_back()?;
        }
        // candle asks for a gradient of every node that it passes.
        let mut gradients = [const { None }; N];
        for (gradient, token) in gradients.iter_mut().zip(tokens) {
            *gradient = Some(token.zeros_like()?);
        }
        Ok(gradients)
    }
}

/// The node of an operation's result, behind its token.
struct Value {
    taken: Taken,
    shape: Shape,
    sink: Arc<Sink>,
    /// Kept as long as the result is there.
    source: Arc<OnceLock<Arc<Source>>>,
}

/// The node of the token of a tensor that candle knows.
struct Entrance(Arc<Sink>);

const NAME: &str = "differentiable";

/// A token's storage and shape.
fn on_cpu() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.0]), Shape::from(1))
}

#[cfg(feature = "cuda")]
fn on_cuda(like: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    let shape = Shape::from(1);
    Ok((like.device().zeros_impl(&shape, candle_core::DType::F32)?, shape))
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    bail!("this build has no CUDA")
}

impl CustomOp1 for Entrance {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(on_cpu())
    }

    fn cuda_fwd(&self, like: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(like)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        match self.0.take() {
            None if !x.is_variable() => Ok(Some(x.detach().zeros_like()?)),
            gradient => Ok(gradient),
        }
    }
}

impl CustomOp1 for Value {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((take(&self.taken.cpu)?, self.shape.clone()))
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((take(&self.taken.cuda)?, self.shape.clone()))
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        debug_assert!(self.source.get().is_some(), "set when the node was made");
        self.sink.add(gradient)?;
        Ok(Some(token.zeros_like()?))
    }
}

impl CustomOp1 for Token {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(on_cpu())
    }

    fn cuda_fwd(&self, like: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(like)
    }

    fn bwd(&self, a: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.go_back([a])?;
        Ok(a)
    }
}

impl CustomOp2 for Token {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(on_cpu())
    }

    fn cuda_fwd(
        &self,
        like: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(like)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.go_back([a, b])?;
        Ok((a, b))
    }
}

impl CustomOp3 for Token {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(on_cpu())
    }

    fn cuda_fwd(
        &self,
        like: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(like)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.go_back([a, b, c])?;
        Ok((a, b, c))
    }
}

/// The number of elements in the storage of a tensor on the CPU.
fn storage_length(x: &Tensor) -> Option<usize> {
    let (storage, _layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(all)) => Some(all.len()),
        Storage::Cpu(CpuStorage::F64(all)) => Some(all.len()),
        Storage::Cpu(CpuStorage::F16(all)) => Some(all.len()),
        Storage::Cpu(CpuStorage::BF16(all)) => Some(all.len()),
        _ => None,
    }
}

/// Takes the storage out of a tensor without a copy, and leaves it an empty one.
#[derive(Default)]
struct Taken {
    cpu: Mutex<Option<CpuStorage>>,
    cuda: Mutex<Option<CudaStorage>>,
}

impl InplaceOp1 for Taken {
    fn name(&self) -> &'static str {
        "take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        let empty = CpuStorage::U8(Vec::new());
        put(&self.cpu, std::mem::replace(storage, empty));
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let empty = storage.device().zeros_impl(&Shape::from(1), candle_core::DType::U8)?;
        put(&self.cuda, std::mem::replace(storage, empty));
        let _ = layout;
        Ok(())
    }
}

fn put<T>(slot: &Mutex<Option<T>>, value: T) {
    *lock(slot) = Some(value);
}

fn take<T>(slot: &Mutex<Option<T>>) -> Result<T> {
    match lock(slot).take() {
        Some(taken) => Ok(taken),
        None => bail!("the result of a node was computed on another device than its inputs"),
    }
}
