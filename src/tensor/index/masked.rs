//! Bool tensors that choose elements: `masked_fill`, `where`, `nonzero`.

use candle_core::Tensor;

use crate::tensor::operand::Operand;
use crate::tensor::{
    Complex, Kind, Value, creation, device, dims, dtype, elements, graph, operand,
};
use crate::{Result, bail, error};

/// `torch.masked_fill`: a copy of `value` with `fill` where `mask`, broadcast to its shape, is
/// true.
///
/// # Errors
/// `mask` is not a bool tensor or does not broadcast to the shape of `value`; `fill` has dims, or
/// the dtype of `value` cannot hold it.
pub fn masked_fill(value: &Value, mask: &Value, fill: Operand) -> Result<Value> {
    let Value::Bool(mask) = mask else {
        return Err(error!(
            "masked_fill needs a bool tensor for its mask, not {}",
            Kind::of(mask).name()
        )
        .help("compare first, as in x.masked_fill(x > 0.0, 1.0)"));
    };
    if !fill.dims().is_empty() {
        bail!("masked_fill fills with one number, not a tensor {:?}", fill.dims());
    }
    if dims::broadcast(value.dims(), mask.dims(), "masked_fill")? != value.dims() {
        bail!("masked_fill: a mask {:?} is larger than the tensor {:?}", mask.dims(), value.dims());
    }
    if let Operand::Number(number) = fill {
        number.check_holds(Kind::of(value))?;
    }
    let mask = device::transfer(mask, value.device())?;
    choose(&mask, &fill.value(Kind::of(value), value.device())?, value)
}

/// `torch.where`: the elements of `a` where `condition` is true, else those of `b`, all three
/// broadcast. The dtype is that of [`operand::promote`].
///
/// # Errors
/// `condition` is not a bool tensor; the shapes do not broadcast; the tensors are on different
/// devices.
pub fn where_(condition: &Value, a: Operand, b: Operand) -> Result<Value> {
    let Value::Bool(mask) = condition else {
        return Err(error!("where needs a bool tensor first, not {}", Kind::of(condition).name())
            .help("compare first, as in where(x > 0.0, x, 0.0)"));
    };
    let kind = operand::promote(a, b);
    let device = condition.device();
    for side in [a, b] {
        if let Operand::Tensor(_) = side {
            operand::common_device(Operand::Tensor(condition), side, "where")?;
        }
    }
    choose(mask, &a.value(kind, device)?, &b.value(kind, device)?)
}

/// [`where_`] for a `mask` of u8 (0 or 1) and two values of one dtype, all on one device.
///
/// # Errors
/// The shapes do not broadcast.
pub(crate) fn choose(mask: &Tensor, a: &Value, b: &Value) -> Result<Value> {
    let condition = Value::Bool(mask.clone());
    graph::operation(
        &[a, b],
        |inputs| chosen(mask, inputs[0], inputs[1]),
        move |back| {
            let (none, gradient) = (Operand::from(0.0), Operand::from(&back.gradient));
            Ok(vec![
                back.of(0, || where_(&condition, gradient, none))?,
                back.of(1, || where_(&condition, none, gradient))?,
            ])
        },
    )
}

fn chosen(mask: &Tensor, a: &Value, b: &Value) -> Result<Value> {
    let both = dims::broadcast(a.dims(), b.dims(), "where")?;
    let shape = dims::broadcast(mask.dims(), &both, "where")?;
    if shape.contains(&0) {
        return creation::zeros(&shape, Kind::of(a), mask.device());
    }
    let mask = mask.broadcast_as(shape.as_slice())?;
    let pick = |a: &Tensor, b: &Tensor| {
        mask.where_cond(&a.broadcast_as(shape.as_slice())?, &b.broadcast_as(shape.as_slice())?)
    };
    Ok(match (a, b) {
        (Value::Complex(a), Value::Complex(b)) => {
            Value::Complex(Complex { re: pick(&a.re, &b.re)?, im: pick(&a.im, &b.im)? })
        }
        (Value::Bool(a), Value::Bool(b)) => Value::Bool(pick(a, b)?),
        (a, b) => Value::Real(pick(a.real("where")?, b.real("where")?)?),
    })
}

/// `torch.nonzero`: the positions of the elements that are not 0, i64 of shape `[count, rank]`.
///
/// # Errors
/// There is no memory for it.
pub fn nonzero(value: &Value) -> Result<Value> {
    let columns = nonzero_columns(value)?;
    let count = columns.first().map_or(0, Vec::len);
    let rows = (0..count).flat_map(|i| columns[..value.rank()].iter().map(move |column| column[i]));
    Ok(Value::Real(elements::from_vec(rows.collect(), &[count, value.rank()], value.device())?))
}

/// The positions of the elements that are not 0: one vector for each dim, and a last one with their
/// offsets in row-major order.
///
/// # Errors
/// The copy to the host fails.
pub(crate) fn nonzero_columns(value: &Value) -> Result<Vec<Vec<i64>>> {
    let mask = dtype::cast(value, Kind::Bool)?;
    let mask = elements::to_vec::<u8>(mask.real("nonzero")?)?;
    let flat: Vec<i64> = (0i64..).zip(&mask).filter(|(_, b)| **b != 0).map(|(i, _)| i).collect();
    let strides = dims::strides(value.dims());
    let column = |(&stride, &size): (&usize, &usize)| {
        flat.iter().map(|i| i / stride as i64 % size as i64).collect()
    };
    let mut columns: Vec<Vec<i64>> = strides.iter().zip(value.dims()).map(column).collect();
    columns.push(flat);
    Ok(columns)
}
