//! Products of tensors that sum over a dim: `matmul`, `dot`, `outer`, `cosine_similarity`.

use candle_core::{DType, Device, Tensor};

use super::batched_products::products;
use crate::kernel::cpu::parallel;
use crate::kernel::cpu::simd::vectorized;
use crate::tensor::elementwise::arithmetic::Arithmetic;
use crate::tensor::elementwise::integer::Integer;
use crate::tensor::elementwise::loops;
use crate::tensor::operand::Operand;
use crate::tensor::reduce::along_dim::Lines;
use crate::tensor::reduce::by_candle;
use crate::tensor::reduce::float::Float;
use crate::tensor::reduce::fold::with_slice;
use crate::tensor::{Complex, Kind, Value, dims, dtype, operand};
use crate::{Result, bail, error};

/// The matrix product over the last two dims, those before them broadcast. A vector counts as a row
/// on the left and as a column on the right, and its dim of size 1 is left out of the result.
/// Integers wrap.
///
/// # Errors
/// Shapes that do not fit, tensors without dims, bools alone, two devices.
pub fn matmul(a: &Value, b: &Value) -> Result<Value> {
    let (a_dims, b_dims) = (a.dims(), b.dims());
    if a_dims.is_empty() || b_dims.is_empty() {
        return Err(error!(
            "matmul needs tensors with dims, and got shapes {a_dims:?} and {b_dims:?}"
        )
        .help("multiply by a single number with *"));
    }
    let (a, b, kind) = common(a, b, "matmul")?;
    let (row, column) = (a_dims.len() == 1, b_dims.len() == 1);
    let rows = if row { a.map(|t| t.unsqueeze(0))? } else { a };
    let columns = if column { b.map(|t| t.unsqueeze(1))? } else { b };
    let plan = Plan::new(rows.dims(), columns.dims()).map_err(|reason| {
        error!("matmul: shapes {a_dims:?} and {b_dims:?} do not fit: {reason}")
            .help("the last dim of the first must be the second to last of the second")
    })?;
    let out = dtype::cast(&plan.multiply(&rows, &columns)?, kind)?;
    let mut shape = plan.batch.clone();
    shape.extend((!row).then_some(plan.m));
    shape.extend((!column).then_some(plan.n));
    out.map(|t| t.reshape(shape.as_slice()))
}

/// Both in the dtype the product is worked out in and on one device, and the result's dtype.
pub(crate) fn common(a: &Value, b: &Value, call: &str) -> Result<(Value, Value, Kind)> {
    let device = operand::common_device(a.into(), b.into(), call)?;
    let kind = operand::promote(a.into(), b.into());
    if kind == Kind::Bool {
        return Err(error!("{call} has no meaning for bool tensors")
            .help("convert them first, with .to(\"f32\")"));
    }
    let work = working(kind, device.is_cpu());
    Ok((Operand::from(a).value(work, &device)?, Operand::from(b).value(work, &device)?, kind))
}

/// On the CPU half precision is worked out in f32 and rounded once.
pub(crate) fn working(kind: Kind, on_cpu: bool) -> Kind {
    if on_cpu && matches!(kind, Kind::F16 | Kind::BF16) { Kind::F32 } else { kind }
}

/// How `[…, m, k]` and `[…, k, n]` multiply.
struct Plan {
    batch: Vec<usize>,
    m: usize,
    k: usize,
    n: usize,
    /// The left and the right side have but one matrix.
    single: (bool, bool),
}

impl Plan {
    /// # Errors
    /// Why the shapes do not fit.
    fn new(a: &[usize], b: &[usize]) -> Result<Plan, String> {
        let (a_batch, &[m, k]) = a.split_last_chunk().ok_or("they have too few dims")?;
        let (b_batch, &[rows, n]) = b.split_last_chunk().ok_or("they have too few dims")?;
        if k != rows {
            return Err(format!("{k} against {rows}"));
        }
        let batch = dims::broadcast(a_batch, b_batch, "matmul").map_err(|_| {
            format!("{a_batch:?} and {b_batch:?} before the matrices do not broadcast")
        })?;
        let mut out = batch.clone();
        out.extend([m, n]);
        dims::check_size(&out).map_err(|error| error.message().to_owned())?;
        let single = |batch: &[usize]| batch.iter().all(|&size| size == 1);
        Ok(Plan { batch, m, k, n, single: (single(a_batch), single(b_batch)) })
    }

