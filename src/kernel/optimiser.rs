//! One step of an optimiser on one variable: Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter
//! 2019) and gradient descent with momentum, with PyTorch's equations. On the CPU a step is one loop
//! over the elements, which are written in place; on other devices it is candle's operations.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, WithDType, bail};

use super::cpu::parallel;
use super::cpu::parallel::{CHUNK, Disjoint};
use super::cpu::simd::vectorized;
use super::elements::{address, with_slice};
use super::moved;

/// The equations of a step, and their constants.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Adam; with `decay` above 0 AdamW.
    Adam {
        /// The learning rate.
        lr: f64,
        /// How much of the running means of the gradient and of its square is kept in a step.
        betas: [f64; 2],
        /// What is added to the divisor.
        eps: f64,
        /// The weight decay, which does not pass through the means.
        decay: f64,
        /// The number of this step, from 1.
        step: i32,
    },
    /// Gradient descent.
    Sgd {
        /// The learning rate.
        lr: f64,
        /// How much of the running sum of gradients is kept in a step; 0 for none.
        momentum: f64,
    },
}

/// What an optimiser keeps of a variable between steps, each in the variable's dtype and shape:
/// Adam's running means of the gradient and of its square, momentum's running sum.
#[derive(Default)]
pub struct Kept(Vec<Moment>);

/// One tensor of what an optimiser keeps.
enum Moment {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Device(Tensor),
}

impl Rule {
    fn kept(&self) -> usize {
        match self {
            Self::Adam { .. } => 2,
            Self::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
        }
    }
}

impl Kept {
    fn fill(&mut self, rule: &Rule, variable: &Tensor) -> Result<()> {
        while self.0.len() < rule.kept() {
            let count = variable.elem_count();
            self.0.push(match (variable.device().is_cpu(), variable.dtype()) {
                (true, DType::F32) => Moment::F32(vec![0.0; count]),
                (true, DType::F64) => Moment::F64(vec![0.0; count]),
                _ => Moment::Device(variable.detach().zeros_like()?),
            });
        }
        Ok(())
    }

    /// Copies of what is kept, in the shape and on the device of the variable; nothing before its first step.
    ///
    /// # Errors
    /// Out of memory.
    pub fn tensors(&self, variable: &Tensor) -> Result<Vec<Tensor>> {
        let (shape, device) = (variable.shape(), variable.device());
        let copy = |moment: &Moment| match moment {
            Moment::F32(kept) => Tensor::from_slice(kept, shape, device),
            Moment::F64(kept) => Tensor::from_slice(kept, shape, device),
            Moment::Device(kept) => kept.copy(),
        };
        self.0.iter().map(copy).collect()
    }

    /// What an earlier optimiser kept, from copies in the variable's shape and dtype.
    ///
    /// # Errors
    /// Out of memory, or a transfer that fails.
    pub fn of_tensors(tensors: &[Tensor], variable: &Tensor) -> Result<Self> {
        let device = variable.device();
        let moment = |kept: &Tensor| {
            Ok(match (device.is_cpu(), kept.dtype()) {
                (true, DType::F32) => Moment::F32(kept.flatten_all()?.to_vec1()?),
                (true, DType::F64) => Moment::F64(kept.flatten_all()?.to_vec1()?),
                _ => Moment::Device(kept.detach().to_device(device)?.force_contiguous()?),
            })
        };
        tensors.iter().map(moment).collect::<Result<_>>().map(Self)
    }
}

/// Moves a variable of float32 or float64 by one step; `scale` times `gradient` is the gradient.
///
/// # Errors
/// Another dtype, or another shape of the gradient.
pub fn step(
    variable: &Var,
    gradient: &Tensor,
    scale: f64,
    rule: &Rule,
    kept: &mut Kept,
) -> Result<()> {
    if gradient.dims() != variable.dims() || gradient.dtype() != variable.dtype() {
        bail!("a gradient has its variable's shape and dtype")
    }
    kept.fill(rule, variable)?;
    moved::note(variable)?;
    if !variable.device().is_cpu() {
        return on_device(variable, gradient, scale, rule, kept);
    }
    let gradient = match address(variable) == address(gradient) {
        true => gradient.force_contiguous()?,
        false => gradient.contiguous()?,
    };
    let op = Step { rule: *rule, scale, kept: Mutex::new(kept) };
    variable.as_tensor().inplace_op2(&gradient.detach(), &op)
}

