//! The search for the place where a pass first makes a NaN or an infinity of finite numbers: between
//! blocks, or at every point.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{CpuStorage, DType, Storage, Tensor};

use crate::Result;
use crate::hook::{Point, Site};
use crate::kernel::cpu::parallel;
use crate::kernel::cpu::simd::vectorized;

/// A kind of number that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not a number. Also reported if there are infinities as well.
    Nan,
    /// ∞ or −∞.
    Infinity,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Nan => "NaN",
            Kind::Infinity => "an infinity",
        })
    }
}

/// The first NaN or infinity of a pass that began with finite numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// NaN or an infinity.
    pub kind: Kind,
    /// Where it appeared.
    pub place: Origin,
}

/// Where a NaN or infinity appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The model computed it there.
    Made(Site),
    /// A hook there returned it.
    Left(Site),
    /// Somewhere in a block.
    Within {
        /// The block's index.
        layer: usize,
        /// Whether hooks changed a tensor in the block.
        hooked: bool,
    },
}

/// Points at which hooks put infinities on purpose: a score or logit of −∞ excludes a key or a token.
const TELLING: [Point; 4] =
    [Point::PreMaskAttnWeights, Point::PostMaskAttnWeights, Point::Logits, Point::UnreducedLoss];

/// Points whose tensors may be far larger than the residual stream. They are examined only if every
/// point is.
const LARGE: [Point; 7] = [
    Point::QueryInput,
    Point::KeyInput,
    Point::ValueInput,
    Point::PreMaskAttnWeights,
    Point::PostMaskAttnWeights,
    Point::AttnProbs,
    Point::AttnHeadOutputs,
];

/// Points outside the blocks, which are always examined.
const OUTSIDE: [Point; 4] =
    [Point::PostTokEmbeddings, Point::PostPosEmbeddings, Point::PostFinalLayerNorm, Point::Logits];

/// Watches one pass for numbers that are not finite.
///
/// On a GPU each examination makes the program wait for the device, so there it examines tensors
/// only if it was asked to examine every point.
#[derive(Default)]
pub struct Watch {
    /// Whether every point is examined.
    every: bool,
    /// Whether the pass began with numbers that are not finite, and is not watched.
    off: bool,
    found: Option<NotFinite>,
    /// Whether a hook has put infinities at one of the points [`TELLING`].
    told: bool,
    /// Whether a hook has changed a tensor in the current block.
    changed: bool,
}

impl Watch {
    /// Watches at `every` point, or between blocks only.
    pub fn new(every: bool) -> Self {
        Self { every, ..Self::default() }
    }

    /// Whether every point is examined.
    pub fn every(&self) -> bool {
        self.every
    }

    /// What was found so far.
    pub fn found(&self) -> Option<NotFinite> {
        self.found
    }

    fn looks_at(&self, x: &Tensor) -> bool {
        !self.off && self.found.is_none() && (self.every || x.device().is_cpu())
    }

    /// Examines the tensor that a pass begins with. If that is not finite, the pass is not watched.
    pub fn begin(&mut self, x: &Tensor) -> Result<()> {
        self.off = self.looks_at(x) && kind(x)?.is_some();
        Ok(())
    }

    /// Examines `x` at a site before its hooks run.
    pub fn before_hooks(&mut self, site: Site, x: &Tensor) -> Result<()> {
        if (self.every || OUTSIDE.contains(&site.point))
            && self.looks_at(x)
            && let Some(kind) = kind(&self.telling_part(site, x)?)?
            && !(self.told && kind == Kind::Infinity && TELLING.contains(&site.point))
        {
            self.found = Some(NotFinite { kind, place: Origin::Made(site) });
        }
        Ok(())
    }

    /// The part of `x` that has to be examined. Logits are large, and the tensor that they are
    /// computed from has just been examined: unless one may overflow float16 or a hook has changed
    /// something, only a wrong weight makes them infinite, and then every token's.
    fn telling_part(&self, site: Site, x: &Tensor) -> Result<Tensor> {
        let all =
            self.every || self.changed || x.dtype() == DType::F16 || site.point != Point::Logits;
        Ok(if all { x.clone() } else { x.narrow(1, x.dim(1)? - 1, 1)? })
    }

    /// Examines `left`, with which the hooks at a site have replaced `x`.
    pub fn after_hooks(&mut self, site: Site, x: &Tensor, left: &Tensor) -> Result<()> {
        if left.id() == x.id() {
            return Ok(());
        }
        self.changed = true;
        if (!self.every && LARGE.contains(&site.point)) || !self.looks_at(left) {
            return Ok(());
        }
        match kind(left)? {
            Some(Kind::Infinity) if TELLING.contains(&site.point) => self.told = true,
            // If `x` was not finite either, the pass made it before, and the next examination finds it.
            Some(kind) if self.every || self::kind(x)?.is_none() => {
                self.found = Some(NotFinite { kind, place: Origin::Left(site) });
            }
            _ => {}
        }
        Ok(())
    }

    /// Called when the pass enters a block with `x`. Gives a copy of `x` if the block's output is to
    /// be examined, from which the block can be run again to find the point.
    pub fn enter(&mut self, x: &Tensor) -> Option<Tensor> {
        self.changed = false;
        self.looks_at(x).then(|| x.clone())
    }

    /// Examines a block's output `x`. The caller finds the place and reports it to
    /// [`say`](Self::say).
    pub fn leave(&self, x: &Tensor) -> Result<Option<Kind>> {
        if self.looks_at(x) { kind(x) } else { Ok(None) }
    }

