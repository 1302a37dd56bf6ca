//! The layers of `torch.nn.functional` that scripts have: `layer_norm`, `rms_norm` and `one_hot`.

use candle_core::{DType, Device, Tensor};

use super::elements;
use super::reduce::dispatch::floats;
use super::{Kind, Value, device, dims};
use crate::kernel::half_precision;
use crate::kernel::norm::Norm;
use crate::{Result, bail, error};

/// The layer norm over the last dim: (x − mean) / √(variance + eps) · weight + bias. Weight and bias
/// have the size of that dim.
///
/// # Errors
/// The tensor is not of a float dtype, or a weight or bias has another size.
pub fn layer_norm(
    x: &Value,
    weight: Option<&Value>,
    bias: Option<&Value>,
    eps: f64,
) -> Result<Value> {
    let norm = Norm { centred: true, eps, weight: None, bias: None };
    normalise(x, weight, bias, "layer_norm", norm)
}

/// The RMS norm over the last dim: x / √(mean of x² + eps) · weight. The default of `eps` is the
/// machine epsilon of the dtype in which the norm is computed, f32 or f64.
///
/// # Errors
/// The tensor is not of a float dtype, or the weight has another size than the last dim.
pub fn rms_norm(x: &Value, weight: Option<&Value>, eps: Option<f64>) -> Result<Value> {
    let eps =
        eps.unwrap_or(if Kind::of(x) == Kind::F64 { f64::EPSILON } else { f32::EPSILON.into() });
    let norm = Norm { centred: false, eps, weight: None, bias: None };
    normalise(x, weight, None, "rms_norm", norm)
}

/// `norm` of x with this weight and bias.
fn normalise(
    x: &Value,
    weight: Option<&Value>,
    bias: Option<&Value>,
    call: &str,
    norm: Norm,
) -> Result<Value> {
    check_eps(call, norm.eps)?;
    let (tensor, size) = (floats(x, call)?, last_dim(x, call)?);
    let row = |name: &str, row: Option<&Value>| -> Result<Option<Tensor>> {
        let Some(row) = row else { return Ok(None) };
        if row.dims() != [size] {
            bail!(
                "{call}: a {name} for the last dim of a tensor {:?} has shape [{size}], not {:?}",
                x.dims(),
                row.dims()
            );
        }
        let row = floats(row, call)?.to_dtype(tensor.dtype())?;
        Ok(Some(device::transfer(&row, tensor.device())?))
    };
    let (weight, bias) = (row("weight", weight)?, row("bias", bias)?);
    if x.numel() == 0 {
        return Ok(x.clone());
    }
    let norm = Norm { weight: weight.as_ref(), bias: bias.as_ref(), ..norm };
    let out = norm.apply(&tensor.contiguous()?)?;
    Ok(Value::Real(half_precision::round(&out, Kind::of(x).storage())?))
}

/// # Errors
/// `eps` is negative or not finite.
fn check_eps(call: &str, eps: f64) -> Result<()> {
    if !(0.0..=f64::MAX).contains(&eps) {
        bail!("{call}: eps must be 0 or more, not {eps}");
    }
    Ok(())
}

pub(super) fn last_dim(value: &Value, call: &str) -> Result<usize> {
    let last = value.dims().last().copied();
    last.ok_or_else(|| error!("{call} works along the last dim, and a single number has none"))
}

/// A row of `classes` elements for each id, 1 at the id and 0 elsewhere, in i64. The default of
/// `classes` is the largest id plus 1.
///
/// # Errors
/// Ids are not integers, negative or not below `classes`; or there are neither ids nor `classes`.
pub fn one_hot(ids: &Value, classes: Option<i64>) -> Result<Value> {
    let numbers = whole(ids, "one_hot")?;
    let classes = match (classes, numbers.iter().max()) {
        (Some(classes), _) => classes,
        (None, Some(&most)) => most.saturating_add(1),
        (None, None) => {
            bail!("one_hot of no ids needs the number of classes, as in one_hot(ids, 10)")
        }
    };
    if let Some(id) = numbers.iter().find(|&&id| id < 0 || id >= classes) {
        bail!("one_hot: id {id} is none of {} classes", classes.max(0));
    }
    let mut shape: Vec<i64> = ids.dims().iter().map(|&size| size as i64).collect();
    shape.push(classes);
    let shape = dims::shape(&shape)?;
    let mut out = vec![0i64; shape.iter().product()];
    for (row, id) in numbers.into_iter().enumerate() {
        out[row * classes as usize + id as usize] = 1;
    }
    Ok(Value::Real(elements::from_vec(out, &shape, &Device::Cpu)?.to_device(ids.device())?))
}