/// The sum of the squares of a gradient's elements, in float64; not finite if one of them is not.
///
/// # Errors
/// candle's.
pub fn square_sum(gradient: &Tensor) -> Result<f64> {
    fn sum<T: WithDType + Into<f64>>(all: &[T]) -> f64 {
        let chunk = |i: usize| {
            let part = &all[i * CHUNK..all.len().min((i + 1) * CHUNK)];
            part.iter().fold(0.0, |sum, &x| {
                let x: f64 = x.into();
                sum + x * x
            })
        };
        parallel::map(all.len().div_ceil(CHUNK), chunk).into_iter().sum()
    }
    match (gradient.device().is_cpu(), gradient.dtype()) {
        (true, DType::F32) => with_slice::<f32, _>(gradient, sum),
        (true, DType::F64) => with_slice::<f64, _>(gradient, sum),
        _ => gradient.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar(),
    }
}

/// A step on the CPU, in place.
struct Step<'a> {
    rule: Rule,
    scale: f64,
    kept: Mutex<&'a mut Kept>,
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "optimiser step"
    }

    fn cpu_fwd(
        &self,
        variable: &mut CpuStorage,
        at: &Layout,
        gradient: &CpuStorage,
        from: &Layout,
    ) -> Result<()> {
        let (Some(to), Some(from)) = (at.contiguous_offsets(), from.contiguous_offsets()) else {
            bail!("a variable is contiguous")
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.0.as_mut_slice();
        let (to, from) = (to.0..to.1, from.0..from.1);
        match (variable, gradient) {
            (CpuStorage::F32(variable), CpuStorage::F32(gradient)) => {
                let kept = kept.iter_mut().filter_map(|moment| match moment {
                    Moment::F32(moment) => Some(moment.as_mut_slice()),
                    _ => None,
                });
                f32_step(&mut variable[to], &gradient[from], self.scale, &self.rule, kept.collect())
            }
            (CpuStorage::F64(variable), CpuStorage::F64(gradient)) => {
                let kept = kept.iter_mut().filter_map(|moment| match moment {
                    Moment::F64(moment) => Some(moment.as_mut_slice()),
                    _ => None,
                });
                f64_step(&mut variable[to], &gradient[from], self.scale, &self.rule, kept.collect())
            }
            _ => bail!("an optimiser moves variables of float32 and float64"),
        }
    }
}

