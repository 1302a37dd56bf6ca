//! Dtypes: their names, which one an operation on two of them gives, and casting. The rules are
//! PyTorch's.

use candle_core::{DType, WithDType};
use half::{bf16, f16};

use super::elementwise::loops::by_dtype;
use super::reduce::fold::with_slice;
use super::transfer::half_precision;
use super::{Complex, Value};
use crate::{Result, did_you_mean, error};

/// What the elements of a [`Value`] are.
///
/// The order within integers and within floats is the order of promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Bool,
    U8,
    U32,
    I64,
    F16,
    BF16,
    F32,
    F64,
    C64,
    C128,
}

/// Bool, integer, float, complex: an operand of a higher category decides the result's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Bool,
    Int,
    Float,
    Complex,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Bool,
        Kind::U8,
        Kind::U32,
        Kind::I64,
        Kind::F16,
        Kind::BF16,
        Kind::F32,
        Kind::F64,
        Kind::C64,
        Kind::C128,
    ];

    pub fn of(value: &Value) -> Kind {
        match value {
            Value::Bool(_) => Kind::Bool,
            Value::Complex(c) if c.re.dtype() == DType::F64 => Kind::C128,
            Value::Complex(_) => Kind::C64,
            Value::Real(t) => Kind::from_candle(t.dtype()),
        }
    }

    /// The kind of a candle tensor's elements; the small integers and floats candle has beyond ours
    /// count as the next wider one, to which [`cast`] takes them.
    pub fn from_candle(dtype: DType) -> Kind {
        match dtype {
            DType::U8 => Kind::U8,
            DType::U32 => Kind::U32,
            DType::I16 | DType::I32 | DType::I64 => Kind::I64,
            DType::F16 => Kind::F16,
            DType::BF16 => Kind::BF16,
            DType::F64 => Kind::F64,
            _ => Kind::F32,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::U8 => "u8",
            Kind::U32 => "u32",
            Kind::I64 => "i64",
            Kind::F16 => "f16",
            Kind::BF16 => "bf16",
            Kind::F32 => "f32",
            Kind::F64 => "f64",
            Kind::C64 => "c64",
            Kind::C128 => "c128",
        }
    }

    /// # Errors
    /// A name that is no dtype, with the nearest.
    pub fn parse(name: &str) -> Result<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            let error = error!("there is no dtype {name:?}");
            match did_you_mean(name, known.iter().copied()) {
                Some(help) => error.help(help),
                None => error,
            }
        })
    }

    /// The dtype of the candle tensors that hold such elements (for complex, of each part).
    pub fn storage(self) -> DType {
        match self {
            Kind::Bool | Kind::U8 => DType::U8,
            Kind::U32 => DType::U32,
            Kind::I64 => DType::I64,
            Kind::F16 => DType::F16,
            Kind::BF16 => DType::BF16,
            Kind::F32 | Kind::C64 => DType::F32,
            Kind::F64 | Kind::C128 => DType::F64,
        }
    }

    pub fn category(self) -> Category {
        match self {
            Kind::Bool => Category::Bool,
            Kind::U8 | Kind::U32 | Kind::I64 => Category::Int,
            Kind::F16 | Kind::BF16 | Kind::F32 | Kind::F64 => Category::Float,
            Kind::C64 | Kind::C128 => Category::Complex,
        }
    }

    pub fn is_float(self) -> bool {
        self.category() == Category::Float
    }

    /// Whether a float can become an element: a finite one as finite, and as an integer only a
    /// number within its range.
    pub fn takes(self, x: f64) -> bool {
        let reaches = |low: f64, beyond: f64| x.trunc() >= low && x < beyond;
        match self {
            Kind::Bool => true,
            Kind::U8 => reaches(0.0, 256.0),
            Kind::U32 => reaches(0.0, 4294967296.0),
            Kind::I64 => reaches(-9223372036854775808.0, 9223372036854775808.0),
            Kind::F16 => !x.is_finite() || f16::from_f64(x).is_finite(),
            Kind::BF16 => !x.is_finite() || bf16::from_f64(x).is_finite(),
            Kind::F32 | Kind::C64 => !x.is_finite() || (x as f32).is_finite(),
            Kind::F64 | Kind::C128 => true,
        }
    }

    /// Bool or integer.
    pub fn is_exact(self) -> bool {
        self.category() <= Category::Int
    }

    /// What a function with fractional results gives: floats and complex stay, integers and bools
    /// become f32.
    pub fn to_float(self) -> Kind {
        if self.is_exact() { Kind::F32 } else { self }
    }

    /// The complex dtype whose parts hold this one.
    pub fn to_complex(self) -> Kind {
        if matches!(self, Kind::F64 | Kind::C128) { Kind::C128 } else { Kind::C64 }
    }

    /// What an operation on two tensors (both with dims, or both without) gives.
    pub fn promote(self, other: Kind) -> Kind {
        if self.category() < other.category() {
            return other.promote(self);
        }
        match (self, other) {
            (Kind::F16, Kind::BF16) | (Kind::BF16, Kind::F16) => Kind::F32,
            (_, Kind::F64) if self == Kind::C64 => Kind::C128,
            _ if self.category() == other.category() => self.max(other),
            _ => self,
        }
    }

    /// What an operation on two values of these kinds and ranks gives: an operand without dims only
    /// counts where its category is the higher one.
    pub fn promote_ranked((a, a_rank): (Kind, usize), (b, b_rank): (Kind, usize)) -> Kind {
        match (a_rank, b_rank) {
            (0, 1..) => b.over_scalar(a),
            (1.., 0) => a.over_scalar(b),
            _ => a.promote(b),
        }
    }

    /// What a tensor with dims gives with an operand of kind `scalar` that has none.
    pub fn over_scalar(self, scalar: Kind) -> Kind {
        match (self.category(), scalar.category()) {
            (Category::Float, Category::Complex) => self.to_complex(),
            (mine, its) if mine >= its => self,
            _ => self.promote(scalar),
        }
    }
}

