//! What a tracked tensor is to the operations that are computed from it: a token, by which candle orders
//! the way back, and a place for its gradients.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use candle_core::{DType, Result, Shape, Tensor, TensorId, bail};

use super::node;
use super::way_back::{is_in_progress, present};
use crate::sum::sum;

/// Where the gradients with regard to one tensor are added up.
pub struct Sink {
    shape: Shape,
    dtype: DType,
    /// The sum of each way back in progress.
    sums: Mutex<Vec<(u64, Tensor)>>,
}

impl Sink {
    pub fn of(x: &Tensor) -> Self {
        Self { shape: x.shape().clone(), dtype: x.dtype(), sums: Mutex::default() }
    }

    /// Adds a gradient that the present way back computed.
    ///
    /// # Errors
    /// It has not the tensor's shape and dtype.
    pub fn add(&self, gradient: &Tensor) -> Result<()> {
        let (shape, dtype) = (gradient.shape(), gradient.dtype());
        if *shape != self.shape || dtype != self.dtype {
            bail!(
                "a gradient {shape:?} of {dtype:?} for a tensor {:?} of {:?}",
                self.shape,
                self.dtype
            )
        }
        let (gradient, now) = (gradient.detach(), present());
        let mut sums = lock(&self.sums);
        sums.retain(|(run, _)| is_in_progress(*run));
        match sums.iter_mut().find(|(run, _)| *run == now) {
            Some((_, so_far)) => *so_far = sum(so_far, &gradient)?,
            None => sums.push((now, gradient.contiguous()?)),
        }
        Ok(())
    }

    /// The sum of the present way back, which is given once.
    pub fn take(&self) -> Option<Tensor> {
        let (now, mut sums) = (present(), lock(&self.sums));
        let at = sums.iter().position(|(run, _)| *run == now)?;
        Some(sums.swap_remove(at).1)
    }
}

/// A tracked tensor as the operations see it that are computed from it.
pub struct Source {
    /// The tensor's.
    pub id: TensorId,
    /// A node of one number. Its turn on the way back comes after that of everything that is computed
    /// from the tensor.
    pub token: Tensor,
    /// What the token takes its gradient from when its turn comes.
    pub sink: Arc<Sink>,
}

/// The sources that are in use, so that all operations on a tensor share one. Without its entry here a
/// source is found anew: nothing but the time depends on it.
static SOURCES: LazyLock<Mutex<HashMap<TensorId, Weak<Source>>>> = LazyLock::new(Mutex::default);

impl Source {
    /// That of the tensor of this id.
    pub fn new(id: TensorId, token: Tensor, sink: Arc<Sink>) -> Arc<Self> {
        let source = Arc::new(Self { id, token, sink });
        lock(&SOURCES).insert(id, Arc::downgrade(&source));
        source
    }

    /// That of a tracked tensor. For a variable and for what candle computed it is an entrance, by which
    /// the gradients go on to candle.
    ///
    /// # Errors
    /// candle's.
    pub fn of(x: &Tensor) -> Result<Arc<Self>> {
        let known = lock(&SOURCES).get(&x.id()).and_then(Weak::upgrade);
        match known {
            Some(known) => Ok(known),
            None => {
                let sink = Arc::new(Sink::of(x));
                Ok(Self::new(x.id(), node::entrance(x, sink.clone())?, sink))
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        lock(&SOURCES).remove(&self.id);
    }
}

/// Gives a variable a source of its own in graphs to come: it has moved, and graphs that are there
/// already are of its old numbers.
pub fn forget(variable: &Tensor) {
    lock(&SOURCES).remove(&variable.id());
}

pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