    fn count(&self) -> usize {
        self.batch.iter().product()
    }

    /// All products, in whatever shape.
    fn multiply(&self, a: &Value, b: &Value) -> Result<Value> {
        Ok(match (a, b) {
            (Value::Complex(a), Value::Complex(b)) => {
                let part = |x: &Tensor, y: &Tensor| self.floats(x, y);
                let re = part(&a.re, &b.re)?.sub(&part(&a.im, &b.im)?)?;
                let im = part(&a.re, &b.im)?.add(&part(&a.im, &b.re)?)?;
                Value::Complex(Complex { re, im })
            }
            _ => {
                let (x, y) = (a.real("matmul")?, b.real("matmul")?);
                Value::Real(match x.dtype() {
                    DType::U8 => self.integers::<u8>(x, y)?,
                    DType::U32 => self.integers::<u32>(x, y)?,
                    DType::I64 => self.integers::<i64>(x, y)?,
                    _ => self.floats(x, y)?,
                })
            }
        })
    }

    fn floats(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let &Plan { m, k, n, .. } = self;
        if self.single.1 {
            let rows = if a.rank() == 2 { a.clone() } else { a.reshape((self.count() * m, k))? };
            return side_by_side(&rows, &matrices(b, 1, k, n)?.squeeze(0)?);
        }
        side_by_side(&self.spread(a, self.single.0, m, k)?, &self.spread(b, false, k, n)?)
    }

    /// One matrix for each of the batch, `[batch, rows, columns]`; a single one is not copied.
    fn spread(&self, t: &Tensor, single: bool, rows: usize, columns: usize) -> Result<Tensor> {
        let count = self.count();
        if single {
            return Ok(matrices(t, 1, rows, columns)?.broadcast_as((count, rows, columns))?);
        }
        let mut shape = self.batch.clone();
        shape.extend([rows, columns]);
        matrices(&t.broadcast_as(shape.as_slice())?, count, rows, columns)
    }

    /// candle multiplies no integers.
    fn integers<T: Integer>(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let &Plan { m, k, n, .. } = self;
        let left = loops::host::<T>(&self.spread(a, false, m, k)?)?;
        let right = loops::host::<T>(&self.spread(b, false, k, n)?)?;
        let mut out = vec![T::zero(); self.count() * m * n];
        if !out.is_empty() && k > 0 {
            parallel::rows(&mut out, n, k * n, |row, out| {
                let (factors, matrix) = (&left[row * k..][..k], &right[row / m * k * n..][..k * n]);
                for (&factor, line) in factors.iter().zip(matrix.chunks(n)) {
                    for (sum, &x) in out.iter_mut().zip(line) {
                        *sum = sum.plus(factor.times(x));
                    }
                }
            });
        }
        loops::place(out, &[self.count(), m, n], a.device())
    }
}

/// The tensor as `[count, rows, columns]`, without a copy where the matrices are row- or
/// column-major.
fn matrices(t: &Tensor, count: usize, rows: usize, columns: usize) -> Result<Tensor> {
    if t.dims() == [count, rows, columns] {
        return Ok(t.clone());
    }
    if t.rank() == 2 {
        return Ok(t.unsqueeze(0)?);
    }
    let turned = t.t()?;
    if !t.is_contiguous() && turned.is_contiguous() {
        return Ok(turned.reshape((count, columns, rows))?.t()?);
    }
    Ok(t.reshape((count, rows, columns))?)
}

/// The products of two tensors of two or three dims.
fn side_by_side(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(match products(a, b, 1.0) {
        Some(products) => products?,
        None => regular(a)?.matmul(&regular(b)?)?,
    })
}

