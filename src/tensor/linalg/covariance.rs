//! `cov` and `corrcoef`: how variables vary with each other.

use super::diagonal::diag;
use super::matmul::matmul;
use crate::system::message;
use crate::tensor::elementwise::arithmetic::{Arithmetic, clamp};
use crate::tensor::elementwise::function::Function;
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::sums;
use crate::tensor::shape::view;
use crate::tensor::{Kind, Value, dtype};
use crate::{Result, error};

/// `torch.cov`: the covariances `[m, m]` of `m` variables, the rows of `[m, n]`, over their `n`
/// observations: Σ (x - mean x)(y - mean y) / (n - correction). A correction of 1 gives those of a
/// sample, 0 those of a population. A vector is a single variable, and the result for a single
/// variable has rank 0. Integers give f32. If the divisor is 0, a warning is printed and the result
/// is NaN or infinite.
///
/// # Errors
/// The tensor has more than two dims, is bool or is complex.
pub fn cov(value: &Value, correction: f64) -> Result<Value> {
    let Centered { products, observations, kind } = Centered::new(value, "cov")?;
    let divisor = (observations as f64 - correction).max(0.0);
    if divisor == 0.0 && observations > 0 {
        message::notice_once(format_args!(
            "warning: cov of {observations} observations with a correction of {correction} divides by 0, which \
             gives nan or inf; #{{correction: 0}} divides by the count"
        ));
    }
    result(&Arithmetic::Div.apply(&products, divisor)?, kind)
}

/// `torch.corrcoef`: Pearson's correlations `[m, m]` of `m` variables, the rows of `[m, n]`, over
/// their `n` observations: the covariances divided by both standard deviations, from -1 to 1. Those
/// of a constant variable are NaN. A vector is a single variable, and the result for a single
/// variable has rank 0. Integers give f32.
///
/// # Errors
/// As [`cov`].
pub fn corrcoef(value: &Value) -> Result<Value> {
    // The divisor of the covariances would cancel.
    let Centered { products, kind, .. } = Centered::new(value, "corrcoef")?;
    let norms = Function::Sqrt.apply(&diag(&products, 0)?)?;
    let by_row = Arithmetic::Div.apply(&products, &view::unsqueeze(&norms, 1)?)?;
    let correlations = Arithmetic::Div.apply(&by_row, &norms)?;
    // Rounding may lead out of the range.
    result(&clamp(&correlations, Some((-1.0).into()), Some(1.0.into()))?, kind)
}

/// The products of variables from which their means were taken.
struct Centered {
    /// The inner product of each two variables, `[m, m]`, in f64 or f32.
    products: Value,
    /// The number of observations of each variable.
    observations: usize,
    /// The dtype of the result.
    kind: Kind,
}

impl Centered {
    /// Its derivative is that of the functions that it is made of. `call` names the function in
    /// errors.
    ///
    /// # Errors
    /// As [`cov`].
    fn new(value: &Value, call: &str) -> Result<Self> {
        let rows = match *value.dims() {
            [] | [_] => view::reshape(value, &[1, -1])?,
            [_, _] => value.clone(),
            _ => {
                return Err(error!(
                    "{call} needs variables as rows, [m, n], not a tensor {:?}",
                    value.dims()
                )
                .help("x.flatten(0, -2).T takes the last dim as the variables"));
            }
        };
        if Kind::of(value) == Kind::Bool {
            return Err(error!("{call} has no meaning for bool tensors")
                .help("convert them first, with .to(\"f32\")"));
        }
        rows.real(call)?;
        let kind = Kind::of(value).to_float();
        let rows = dtype::cast(&rows, if kind == Kind::F64 { kind } else { Kind::F32 })?;
        let mean = sums::mean(&rows, Over { dims: Some(&[1]), keepdim: true })?;
        let centered = Arithmetic::Sub.apply(&rows, &mean)?;
        let products = matmul(&centered, &view::t(&centered)?)?;
        Ok(Self { products, observations: rows.dims()[1], kind })
    }
}