/// The elements of a tensor of integers.
pub(super) fn whole(ids: &Value, call: &str) -> Result<Vec<i64>> {
    let kind = Kind::of(ids);
    if !matches!(kind, Kind::U8 | Kind::U32 | Kind::I64) {
        return Err(error!("{call} needs integers for ids, not {}", kind.name())
            .help("convert them, with .to(\"i64\")"));
    }
    elements::to_vec::<i64>(&ids.real(call)?.to_dtype(DType::I64)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::testing::{flat, ids, message, value};

    #[test]
    fn norms_agree_with_loops_even_far_from_zero() {
        let size = 768;
        for far in [0.0, 1e4] {
            let xs: Vec<f32> =
                (0..2 * size).map(|i| far + ((i * 7919) % 1009) as f32 / 500.0).collect();
            let row: Vec<f32> = (0..size).map(|i| i as f32 / 100.0).collect();
            let (x, w) = (value(&xs, &[2, size]), value(&row, &[size]));
            let (centred, scaled) = (
                flat(layer_norm(&x, Some(&w), Some(&w), 1e-5)),
                flat(rms_norm(&x, Some(&w), Some(1e-6))),
            );
            // The same by candle's operations, as on other devices and with gradients.
            let variable = candle_core::Var::from_tensor(x.real("test").unwrap()).unwrap();
            let by_candle = |centred, eps| {
                let norm = Norm { centred, eps, weight: None, bias: None };
                elements::to_vec::<f32>(&norm.apply(&variable).unwrap()).unwrap()
            };
            let (there, scaled_there) = (by_candle(true, 1e-5), by_candle(false, 1e-6));
            for (i, &x) in xs.iter().enumerate() {
                let whole: Vec<f64> =
                    xs[i / size * size..][..size].iter().map(|&x| x.into()).collect();
                let mean = whole.iter().sum::<f64>() / size as f64;
                let var = whole.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
                let square = whole.iter().map(|x| x * x).sum::<f64>() / size as f64;
                let (w, x) = (f64::from(row[i % size]), f64::from(x));
                let (near, share) = ((x - mean) / (var + 1e-5).sqrt(), x / (square + 1e-6).sqrt());
                assert!((f64::from(centred[i]) - (near * w + w)).abs() < 1e-5);
                assert!((f64::from(scaled[i]) - share * w).abs() < 1e-5);
                assert!((f64::from(there[i]) - near).abs() < 1e-4);
                assert!((f64::from(scaled_there[i]) - share).abs() < 1e-5);
            }
        }
        let x = value(&[1., 2., 3.], &[3]);
        assert_eq!(
            message(layer_norm(&x, Some(&value(&[1.], &[1])), None, 1e-5)),
            "layer_norm: a weight for the last dim of a tensor [3] has shape [3], not [1]"
        );
        assert_eq!(
            message(rms_norm(&ids(&[1]), None, None)),
            "rms_norm needs a float tensor, not i64"
        );
    }

    #[test]
    fn wrong_ids_are_one_sentence() {
        assert_eq!(
            message(one_hot(&value(&[1.], &[1]), None)),
            "one_hot needs integers for ids, not f32"
        );
        assert_eq!(message(one_hot(&ids(&[0, 3]), Some(3))), "one_hot: id 3 is none of 3 classes");
        assert_eq!(message(one_hot(&ids(&[-1]), None)), "one_hot: id -1 is none of 0 classes");
        assert_eq!(
            elements::to_vec::<i64>(one_hot(&ids(&[1, 0]), None).unwrap().real("test").unwrap())
                .unwrap(),
            [0, 1, 1, 0]
        );
    }
}