/// The tensor of two or three dims, copied unless its matrices are row- or column-major: candle
/// multiplies no others.
fn regular(t: &Tensor) -> Result<Tensor> {
    let (dims, strides) = (t.dims(), t.stride());
    let (i, j) = (t.rank() - 2, t.rank() - 1);
    let row_major = strides[j] == 1 && strides[i] == dims[j];
    let column_major = strides[i] == 1 && strides[j] == dims[i];
    Ok(if row_major || column_major { t.clone() } else { t.contiguous()? })
}

/// The sum of the products of two vectors' elements.
///
/// # Errors
/// Anything but two vectors of one length.
pub fn dot(a: &Value, b: &Value) -> Result<Value> {
    if a.rank() != 1 || a.dims() != b.dims() {
        return Err(error!(
            "dot needs two vectors of one length, not shapes {:?} and {:?}",
            a.dims(),
            b.dims()
        )
        .help("matmul or einsum multiply larger tensors"));
    }
    let (a, b, kind) = common(a, b, "dot")?;
    dtype::cast(&matmul(&a, &b)?, kind)
}

/// Each element of one vector times each of another: `[n]` and `[m]` give `[n, m]`.
///
/// # Errors
/// Anything but two vectors.
pub fn outer(a: &Value, b: &Value) -> Result<Value> {
    if a.rank() != 1 || b.rank() != 1 {
        bail!("outer needs two vectors, not shapes {:?} and {:?}", a.dims(), b.dims());
    }
    let (column, row) = (a.map(|t| t.unsqueeze(1))?, b.map(|t| t.unsqueeze(0))?);
    Arithmetic::Mul.apply(&column, &row)
}

/// The cosine of the angle between the vectors along `dim` (without one dim 1, and of vectors their
/// only one), the other dims broadcast; integers give f32.
///
/// # Errors
/// Shapes that do not broadcast, a dim they do not have, complex tensors.
pub fn cosine_similarity(a: &Value, b: &Value, dim: Option<i64>) -> Result<Value> {
    let call = "cosine_similarity";
    let device = operand::common_device(a.into(), b.into(), call)?;
    let shape = dims::broadcast(a.dims(), b.dims(), call)?;
    let dim = dims::dim(dim.unwrap_or(i64::from(shape.len() > 1)), &shape)?;
    let kind = operand::promote(a.into(), b.into()).to_float();
    let work = if kind == Kind::F64 { DType::F64 } else { DType::F32 };
    let side = |x: &Value| {
        let t = Operand::from(x).value(Kind::of(x), &device)?.real(call)?.to_dtype(work)?;
        Ok::<_, crate::Error>(t.broadcast_as(shape.as_slice())?)
    };
    let (a, b) = (side(a)?, side(b)?);
    let cosine = match work {
        _ if !device.is_cpu() => by_candle::cosine(&a, &b, dim, LEAST)?,
        DType::F64 => cosines::<f64>(&a, &b, dim)?,
        _ => cosines::<f32>(&a, &b, dim)?,
    };
    dtype::cast(&Value::Real(cosine), kind)
}

/// PyTorch's least norm: a zero vector is similar to nothing.
const LEAST: f64 = 1e-8;

vectorized! {
    /// a·a, b·b and a·b.
    fn inner_products[T: Float](a: &[T], b: &[T]) -> [f64; 3] {
        /// Independent sums, for the compiler to vectorise.
        const LANES: usize = 16;
        let (mut aa, mut bb, mut ab) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in whole_a.iter().zip(whole_b) {
            for lane in 0..LANES {
                let (a, b): (f64, f64) = (a[lane].into(), b[lane].into());
                aa[lane] += a * a;
                bb[lane] += b * b;
                ab[lane] += a * b;
            }
        }
        for (lane, (&a, &b)) in rest_a.iter().zip(rest_b).enumerate() {
            let (a, b): (f64, f64) = (a.into(), b.into());
            aa[lane] += a * a;
            bb[lane] += b * b;
            ab[lane] += a * b;
        }
        [aa, bb, ab].map(|sums| sums.iter().sum())
    }
}

