//! `tensor`, `zeros`, `arange`, `randn`, …: functions that make tensors.

use candle_core::Device;
use rhai::{Array, Dynamic};

use super::arguments::{Call, Side, derive, derive_anew};
use super::{Handle, Masks, convert};
use crate::kernel::differentiable::is_without_graph;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::run::random::{Random, seed as seed_of};
use crate::script::value::options::describe;
use crate::tensor::{Kind, Number, Value, creation, dims, dtype, operand, random};
use crate::{Result, bail, error};

/// Where random numbers are drawn.
const DRAWN: OnGpu = OnGpu("drawn on the CPU, the same on every device, and sent");

/// Drawing random numbers advances the generator.
const DRAWS: Purity = Purity::Impure("draws random numbers");

/// The most sizes that a call may list without an array around them.
const MOST_SIZES: usize = 8;

/// Registers the functions that make tensors; `random` is what random numbers are drawn from.
pub fn install(registry: &mut Registry, random: &Random) {
    registry.section(Page::Tensors, "Making tensors");
    install_from_numbers(registry);
    install_filled(registry);
    install_like(registry);
    install_random(registry, random);
}

fn install_from_numbers(registry: &mut Registry) {
    registry
        .declare("tensor(value, #{dtype, device})", Purity::Pure, OnGpu::SENT, Gradient::Yes)
        .row(
            "a tensor of a nested array, a number or a bool: f32, i64 or bool by what it holds",
            "tensor([[1.0, 2.0], [3.0, 4.0]])",
            "tensor [2, 2] f32 cpu: [[1.0, 2.0], [3.0, 4.0]]",
        )
        .row_for(
            "with options",
            "the dtype and the device of choice, as in every function that makes a tensor",
            r#"tensor([1, 2], #{dtype: "f16", device: "cpu"})"#,
            "tensor [2] f16 cpu: [1.0, 2.0]",
        )
        .on::<Dynamic, _>(1..=1, |call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let Some(given) = call.get(0, "numbers") else {
                bail!("tensor needs a number or a nested array")
            };
            if let Some(handle) = given.read_lock::<Handle>() {
                return derive_anew(&handle, Masks::Stay, |value| {
                    operand::transfer(
                        &dtype::cast(value, kind.unwrap_or(Kind::of(value)))?,
                        &device,
                    )?
                    .deep_copy()
                });
            }
            let (mut numbers, mut sizes) = (Vec::new(), Vec::new());
            read_nested(&given, 0, &mut sizes, &mut numbers)?;
            Ok(Handle::fresh(creation::from_numbers(&numbers, &sizes, kind, &device)?))
        });
    registry
        .declare(
            "arange(start, end, step, #{dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::NoTensors,
        )
        .row(
            "numbers up to but without the end; from a start, by a step",
            "arange(2, 10, 3)",
            "tensor [3] i64 cpu: [2, 5, 8]",
        )
        .on::<Dynamic, _>(1..=3, |call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let (start, end) = match call.count() {
                0 | 1 => (Number::Int(0), call.number(0, "end")?),
                _ => (call.number(0, "start")?, call.number(1, "end")?),
            };
            let step = if call.count() > 2 { call.number(2, "step")? } else { Number::Int(1) };
            Ok(Handle::fresh(creation::arange(start, end, step, kind, &device)?))
        });
    registry
        .declare(
            "linspace(start, end, count, #{dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::NoTensors,
        )
        .row(
            "so many numbers from the first to the last, both included",
            "linspace(0, 1, 5)",
            "tensor [5] f32 cpu: [0.0, 0.25, 0.5, 0.75, 1.0]",
        )
        .on::<Dynamic, _>(3..=3, |call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let steps = dims::shape(&[call.int(2, "steps")?])?[0];
            let (start, end) = (call.float(0, "start")?, call.float(1, "end")?);
            Ok(Handle::fresh(creation::linspace(
                start,
                end,
                steps,
                kind.unwrap_or(Kind::F32),
                &device,
            )?))
        });
    registry
        .declare(
            "eye(rows, columns, #{dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::NoTensors,
        )
        .row(
            "ones on the diagonal; of so many rows, and columns",
            "eye(2, 3)",
            "tensor [2, 3] f32 cpu: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]",
        )
        .on::<Dynamic, _>(1..=2, |call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let rows = call.int(0, "rows")?;
            let columns = if call.count() > 1 { call.int(1, "columns")? } else { rows };
            let sizes = dims::shape(&[rows, columns])?;
            Ok(Handle::fresh(creation::eye(
                sizes[0],
                sizes[1],
                kind.unwrap_or(Kind::F32),
                &device,
            )?))
        });
}

