//! Functions of the lines along one dim that keep the shape: `softmax`, `log_softmax`, `cumsum`.

use candle_core::{DType, Tensor};
use candle_nn::ops;

use super::along_dim;
use super::along_dim::along;
use super::derivatives;
use super::dispatch::{floats, on_cpu};
use crate::Result;
use crate::kernel::elements::{Elements, Float};
use crate::kernel::half_precision;
use crate::kernel::softmax::Softmax;
use crate::tensor::shape::rearrange;
use crate::tensor::{Kind, Value, graph};

/// e^x / Σ e^x along `dim`.
///
/// # Errors
/// The tensor is not of a float dtype or does not have the dim.
pub fn softmax(value: &Value, dim: i64) -> Result<Value> {
    let compute =
        |value: &Value| normalise(value, dim, "softmax", f32::softmax, f64::softmax, ops::softmax);
    graph::operation(
        &[value],
        |inputs| compute(inputs[0]),
        move |back| back.of_one(|| derivatives::softmax(back, dim, false)),
    )
}

/// The logarithm of [`softmax`], exact also where that is near 0.
///
/// # Errors
/// The tensor is not of a float dtype or does not have the dim.
pub fn log_softmax(value: &Value, dim: i64) -> Result<Value> {
    let compute = |value: &Value| {
        normalise(value, dim, "log_softmax", f32::log_softmax, f64::log_softmax, ops::log_softmax)
    };
    graph::operation(
        &[value],
        |inputs| compute(inputs[0]),
        move |back| back.of_one(|| derivatives::softmax(back, dim, true)),
    )
}

/// `single` or `double` of each line along `dim` on the CPU, and `by_candle` of the whole tensor on
/// other devices.
fn normalise(
    value: &Value,
    dim: i64,
    call: &str,
    single: fn(&mut [f32]),
    double: fn(&mut [f64]),
    by_candle: fn(&Tensor, usize) -> candle_core::Result<Tensor>,
) -> Result<Value> {
    let (tensor, dim) = (floats(value, call)?, along_dim::dim(dim, value.dims())?);
    if value.numel() == 0 {
        return Ok(value.clone());
    }
    let out = match tensor.dtype() {
        DType::F32 if Elements::<f32>::fit(&tensor) => along(&tensor, dim, in_place(single))?,
        DType::F64 if Elements::<f64>::fit(&tensor) => along(&tensor, dim, in_place(double))?,
        _ => {
            let lines = if tensor.rank() == 0 { tensor.reshape(1)? } else { tensor };
            by_candle(&lines, dim)?.reshape(value.dims())?
        }
    };
    Ok(Value::Real(half_precision::round(&out, Kind::of(value).storage())?))
}

fn in_place<T: Copy>(f: fn(&mut [T])) -> impl Fn(&[T], &mut [T]) {
    move |line, out| {
        out.copy_from_slice(line);
        f(out);
    }
}

/// The sum of each element and those before it along `dim`. Bools and integers give i64, which
/// wraps.
///
/// # Errors
/// The tensor is complex or does not have the dim.
pub fn cumsum(value: &Value, dim: i64) -> Result<Value> {
    value.real("cumsum")?;
    let dim = along_dim::dim(dim, value.dims())?;
    graph::operation(
        &[value],
        |inputs| running_sums(inputs[0], dim),
        move |back| {
            back.of_one(|| {
                let gradient = derivatives::wide(&back.gradient)?;
                if gradient.rank() == 0 {
                    return Ok(gradient);
                }
                let turned = |value: &Value| rearrange::flip(value, &[dim as i64]);
                turned(&running_sums(&turned(&gradient)?, dim)?)
            })
        },
    )
}

fn running_sums(value: &Value, dim: usize) -> Result<Value> {
    if !value.device().is_cpu()
        && Kind::of(value).is_float()
        && value.rank() > 0
        && value.numel() > 0
    {
        let tensor = floats(value, "cumsum")?;
        return Ok(Value::Real(half_precision::round(
            &tensor.cumsum(dim)?,
            Kind::of(value).storage(),
        )?));
    }
    on_cpu(value, |value| {
        let kind = Kind::of(value);
        if kind.is_exact() {
            let whole = value.real("cumsum")?.to_dtype(DType::I64)?;
            let sums = along(&whole, dim, |row: &[i64], out: &mut [i64]| {
                running(row, out, 0, i64::wrapping_add, |x| x)
            })?;
            return Ok(Value::Real(sums));
        }
        let tensor = floats(value, "cumsum")?;
        let sums = match kind {
            Kind::F64 => along(&tensor, dim, running_floats::<f64>)?,
            _ => along(&tensor, dim, running_floats::<f32>)?,
        };
        Ok(Value::Real(half_precision::round(&sums, kind.storage())?))
    })
}