    /// Whether a hook has changed a tensor in the current block, so that running the block again
    /// without hooks would compute something else.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Records what was found.
    pub fn say(&mut self, found: NotFinite) {
        self.found = Some(found);
    }
}

/// The kind of number that is not finite in `x`, `Nan` if there are both. `None` if all are finite.
///
/// # Errors
/// candle's.
pub fn kind(x: &Tensor) -> Result<Option<Kind>> {
    if !x.dtype().is_float() {
        return Ok(None);
    }
    if !x.device().is_cpu() {
        // Computed on the device: 0 · x is 0 for a finite x and NaN for all others.
        let wide = x.detach().to_dtype(DType::F32)?;
        if !(&wide * 0.0)?.sum_all()?.to_scalar::<f32>()?.is_nan() {
            return Ok(None);
        }
        let nan = wide.ne(&wide)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? > 0.0;
        return Ok(Some(if nan { Kind::Nan } else { Kind::Infinity }));
    }
    let x = if x.is_contiguous() { x.clone() } else { x.contiguous()? };
    let (storage, layout) = x.storage_and_layout();
    let (from, to) = (layout.start_offset(), layout.start_offset() + layout.shape().elem_count());
    Ok(match &*storage {
        Storage::Cpu(CpuStorage::F32(all)) => of(&all[from..to], f32s, |x| x.is_nan()),
        Storage::Cpu(CpuStorage::F64(all)) => of(&all[from..to], f64s, |x| x.is_nan()),
        Storage::Cpu(CpuStorage::F16(all)) => of(&all[from..to], f16s, |x| x.is_nan()),
        Storage::Cpu(CpuStorage::BF16(all)) => of(&all[from..to], bf16s, |x| x.is_nan()),
        _ => None,
    })
}

/// [`kind`] of the numbers `all`, by `finite`, which says whether all of some are.
fn of<T: Sync>(all: &[T], finite: fn(&[T]) -> bool, is_nan: fn(&T) -> bool) -> Option<Kind> {
    let every = AtomicBool::new(true);
    parallel::each(all.len().div_ceil(parallel::CHUNK), |piece| {
        let piece = &all[piece * parallel::CHUNK..all.len().min((piece + 1) * parallel::CHUNK)];
        if !finite(piece) {
            every.store(false, Ordering::Relaxed);
        }
    });
    match every.into_inner() {
        true => None,
        false if all.iter().any(is_nan) => Some(Kind::Nan),
        false => Some(Kind::Infinity),
    }
}

/// The number of independent sums, which the compiler keeps in vector registers.
const LANES: usize = 32;

macro_rules! by_product {
    ($name:ident, $number:ty) => {
        vectorized! {
            /// Whether all numbers are finite: 0 · x is NaN for every other x, and so is the sum.
            fn $name(all: &[$number]) -> bool {
                let mut sums = [0.0; LANES];
                let (whole, rest) = all.as_chunks::<LANES>();
                for x in whole {
                    for lane in 0..LANES {
                        sums[lane] += x[lane] * 0.0;
                    }
                }
                sums.iter().sum::<$number>() == 0.0 && rest.iter().all(|x| x.is_finite())
            }
        }
    };
}

by_product!(f32s, f32);
by_product!(f64s, f64);

macro_rules! by_exponent {
    ($name:ident, $number:ty, $exponent:literal) => {
        vectorized! {
            /// Whether all numbers are finite: in all others every bit of the exponent is set.
            fn $name(all: &[$number]) -> bool {
                !all.iter().fold(false, |found, x| found | (x.to_bits() & $exponent == $exponent))
            }
        }
    };
}

by_exponent!(f16s, half::f16, 0x7c00);
by_exponent!(bf16s, half::bf16, 0x7f80);

#[cfg(test)]
mod tests {
    use candle_core::{D, Device};

    use super::*;

    #[test]
    fn one_number_among_many_is_found_wherever_it_stands() {
        for count in [1, 31, 32, 33, 3 * parallel::CHUNK + 5] {
            let plain = Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap();
            for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
                let x = (plain.to_dtype(dtype).unwrap() / (count as f64)).unwrap();
                assert_eq!(kind(&x).unwrap(), None, "{count} {dtype:?}");
                for at in [0, count / 2, count - 1] {
                    for (number, expected) in [
                        (f64::NAN, Kind::Nan),
                        (f64::INFINITY, Kind::Infinity),
                        (f64::NEG_INFINITY, Kind::Infinity),
                    ] {
                        let one =
                            Tensor::new(&[number], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                        let x = x.slice_assign(std::slice::from_ref(&(at..at + 1)), &one).unwrap();
                        assert_eq!(kind(&x).unwrap(), Some(expected), "{count} {dtype:?} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_the_elements_of_a_view_count() {
        let x = Tensor::new(&[[1f32, f32::NAN], [2.0, f32::INFINITY]], &Device::Cpu).unwrap();
        assert_eq!(kind(&x).unwrap(), Some(Kind::Nan));
        assert_eq!(kind(&x.narrow(D::Minus1, 0, 1).unwrap()).unwrap(), None);
        assert_eq!(kind(&x.narrow(0, 1, 1).unwrap()).unwrap(), Some(Kind::Infinity));
        assert_eq!(kind(&x.ge(0f32).unwrap()).unwrap(), None);
    }
}
