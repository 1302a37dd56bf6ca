//! The layers and losses of `torch.nn.functional` that scripts have: `layer_norm`, `rms_norm`,
//! `cross_entropy`, `kl_divergence` and `one_hot`.

use candle_core::{DType, Device, Tensor};
use candle_nn::ops;

use super::elements::{self, with_slice};
use super::reduce::accumulator::{Bounded, LogSumExp};
use super::reduce::by_candle;
use super::reduce::dispatch::{floats, fold_float, rounded};
use super::reduce::fold::{BLOCK, Fold};
use super::transfer::half_precision;
use super::{Kind, Value, device, dims, operand};
use crate::kernel::cpu::parallel;
use crate::kernel::elements::Elements;
use crate::kernel::norm::Norm;
use crate::kernel::softmax;
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

fn last_dim(value: &Value, call: &str) -> Result<usize> {
    let last = value.dims().last().copied();
    last.ok_or_else(|| error!("{call} works along the last dim, and a single number has none"))
}

/// How the losses of the positions are reduced to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean, over the targets that count.
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are, one a position.
    None,
}

impl Reduction {
    /// # Errors
    /// A name that is none of `mean`, `sum` and `none`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "mean" => Ok(Self::Mean),
            "sum" => Ok(Self::Sum),
            "none" => Ok(Self::None),
            _ => bail!("there is no reduction {name:?}: expected \"mean\", \"sum\" or \"none\""),
        }
    }
}

/// The id of positions that are ignored, as in PyTorch: their loss is 0 and they do not count in a
/// mean.
pub const IGNORED: i64 = -100;

/// −log softmax(logits)\[id\] for logits [.., v] and ids [..]. Positions with the id −100 are ignored.
///
/// # Errors
/// The shapes do not fit, ids are not integers or not below v, or logits are not of a float dtype.
pub fn cross_entropy(logits: &Value, ids: &Value, reduction: Reduction) -> Result<Value> {
    let call = "cross_entropy";
    let (tensor, classes) = (floats(logits, call)?, last_dim(logits, call)?);
    let last = logits.rank() - 1;
    if ids.dims() != &logits.dims()[..last] {
        return Err(error!(
            "cross_entropy: logits {:?} need ids {:?}, not {:?}",
            logits.dims(),
            &logits.dims()[..last],
            ids.dims()
        )
        .help("the last dim of the logits is the classes; there is one id for each position"));
    }
    let ids = whole(ids, call)?;
    if let Some(id) = ids.iter().find(|&&id| id != IGNORED && !(0..classes as i64).contains(&id)) {
        bail!(
            "cross_entropy: id {id} is none of the {classes} classes of logits {:?}",
            logits.dims()
        );
    }
    let mut losses = vec![0.0; ids.len()];
    if !ids.is_empty() && classes > 0 {
        let chosen = ids.iter().map(|&id| id.max(0)).collect();
        let chosen = elements::from_vec(chosen, &[ids.len(), 1], tensor.device())?;
        let rows = tensor.reshape((ids.len(), classes))?.contiguous()?;
        let chosen = elements::to_vec::<f64>(&rows.gather(&chosen, 1)?.to_dtype(DType::F64)?)?;
        let all: Vec<f64> = if let Some(rows) = Elements::<f32>::contiguous(&rows) {
            let rows = &*rows;
            let mut all = vec![0.0; ids.len()];
            parallel::rows(&mut all, 1, classes, |row, all| {
                all[0] = softmax::logsumexp(&rows[row * classes..][..classes]);
            });
            all
        } else if rows.device().is_cpu() {
            fold_float(&rows, &[1], &LogSumExp, |(most, sum)| most + sum.ln())?
        } else {
            elements::to_vec(&by_candle::logsumexp(&rows, &[1])?.to_dtype(DType::F64)?)?
        };
        for (((loss, id), chosen), all) in losses.iter_mut().zip(&ids).zip(chosen).zip(all) {
            if *id != IGNORED {
                *loss = all - chosen;
            }
        }
    }
    let total: f64 = losses.iter().sum();
    let counted = ids.iter().filter(|&&id| id != IGNORED).count();
    let (losses, shape) = match reduction {
        Reduction::None => (losses, &logits.dims()[..last]),
        Reduction::Sum => (vec![total], &[][..]),
        Reduction::Mean => (vec![total / counted as f64], &[][..]),
    };
    operand::transfer(&rounded(losses, shape, Kind::of(logits).storage())?, logits.device())
}

