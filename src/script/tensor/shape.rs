//! `reshape`, `permute`, `cat`, `split`, …: operations that move elements and change none.

use rhai::{Array, Dynamic, Engine};

use super::arguments::{Call, define, derive, derive_anew};
use super::handle::mask;
use super::{Handle, Masks};
use crate::script::value::options::describe;
use crate::tensor::linalg::diagonal;
use crate::tensor::shape::{join, rearrange, triangle, view};
use crate::tensor::{Kind, Value, creation};
use crate::{Result, bail, error};

/// The most sizes or dims that may be listed without an array around them.
const MOST: usize = 9;

pub fn install(engine: &mut Engine) {
    install_views(engine);
    install_joins(engine);
    install_copies(engine);
    install_diagonals(engine);
}

fn install_views(engine: &mut Engine) {
    type Listed = fn(&Value, &[i64]) -> Result<Value>;
    let listed = [
        ("reshape", "shape", view::reshape as Listed),
        ("permute", "dims", view::permute),
        ("expand", "shape", view::expand),
        ("repeat", "counts", rearrange::repeat),
    ];
    for (name, what, run) in listed {
        define::<Handle, Handle>(engine, name, 2..=MOST, &[], move |call| {
            let ints = call.listed_ints(1, what)?;
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| run(x, &ints))
        });
    }
    define::<Handle, Handle>(engine, "transpose", 3..=3, &[], |call| {
        let (i, j) = (call.int(1, "a dim")?, call.int(2, "a second dim")?);
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| view::transpose(x, i, j))
    });
    define::<Handle, Handle>(engine, "unsqueeze", 1..=2, &["dim"], |call| {
        let dim = call.int(1, "dim")?;
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| view::unsqueeze(x, dim))
    });
    define::<Handle, Handle>(engine, "squeeze", 1..=2, &["dim"], |call| {
        let dims = call.ints_or_absent(1, "dim")?;
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| view::squeeze(x, dims.as_deref()))
    });
    define::<Handle, Handle>(engine, "flatten", 1..=3, &["start", "end"], |call| {
        let (start, end) = (call.int_or_absent(1, "start")?, call.int_or_absent(2, "end")?);
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
            view::flatten(x, start.unwrap_or(0), end.unwrap_or(-1))
        })
    });
}

fn install_joins(engine: &mut Engine) {
    type Join = fn(&[Value], i64) -> Result<Value>;
    for (name, join) in [("cat", join::cat as Join), ("stack", join::stack)] {
        define::<Array, Handle>(engine, name, 1..=2, &["dim"], move |call| {
            let handles = tensors(name, &call.array(0, "an array of tensors")?)?;
            let values: Vec<Value> = handles.iter().map(|handle| handle.value().clone()).collect();
            let dim = call.int_or_absent(1, "dim")?.unwrap_or(0);
            let value = join(&values, dim).map_err(|error| uneven(error, name, &values, dim))?;
            mask::joined(value, &handles, |masks| join(masks, dim))
        });
    }
    define::<Handle, Array>(engine, "split", 1..=3, &["size", "dim"], |call| {
        let dim = call.int_or_absent(2, "dim")?.unwrap_or(0);
        let sizes = call.get(1, "size").filter(|size| size.is::<Array>());
        match sizes {
            Some(_) => {
                let sizes = call.ints(1, "size")?;
                pieces(call, |x| join::split_sizes(x, &sizes, dim))
            }
            None => {
                let size = call.int(1, "size")?;
                pieces(call, |x| join::split(x, size, dim))
            }
        }
    });
    define::<Handle, Array>(engine, "chunk", 1..=3, &["count", "dim"], |call| {
        let (count, dim) = (call.int(1, "count")?, call.int_or_absent(2, "dim")?.unwrap_or(0));
        pieces(call, |x| join::chunk(x, count, dim))
    });
}

