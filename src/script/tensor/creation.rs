//! `tensor`, `zeros`, `arange`, `randn`, …: new tensors.

use candle_core::Device;
use rhai::{Array, Dynamic, Engine};

use super::arguments::{Call, Side, define, derive, derive_anew};
use super::{Handle, Masks, convert};
use crate::script::run::random::{Random, seed as seed_of};
use crate::script::value::options::describe;
use crate::tensor::{Kind, Number, Value, creation, dims, dtype, operand, random};
use crate::{Result, bail, error};

/// The options every constructor takes.
const OPTIONS: &[&str] = &["dtype", "device"];

/// The most sizes a shape may list without an array around them.
const MOST_SIZES: usize = 8;

pub fn install(engine: &mut Engine) {
    install_from_numbers(engine);
    install_filled(engine);
    install_like(engine);
}

fn install_from_numbers(engine: &mut Engine) {
    define::<Dynamic, Handle>(engine, "tensor", 1..=1, OPTIONS, |call| {
        let (kind, device) = placed(call, None, &Device::Cpu)?;
        let Some(given) = call.get(0, "numbers") else {
            bail!("tensor needs a number or a nested array")
        };
        if let Some(handle) = given.read_lock::<Handle>() {
            return derive_anew(&handle, Masks::Stay, |value| {
                operand::transfer(&dtype::cast(value, kind.unwrap_or(Kind::of(value)))?, &device)?
                    .deep_copy()
            });
        }
        let (mut numbers, mut sizes) = (Vec::new(), Vec::new());
        read_nested(&given, 0, &mut sizes, &mut numbers)?;
        Ok(Handle::fresh(creation::from_numbers(&numbers, &sizes, kind, &device)?))
    });
    define::<Dynamic, Handle>(engine, "arange", 1..=3, OPTIONS, |call| {
        let (kind, device) = placed(call, None, &Device::Cpu)?;
        let (start, end) = match call.count() {
            0 | 1 => (Number::Int(0), call.number(0, "end")?),
            _ => (call.number(0, "start")?, call.number(1, "end")?),
        };
        let step = if call.count() > 2 { call.number(2, "step")? } else { Number::Int(1) };
        Ok(Handle::fresh(creation::arange(start, end, step, kind, &device)?))
    });
    define::<Dynamic, Handle>(engine, "linspace", 3..=3, OPTIONS, |call| {
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
    define::<Dynamic, Handle>(engine, "eye", 1..=2, OPTIONS, |call| {
        let (kind, device) = placed(call, None, &Device::Cpu)?;
        let rows = call.int(0, "rows")?;
        let columns = if call.count() > 1 { call.int(1, "columns")? } else { rows };
        let sizes = dims::shape(&[rows, columns])?;
        Ok(Handle::fresh(creation::eye(sizes[0], sizes[1], kind.unwrap_or(Kind::F32), &device)?))
    });
}

fn install_filled(engine: &mut Engine) {
    type Fill = fn(&[usize], Kind, &Device) -> Result<Value>;
    for (name, fill) in [("zeros", creation::zeros as Fill), ("ones", creation::ones)] {
        define::<Dynamic, Handle>(engine, name, 1..=MOST_SIZES, OPTIONS, move |call| {
            let (kind, device) = placed(call, Some(Kind::F32), &Device::Cpu)?;
            let shape = dims::shape(&call.listed_ints(0, "shape")?)?;
            Ok(Handle::fresh(fill(&shape, kind.unwrap_or(Kind::F32), &device)?))
        });
    }
    define::<Dynamic, Handle>(engine, "full", 2..=2, OPTIONS, |call| {
        let number = call.number(1, "value")?;
        let (kind, device) = placed(call, None, &Device::Cpu)?;
        let shape = dims::shape(&call.ints(0, "shape")?)?;
        Ok(Handle::fresh(creation::full(&shape, number, kind.unwrap_or(number.kind()), &device)?))
    });
}

/// What draws from `random`, or seeds it.
pub fn install_random(engine: &mut Engine, random: &Random) {
    for (name, normal) in [("rand", false), ("randn", true)] {
        let random = random.clone();
        define::<Dynamic, Handle>(engine, name, 1..=MOST_SIZES, OPTIONS, move |call| {
            let (kind, device) = placed(call, None, &Device::Cpu)?;
            let shape = dims::shape(&call.listed_ints(0, "shape")?)?;
            Ok(Handle::fresh(draw(&random, normal, &shape, kind.unwrap_or(Kind::F32), &device)?))
        });
    }
    for (name, normal) in [("rand_like", false), ("randn_like", true)] {
        let random = random.clone();
        define::<Handle, Handle>(engine, name, 1..=1, OPTIONS, move |call| {
            like(call, |shape, kind, device| draw(&random, normal, shape, kind, device))
        });
    }
    let own = random.clone();
    define::<i64, Handle>(engine, "randperm", 1..=1, OPTIONS, move |call| {
        let (kind, device) = placed(call, None, &Device::Cpu)?;
        let n = dims::shape(&[call.int(0, "n")?])?[0];
        Ok(Handle::fresh(random::randperm(n, kind.unwrap_or(Kind::I64), &device, &mut *own.rng())?))
    });
    let own = random.clone();
    define::<Handle, Handle>(
        engine,
        "multinomial",
        2..=3,
        &["count", "replacement"],
        move |call| {
            let (weights, count) = (call.tensor(0, "weights")?, call.int(1, "count")?);
            let replacement = call.bool_or_absent(2, "replacement")?.unwrap_or(false);
            let drawn = random::multinomial(&weights.value(), count, replacement, &mut *own.rng())?;
            Ok(Handle::fresh(drawn))
        },
    );
    let random = random.clone();
    define::<i64, ()>(engine, "seed", 1..=1, &[], move |call| {
        let seed = call.int(0, "a seed")?;
        random.reseed(seed_of(seed)?);
        Ok(())
    });
}

fn install_like(engine: &mut Engine) {
    type Fill = fn(&[usize], Kind, &Device) -> Result<Value>;
    for (name, fill) in [("zeros_like", creation::zeros as Fill), ("ones_like", creation::ones)] {
        define::<Handle, Handle>(engine, name, 1..=1, OPTIONS, move |call| like(call, fill));
    }
    define::<Handle, Handle>(engine, "full_like", 2..=2, OPTIONS, |call| {
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

/// A tensor with the shape of argument 0, and its dtype and device unless the options say
/// otherwise. In the shape of token ids it is a batch of others, padded alike.
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