/// `[m, m]` in the dtype of the result; of a single variable a tensor of rank 0.
fn result(of_pairs: &Value, kind: Kind) -> Result<Value> {
    dtype::cast(&view::squeeze(of_pairs, None)?, kind)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tensor::linalg::testing::{assert_close, noise, numbers};
    use crate::tensor::{Number, creation};

    /// The covariances of the rows of `[m, n]` by plain loops.
    fn loops(xs: &[f64], n: usize, correction: f64) -> Vec<f64> {
        let centered: Vec<Vec<f64>> = xs
            .chunks(n)
            .map(|row| {
                let mean = row.iter().sum::<f64>() / n as f64;
                row.iter().map(|x| x - mean).collect()
            })
            .collect();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let pairs = centered.iter().flat_map(|a| centered.iter().map(move |b| (a, b)));
        pairs.map(|(a, b)| product(a, b) / (n as f64 - correction)).collect()
    }

    fn tensor(xs: &[f64], dims: &[usize]) -> Value {
        let xs: Vec<Number> = xs.iter().map(|&x| Number::Float(x)).collect();
        creation::from_numbers(&xs, dims, Some(Kind::F64), &Device::Cpu).unwrap()
    }

    #[test]
    fn agree_with_loops() {
        let x = noise(&[5, 37], Kind::F64);
        for correction in [1.0, 0.0, 2.5] {
            let expected = tensor(&loops(&numbers(&x), 37, correction), &[5, 5]);
            assert_close(&cov(&x, correction).unwrap(), &expected, "cov");
        }
        let by = loops(&numbers(&x), 37, 0.0);
        let expected: Vec<f64> =
            (0..25).map(|i| by[i] / (by[i / 5 * 6] * by[i % 5 * 6]).sqrt()).collect();
        assert_close(&corrcoef(&x).unwrap(), &tensor(&expected, &[5, 5]), "corrcoef");
        // Far from zero the mean has to go before the products are taken.
        let far = dtype::cast(&Arithmetic::Add.apply(&x, 1000.0).unwrap(), Kind::F32).unwrap();
        let near = corrcoef(&far).unwrap();
        assert_eq!(Kind::of(&near), Kind::F32);
        for (x, y) in numbers(&near).into_iter().zip(expected) {
            assert!((x - y).abs() < 1e-3 && x.abs() <= 1.0, "{x} and {y}");
        }
    }

    #[test]
    fn single_variables_and_other_dtypes_are_as_in_pytorch() {
        let ints = creation::from_numbers(&[1, 2, 4].map(Number::Int), &[3], None, &Device::Cpu);
        let one = cov(&ints.unwrap(), 1.0).unwrap();
        assert_eq!((one.rank(), Kind::of(&one)), (0, Kind::F32));
        assert!((numbers(&one)[0] - 7.0 / 3.0).abs() < 1e-6);
        let half = dtype::cast(&tensor(&[1.0, 2.0, 4.0], &[1, 3]), Kind::BF16).unwrap();
        let half = cov(&half, 1.0).unwrap();
        assert_eq!((half.rank(), Kind::of(&half)), (0, Kind::BF16));
        assert_eq!(numbers(&half), [2.328125]);
        let itself = corrcoef(&tensor(&[1.0, 2.0, 4.0], &[3])).unwrap();
        assert!(itself.rank() == 0 && (numbers(&itself)[0] - 1.0).abs() < 1e-15);
        let none = |dims: &[usize]| cov(&tensor(&[], dims), 1.0).unwrap();
        assert_eq!(none(&[0, 3]).dims(), [0, 0]);
        assert!(numbers(&none(&[2, 0])).iter().all(|x| x.is_nan()));
        // A constant variable, and a divisor of 0.
        let constant = corrcoef(&tensor(&[1.0, 2.0, 3.0, 3.0], &[2, 2])).unwrap();
        assert!((numbers(&constant)[0] - 1.0).abs() < 1e-15);
        assert!(numbers(&constant)[1..].iter().all(|x| x.is_nan()));
        let few = cov(&tensor(&[1.0, 2.0, 2.0, 1.0], &[2, 2]), 5.0).unwrap();
        let inf = f64::INFINITY;
        assert_eq!(numbers(&few), [inf, -inf, -inf, inf]);
    }

    #[test]
    fn faults_are_sentences() {
        let cube = noise(&[2, 3, 4], Kind::F32);
        assert_eq!(
            cov(&cube, 1.0).unwrap_err().message(),
            "cov needs variables as rows, [m, n], not a tensor [2, 3, 4]"
        );
        let bools = dtype::cast(&noise(&[2, 3], Kind::F32), Kind::Bool).unwrap();
        assert_eq!(
            corrcoef(&bools).unwrap_err().message(),
            "corrcoef has no meaning for bool tensors"
        );
        let complex = dtype::cast(&noise(&[2, 3], Kind::F32), Kind::F32.to_complex()).unwrap();
        assert!(cov(&complex, 1.0).is_err() && corrcoef(&complex).is_err());
    }
}
