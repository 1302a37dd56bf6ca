//! Operations on values that bring their own derivative.
//!
//! [`operation`] is [`differentiable`] for values of any dtype: a complex value enters the graph of
//! gradients as one tensor of its real and its imaginary parts. The gradient of a complex value z is
//! ∂L/∂re + i ∂L/∂im of the real loss L, as in PyTorch, so that an operation that multiplies by w
//! multiplies the gradient by the conjugate of w.
//!
//! What computes a derivative has detached values, so that the fast loops of this crate take them.

use candle_core::Tensor;

use super::reduce::over::Over;
use super::reduce::sums;
use super::{Complex, Value};
use crate::Result;
use crate::kernel::differentiable::{differentiable, is_without_graph};

/// What a derivative is computed from.
pub(crate) struct Back<'a> {
    /// The inputs of the operation, detached.
    pub inputs: Vec<Value>,
    /// Its result, detached.
    pub output: Value,
    /// The gradient with regard to the result, in its shape and dtype.
    pub gradient: Value,
    wanted: &'a [bool],
}

/// The gradients with regard to the inputs, in their order. One may have the shape that its input
/// was broadcast to, or another float dtype; that of a real input may be complex, which stands for
/// its real part.
pub(crate) type Gradients = Vec<Option<Value>>;

impl Back<'_> {
    /// The gradient of one input, which `gradient` computes only if it is asked for.
    ///
    /// # Errors
    /// Those of `gradient`.
    pub fn of(
        &self,
        input: usize,
        gradient: impl FnOnce() -> Result<Value>,
    ) -> Result<Option<Value>> {
        if self.wanted[input] { gradient().map(Some) } else { Ok(None) }
    }

    /// The gradient of the only input.
    ///
    /// # Errors
    /// Those of `gradient`.
    pub fn of_one(&self, gradient: impl FnOnce() -> Result<Value>) -> Result<Gradients> {
        Ok(vec![self.of(0, gradient)?])
    }
}

/// The result of `compute` on one to three inputs. If one of them is tracked, it gets them detached,
/// and its result becomes a node of their graph whose gradients `derivative` gives.
///
/// # Errors
/// Those of `compute`.
pub(crate) fn operation(
    inputs: &[&Value],
    compute: impl FnOnce(&[&Value]) -> Result<Value>,
    derivative: impl Fn(&Back) -> Result<Gradients> + Send + Sync + 'static,
) -> Result<Value> {
    if !inputs.iter().any(|input| input.is_tracked()) {
        return compute(inputs);
    }
    let detached: Vec<Value> = inputs.iter().map(|input| input.detach()).collect();
    let output = compute(&detached.iter().collect::<Vec<_>>())?;
    if is_without_graph() {
        return Ok(output);
    }
    if matches!(output, Value::Bool(_)) || output.numel() == 0 {
        return Ok(output);
    }
    let complex: Vec<bool> = inputs.iter().map(|input| is_complex(input)).collect();
    let wanted: Vec<bool> = inputs.iter().map(|input| input.is_tracked()).collect();
    let is_output_complex = is_complex(&output);
    let packed = inputs.iter().map(|input| pack(input)).collect::<Result<Vec<Tensor>>>()?;
    let result = pack(&output)?;
    drop(output);
    let node = differentiable::<crate::Error>(
        &packed.iter().collect::<Vec<_>>(),
        |_| Ok(result),
        move |back| {
            let mut inputs = Vec::with_capacity(complex.len());
            for (tensor, &complex) in back.inputs.iter().zip(&complex) {
                inputs.push(unpack(tensor, complex)?);
            }
            let output = unpack(&back.output, is_output_complex)?;
            let gradient = unpack(&back.gradient.detach(), is_output_complex)?;
            let own = Back { inputs, output, gradient, wanted: &wanted };
            let gradients = derivative(&own).map_err(candle)?;
            let fitted = gradients.into_iter().zip(&own.inputs).map(|(gradient, input)| {
                gradient.map(|gradient| fitted(gradient, input)).transpose().map_err(candle)
            });
            fitted.collect()
        },
    )?;
    Ok(unpack(&node, is_output_complex)?)
}

/// [`operation`] on one input whose gradient is 0 everywhere.
///
/// # Errors
/// Those of `compute`.
pub(crate) fn constant(
    input: &Value,
    compute: impl FnOnce(&Value) -> Result<Value>,
) -> Result<Value> {
    operation(
        &[input],
        |inputs| compute(inputs[0]),
        |back| back.of_one(|| back.inputs[0].map(Tensor::zeros_like)),
    )
}

fn candle(error: crate::Error) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}

fn is_complex(value: &Value) -> bool {
    matches!(value, Value::Complex(_))
}

/// The tensor of a value; of a complex one [2, …], the real parts before the imaginary ones.
fn pack(value: &Value) -> Result<Tensor> {
    Ok(match value {
        Value::Real(t) | Value::Bool(t) => t.clone(),
        Value::Complex(c) => Tensor::stack(&[&c.re, &c.im], 0)?,
    })
}

fn unpack(tensor: &Tensor, complex: bool) -> candle_core::Result<Value> {
    if !complex {
        return Ok(Value::Real(tensor.clone()));
    }
    let part = |at: usize| tensor.narrow(0, at, 1)?.squeeze(0);
    Ok(Value::Complex(Complex { re: part(0)?, im: part(1)? }))
}

/// A gradient in the shape and dtype of the input that it belongs to, as [`pack`] makes one tensor
/// of it.
fn fitted(gradient: Value, input: &Value) -> Result<Tensor> {
    let gradient = match (gradient, input) {
        (Value::Complex(c), Value::Real(_)) => Value::Real(c.re),
        (Value::Real(re), Value::Complex(_)) => {
            Value::Complex(Complex { im: re.zeros_like()?, re })
        }
        (gradient, _) => gradient,
    };
    let dtype = input.parts()[0].dtype();
    pack(&sum_to(&gradient, input.dims())?.map(|t| t.to_dtype(dtype)?.contiguous())?)
}

/// The sum over the dims along which a value of shape `dims` was broadcast.
///
/// # Errors
/// `dims` does not broadcast to the value's shape, or the other way round.
pub(crate) fn sum_to(value: &Value, dims: &[usize]) -> Result<Value> {
    if value.dims() == dims {
        return Ok(value.clone());
    }
    let wide = match value.rank() < dims.len() || value.numel() < dims.iter().product() {
        true => value.map(|t| t.broadcast_as(dims))?,
        false => value.clone(),
    };
    let added = wide.rank() - dims.len();
    let summed: Vec<i64> = (0..wide.rank())
        .filter(|&i| i < added || (dims[i - added] == 1 && wide.dims()[i] != 1))
        .map(|i| i as i64)
        .collect();
    if summed.is_empty() {
        return Ok(wide);
    }
    let sum = sums::sum(&wide, Over { dims: Some(&summed), keepdim: true })?;
    sum.map(|t| t.reshape(dims))
}