fn install_copies(engine: &mut Engine) {
    define::<Handle, Handle>(engine, "repeat_interleave", 1..=3, &["counts", "dim"], |call| {
        let counts = counts(call)?;
        let dim = call.int_or_absent(2, "dim")?;
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| match dim {
            Some(dim) => rearrange::repeat_interleave(x, &counts, dim),
            None => rearrange::repeat_interleave(&view::flatten(x, 0, -1)?, &counts, 0),
        })
    });
    define::<Handle, Handle>(engine, "flip", 1..=2, &["dim"], |call| {
        let dims = call.ints(1, "dim")?;
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| rearrange::flip(x, &dims))
    });
    define::<Handle, Handle>(engine, "roll", 1..=3, &["shift", "dim"], |call| {
        let (shifts, dims) = (call.ints(1, "shift")?, call.ints_or_absent(2, "dim")?);
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
            rearrange::roll(x, &shifts, dims.as_deref())
        })
    });
    type Triangle = fn(&Value, i64) -> Result<Value>;
    for (name, triangle) in [("tril", triangle::tril as Triangle), ("triu", triangle::triu)] {
        define::<Handle, Handle>(engine, name, 1..=2, &["diagonal"], move |call| {
            let diagonal = call.int_or_absent(1, "diagonal")?.unwrap_or(0);
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| triangle(x, diagonal))
        });
    }
}

fn install_diagonals(engine: &mut Engine) {
    define::<Handle, Handle>(engine, "diag", 1..=2, &["diagonal"], |call| {
        let offset = call.int_or_absent(1, "diagonal")?.unwrap_or(0);
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| diagonal::diag(x, offset))
    });
    define::<Handle, Handle>(engine, "diagonal", 1..=4, &["offset", "dim1", "dim2"], |call| {
        let offset = call.int_or_absent(1, "offset")?.unwrap_or(0);
        let (dim1, dim2) = (
            call.int_or_absent(2, "dim1")?.unwrap_or(0),
            call.int_or_absent(3, "dim2")?.unwrap_or(1),
        );
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
            diagonal::diagonal(x, offset, dim1, dim2)
        })
    });
}

/// How often each slice is repeated: an integer, an array or a tensor of them.
fn counts(call: &Call) -> Result<Vec<i64>> {
    let given = call.get(1, "counts");
    let Some(tensor) = given.and_then(|given| given.try_cast::<Handle>()) else {
        return call.ints(1, "counts");
    };
    let value = tensor.value();
    if !matches!(Kind::of(&value), Kind::U8 | Kind::U32 | Kind::I64) {
        bail!("repeat_interleave: counts must be integers, not {}", value.dtype_name());
    }
    Ok(creation::to_numbers(&value)?.into_iter().map(|number| number.to_f64() as i64).collect())
}

fn pieces(call: &Call, cut: impl Fn(&Value) -> Result<Vec<Value>>) -> Result<Array> {
    let whole = call.tensor(0, "a tensor")?;
    let pieces = cut(&whole.value())?;
    Ok(mask::pieces(pieces, &whole, cut)?.into_iter().map(Dynamic::from).collect())
}

/// What to do about texts of different lengths that are to be one batch.
fn uneven(error: crate::Error, name: &str, values: &[Value], dim: i64) -> crate::Error {
    let length = |value: &Value| value.dims().last().copied();
    let along_the_last =
        |value: &Value| name == "cat" && (dim == -1 || dim + 1 == value.rank() as i64);
    if values.iter().any(along_the_last) {
        return error;
    }
    let are_ids =
        values.iter().all(|value| matches!(Kind::of(value), Kind::U8 | Kind::U32 | Kind::I64));
    match are_ids && values.windows(2).any(|pair| length(&pair[0]) != length(&pair[1])) {
        true => error.help(
            "m.encode([first, second]) pads texts of different lengths, and masks what it added",
        ),
        false => error,
    }
}

fn tensors(call: &str, array: &Array) -> Result<Vec<Handle>> {
    let tensor = |v: &Dynamic| {
        v.clone().try_cast::<Handle>().ok_or_else(|| {
            error!("{call} joins tensors, and the array holds {}", describe(v))
                .help("tensor([1.0, 2.0]) makes one of numbers")
        })
    };
    array.iter().map(tensor).collect()
}