/// The value with elements of `kind`. Storage is shared where nothing changes.
///
/// # Errors
/// Complex to anything but complex or bool: that would drop the imaginary part unasked. A float
/// that no integer of `kind` is, nan among them; looked for on the CPU alone.
pub fn cast(value: &Value, kind: Kind) -> Result<Value> {
    let dtype = kind.storage();
    if kind.category() == Category::Int && Kind::of(value).is_float() && value.device().is_cpu() {
        check_whole(value, kind)?;
    }
    Ok(match (value, kind) {
        (Value::Bool(_), Kind::Bool) => value.clone(),
        (Value::Real(t), Kind::Bool) => Value::Bool(t.ne(&t.zeros_like()?)?),
        (Value::Complex(c), Kind::Bool) => {
            Value::Bool(c.re.ne(&c.re.zeros_like()?)?.maximum(&c.im.ne(&c.im.zeros_like()?)?)?)
        }
        (Value::Real(t) | Value::Bool(t), Kind::C64 | Kind::C128) => {
            let re = t.to_dtype(dtype)?;
            Value::Complex(Complex { im: re.zeros_like()?, re })
        }
        (Value::Complex(c), Kind::C64 | Kind::C128) => {
            Value::Complex(Complex { re: c.re.to_dtype(dtype)?, im: c.im.to_dtype(dtype)? })
        }
        (Value::Real(t), _) if t.dtype() == DType::F32 => {
            Value::Real(half_precision::round(t, dtype)?)
        }
        (Value::Real(t), _) if dtype == DType::F32 => {
            Value::Real(half_precision::widen(t)?.to_dtype(dtype)?)
        }
        (Value::Real(t) | Value::Bool(t), _) => Value::Real(t.to_dtype(dtype)?),
        (Value::Complex(_), _) => {
            return Err(error!("a complex tensor has no {} form", kind.name())
                .help("take .real, .imag, .abs() or .angle() first"));
        }
    })
}

/// A float as a script may write it.
pub fn written(x: f64) -> String {
    format!("{x:?}").to_lowercase()
}

fn check_whole(value: &Value, kind: Kind) -> Result<()> {
    let tensor = value.real("this")?;
    let strange = by_dtype!(tensor, T => with_slice(tensor, |elements: &[T]| {
        elements.iter().map(|x| x.to_f64()).find(|x| !kind.takes(*x))
    }))?;
    match strange {
        Some(x) => Err(error!("{} does not fit into {}", written(x), kind.name()).help(
            "x.isfinite() tells where numbers are, x.clamp(min, max) keeps them within bounds",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn promotion_is_pytorchs() {
        use Kind::*;
        let cases = [
            (Bool, Bool, Bool),
            (Bool, U8, U8),
            (U8, I64, I64),
            (U32, U8, U32),
            (I64, F16, F16),
            (I64, BF16, BF16),
            (F16, BF16, F32),
            (BF16, F32, F32),
            (F32, F64, F64),
            (F64, C64, C128),
            (F32, C64, C64),
            (I64, C64, C64),
            (C64, C128, C128),
        ];
        for (a, b, expected) in cases {
            assert_eq!(a.promote(b), expected, "{a:?} {b:?}");
            assert_eq!(b.promote(a), expected, "{b:?} {a:?}");
        }
    }

    #[test]
    fn an_operand_without_dims_counts_by_its_category_alone() {
        use Kind::*;
        let cases = [
            (F16, F64, F16),
            (I64, F64, F64),
            (U8, I64, U8),
            (Bool, I64, I64),
            (F64, C64, C128),
            (C64, F64, C64),
        ];
        for (dims, scalar, expected) in cases {
            assert_eq!(
                Kind::promote_ranked((dims, 2), (scalar, 0)),
                expected,
                "{dims:?} {scalar:?}"
            );
            assert_eq!(
                Kind::promote_ranked((scalar, 0), (dims, 2)),
                expected,
                "{scalar:?} {dims:?}"
            );
        }
        assert_eq!(Kind::promote_ranked((F16, 0), (F64, 0)), F64);
    }

    #[test]
    fn casts_between_all_kinds_and_refuses_to_drop_an_imaginary_part() {
        let ones = Value::Real(Tensor::new(&[0f32, 1., 2.], &Device::Cpu).unwrap());
        for from in Kind::ALL {
            let value = cast(&ones, from).unwrap();
            for to in Kind::ALL {
                let complex_to_real = from.category() == Category::Complex
                    && !matches!(to.category(), Category::Complex | Category::Bool);
                match cast(&value, to) {
                    Ok(out) => assert_eq!((Kind::of(&out), complex_to_real), (to, false)),
                    Err(e) => assert!(complex_to_real, "{from:?} to {to:?}: {e}"),
                }
            }
        }
        let nan = Value::Real(Tensor::new(&[f32::NAN, 0.], &Device::Cpu).unwrap());
        assert_eq!(cast(&nan, Kind::Bool).unwrap().parts()[0].to_vec1::<u8>().unwrap(), [1, 0]);
    }
}
