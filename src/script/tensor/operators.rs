//! Operators between tensors, and between a tensor and a number.

use super::arguments::{Side, combine, derive};
use super::handle::mask;
use super::{Handle, Masks};
use crate::script::declare::{Declaration, Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::tensor::elementwise::arithmetic;
use crate::tensor::elementwise::arithmetic::Arithmetic;
use crate::tensor::elementwise::comparison::Comparison;
use crate::tensor::elementwise::logic::{self, Logic};
use crate::tensor::{Kind, Number, Operand, Value};
use crate::{Result, error};

/// Logic.
const BOOLS: OnGpu = OnGpu("there, of bools; of integers on the CPU, and back");
/// Powers.
const SQUARES: OnGpu = OnGpu("there by 2; by anything else on the CPU, and back");
/// Products and quotients.
const REAL: OnGpu = OnGpu("there; of complex numbers on the CPU, and back");

/// Registers the operators, and `minimum` and `maximum`.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Operators");
    install_arithmetic(registry);
    install_comparisons(registry);
    install_logic(registry);
}

fn install_arithmetic(registry: &mut Registry) {
    use Arithmetic::{Add, Div, Mul, Pow, Rem, Sub};
    binary(
        registry.declare("+", Purity::Pure, OnGpu::NATIVE, Gradient::Yes).row(
            "sum, broadcast; a number takes the tensor's dtype where it can",
            "tensor([[1], [2]]) + tensor([10, 20])",
            "tensor [2, 2] i64 cpu: [[11, 21], [12, 22]]",
        ),
        Masks::Stay,
        |a, b| Add.apply(a, b),
    )
    .function(|x: Handle| x);
    binary(
        registry
            .declare(
                "-",
                Purity::Pure,
                OnGpu("there; the negative of integers on the CPU, and back"),
                Gradient::Yes,
            )
            .row("difference, or the negative", "5 - tensor([1, 2])", "tensor [2] i64 cpu: [4, 3]"),
        Masks::Stay,
        |a, b| Sub.apply(a, b),
    )
    .function(|x: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(x, Masks::Stay, arithmetic::negate)?)
    });
    binary(
        registry.declare("*", Purity::Pure, REAL, Gradient::Yes).row(
            "product; an integer tensor with a float number gives f32",
            "0.5 * tensor([1, 2])",
            "tensor [2] f32 cpu: [0.5, 1.0]",
        ),
        Masks::Stay,
        |a, b| Mul.apply(a, b),
    );
    binary(
        registry.declare("/", Purity::Pure, REAL, Gradient::Yes).row(
            "true division, of integers too",
            "tensor([1, 2]) / 2",
            "tensor [2] f32 cpu: [0.5, 1.0]",
        ),
        Masks::Stay,
        |a, b| Div.apply(a, b),
    );
    binary(
        registry.declare("%", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes).row(
            "remainder, with the divisor's sign",
            "tensor([-7, 7]) % 3",
            "tensor [2] i64 cpu: [2, 1]",
        ),
        Masks::Stay,
        |a, b| Rem.apply(a, b),
    );
    binary(
        registry.declare("**", Purity::Pure, SQUARES, Gradient::Yes).row(
            "power",
            "tensor([1.0, 2.0, 3.0]) ** 2",
            "tensor [3] f32 cpu: [1.0, 4.0, 9.0]",
        ),
        Masks::Stay,
        |a, b| Pow.apply(a, b),
    );
    assigning(
        registry.declare("+=", Purity::ChangesReceiver, OnGpu::NATIVE, Gradient::Yes).row(
            "writes into the tensor on the left; likewise `-= *= /= %= **= &= |= ^=`",
            "let a = ones(2); let b = a; b += 1; a",
            "tensor [2] f32 cpu: [2.0, 2.0]",
        ),
        |a, b| Add.apply(a, b),
    );
    assigning(
        registry.declare("-=", Purity::ChangesReceiver, OnGpu::NATIVE, Gradient::Yes),
        |a, b| Sub.apply(a, b),
    );
    assigning(registry.declare("*=", Purity::ChangesReceiver, REAL, Gradient::Yes), |a, b| {
        Mul.apply(a, b)
    });
    assigning(registry.declare("/=", Purity::ChangesReceiver, REAL, Gradient::Yes), |a, b| {
        Div.apply(a, b)
    });
    assigning(
        registry.declare("%=", Purity::ChangesReceiver, OnGpu::VIA_CPU, Gradient::Yes),
        |a, b| Rem.apply(a, b),
    );
    assigning(registry.declare("**=", Purity::ChangesReceiver, SQUARES, Gradient::Yes), |a, b| {
        Pow.apply(a, b)
    });
    binary(
        registry.declare("minimum(a, b)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes).row(
            "the smaller of two, element by element",
            "minimum(tensor([1, 5]), 3)",
            "tensor [2] i64 cpu: [1, 3]",
        ),
        Masks::Stay,
        |a, b| Arithmetic::Minimum.apply(a, b),
    );
    binary(
        registry.declare("maximum(a, b)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes).row(
            "the larger of two",
            "maximum(tensor([1, 5]), tensor([2, 4]))",
            "tensor [2] i64 cpu: [2, 5]",
        ),
        Masks::Stay,
        |a, b| Arithmetic::Maximum.apply(a, b),
    );
}

