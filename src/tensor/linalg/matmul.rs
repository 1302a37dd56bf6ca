//! `matmul`: products of matrices with broadcasting.

use candle_core::{DType, Tensor};

use crate::kernel::cpu::parallel;
use crate::kernel::elementwise::Binary;
use crate::kernel::product;
use crate::tensor::elementwise::integer::Integer;
use crate::tensor::operand::Operand;
use crate::tensor::{Complex, Kind, Value, dims, dtype, elements, operand};
use crate::{Result, error};

/// `torch.matmul`: the matrix product of the last two dims; the dims before them are broadcast. A
/// vector counts as a row on the left and as a column on the right, and that dim is dropped from
/// the result. Unlike in PyTorch the dtypes may differ and are promoted. Integers wrap.
///
/// # Errors
/// The shapes do not fit; a tensor has no dims; both are bool; they are on different devices.
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
    let plan = MatmulShape::new(rows.dims(), columns.dims()).map_err(|reason| {
        error!("matmul: shapes {a_dims:?} and {b_dims:?} do not fit: {reason}")
            .help("the last dim of the first must be the second to last of the second")
    })?;
    let out = dtype::cast(&plan.multiply(&rows, &columns)?, kind)?;
    let mut shape = plan.batch.clone();
    shape.extend((!row).then_some(plan.m));
    shape.extend((!column).then_some(plan.n));
    out.map(|t| t.reshape(shape.as_slice()))
}

/// Both operands in the dtype in which the product is computed and on one device, and the dtype of
/// the result.
///
/// # Errors
/// Both are bool, or they are on different devices.
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

/// The dtype in which a product of dtype `kind` is computed: on the CPU f32 for half precision,
/// else `kind`.
pub(crate) fn working(kind: Kind, on_cpu: bool) -> Kind {
    if on_cpu && matches!(kind, Kind::F16 | Kind::BF16) { Kind::F32 } else { kind }
}

/// The shapes of a product of `[…, m, k]` and `[…, k, n]`.
struct MatmulShape {
    /// The broadcast dims before the matrices.
    batch: Vec<usize>,
    m: usize,
    k: usize,
    n: usize,
    /// Whether the left and the right side consist of a single matrix.
    single: (bool, bool),
}

impl MatmulShape {
    /// # Errors
    /// The reason why the shapes do not fit.
    fn new(a: &[usize], b: &[usize]) -> Result<MatmulShape, String> {
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
        Ok(MatmulShape { batch, m, k, n, single: (single(a_batch), single(b_batch)) })
    }

    /// The number of products.
    fn count(&self) -> usize {
        self.batch.iter().product()
    }

    /// All products; the caller reshapes the result to `[batch…, m, n]`.
    fn multiply(&self, a: &Value, b: &Value) -> Result<Value> {
        Ok(match (a, b) {
            (Value::Complex(a), Value::Complex(b)) => {
                let part = |x: &Tensor, y: &Tensor| self.floats(x, y);
                let re = Binary::Sub.apply(&part(&a.re, &b.re)?, &part(&a.im, &b.im)?)?;
                let im = Binary::Add.apply(&part(&a.re, &b.im)?, &part(&a.im, &b.re)?)?;
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
        let &MatmulShape { m, k, n, .. } = self;
        if self.single.1 {
            let rows = if a.rank() == 2 { a.clone() } else { a.reshape((self.count() * m, k))? };
            return Ok(product::matmul(&rows, &matrices(b, 1, k, n)?.squeeze(0)?, 1.0)?);
        }
        let (left, right) = (self.spread(a, self.single.0, m, k)?, self.spread(b, false, k, n)?);
        Ok(product::matmul(&left, &right, 1.0)?)
    }

    /// The tensor broadcast to one matrix for each product, `[count, rows, columns]`. A `single`
    /// matrix is not copied.
    fn spread(&self, t: &Tensor, single: bool, rows: usize, columns: usize) -> Result<Tensor> {
        let count = self.count();
        if single {
            return Ok(matrices(t, 1, rows, columns)?.broadcast_as((count, rows, columns))?);
        }
        let mut shape = self.batch.clone();
        shape.extend([rows, columns]);
        matrices(&t.broadcast_as(shape.as_slice())?, count, rows, columns)
    }

    /// The products of integers, which candle cannot multiply.
    fn integers<T: Integer>(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let &MatmulShape { m, k, n, .. } = self;
        let left = elements::to_vec::<T>(&self.spread(a, false, m, k)?)?;
        let right = elements::to_vec::<T>(&self.spread(b, false, k, n)?)?;
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
        elements::from_vec(out, &[self.count(), m, n], a.device())
    }
}

/// The tensor as `[count, rows, columns]`. It is not copied if its matrices are row-major or
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tensor::linalg::testing::{iota, numbers};
    use crate::tensor::linalg::vector_products::{dot, outer};

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

    /// The product by its definition, element by element.
    fn product(a: &[usize], b: &[usize], out: &[usize]) -> Vec<f64> {
        let (x, y) = (numbers(&iota(a, Kind::F64)), numbers(&iota(b, Kind::F64)));
        let (k, m) = (a[a.len() - 1], if a.len() > 1 { a[a.len() - 2] } else { 1 });
        let n = if b.len() > 1 { b[b.len() - 1] } else { 1 };
        let count = out.iter().product::<usize>() / (m * n);
        let element = |batch: usize, i: usize, j: usize| -> f64 {
            // One of the shapes above has a batch of [5, 1] on the left that is broadcast to [5,
            // 2].
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
}
