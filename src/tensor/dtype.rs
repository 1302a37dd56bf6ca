//! [`Kind`], the dtype of a [`Value`]: names, type promotion and casts, by PyTorch's rules.

use candle_core::{DType, WithDType};
use half::{bf16, f16};

use super::elements::{by_dtype, with_slice};
use super::{Complex, Value};
use crate::kernel::half_precision;
use crate::{Result, did_you_mean, error};

/// The dtype of a [`Value`]: candle's, and the bool and complex ones that candle lacks.
///
/// Within the integers and within the floats, dtypes are ordered by promotion: two of them promote
/// to the greater one (except f16 with bf16, see [`Kind::promote`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Stored as u8, every element 0 or 1.
    Bool,
    /// 8-bit unsigned integers.
    U8,
    /// 32-bit unsigned integers.
    U32,
    /// 64-bit signed integers.
    I64,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Complex numbers whose parts are f32.
    C64,
    /// Complex numbers whose parts are f64.
    C128,
}

/// The categories of PyTorch's type promotion, in ascending order: an operand of a higher category
/// decides the category of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// bool.
    Bool,
    /// u8, u32 and i64.
    Int,
    /// f16, bf16, f32 and f64.
    Float,
    /// c64 and c128.
    Complex,
}

impl Kind {
    /// All dtypes.
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

    /// The dtype of a value.
    pub fn of(value: &Value) -> Kind {
        match value {
            Value::Bool(_) => Kind::Bool,
            Value::Complex(c) if c.re.dtype() == DType::F64 => Kind::C128,
            Value::Complex(_) => Kind::C64,
            Value::Real(t) => Kind::from_candle(t.dtype()),
        }
    }

    /// The dtype for a candle dtype. candle's other small integers and floats (i16, i32, f8, …) map
    /// to the next wider dtype here; [`cast`] converts them to it.
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

    /// The name in scripts, as in `x.to("f32")`.
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

    /// The dtype with the given name.
    ///
    /// # Errors
    /// There is none; the error suggests a similar name.
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

    /// The dtype of the candle tensor that stores the elements, or each part of complex elements.
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

    /// The category in type promotion.
    pub fn category(self) -> Category {
        match self {
            Kind::Bool => Category::Bool,
            Kind::U8 | Kind::U32 | Kind::I64 => Category::Int,
            Kind::F16 | Kind::BF16 | Kind::F32 | Kind::F64 => Category::Float,
            Kind::C64 | Kind::C128 => Category::Complex,
        }
    }

    /// Whether it is f16, bf16, f32 or f64.
    pub fn is_float(self) -> bool {
        self.category() == Category::Float
    }

    /// Whether an element of this dtype can hold `x`. Floats are rounded, but a finite number must
    /// stay finite. Integers are truncated, and must be in range; NaN is not.
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

    /// Whether it is bool or an integer dtype.
    pub fn is_exact(self) -> bool {
        self.category() <= Category::Int
    }

    /// The dtype of the result of a function with fractional results, such as `exp`: f32 (PyTorch's
    /// default dtype) for bools and integers, else the dtype itself.
    pub fn to_float(self) -> Kind {
        if self.is_exact() { Kind::F32 } else { self }
    }

    /// The complex dtype whose parts can hold this dtype: c128 for f64 and c128, else c64.
    pub fn to_complex(self) -> Kind {
        if matches!(self, Kind::F64 | Kind::C128) { Kind::C128 } else { Kind::C64 }
    }

    /// The dtype of an operation on two tensors that both have dims or both have none, as
    /// `torch.promote_types`.
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

    /// The dtype of an operation on two tensors of the given dtypes and ranks, as
    /// `torch.result_type`: a tensor of rank 0 counts only if its category is the higher one.
    pub fn promote_ranked((a, a_rank): (Kind, usize), (b, b_rank): (Kind, usize)) -> Kind {
        match (a_rank, b_rank) {
            (0, 1..) => b.over_scalar(a),
            (1.., 0) => a.over_scalar(b),
            _ => a.promote(b),
        }
    }

    /// The dtype of an operation on a tensor with dims of this dtype and a number or a tensor of
    /// rank 0 of dtype `scalar`.
    pub fn over_scalar(self, scalar: Kind) -> Kind {
        match (self.category(), scalar.category()) {
            (Category::Float, Category::Complex) => self.to_complex(),
            (mine, its) if mine >= its => self,
            _ => self.promote(scalar),
        }
    }
}

/// The value converted to dtype `kind`. If it already has that dtype, the storage is shared.
///
/// Floats are truncated to integers, and everything other than 0 becomes `true`, NaN included.
///
/// # Errors
/// `value` is complex and `kind` is neither complex nor bool: unlike PyTorch, the imaginary part is
/// never dropped silently. On the CPU also: a float is out of range for an integer `kind`, or NaN.
/// (On other devices that check would need a copy of the tensor to the host.)
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

/// The safetensors dtype that stores a candle dtype's elements unchanged, if [`Kind`] has it.
pub fn to_safetensors(dtype: DType) -> Option<safetensors::Dtype> {
    use safetensors::Dtype;
    Some(match dtype {
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        _ => return None,
    })
}

/// A float as scripts write it: `1.5`, `nan`, `inf`.
pub fn written(x: f64) -> String {
    format!("{x:?}").to_lowercase()
}

/// Fails on the first element that is out of range for the integer dtype `kind`.
fn check_whole(value: &Value, kind: Kind) -> Result<()> {
    let tensor = value.real("this")?;
    let strange = by_dtype!(tensor, T => Ok(with_slice(tensor, |elements: &[T]| {
        elements.iter().map(|x| x.to_f64()).find(|x| !kind.takes(*x))
    })?))?;
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
