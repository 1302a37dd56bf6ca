//! `exp`, `gelu`, `clamp`, `round`, `isnan`, …: functions of each element.

use rhai::Engine;

use super::arguments::{Side, define, derive_anew};
use super::{Handle, Masks};
use crate::bail;
use crate::tensor::elementwise::finite::FloatClass;
use crate::tensor::elementwise::function::Function;
use crate::tensor::elementwise::piecewise::{self, PiecewiseLinear};
use crate::tensor::elementwise::{arithmetic, complex};

pub fn install(engine: &mut Engine) {
    for (name, function) in
        Function::ALL.into_iter().filter(|(_, function)| *function != Function::Gelu)
    {
        define::<Handle, Handle>(engine, name, 1..=1, &[], move |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| function.apply(x))
        });
    }
    define::<Handle, Handle>(engine, "gelu", 1..=1, &["approximate"], |call| {
        let function = match call.options().string("approximate")?.as_deref() {
            None | Some("none") => Function::Gelu,
            Some("tanh") => Function::GeluTanh,
            Some(other) => bail!("gelu: approximate must be \"none\" or \"tanh\", not {other:?}"),
        };
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| function.apply(x))
    });
    for (name, shaping) in PiecewiseLinear::ALL {
        define::<Handle, Handle>(engine, name, 1..=1, &[], move |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| shaping.apply(x))
        });
    }
    for (name, finite) in FloatClass::ALL {
        define::<Handle, Handle>(engine, name, 1..=1, &[], move |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| finite.apply(x))
        });
    }
    define::<Handle, Handle>(engine, "abs", 1..=1, &[], |call| {
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, piecewise::abs)
    });
    define::<Handle, Handle>(engine, "angle", 1..=1, &[], |call| {
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, complex::angle)
    });
    define::<Handle, Handle>(engine, "conj", 1..=1, &[], |call| {
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, complex::conj)
    });
    define::<Handle, Handle>(engine, "clamp", 1..=3, &["min", "max"], |call| {
        let (lo, hi) = (call.side_or_absent(1, "min")?, call.side_or_absent(2, "max")?);
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| match (&lo, &hi) {
            (Some(lo), Some(hi)) => {
                lo.with(|lo| hi.with(|hi| arithmetic::clamp(x, Some(lo), Some(hi))))
            }
            (Some(lo), None) => lo.with(|lo| arithmetic::clamp(x, Some(lo), None)),
            (None, Some(hi)) => Side::with(hi, |hi| arithmetic::clamp(x, None, Some(hi))),
            (None, None) => arithmetic::clamp(x, None, None),
        })
    });
}