/// The loops for one dtype.
macro_rules! loops {
    ($float:ident, $step:ident, $adam:ident, $momentum:ident, $descent:ident) => {
        fn $step(
            variable: &mut [$float],
            gradient: &[$float],
            scale: f64,
            rule: &Rule,
            mut kept: Vec<&mut [$float]>,
        ) -> Result<()> {
            let (count, scale) = (variable.len(), scale as $float);
            let variable = Disjoint::new(variable);
            let chunks = count.div_ceil(CHUNK);
            let range = |chunk: usize| chunk * CHUNK..count.min((chunk + 1) * CHUNK);
            match (*rule, kept.as_mut_slice()) {
                (Rule::Adam { lr, betas: [b1, b2], eps, decay, step }, [first, second]) => {
                    let (first, second) = (Disjoint::new(first), Disjoint::new(second));
                    let corrections = [1.0 - b1.powi(step), (1.0 - b2.powi(step)).sqrt()];
                    let constants = [
                        1.0 - lr * decay,
                        1.0 - b1,
                        b2,
                        1.0 - b2,
                        corrections[1],
                        eps,
                        lr / corrections[0],
                    ]
                    .map(|constant| constant as $float);
                    parallel::each(chunks, |chunk| {
                        let at = range(chunk);
                        // SAFETY: the ranges of different chunks have no element in common.
                        let (x, m, v) = unsafe {
                            (
                                variable.part(at.clone()),
                                first.part(at.clone()),
                                second.part(at.clone()),
                            )
                        };
                        $adam(x, m, v, &gradient[at], scale, constants);
                    });
                }
                (Rule::Sgd { lr, momentum }, [sum]) => {
                    let sum = Disjoint::new(sum);
                    let (lr, momentum) = (lr as $float, momentum as $float);
                    parallel::each(chunks, |chunk| {
                        let at = range(chunk);
                        // SAFETY: the ranges of different chunks have no element in common.
                        let (x, sum) = unsafe { (variable.part(at.clone()), sum.part(at.clone())) };
                        $momentum(x, sum, &gradient[at], scale, lr, momentum);
                    });
                }
                (Rule::Sgd { lr, .. }, []) => parallel::each(chunks, |chunk| {
                    let at = range(chunk);
                    // SAFETY: the ranges of different chunks have no element in common.
                    let x = unsafe { variable.part(at.clone()) };
                    $descent(x, &gradient[at], scale, lr as $float);
                }),
                _ => bail!("what an optimiser keeps has the dtype of its variable"),
            }
            Ok(())
        }

        vectorized! {
            /// The constants are 1 - lr · decay, 1 - β₁, β₂, 1 - β₂, √(1 - β₂ᵗ), ε and
            /// lr / (1 - β₁ᵗ).
            fn $adam(
                x: &mut [$float],
                m: &mut [$float],
                v: &mut [$float],
                gradient: &[$float],
                scale: $float,
                constants: [$float; 7],
            ) {
                let [shrink, new_m, old_v, new_v, correction, eps, size] = constants;
                for (((x, m), v), g) in x.iter_mut().zip(m).zip(v).zip(gradient) {
                    let g = g * scale;
                    *m += (g - *m) * new_m;
                    *v = *v * old_v + g * g * new_v;
                    *x = *x * shrink - size * (*m / (v.sqrt() / correction + eps));
                }
            }
        }

        vectorized! {
            fn $momentum(
                x: &mut [$float],
                sum: &mut [$float],
                gradient: &[$float],
                scale: $float,
                lr: $float,
                momentum: $float,
            ) {
                for ((x, sum), g) in x.iter_mut().zip(sum).zip(gradient) {
                    *sum = *sum * momentum + g * scale;
                    *x -= lr * *sum;
                }
            }
        }

        vectorized! {
            fn $descent(x: &mut [$float], gradient: &[$float], scale: $float, lr: $float) {
                for (x, g) in x.iter_mut().zip(gradient) {
                    *x -= lr * (g * scale);
                }
            }
        }
    };
}

loops!(f32, f32_step, f32_adam, f32_momentum, f32_descent);
loops!(f64, f64_step, f64_adam, f64_momentum, f64_descent);

fn on_device(
    variable: &Var,
    gradient: &Tensor,
    scale: f64,
    rule: &Rule,
    kept: &mut Kept,
) -> Result<()> {
    let x = variable.as_detached_tensor();
    let g = (gradient.detach() * scale)?;
    let moved = match (*rule, kept.0.as_mut_slice()) {
        (
            Rule::Adam { lr, betas: [b1, b2], eps, decay, step },
            [Moment::Device(m), Moment::Device(v)],
        ) => {
            *m = (&*m + ((&g - &*m)? * (1.0 - b1))?)?;
            *v = ((&*v * b2)? + (g.sqr()? * (1.0 - b2))?)?;
            let divisor = ((v.sqrt()? / (1.0 - b2.powi(step)).sqrt())? + eps)?;
            let moved = (&*m / divisor)?;
            ((x * (1.0 - lr * decay))? - (moved * (lr / (1.0 - b1.powi(step))))?)?
        }
        (Rule::Sgd { lr, momentum }, [Moment::Device(sum)]) => {
            *sum = ((&*sum * momentum)? + g)?;
            (x - (&*sum * lr)?)?
        }
        (Rule::Sgd { lr, .. }, []) => (x - (g * lr)?)?,
        _ => bail!("what an optimiser keeps is on the device of its variable"),
    };
    variable.set(&moved)
}