fn running_floats<T: Float>(row: &[T], out: &mut [T]) {
    running(row, out, 0.0, |sum, x| sum + x.into(), T::from_f64);
}

fn running<T: Copy, A: Copy>(
    row: &[T],
    out: &mut [T],
    zero: A,
    add: impl Fn(A, T) -> A,
    round: impl Fn(A) -> T,
) {
    let mut sum = zero;
    for (out, &x) in out.iter_mut().zip(row) {
        sum = add(sum, x);
        *out = round(sum);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tensor::elements;

    #[test]
    fn agrees_with_loops_along_each_dim() {
        let (a, b, c) = (3, 700, 2);
        let xs: Vec<f32> =
            (0..a * b * c).map(|i| ((i * 7919) % 1009) as f32 / 100.0 + 300.0).collect();
        let x = Value::Real(elements::from_vec(xs.clone(), &[a, b, c], &Device::Cpu).unwrap());
        for (dim, size, stride) in [(0, a, b * c), (1, b, c), (-1, c, 1)] {
            let flat = |out: Value| elements::to_vec::<f32>(out.real("test").unwrap()).unwrap();
            let (shares, logs) =
                (flat(softmax(&x, dim).unwrap()), flat(log_softmax(&x, dim).unwrap()));
            let sums = flat(cumsum(&x, dim).unwrap());
            for i in 0..xs.len() {
                let first = i - i / stride % size * stride;
                let row: Vec<f64> = (0..size).map(|k| f64::from(xs[first + k * stride])).collect();
                let log = f64::from(xs[i])
                    - row.iter().map(|x| (x - 300.0).exp()).sum::<f64>().ln()
                    - 300.0;
                assert!((f64::from(logs[i]) - log).abs() < 1e-5);
                assert!((f64::from(shares[i]) - log.exp()).abs() < 1e-6);
                let before: f64 = row[..=i / stride % size].iter().sum();
                assert!((f64::from(sums[i]) / before - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn candles_kernels_agree() {
        let x =
            Tensor::new(&[[1f32, 90., -3.], [f32::NEG_INFINITY, 0., 2.]], &Device::Cpu).unwrap();
        for dim in [0, 1] {
            for (here, there) in [
                (softmax(&x.clone().into(), dim), ops::softmax(&x, dim as usize)),
                (log_softmax(&x.clone().into(), dim), ops::log_softmax(&x, dim as usize)),
            ] {
                let here = elements::to_vec::<f32>(here.unwrap().real("test").unwrap()).unwrap();
                for (a, b) in
                    here.into_iter().zip(elements::to_vec::<f32>(&there.unwrap()).unwrap())
                {
                    assert!(a == b || (a - b).abs() < 1e-5, "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn a_single_number_is_a_line_of_one() {
        let three = Value::Real(Tensor::new(3f32, &Device::Cpu).unwrap());
        for (out, expected) in [
            (softmax(&three, 0), 1.0),
            (softmax(&three, -1), 1.0),
            (log_softmax(&three, 0), 0.0),
            (cumsum(&three, -1), 3.0),
        ] {
            let out = out.unwrap();
            assert_eq!(
                (out.rank(), elements::to_vec::<f32>(out.real("test").unwrap()).unwrap()),
                (0, vec![expected])
            );
        }
        assert_eq!(
            softmax(&three, 1).unwrap_err().message(),
            "dim 1 is out of range: the tensor has no dims, it is a single number"
        );
    }

    #[test]
    fn nothing_but_minus_infinity_is_nan() {
        let x = Value::Real(Tensor::new(&[f32::NEG_INFINITY; 2], &Device::Cpu).unwrap());
        for out in [softmax(&x, 0), log_softmax(&x, 0)] {
            assert!(
                elements::to_vec::<f32>(out.unwrap().real("test").unwrap())
                    .unwrap()
                    .iter()
                    .all(|x| x.is_nan())
            );
        }
        let whole = Value::Real(Tensor::new(&[1u8, 255, 255], &Device::Cpu).unwrap());
        let sums = cumsum(&whole, 0).unwrap();
        assert_eq!(elements::to_vec::<i64>(sums.real("test").unwrap()).unwrap(), [1, 256, 511]);
        assert_eq!(
            softmax(&whole, 0).unwrap_err().message(),
            "softmax needs a float tensor, not u8"
        );
    }
}
