//! `exp`, `gelu`, `clamp`, `round`, `isnan`, …: functions of each element.

use super::Masks;
use super::arguments::{Call, Side, derive_anew};
use crate::bail;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::tensor::elementwise::arithmetic;
use crate::tensor::elementwise::finite::FloatClass;
use crate::tensor::elementwise::function::Function;
use crate::tensor::elementwise::piecewise::{self, PiecewiseLinear};

/// Registers the functions of each element.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Functions of each element");
    install_functions(registry);
    install_function(registry);
    install_finite(registry);
}

fn install_functions(registry: &mut Registry) {
    let each = |function: Function| {
        move |call: &Call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| function.apply(x))
        }
    };
    registry
        .declare("exp(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "e to the power of each element",
            "tensor([0.0, 1.0]).exp()",
            "tensor [2] f32 cpu: [1.0, 2.7183]",
        )
        .on_tensor(1..=1, each(Function::Exp));
    registry
        .declare("expm1(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "e^x - 1, precise near 0",
            "tensor([0.0, 1e-8]).expm1()",
            "tensor [2] f32 cpu: [0.0, 1.0e-8]",
        )
        .on_tensor(1..=1, each(Function::Expm1));
    registry
        .declare("log(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("natural logarithm", "tensor([1.0, 0.0]).log()", "tensor [2] f32 cpu: [0.0, -inf]")
        .on_tensor(1..=1, each(Function::Log));
    registry
        .declare("log2(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("logarithm to base 2", "tensor([1, 8]).log2()", "tensor [2] f32 cpu: [0.0, 3.0]")
        .on_tensor(1..=1, each(Function::Log2));
    registry
        .declare("log10(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("logarithm to base 10", "tensor([1, 1000]).log10()", "tensor [2] f32 cpu: [0.0, 3.0]")
        .on_tensor(1..=1, each(Function::Log10));
    registry
        .declare("log1p(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "log(1 + x), precise near 0",
            "tensor([0.0, 1e-8]).log1p()",
            "tensor [2] f32 cpu: [0.0, 1.0e-8]",
        )
        .on_tensor(1..=1, each(Function::Log1p));
    registry
        .declare("sqrt(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("square root", "tensor([4.0, -1.0]).sqrt()", "tensor [2] f32 cpu: [2.0, nan]")
        .on_tensor(1..=1, each(Function::Sqrt));
    registry
        .declare("rsqrt(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "1 over the square root",
            "tensor([4.0, 16.0]).rsqrt()",
            "tensor [2] f32 cpu: [0.5, 0.25]",
        )
        .on_tensor(1..=1, each(Function::Rsqrt));
    registry
        .declare("sin(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("sine of radians", "tensor([0.0, 1.5707964]).sin()", "tensor [2] f32 cpu: [0.0, 1.0]")
        .on_tensor(1..=1, each(Function::Sin));
    registry
        .declare("cos(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "cosine of radians",
            "tensor([0.0, 3.1415927]).cos()",
            "tensor [2] f32 cpu: [1.0, -1.0]",
        )
        .on_tensor(1..=1, each(Function::Cos));
    registry
        .declare("tanh(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "hyperbolic tangent",
            "tensor([0.0, 1.0]).tanh()",
            "tensor [2] f32 cpu: [0.0, 0.76159]",
        )
        .on_tensor(1..=1, each(Function::Tanh));
    registry
        .declare("sigmoid(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("1 / (1 + e^-x)", "tensor([0.0, 2.0]).sigmoid()", "tensor [2] f32 cpu: [0.5, 0.8808]")
        .on_tensor(1..=1, each(Function::Sigmoid));
    registry
        .declare("gelu(x, #{approximate})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("x Φ(x)", "tensor([-1.0, 1.0]).gelu()", "tensor [2] f32 cpu: [-0.15866, 0.84134]")
        .row_for(
            "with an option",
            "its tanh approximation",
            r#"tensor([-1.0, 1.0]).gelu(#{approximate: "tanh"})"#,
            "tensor [2] f32 cpu: [-0.15881, 0.84119]",
        )
        .on_tensor(1..=1, |call| {
            let function = match call.options().string("approximate")?.as_deref() {
                None | Some("none") => Function::Gelu,
                Some("tanh") => Function::GeluTanh,
                Some(other) => {
                    bail!("gelu: approximate must be \"none\" or \"tanh\", not {other:?}")
                }
            };
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| function.apply(x))
        });
    registry
        .declare("silu(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "x sigmoid(x)",
            "tensor([-1.0, 1.0]).silu()",
            "tensor [2] f32 cpu: [-0.26894, 0.73106]",
        )
        .on_tensor(1..=1, each(Function::Silu));
    registry
        .declare("erf(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("error function", "tensor([0.5, 1.0]).erf()", "tensor [2] f32 cpu: [0.5205, 0.8427]")
        .on_tensor(1..=1, each(Function::Erf));
}

/// Registers the functions whose result has the tensor's dtype, integers included.
fn install_function(registry: &mut Registry) {
    let each = |function: PiecewiseLinear| {
        move |call: &Call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| function.apply(x))
        }
    };
    registry
        .declare("abs(x)", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "distance from 0, of complex tensors too",
            "tensor([-1.5, 2.0]).abs()",
            "tensor [2] f32 cpu: [1.5, 2.0]",
        )
        .on_tensor(1..=1, |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, piecewise::abs)
        });
    registry
        .declare("relu(x)", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row("0 where negative", "tensor([-1.0, 2.0]).relu()", "tensor [2] f32 cpu: [0.0, 2.0]")
        .on_tensor(1..=1, each(PiecewiseLinear::Relu));
    registry
        .declare("clamp(x, min, max, #{min, max})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "within bounds, either of which may be left out: #{min, max}",
            "arange(5).clamp(1, 3)",
            "tensor [5] i64 cpu: [1, 1, 2, 3, 3]",
        )
        .on_tensor(1..=3, |call| {
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
    registry
        .declare("round(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Zero)
        .row(
            "to the nearest integer, halves to the even one",
            "tensor([0.5, 1.5, -2.4]).round()",
            "tensor [3] f32 cpu: [0.0, 2.0, -2.0]",
        )
        .on_tensor(1..=1, each(PiecewiseLinear::Round));
    registry
        .declare("floor(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Zero)
        .row("down to an integer", "tensor([1.7, -1.2]).floor()", "tensor [2] f32 cpu: [1.0, -2.0]")
        .on_tensor(1..=1, each(PiecewiseLinear::Floor));
    registry
        .declare("ceil(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Zero)
        .row("up to an integer", "tensor([1.2, -1.7]).ceil()", "tensor [2] f32 cpu: [2.0, -1.0]")
        .on_tensor(1..=1, each(PiecewiseLinear::Ceil));
    registry
        .declare("sign(x)", Purity::Pure, OnGpu::FLOATS, Gradient::Zero)
        .row("-1, 0 or 1", "tensor([-3, 0, 2]).sign()", "tensor [3] i64 cpu: [-1, 0, 1]")
        .on_tensor(1..=1, each(PiecewiseLinear::Sign));
}

fn install_finite(registry: &mut Registry) {
    let each = |finite: FloatClass| {
        move |call: &Call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| finite.apply(x))
        }
    };
    registry
        .declare("isnan(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Outside)
        .row(
            "whether an element is NaN",
            "tensor([1.0, nan]).isnan()",
            "tensor [2] bool cpu: [false, true]",
        )
        .on_tensor(1..=1, each(FloatClass::Nan));
    registry
        .declare("isinf(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Outside)
        .row(
            "whether it is infinite",
            "tensor([1.0, -inf]).isinf()",
            "tensor [2] bool cpu: [false, true]",
        )
        .on_tensor(1..=1, each(FloatClass::Infinite));
    registry
        .declare("isfinite(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Outside)
        .row(
            "whether it is neither",
            "tensor([1.0, nan, inf]).isfinite()",
            "tensor [3] bool cpu: [true, false, false]",
        )
        .on_tensor(1..=1, each(FloatClass::Finite));
}