/// Of two CPU tensors of one shape.
fn cosines<T: Float>(a: &Tensor, b: &Tensor, dim: usize) -> Result<Tensor> {
    let lines = Lines::along(a.dims(), dim);
    let cosines = with_slice(a, |a: &[T]| {
        with_slice(b, |b: &[T]| {
            lines.fill(1, 0.0, |tile, (left, right): &mut (Vec<T>, Vec<T>), out: &mut [f64]| {
                let pairs = tile
                    .read(a, left)
                    .chunks(lines.size)
                    .zip(tile.read(b, right).chunks(lines.size));
                for ((a, b), out) in pairs.zip(out) {
                    let [aa, bb, ab] = inner_products(a, b);
                    *out = ab / (aa.sqrt().max(LEAST) * bb.sqrt().max(LEAST));
                }
            })
        })
    })??;
    let mut shape = a.dims().to_vec();
    shape.remove(dim);
    Ok(loops::place(cosines, &shape, &Device::Cpu)?.to_dtype(T::DTYPE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Number, creation};

    fn iota(dims: &[usize], kind: Kind) -> Value {
        let numbers: Vec<Number> =
            (0..dims.iter().product::<usize>() as i64).map(|i| Number::Int(i % 11)).collect();
        creation::from_numbers(&numbers, dims, Some(kind), &Device::Cpu).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        creation::to_numbers(value).unwrap().into_iter().map(Number::to_f64).collect()
    }

    #[test]
    fn every_shape_and_dtype_agrees_with_the_definition() {
        let shapes: [(&[usize], &[usize], &[usize]); 10] = [
            (&[3], &[3], &[]),
            (&[2, 3], &[3], &[2]),
            (&[3], &[3, 4], &[4]),
            (&[2, 3], &[3, 4], &[2, 4]),
            (&[5, 2, 3], &[3, 4], &[5, 2, 4]),
            (&[2, 3], &[5, 3, 4], &[5, 2, 4]),
            (&[5, 1, 2, 3], &[2, 3, 4], &[5, 2, 2, 4]),
            (&[5, 2, 3], &[3], &[5, 2]),
            (&[3], &[2, 5, 3, 4], &[2, 5, 4]),
            (&[2, 0], &[0, 4], &[2, 4]),
        ];
        for (a, b, expected) in shapes {
            for kind in
                [Kind::F32, Kind::F64, Kind::F16, Kind::BF16, Kind::I64, Kind::U32, Kind::C64]
            {
                let out = matmul(&iota(a, kind), &iota(b, kind)).unwrap();
                assert_eq!((out.dims(), Kind::of(&out)), (expected, kind), "{a:?} {b:?}");
                let re = Value::Real(out.parts()[0].clone());
                assert_eq!(numbers(&re), product(a, b, expected), "{a:?} {b:?} {kind:?}");
            }
        }
    }

    /// By the definition, element by element.
    fn product(a: &[usize], b: &[usize], out: &[usize]) -> Vec<f64> {
        let (x, y) = (numbers(&iota(a, Kind::F64)), numbers(&iota(b, Kind::F64)));
        let (k, m) = (a[a.len() - 1], if a.len() > 1 { a[a.len() - 2] } else { 1 });
        let n = if b.len() > 1 { b[b.len() - 1] } else { 1 };
        let count = out.iter().product::<usize>() / (m * n);
        let element = |batch: usize, i: usize, j: usize| -> f64 {
            // Of the shapes above, one has a batch that is broadcast on the left alone, [5, 1] to
            // [5, 2].
            let left = if a == [5, 1, 2, 3] {
                batch / 2
            } else {
                batch % (x.len() / (m * k).max(1)).max(1)
            };
            let right = batch % (y.len() / (k * n).max(1)).max(1);
            (0..k).map(|l| x[(left * m + i) * k + l] * y[(right * k + l) * n + j]).sum()
        };
        let places = (0..count)
            .flat_map(|batch| (0..m).flat_map(move |i| (0..n).map(move |j| (batch, i, j))));
        places.map(|(batch, i, j)| element(batch, i, j)).collect()
    }

    #[test]
    fn views_multiply_as_their_copies() {
        let x = iota(&[4, 5, 6], Kind::F32);
        let Value::Real(t) = &x else { panic!() };
        for view in
            [t.transpose(0, 1).unwrap(), t.transpose(1, 2).unwrap(), t.narrow(2, 1, 4).unwrap()]
        {
            let right = view.transpose(1, 2).unwrap();
            let by_view = matmul(&Value::Real(view.clone()), &Value::Real(right.clone())).unwrap();
            let copy = |t: &Tensor| Value::Real(t.force_contiguous().unwrap());
            assert_eq!(numbers(&by_view), numbers(&matmul(&copy(&view), &copy(&right)).unwrap()));
            let one = Value::Real(right.get(0).unwrap());
            assert_eq!(numbers(&matmul(&Value::Real(view.clone()), &one).unwrap()), {
                numbers(&matmul(&copy(&view), &copy(&right.get(0).unwrap())).unwrap())
            });
        }
    }

    #[test]
    fn integers_wrap_and_mix_with_floats() {
        let big = Value::Real(Tensor::new(&[i64::MAX, 1], &Device::Cpu).unwrap());
        let two = Value::Real(Tensor::new(&[2i64, 3], &Device::Cpu).unwrap());
        let out = matmul(&big, &two).unwrap();
        assert_eq!(out.parts()[0].to_scalar::<i64>().unwrap(), 1);
        let mixed = dot(&two, &iota(&[2], Kind::F16)).unwrap();
        assert_eq!((Kind::of(&mixed), numbers(&mixed)), (Kind::F16, vec![3.0]));
    }

    #[test]
    fn faults_name_both_shapes() {
        let message = |a: &[usize], b: &[usize]| {
            matmul(&iota(a, Kind::F32), &iota(b, Kind::F32)).unwrap_err().message().to_owned()
        };
        assert_eq!(
            message(&[2, 3], &[4, 5]),
            "matmul: shapes [2, 3] and [4, 5] do not fit: 3 against 4"
        );
        assert_eq!(message(&[3], &[4]), "matmul: shapes [3] and [4] do not fit: 3 against 4");
        assert_eq!(
            message(&[2, 5, 3], &[4, 3, 5]),
            "matmul: shapes [2, 5, 3] and [4, 3, 5] do not fit: [2] and [4] before the matrices do not broadcast"
        );
        assert_eq!(message(&[], &[4]), "matmul needs tensors with dims, and got shapes [] and [4]");
        assert!(matmul(&iota(&[2], Kind::Bool), &iota(&[2], Kind::Bool)).is_err());
        assert!(dot(&iota(&[2], Kind::F32), &iota(&[3], Kind::F32)).is_err());
        assert!(outer(&iota(&[2, 2], Kind::F32), &iota(&[3], Kind::F32)).is_err());
    }

    #[test]
    fn cosines_of_a_zero_vector_are_zero() {
        let a = creation::from_numbers(&[3, 4, 0, 0].map(Number::Int), &[2, 2], None, &Device::Cpu)
            .unwrap();
        let b = creation::from_numbers(&[4, 3].map(Number::Int), &[2], None, &Device::Cpu).unwrap();
        let out = cosine_similarity(&a, &b, None).unwrap();
        assert_eq!(out.dims(), [2]);
        let cosines = numbers(&out);
        assert!((cosines[0] - 0.96).abs() < 1e-6 && cosines[1] == 0.0);
        assert_eq!(cosine_similarity(&a, &b, Some(0)).unwrap().dims(), [2]);
        assert_eq!(cosine_similarity(&b, &b, None).unwrap().rank(), 0);
        let (a, b) = (iota(&[3, 40, 5], Kind::F32), iota(&[40, 1], Kind::F32));
        for dim in 0..3 {
            let here = cosine_similarity(&a, &b, Some(dim - 3)).unwrap();
            let wide = b.parts()[0].broadcast_as(a.dims()).unwrap();
            let there = by_candle::cosine(a.parts()[0], &wide, dim as usize, LEAST).unwrap();
            assert_eq!(here.dims(), there.dims());
            for (x, y) in numbers(&here).into_iter().zip(numbers(&Value::Real(there))) {
                assert!((x - y).abs() < 1e-6, "{dim}: {x} and {y}");
            }
        }
    }
}