fn install_filled(registry: &mut Registry) {
    type Fill = fn(&[usize], Kind, &Device) -> Result<Value>;
    let filled = |fill: Fill| {
        move |call: &Call| {
            let (kind, device) = placed(call, Some(Kind::F32), &Device::Cpu)?;
            let shape = dims::shape(&call.listed_ints(0, "shape")?)?;
            Ok(Handle::fresh(fill(&shape, kind.unwrap_or(Kind::F32), &device)?))
        }
    };
    registry
        .declare(
            "zeros(shape, size, #{dtype, device})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::NoTensors,
        )
        .row(
            "zeros; the shape as an array or as sizes",
            "zeros([2, 3])",
            "tensor [2, 3] f32 cpu: [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]",
        )
        .on::<Dynamic, _>(1..=MOST_SIZES, filled(creation::zeros));
    registry
        .declare(
            "ones(shape, size, #{dtype, device})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::NoTensors,
        )
        .row("ones", r#"ones(2, 2, #{dtype: "i64"})"#, "tensor [2, 2] i64 cpu: [[1, 1], [1, 1]]")
        .on::<Dynamic, _>(1..=MOST_SIZES, filled(creation::ones));
    registry
        .declare(
            "full(shape, value, #{dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::NoTensors,
        )
        .row(
            "one number throughout, in its dtype",
            "full([2, 2], 7)",
            "tensor [2, 2] i64 cpu: [[7, 7], [7, 7]]",
        )
        .on::<Dynamic, _>(2..=2, |call| {
            let number = call.number(1, "value")?;
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let shape = dims::shape(&call.ints(0, "shape")?)?;
            Ok(Handle::fresh(creation::full(
                &shape,
                number,
                kind.unwrap_or(number.kind()),
                &device,
            )?))
        });
}

/// Registers the functions that draw from `random` and the one that seeds it.
fn install_random(registry: &mut Registry, random: &Random) {
    let drawn = |normal: bool| {
        let random = random.clone();
        move |call: &Call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let shape = dims::shape(&call.listed_ints(0, "shape")?)?;
            Ok(Handle::fresh(draw(&random, normal, &shape, kind.unwrap_or(Kind::F32), &device)?))
        }
    };
    registry
        .declare("rand(shape, size, #{dtype, device})", DRAWS, DRAWN, Gradient::NoTensors)
        .row(
            "uniform random numbers in [0, 1)",
            "let r = rand(2, 3); [r.shape, r.dtype]",
            r#"[[2, 3], "f32"]"#,
        )
        .on::<Dynamic, _>(1..=MOST_SIZES, drawn(false));
    registry
        .declare("randn(shape, size, #{dtype, device})", DRAWS, DRAWN, Gradient::NoTensors)
        .row(
            "normal random numbers, mean 0 and standard deviation 1",
            r#"randn([4], #{dtype: "f64"}).dtype"#,
            "f64",
        )
        .on::<Dynamic, _>(1..=MOST_SIZES, drawn(true));
    let drawn_like = |normal: bool| {
        let random = random.clone();
        move |call: &Call| {
            like(call, |shape, kind, device| draw(&random, normal, shape, kind, device))
        }
    };
    registry
        .declare("rand_like(x, #{dtype, device})", DRAWS, DRAWN, Gradient::Outside)
        .row("uniform random numbers likewise", "rand_like(zeros(2, 3)).shape", "[2, 3]")
        .on_tensor(1..=1, drawn_like(false));
    registry
        .declare("randn_like(x, #{dtype, device})", DRAWS, DRAWN, Gradient::Outside)
        .row("normal random numbers likewise", "randn_like(zeros(2, 3)).shape", "[2, 3]")
        .on_tensor(1..=1, drawn_like(true));
    let own = random.clone();
    registry
        .declare("randperm(n, #{dtype, device})", DRAWS, DRAWN, Gradient::NoTensors)
        .row(
            "the numbers from 0 to n, without it, in random order",
            "randperm(5).sort().values",
            "tensor [5] i64 cpu: [0, 1, 2, 3, 4]",
        )
        .on::<i64, _>(1..=1, move |call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let n = dims::shape(&[call.int(0, "n")?])?[0];
            Ok(Handle::fresh(random::randperm(
                n,
                kind.unwrap_or(Kind::I64),
                &device,
                &mut *own.rng(),
            )?))
        });
    let own = random.clone();
    registry
        .declare(
            "multinomial(weights, count, replacement, #{count, replacement})",
            DRAWS,
            DRAWN,
            Gradient::Outside,
        )
        .row(
            "places drawn from weights [n] or [m, n], each as likely as its share: (count, \
            #{replacement: false})",
            "tensor([0.0, 2.0, 0.0]).multinomial(2, #{replacement: true})",
            "tensor [2] i64 cpu: [1, 1]",
        )
        .on_tensor(2..=3, move |call| {
            let (weights, count) = (call.tensor(0, "weights")?, call.int(1, "count")?);
            let replacement = call.bool_or_absent(2, "replacement")?.unwrap_or(false);
            let drawn = random::multinomial(&weights.value(), count, replacement, &mut *own.rng())?;
            Ok(Handle::fresh(drawn))
        });
    let random = random.clone();
    registry
        .declare(
            "seed(n)",
            Purity::Impure("seeds the random numbers"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "makes what is drawn after it repeatable",
            "seed(7); let a = rand(2); seed(7); a == rand(2)",
            "tensor [2] bool cpu: [true, true]",
        )
        .on::<i64, _>(1..=1, move |call| {
            let seed = call.int(0, "a seed")?;
            random.reseed(seed_of(seed)?);
            Ok(())
        });
}