fn install_comparisons(registry: &mut Registry) {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    binary(
        registry.declare("==", Purity::Pure, OnGpu::NATIVE, Gradient::Outside).row(
            "exactly equal, a bool for each element",
            "tensor([0.1, 0.2]) == 0.1",
            "tensor [2] bool cpu: [true, false]",
        ),
        Masks::End,
        |a, b| Eq.apply(a, b),
    );
    binary(
        registry.declare("!=", Purity::Pure, OnGpu::NATIVE, Gradient::Outside).row(
            "not equal",
            "tensor([1, 2]) != tensor([1, 3])",
            "tensor [2] bool cpu: [false, true]",
        ),
        Masks::End,
        |a, b| Ne.apply(a, b),
    );
    binary(
        registry.declare("<", Purity::Pure, OnGpu::NATIVE, Gradient::Outside).row(
            "less",
            "arange(3) < 1",
            "tensor [3] bool cpu: [true, false, false]",
        ),
        Masks::End,
        |a, b| Lt.apply(a, b),
    );
    binary(
        registry.declare("<=", Purity::Pure, OnGpu::NATIVE, Gradient::Outside).row(
            "less or equal",
            "arange(3) <= 1",
            "tensor [3] bool cpu: [true, true, false]",
        ),
        Masks::End,
        |a, b| Le.apply(a, b),
    );
    binary(
        registry.declare(">", Purity::Pure, OnGpu::NATIVE, Gradient::Outside).row(
            "greater",
            "1.5 > tensor([1.0, 2.0])",
            "tensor [2] bool cpu: [true, false]",
        ),
        Masks::End,
        |a, b| Gt.apply(a, b),
    );
    binary(
        registry.declare(">=", Purity::Pure, OnGpu::NATIVE, Gradient::Outside).row(
            "greater or equal",
            "arange(3) >= 1",
            "tensor [3] bool cpu: [false, true, true]",
        ),
        Masks::End,
        |a, b| Ge.apply(a, b),
    );
}

