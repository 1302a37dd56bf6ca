//! The product of a few rows with a large matrix, as in generation: each weight is read once, by
//! all cores. A general product packs the matrix first, or runs on one core.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::cpu::parallel;

/// More rows than this are a product that is worth its packing.
const MOST: usize = 6;
/// Weights for one task, so that starting it costs nothing beside them.
const TASK: usize = 1 << 15;
/// Independent sums, so that additions need not wait for each other.
const LANES: usize = 32;

/// x [rows, in] · weight [out, in]ᵀ, or nothing where another way is better: many rows, other
/// devices and dtypes, tensors that remember how they were made.
pub fn few_rows(x: &Tensor, weight: &Tensor) -> Option<Result<Tensor>> {
    let suits = |tensor: &Tensor| {
        tensor.device().is_cpu()
            && tensor.dtype() == DType::F32
            && tensor.is_contiguous()
            && !tensor.track_op()
    };
    let few = x.rank() == 2 && x.dims()[0] <= MOST;
    (few && suits(x) && suits(weight)).then(|| x.apply_op2_no_bwd(weight, &FewRows))
}

struct FewRows;

impl CustomOp2 for FewRows {
    fn name(&self) -> &'static str {
        "few-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, (rows, input)) = (part(x, x_layout)?, x_layout.shape().dims2()?);
        let (w, (out, _)) = (part(w, w_layout)?, w_layout.shape().dims2()?);
        // [out, rows]: a task's results lie together.
        let mut by_output = vec![0f32; out * rows];
        let outputs = TASK.div_ceil(input.max(1));
        parallel::chunks(&mut by_output, outputs * rows, |task, results| {
            let weights = &w[task * outputs * input..];
            for (results, weight) in results.chunks_exact_mut(rows).zip(weights.chunks_exact(input))
            {
                results
                    .iter_mut()
                    .zip(x.chunks_exact(input))
                    .for_each(|(result, x)| *result = dot(x, weight));
            }
        });
        let results = match rows {
            1 => by_output,
            _ => (0..rows)
                .flat_map(|row| by_output.iter().skip(row).step_by(rows).copied())
                .collect(),
        };
        Ok((CpuStorage::F32(results), (rows, out).into()))
    }
}

fn part<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("few-rows reads contiguous tensors"),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn it_is_the_product() {
        for (rows, input, out) in [(1, 1, 1), (1, 768, 50), (2, 33, 7), (6, 100, 2000), (3, 31, 4)]
        {
            let x = Tensor::randn(0f32, 1.0, (rows, input), &Device::Cpu).unwrap();
            let stored = Tensor::randn(0f32, 1.0, (out + 2, input), &Device::Cpu).unwrap();
            let weight = stored.narrow(0, 1, out).unwrap();
            let got = few_rows(&x, &weight).unwrap().unwrap();
            let expected = x.matmul(&weight.t().unwrap()).unwrap();
            let difference =
                (got - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-4, "{rows} {input} {out}");
        }
    }

    #[test]
    fn it_leaves_what_does_not_suit_it() {
        let zeros = |dims: (usize, usize), dtype| Tensor::zeros(dims, dtype, &Device::Cpu).unwrap();
        let weight = zeros((8, 4), DType::F32);
        assert!(few_rows(&zeros((1, 4), DType::F32), &weight).is_some());
        assert!(few_rows(&zeros((MOST + 1, 4), DType::F32), &weight).is_none());
        assert!(few_rows(&zeros((1, 4), DType::F64), &zeros((8, 4), DType::F64)).is_none());
        assert!(few_rows(&zeros((1, 8), DType::F32), &weight.t().unwrap()).is_none());
        let variable = candle_core::Var::zeros((8, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(few_rows(&zeros((1, 4), DType::F32), &variable).is_none());
    }
}