fn install_like(registry: &mut Registry) {
    registry
        .declare("zeros_like(x, #{dtype, device})", Purity::Pure, OnGpu::NATIVE, Gradient::Outside)
        .row(
            "zeros in another tensor's shape, dtype and device",
            "zeros_like(tensor([1, 2]))",
            "tensor [2] i64 cpu: [0, 0]",
        )
        .on_tensor(1..=1, |call| like(call, creation::zeros));
    registry
        .declare("ones_like(x, #{dtype, device})", Purity::Pure, OnGpu::NATIVE, Gradient::Outside)
        .row(
            "ones likewise",
            r#"ones_like(tensor([1, 2]), #{dtype: "bool"})"#,
            "tensor [2] bool cpu: [true, true]",
        )
        .on_tensor(1..=1, |call| like(call, creation::ones));
    registry
        .declare(
            "full_like(x, value, #{dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::Outside,
        )
        .row(
            "one number likewise",
            "full_like(tensor([1.0, 2.0]), 0.5)",
            "tensor [2] f32 cpu: [0.5, 0.5]",
        )
        .on_tensor(2..=2, |call| {
            let number = call.number(1, "value")?;
            like(call, |shape, kind, device| creation::full(shape, number, kind, device))
        });
}

fn draw(
    random: &Random,
    normal: bool,
    shape: &[usize],
    kind: Kind,
    device: &Device,
) -> Result<Value> {
    let rng = &mut *random.rng();
    if normal {
        random::randn(shape, kind, device, rng)
    } else {
        random::rand(shape, kind, device, rng)
    }
}

/// A tensor with the shape of argument 0, and with its dtype and device unless the options give
/// others. A mask of token ids is kept, because the result may be token ids with the same padding.
fn like(call: &Call, make: impl Fn(&[usize], Kind, &Device) -> Result<Value>) -> Result<Handle> {
    let model = call.tensor(0, "a tensor")?;
    let (kind, device) = placed(call, None, model.value().device())?;
    derive(&model, Masks::Stay, |model| {
        make(model.dims(), kind.unwrap_or(Kind::of(model)), &device)
    })
}

/// The options `dtype` and `device`.
fn placed(call: &Call, kind: Option<Kind>, device: &Device) -> Result<(Option<Kind>, Device)> {
    let (given_kind, given_device) = convert::options(call)?;
    Ok((given_kind.or(kind), given_device.unwrap_or_else(|| device.clone())))
}

/// Appends the numbers of a nested array at `depth` to `numbers` and checks its sizes against
/// `sizes`.
pub(super) fn read_nested(
    given: &Dynamic,
    depth: usize,
    sizes: &mut Vec<usize>,
    numbers: &mut Vec<Number>,
) -> Result<()> {
    let ragged = |have: String, before: String| {
        error!("tensor: a nested array must be even, and has {have} beside {before}")
    };
    if let Some(array) = given.read_lock::<Array>() {
        match sizes.get(depth) {
            None if numbers.is_empty() => sizes.push(array.len()),
            None => return Err(ragged("an array".into(), "a number".into())),
            Some(&size) if size != array.len() => {
                return Err(ragged(format!("a row of {}", array.len()), format!("one of {size}")));
            }
            Some(_) => {}
        }
        return array.iter().try_for_each(|inner| read_nested(inner, depth + 1, sizes, numbers));
    }
    let single = match Side::read(given) {
        Some(Side::Number(number)) => number,
        Some(Side::Tensor(handle)) if handle.is_tracked() && !is_without_graph() => {
            return Err(error!(
                "tensor: of an array it takes the numbers, without their gradients"
            )
            .help("stack([a, b]) joins tensors with their gradients; a.item() is a number"));
        }
        Some(Side::Tensor(handle)) if handle.value().rank() == 0 => {
            creation::to_numbers(&handle.value())?[0]
        }
        Some(Side::Tensor(_)) => {
            return Err(error!("tensor: an array may hold numbers, not {}", describe(given))
                .help("stack([a, b]) joins tensors"));
        }
        None => bail!("tensor needs numbers, not {}", describe(given)),
    };
    if depth != sizes.len() {
        return Err(ragged("a number".into(), "an array".into()));
    }
    numbers.push(single);
    Ok(())
}
