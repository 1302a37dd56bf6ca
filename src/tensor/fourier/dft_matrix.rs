//! Fourier transforms as products with the matrix of the discrete transform, for GPUs: candle has
//! no FFT there, and such a product takes less time than a copy to the CPU and back.

use std::f64::consts::TAU;
use std::sync::{LazyLock, Mutex, PoisonError};

use candle_core::{DType, Device, DeviceLocation, Tensor};

use super::transform::Transform;
use crate::Result;

/// The longest line that is transformed so: the matrix has the square of the length elements.
pub const MAX_LENGTH: usize = 4096;

/// cos and sin of 2πjk/n, each `[n, n]`.
type DftMatrix = (Tensor, Tensor);

/// Cached matrices with their length, dtype and device.
type MatrixCache = Vec<((usize, DType, DeviceLocation), DftMatrix)>;
/// The matrices made last.
static MATRICES: LazyLock<Mutex<MatrixCache>> = LazyLock::new(Mutex::default);

/// Transforms the last dim of `re` and `im`, of length `n` (n/2 + 1 for `Irfft`), and multiplies
/// the result by `scale`. Returns the real and the imaginary part; `Irfft` has no imaginary part.
///
/// # Errors
/// There is no memory on the device.
pub fn transform(
    transform: Transform,
    re: &Tensor,
    im: Option<&Tensor>,
    n: usize,
    scale: f64,
) -> Result<(Tensor, Option<Tensor>)> {
    let (cos, sin) = waves(n, re.dtype(), re.device())?;
    let half = n / 2 + 1;
    let product = |x: &Tensor, waves: &Tensor| -> Result<Tensor> {
        let (rows, size) =
            (x.elem_count() / x.dims().last().copied().unwrap_or(1).max(1), x.dims()[x.rank() - 1]);
        let mut shape = x.dims().to_vec();
        shape[x.rank() - 1] = waves.dim(1)?;
        Ok(x.contiguous()?
            .reshape((rows, size))?
            .matmul(waves)?
            .affine(scale, 0.0)?
            .reshape(shape)?)
    };
    let (cos, sin) = match transform {
        Transform::Rfft => {
            (cos.narrow(1, 0, half)?.contiguous()?, sin.narrow(1, 0, half)?.contiguous()?)
        }
        Transform::Irfft => {
            // Each frequency stands for itself and its conjugate, except 0 and, for an even length,
            // the highest.
            let alone = |k: usize| k == 0 || (n.is_multiple_of(2) && k == n / 2);
            let weights: Vec<f64> = (0..half).map(|k| if alone(k) { 1.0 } else { 2.0 }).collect();
            let weights =
                Tensor::from_vec(weights, (half, 1), &Device::Cpu)?.to_dtype(re.dtype())?;
            let weights = weights.to_device(re.device())?;
            let rows = |waves: &Tensor| waves.narrow(0, 0, half)?.broadcast_mul(&weights);
            (rows(&cos)?, rows(&sin)?)
        }
        _ => (cos, sin),
    };
    // e^(∓iθ) = cos θ ∓ i sin θ.
    let sign = if matches!(transform, Transform::Fft | Transform::Rfft) { -1.0 } else { 1.0 };
    let (of_re, to_im) = (product(re, &cos)?, (product(re, &sin)? * sign)?);
    Ok(match (transform, im) {
        (Transform::Irfft, None) => (of_re, None),
        (Transform::Irfft, Some(im)) => ((of_re - product(im, &sin)?)?, None),
        (_, None) => (of_re, Some(to_im)),
        (_, Some(im)) => {
            ((of_re - (product(im, &sin)? * sign)?)?, Some((to_im + product(im, &cos)?)?))
        }
    })
}

/// The matrices for length `n`, from the cache if possible.
fn waves(n: usize, dtype: DType, device: &Device) -> Result<DftMatrix> {
    /// The size of the cache: scripts use few lengths at a time.
    const CACHE_SIZE: usize = 4;
    let key = (n, dtype, device.location());
    let mut kept = MATRICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, waves)) = kept.iter().find(|(known, _)| *known == key) {
        return Ok(waves.clone());
    }
    // The product j·k modulo n keeps the angle below 2π, where it has full precision.
    let angle = |at: usize| TAU * ((at / n * (at % n)) % n) as f64 / n as f64;
    let matrix = |of: fn(f64) -> f64| -> Result<Tensor> {
        let elements: Vec<f64> = (0..n * n).map(|at| of(angle(at))).collect();
        Ok(Tensor::from_vec(elements, (n, n), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
    };
    let waves = (matrix(f64::cos)?, matrix(f64::sin)?);
    if kept.len() == CACHE_SIZE {
        kept.remove(0);
    }
    kept.push((key, waves.clone()));
    Ok(waves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::fourier::transform::Norm;
    use crate::tensor::{Complex, Value};

    fn noise(count: usize, from: usize) -> Tensor {
        let elements: Vec<f64> =
            (0..count).map(|i| (((i + from) * 7919 + 13) % 101) as f64 / 50.0 - 1.0).collect();
        Tensor::from_vec(elements, (2, count / 2), &Device::Cpu).unwrap()
    }

    #[test]
    fn products_give_what_the_transforms_give() {
        for n in [1, 2, 3, 8, 15, 64] {
            for (_, kind) in Transform::ALL {
                let size = if kind == Transform::Irfft { n / 2 + 1 } else { n };
                let (re, im) = (noise(2 * size, 0), noise(2 * size, 5));
                for complex in [false, true] {
                    if complex && kind == Transform::Rfft {
                        continue;
                    }
                    let value = match complex {
                        true => Value::Complex(Complex { re: re.clone(), im: im.clone() }),
                        false => Value::Real(re.clone()),
                    };
                    let norm = Norm::Backward;
                    let scale = if matches!(kind, Transform::Ifft | Transform::Irfft) {
                        1.0 / n as f64
                    } else {
                        1.0
                    };
                    let here = kind.apply(&value, -1, Some(n as i64), norm).unwrap();
                    let (there_re, there_im) =
                        transform(kind, &re, complex.then_some(&im), n, scale).unwrap();
                    let there = [Some(there_re), there_im];
                    for (here, there) in here.parts().into_iter().zip(there.iter().flatten()) {
                        let most = (here - there).unwrap().abs().unwrap().max_all().unwrap();
                        assert!(most.to_scalar::<f64>().unwrap() < 1e-12, "{kind:?} {n} {complex}");
                    }
                    assert_eq!(here.parts().len(), 1 + usize::from(there[1].is_some()));
                }
            }
        }
    }
}
