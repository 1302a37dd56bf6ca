//! Losses of `torch.nn.functional` over the classes in the last dim: `cross_entropy` and
//! `kl_divergence`.

use candle_core::{DType, Tensor};
use candle_nn::ops;

use super::elements::{self, with_slice};
use super::elementwise::arithmetic::Arithmetic::{Mul, Sub};
use super::elementwise::comparison::Comparison;
use super::elementwise::function::Function;
use super::graph::Back;
use super::index::masked;
use super::nn::{last_dim, whole};
use super::operand::Operand;
use super::reduce::accumulator::{Bounded, LogSumExp};
use super::reduce::by_candle;
use super::reduce::dispatch::{floats, fold_float, rounded};
use super::reduce::fold::{BLOCK, Fold};
use super::reduce::softmax::{log_softmax, softmax};
use super::{Kind, Value, dims, graph, operand};
use crate::kernel::cpu::parallel;
use crate::kernel::elements::Elements;
use crate::kernel::elementwise;
use crate::kernel::elementwise::Binary;
use crate::kernel::softmax::logsumexp as row_logsumexp;
use crate::{Result, bail, error};

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
    floats(logits, call)?;
    let classes = last_dim(logits, call)?;
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
    if !logits.is_tracked() {
        return losses(logits, &floats(logits, call)?, &ids, reduction);
    }
    let own = ids.clone();
    graph::operation(
        &[logits],
        |inputs| losses(inputs[0], &floats(inputs[0], call)?, &ids, reduction),
        move |back| back.of_one(|| loss_gradient(back, &own, reduction)),
    )
}

/// The gradient of [`cross_entropy`]: the softmax less 1 at the id, and 0 where it is ignored.
fn loss_gradient(back: &Back, ids: &[i64], reduction: Reduction) -> Result<Value> {
    let logits = &back.inputs[0];
    let classes = last_dim(logits, "cross_entropy")?;
    let chosen: Vec<i64> = ids.iter().map(|&id| id.max(0)).collect();
    let counts: Vec<f64> = ids.iter().map(|&id| f64::from(u8::from(id != IGNORED))).collect();
    let share = match reduction {
        Reduction::Mean => counts.iter().sum::<f64>().recip(),
        Reduction::Sum | Reduction::None => 1.0,
    };
    let device = logits.device();
    let rows = floats(logits, "cross_entropy")?.reshape((ids.len(), classes))?;
    let counts = elements::from_vec(counts, &[ids.len(), 1], device)?;
    let gradient = back.gradient.real("cross_entropy")?.to_dtype(DType::F64)?;
    let gradient = match reduction {
        Reduction::None => gradient.reshape((ids.len(), 1))?,
        Reduction::Mean | Reduction::Sum => gradient.reshape((1, 1))?,
    };
    // A position that does not count has 0 even where its gradient is infinite or its logits are NaN.
    let none = counts.eq(0.0)?;
    let weight =
        Binary::Mul.apply(&counts.affine(share, 0.0)?, &gradient)?.to_dtype(rows.dtype())?;
    let shares = softmax(&Value::Real(rows), -1)?.real("cross_entropy")?.clone();
    let ones = elementwise::neg(&weight.ones_like()?)?;
    let chosen = elements::from_vec(chosen, &[ids.len(), 1], device)?;
    let away = Binary::Mul.apply(&shares.scatter_add(&chosen, &ones, 1)?, &weight)?;
    let none = none.broadcast_as(away.shape())?;
    let away = none.where_cond(&away.zeros_like()?, &away)?;
    Ok(Value::Real(away.reshape(logits.dims())?))
}

/// The losses of [`cross_entropy`] for ids that were checked; `tensor` holds the logits in f32 or
/// f64.
fn losses(logits: &Value, tensor: &Tensor, ids: &[i64], reduction: Reduction) -> Result<Value> {
    let (classes, last) = (last_dim(logits, "cross_entropy")?, logits.rank() - 1);
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
                all[0] = row_logsumexp(&rows[row * classes..][..classes]);
            });
            all
        } else if rows.device().is_cpu() {
            fold_float(&rows, &[1], &LogSumExp, |(most, sum)| most + sum.ln())?
        } else {
            elements::to_vec(&by_candle::logsumexp(&rows, &[1])?.to_dtype(DType::F64)?)?
        };
        for (((loss, id), chosen), all) in losses.iter_mut().zip(ids).zip(chosen).zip(all) {
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
    graph::operation(
        &[p_logits, q_logits],
        |inputs| divergence_of(inputs[0], inputs[1]),
        |back| {
            let logs = |value: &Value| {
                let wide = Value::Real(floats(value, "kl_divergence")?);
                log_softmax(&wide, -1)
            };
            let (p_log, q_log) = (logs(&back.inputs[0])?, logs(&back.inputs[1])?);
            let p = Function::Exp.apply(&p_log)?;
            let column = |value: &Value| value.map(|t| t.unsqueeze(t.rank()));
            let gradient = column(&back.gradient)?;
            Ok(vec![
                back.of(0, || {
                    // p (log p − log q − divergence); what has no share counts for nothing.
                    let none = Comparison::Eq.apply(&p, 0.0)?;
                    let apart = Sub.apply(&Sub.apply(&p_log, &q_log)?, &column(&back.output)?)?;
                    let terms = Mul.apply(&p, &apart)?;
                    let terms = masked::where_(&none, Operand::from(0.0), (&terms).into())?;
                    Mul.apply(&gradient, &terms)
                })?,
                back.of(1, || {
                    let q = Function::Exp.apply(&q_log)?;
                    Mul.apply(&gradient, &Sub.apply(&q, &p)?)
                })?,
            ])
        },
    )
}

fn divergence_of(p_logits: &Value, q_logits: &Value) -> Result<Value> {
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
    let apart = with_slice(p, |p: &[T]| {
        with_slice(q, |q: &[T]| {
            let mut out = vec![0.0; p.len() / size];
            parallel::rows(&mut out, 1, size, |row, out| {
                let at = row * size..(row + 1) * size;
                out[0] = divergence(&p[at.clone()], &q[at]);
            });
            out
        })
    });
    Ok(apart??)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::testing::{flat, ids, message, value};

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
