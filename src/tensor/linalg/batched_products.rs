//! Products of matrices side by side, for float32 on the CPU: on all cores, wherever their numbers
//! stand.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, Tensor, bail};

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::Disjoint;
use crate::kernel::cpu::sgemm::{Cores, Matrix, product};

/// a [.., m, k] · b [.., k, n], times `scale`; the dims before the matrices are the same. Nothing
/// for other dtypes and devices, and for tensors that remember how they were made.
pub fn products(a: &Tensor, b: &Tensor, scale: f32) -> Option<Result<Tensor>> {
    let suits = |t: &Tensor| {
        t.device().is_cpu() && t.dtype() == DType::F32 && !t.track_op() && t.rank() >= 2
    };
    (suits(a) && suits(b)).then(|| multiply(a, b, scale))
}

/// Some rows of one product are one task: enough that the other matrix's packing does not count.
const ROWS: usize = 128;

fn multiply(a: &Tensor, b: &Tensor, scale: f32) -> Result<Tensor> {
    let ((before, &[m, k]), (others, &[rows, n])) = (split(a.dims())?, split(b.dims())?);
    if before != others || k != rows {
        bail!("matrices of {:?} and {:?} have no product", a.dims(), b.dims());
    }
    let count: usize = before.iter().product();
    let ((a_storage, a_layout), (b_storage, b_layout)) =
        (a.storage_and_layout(), b.storage_and_layout());
    let (left, right) = (Side::new(&a_storage, a_layout)?, Side::new(&b_storage, b_layout)?);
    let each = if count == 1 { m.max(1) } else { ROWS };
    let blocks = m.div_ceil(each);
    let mut out: Vec<f32> = Vec::with_capacity(count * m * n);
    let place = Disjoint::new(&mut out.spare_capacity_mut()[..count * m * n]);
    let task = |task: usize| {
        let (matrix, first) = (task / blocks, task % blocks * each);
        let rows = each.min(m - first);
        let out = place.at((matrix * m + first) * n).cast::<f32>();
        let cores = if count == 1 { Cores::All } else { Cores::One };
        // SAFETY: there is room for all products, and this task's rows are its own; all of them are
        // written.
        unsafe {
            product(
                [rows, n, k],
                (out, n),
                left.matrix(matrix).from(first, 0),
                right.matrix(matrix),
                None,
                cores,
            );
            if scale != 1.0 {
                scaled(std::slice::from_raw_parts_mut(out, rows * n), scale);
            }
        }
    };
    match k {
        0 => return Tensor::zeros([before, &[m, n]].concat(), DType::F32, &Device::Cpu),
        _ if count == 1 => (0..blocks).for_each(task),
        _ => parallel::each(count * blocks, task),
    }
    // SAFETY: the tasks have written all of it.
    unsafe { out.set_len(count * m * n) };
    Tensor::from_vec(out, [before, &[m, n]].concat(), &Device::Cpu)
}

/// The dims before a matrix's two.
fn split(dims: &[usize]) -> Result<(&[usize], &[usize; 2])> {
    match dims.split_last_chunk() {
        Some(parts) => Ok(parts),
        None => bail!("a matrix has two dims, not {dims:?}"),
    }
}

/// The matrices of one factor.
struct Side<'a> {
    numbers: &'a [f32],
    layout: &'a Layout,
}

impl<'a> Side<'a> {
    fn new(storage: &'a Storage, layout: &'a Layout) -> Result<Self> {
        match storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => {
                Ok(Self { numbers: &numbers[layout.start_offset()..], layout })
            }
            _ => bail!("a product of float32 on the CPU"),
        }
    }

    /// The matrix of this index in row-major order.
    fn matrix(&self, index: usize) -> Matrix<'a> {
        let (dims, strides) = (self.layout.dims(), self.layout.stride());
        let before = dims.len() - 2;
        let (mut rest, mut offset) = (index, 0);
        for (dim, stride) in dims[..before].iter().zip(strides).rev() {
            offset += rest % dim * stride;
            rest /= dim;
        }
        Matrix { numbers: &self.numbers[offset..], steps: [strides[before], strides[before + 1]] }
    }
}

crate::kernel::cpu::simd::vectorized! {
    fn scaled(numbers: &mut [f32], by: f32) {
        for number in numbers {
            *number *= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_candles() {
        let random = |dims: &[usize]| Tensor::randn(0f32, 1.0, dims, &Device::Cpu).unwrap();
        let pairs = [
            (random(&[5, 7]), random(&[7, 3])),
            (random(&[2, 3, 140, 9]), random(&[2, 3, 9, 33])),
            (
                random(&[4, 9, 8]).transpose(1, 2).unwrap(),
                random(&[4, 5, 9]).transpose(1, 2).unwrap(),
            ),
            (
                random(&[6, 2, 8]).transpose(0, 1).unwrap(),
                random(&[8, 4]).unsqueeze(0).unwrap().expand((2, 8, 4)).unwrap(),
            ),
            (random(&[3, 2, 0]), random(&[3, 0, 4])),
            (random(&[0, 2, 2]), random(&[0, 2, 4])),
        ];
        for (a, b) in pairs {
            let got = products(&a, &b, 0.5).unwrap().unwrap();
            let expected =
                (a.contiguous().unwrap().matmul(&b.contiguous().unwrap()).unwrap() * 0.5).unwrap();
            assert_eq!(got.dims(), expected.dims());
            let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (got, expected) in flat(got).into_iter().zip(flat(expected)) {
                assert!((got - expected).abs() < 1e-5, "{got} for {expected}");
            }
        }
        assert!(products(&random(&[2, 3]), &random(&[4, 3]), 1.0).unwrap().is_err());
    }
}