/// Σ p log(p / q) over the last dim, with p = softmax(`p_logits`) and q = softmax(`q_logits`). The
/// other dims are broadcast.
///
/// # Errors
/// The shapes do not broadcast or differ in the last dim, the devices differ, or logits are not of a
/// float dtype.
pub fn kl_divergence(p_logits: &Value, q_logits: &Value) -> Result<Value> {
    let call = "kl_divergence";
    let kind = Kind::of(p_logits).promote(Kind::of(q_logits));
    let (p, q) = (floats(p_logits, call)?, floats(q_logits, call)?);
    if last_dim(p_logits, call)? != last_dim(q_logits, call)? {
        bail!(
            "kl_divergence: logits {:?} and {:?} are not over as many classes",
            p.dims(),
            q.dims()
        );
    }
    let device = operand::common_device(p_logits.into(), q_logits.into(), call)?;
    let shape = dims::broadcast(p.dims(), q.dims(), call)?;
    let work =
        if p.dtype() == DType::F64 || q.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let wide = |t: &Tensor| t.to_dtype(work)?.broadcast_as(shape.as_slice())?.contiguous();
    let (p, q) = (wide(&p)?, wide(&q)?);
    let positions = &shape[..shape.len() - 1];
    if shape.contains(&0) {
        return super::creation::zeros(positions, kind, &device);
    }
    if !device.is_cpu() {
        let last = shape.len() - 1;
        let (p, q) = (ops::log_softmax(&p, last)?, ops::log_softmax(&q, last)?);
        let share = p.exp()?;
        let none = share.eq(&share.zeros_like()?)?;
        let terms = none.where_cond(&share.zeros_like()?, &share.mul(&p.sub(&q)?)?)?;
        return Ok(Value::Real(terms.sum(last)?.to_dtype(kind.storage())?));
    }
    let apart = match work {
        DType::F64 => divergences::<f64>(&p, &q)?,
        _ => divergences::<f32>(&p, &q)?,
    };
    rounded(apart, positions, kind.storage())
}

fn divergences<T: Bounded + Into<f64>>(p: &Tensor, q: &Tensor) -> Result<Vec<f64>> {
    let size = p.dims().last().copied().unwrap_or(1);
    with_slice(p, |p: &[T]| {
        with_slice(q, |q: &[T]| {
            let mut out = vec![0.0; p.len() / size];
            parallel::rows(&mut out, 1, size, |row, out| {
                let at = row * size..(row + 1) * size;
                out[0] = divergence(&p[at.clone()], &q[at]);
            });
            out
        })
    })?
}

fn divergence<T: Bounded + Into<f64>>(p: &[T], q: &[T]) -> f64 {
    let (all_p, all_q) = (logsumexp(p), logsumexp(q));
    let term = |(&p, &q): (&T, &T)| {
        let (p, q): (f64, f64) = (p.into() - all_p, q.into() - all_q);
        let share = p.exp();
        if share == 0.0 { 0.0 } else { share * (p - q) }
    };
    p.iter().zip(q).map(term).sum()
}

/// log Σ e^x in double precision: a divergence near 0 is a small difference of large numbers.
fn logsumexp<T: Bounded + Into<f64>>(row: &[T]) -> f64 {
    let merge = |a, b| Fold::<T>::merge(&LogSumExp, a, b);
    let parts = row.chunks(BLOCK).map(|block| LogSumExp.block(block));
    let (most, sum) = parts.fold(Fold::<T>::empty(&LogSumExp), merge);
    most + sum.ln()
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
fn whole(ids: &Value, call: &str) -> Result<Vec<i64>> {
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

    fn value(numbers: &[f32], shape: &[usize]) -> Value {
        Value::Real(elements::from_vec(numbers.to_vec(), shape, &Device::Cpu).unwrap())
    }

    fn ids(numbers: &[i64]) -> Value {
        Value::Real(Tensor::new(numbers, &Device::Cpu).unwrap())
    }

    fn flat(out: Result<Value>) -> Vec<f32> {
        elements::to_vec(out.unwrap().real("test").unwrap()).unwrap()
    }

    fn message(result: Result<Value>) -> String {
        result.unwrap_err().message().to_owned()
    }

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
    fn cross_entropy_leaves_out_what_is_ignored() {
        let logits = value(&[0., 0., 1000., 0., 5., 5.], &[3, 2]);
        let ids = ids(&[1, 1, IGNORED]);
        let ln2 = std::f32::consts::LN_2;
        assert_eq!(flat(cross_entropy(&logits, &ids, Reduction::None)), [ln2, 1000.0, 0.0]);
        assert_eq!(flat(cross_entropy(&logits, &ids, Reduction::Sum)), [1000.0 + ln2]);
        assert_eq!(flat(cross_entropy(&logits, &ids, Reduction::Mean)), [(1000.0 + ln2) / 2.0]);
    }

    #[test]
    fn wrong_ids_are_one_sentence() {
        let logits = value(&[0.; 6], &[3, 2]);
        assert_eq!(
            message(cross_entropy(&logits, &ids(&[0, 1]), Reduction::Mean)),
            "cross_entropy: logits [3, 2] need ids [3], not [2]"
        );
        assert_eq!(
            message(cross_entropy(&logits, &ids(&[0, 2, 1]), Reduction::Mean)),
            "cross_entropy: id 2 is none of the 2 classes of logits [3, 2]"
        );
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

    #[test]
    fn divergence_is_0_of_itself_and_counts_no_impossible_class() {
        let p = value(&[0., 1., f32::NEG_INFINITY, 3., 1., 2.], &[2, 3]);
        let q = value(&[1., 0., f32::NEG_INFINITY], &[3]);
        assert!(flat(kl_divergence(&p, &p)).iter().all(|x| x.abs() < 1e-7));
        let out = flat(kl_divergence(&p, &q));
        assert!((out[0] - 0.462_117_16).abs() < 1e-6, "{out:?}");
        assert_eq!(out[1], f32::INFINITY);
        assert_eq!(
            message(kl_divergence(&p, &value(&[1.], &[1]))),
            "kl_divergence: logits [2, 3] and [1] are not over as many classes"
        );
    }
}