fn install_logic(registry: &mut Registry) {
    binary(
        registry.declare("&", Purity::Pure, BOOLS, Gradient::Outside).row(
            "and, of bools; bit by bit, of integers",
            "let t = arange(4); (t > 0) & (t < 3)",
            "tensor [4] bool cpu: [false, true, true, false]",
        ),
        Masks::Stay,
        |a, b| Logic::And.apply(a, b),
    );
    binary(
        registry.declare("|", Purity::Pure, BOOLS, Gradient::Outside).row(
            "or",
            "let t = arange(4); (t == 0) | (t == 3)",
            "tensor [4] bool cpu: [true, false, false, true]",
        ),
        Masks::Stay,
        |a, b| Logic::Or.apply(a, b),
    );
    binary(
        registry.declare("^", Purity::Pure, BOOLS, Gradient::Outside).row(
            "exclusive or",
            "tensor([6, 3]) ^ tensor([2, 1])",
            "tensor [2] i64 cpu: [4, 2]",
        ),
        Masks::Stay,
        |a, b| Logic::Xor.apply(a, b),
    );
    registry
        .declare("!", Purity::Pure, BOOLS, Gradient::Outside)
        .row("not", "!(arange(3) == 1)", "tensor [3] bool cpu: [true, false, true]")
        .function(|x: &mut Handle| -> ScriptResult<Handle> {
            Ok(derive(x, Masks::Stay, logic::not)?)
        });
    assigning(registry.declare("&=", Purity::ChangesReceiver, BOOLS, Gradient::Outside), |a, b| {
        Logic::And.apply(a, b)
    });
    assigning(registry.declare("|=", Purity::ChangesReceiver, BOOLS, Gradient::Outside), |a, b| {
        Logic::Or.apply(a, b)
    });
    assigning(registry.declare("^=", Purity::ChangesReceiver, BOOLS, Gradient::Outside), |a, b| {
        Logic::Xor.apply(a, b)
    });
}

/// Registers an operator between two tensors, and between a tensor and an integer, a float or a
/// bool on either side.
fn binary<'r>(
    declaration: Declaration<'r>,
    masks: Masks,
    run: impl Fn(Operand, Operand) -> Result<Value> + Copy + 'static,
) -> Declaration<'r> {
    let apply =
        move |a: Side, b: Side| -> ScriptResult<Handle> { Ok(combine(&a, &b, masks, run)?) };
    let mut declaration =
        declaration.function(move |a: Handle, b: Handle| apply(Side::Tensor(a), Side::Tensor(b)));
    macro_rules! with_number {
        ($T:ty, $number:path) => {
            declaration = declaration
                .function(move |a: Handle, b: $T| apply(Side::Tensor(a), Side::Number($number(b))))
                .function(move |a: $T, b: Handle| apply(Side::Number($number(a)), Side::Tensor(b)));
        };
    }
    with_number!(i64, Number::Int);
    with_number!(f64, Number::Float);
    with_number!(bool, Number::Bool);
    declaration
}

/// Registers `x op= y`, which writes to x in place as in PyTorch, so that a hook's `x *= 0.5` takes
/// effect.
fn assigning(
    declaration: Declaration,
    run: impl Fn(Operand, Operand) -> Result<Value> + Copy + 'static,
) {
    let name = declaration.name();
    let apply = move |x: &Handle, y: Side| -> ScriptResult<()> {
        let value = y.with(|y| run(Operand::Tensor(&x.value()), y))?;
        let mask = match y.handle().and_then(Handle::mask) {
            Some(_) => mask::agreed([Some(x), y.handle()], value.dims())?,
            None => None,
        };
        drop(y);
        overwrite(name, x, &value)?;
        Ok(mask.map_or(Ok(()), |mask| x.mark(mask))?)
    };
    declaration
        .function(move |x: &mut Handle, y: Handle| apply(x, Side::Tensor(y)))
        .function(move |x: &mut Handle, y: i64| apply(x, Side::Number(Number::Int(y))))
        .function(move |x: &mut Handle, y: f64| apply(x, Side::Number(Number::Float(y))))
        .function(move |x: &mut Handle, y: bool| apply(x, Side::Number(Number::Bool(y))));
}

fn overwrite(name: &str, x: &Handle, value: &Value) -> Result<()> {
    let (old, new) = (Kind::of(&x.value()), Kind::of(value));
    if new.category() > old.category() || x.value().dims() != value.dims() {
        let op = name.trim_end_matches('=');
        return Err(error!(
            "{name} writes into a tensor {:?} of {}, which cannot hold the result: {:?} of {}",
            x.value().dims(),
            old.name(),
            value.dims(),
            new.name()
        )
        .help(format!("write x = x {op} y for a new tensor")));
    }
    x.assign(&[], Operand::Tensor(value))
}
