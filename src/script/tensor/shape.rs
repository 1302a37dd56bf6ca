//! `reshape`, `permute`, `cat`, `split`, …: operations that move elements without changing any.

use rhai::{Array, Dynamic};

use super::arguments::{Call, derive, derive_anew};
use super::handle::mask;
use super::{Handle, Masks};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::linalg::diagonal;
use crate::tensor::shape::{join, rearrange, triangle, view};
use crate::tensor::{Kind, Value, creation};
use crate::{Result, bail, error};

/// The most arguments of a call that lists sizes or dims without an array around them.
const MOST: usize = 9;

/// Registers what changes the shape of tensors, joins them and cuts them.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Shapes");
    install_views(registry);
    install_joins(registry);
    install_copies(registry);
    install_diagonals(registry);
}

fn install_views(registry: &mut Registry) {
    registry
        .declare("reshape(x, shape)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the same elements in another shape; one size may be -1",
            "arange(6).reshape([-1, 2])",
            "tensor [3, 2] i64 cpu: [[0, 1], [2, 3], [4, 5]]",
        )
        .on_tensor(2..=MOST, listed("shape", view::reshape));
    registry
        .declare("transpose(x, i, j)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "two dims change places",
            "tensor([[1, 2, 3], [4, 5, 6]]).transpose(0, 1)",
            "tensor [3, 2] i64 cpu: [[1, 4], [2, 5], [3, 6]]",
        )
        .on_tensor(3..=3, |call| {
            let (i, j) = (call.int(1, "a dim")?, call.int(2, "a second dim")?);
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| view::transpose(x, i, j))
        });
    registry
        .declare(".T", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "a matrix with rows for columns",
            "tensor([[1, 2, 3], [4, 5, 6]]).T",
            "tensor [3, 2] i64 cpu: [[1, 4], [2, 5], [3, 6]]",
        )
        .get(|t: &mut Handle| -> ScriptResult<Handle> { Ok(derive(t, Masks::Follow, view::t)?) })
        .set(|t: &mut Handle, source: Dynamic| -> ScriptResult<()> { Ok(set_turned(t, &source)?) });
    registry
        .declare("permute(x, dims)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("the dims in another order", "zeros(2, 3, 4).permute(2, 0, 1).shape", "[4, 2, 3]")
        .on_tensor(2..=MOST, listed("dims", view::permute));
    registry
        .declare("unsqueeze(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "a new dim of size 1",
            "arange(3).unsqueeze(-1)",
            "tensor [3, 1] i64 cpu: [[0], [1], [2]]",
        )
        .on_tensor(1..=2, |call| {
            let dim = call.int(1, "dim")?;
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| view::unsqueeze(x, dim))
        });
    registry
        .declare("squeeze(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "without the dims of size 1, all or the ones named",
            "zeros(1, 3, 1).squeeze(-1).shape",
            "[1, 3]",
        )
        .on_tensor(1..=2, |call| {
            let dims = call.ints_or_absent(1, "dim")?;
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
                view::squeeze(x, dims.as_deref())
            })
        });
    registry
        .declare(
            "flatten(x, start, end, #{start, end})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "dims as one: all, or from a first to a last",
            "zeros(2, 3, 4).flatten(1).shape",
            "[2, 12]",
        )
        .on_tensor(1..=3, |call| {
            let (start, end) = (call.int_or_absent(1, "start")?, call.int_or_absent(2, "end")?);
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
                view::flatten(x, start.unwrap_or(0), end.unwrap_or(-1))
            })
        });
}

fn install_joins(registry: &mut Registry) {
    registry
        .declare("cat(tensors, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "tensors one after the other along a dim",
            "cat([tensor([[1, 2]]), tensor([[3, 4]])], 0)",
            "tensor [2, 2] i64 cpu: [[1, 2], [3, 4]]",
        )
        .on::<Array, _>(1..=2, |call| joined(call, "cat", join::cat));
    registry
        .declare("stack(tensors, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "tensors as the slices of a new dim",
            "stack([tensor([1, 2]), tensor([3, 4])], #{dim: 1})",
            "tensor [2, 2] i64 cpu: [[1, 3], [2, 4]]",
        )
        .on::<Array, _>(1..=2, |call| joined(call, "stack", join::stack));
    registry
        .declare("split(x, sizes, dim, #{size, dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "pieces of a size, or of the sizes in an array: (size, dim)",
            "arange(5).split(2)",
            "[tensor [2] i64 cpu: [0, 1], tensor [2] i64 cpu: [2, 3], tensor [1] i64 cpu: [4]]",
        )
        .on_tensor(1..=3, |call| {
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
    registry
        .declare("chunk(x, count, dim, #{count, dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "at most so many pieces: (count, dim)",
            "arange(5).chunk(2)",
            "[tensor [3] i64 cpu: [0, 1, 2], tensor [2] i64 cpu: [3, 4]]",
        )
        .on_tensor(1..=3, |call| {
            let (count, dim) = (call.int(1, "count")?, call.int_or_absent(2, "dim")?.unwrap_or(0));
            pieces(call, |x| join::chunk(x, count, dim))
        });
}

fn install_copies(registry: &mut Registry) {
    registry
        .declare("repeat(x, counts)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the whole so many times along each dim",
            "tensor([1, 2]).repeat(2, 2)",
            "tensor [2, 4] i64 cpu: [[1, 2, 1, 2], [1, 2, 1, 2]]",
        )
        .on_tensor(2..=MOST, listed("counts", rearrange::repeat));
    registry
        .declare(
            "repeat_interleave(x, count, dim, #{counts, dim})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "each slice so many times in a row: (count, dim)",
            "tensor([1, 2]).repeat_interleave(2)",
            "tensor [4] i64 cpu: [1, 1, 2, 2]",
        )
        .on_tensor(1..=3, |call| {
            let counts = counts(call)?;
            let dim = call.int_or_absent(2, "dim")?;
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| match dim {
                Some(dim) => rearrange::repeat_interleave(x, &counts, dim),
                None => rearrange::repeat_interleave(&view::flatten(x, 0, -1)?, &counts, 0),
            })
        });
    registry
        .declare("expand(x, shape)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "dims of size 1 widened without a copy; -1 leaves a dim as it is",
            "tensor([[1], [2]]).expand(-1, 3)",
            "tensor [2, 3] i64 cpu: [[1, 1, 1], [2, 2, 2]]",
        )
        .on_tensor(2..=MOST, listed("shape", view::expand));
    registry
        .declare("flip(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row("in reverse order along dims", "arange(3).flip(-1)", "tensor [3] i64 cpu: [2, 1, 0]")
        .on_tensor(1..=2, |call| {
            let dims = call.ints(1, "dim")?;
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| rearrange::flip(x, &dims))
        });
    registry
        .declare("roll(x, shift, dim, #{shift, dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "shifted along dims, what falls off coming back: (shift, dim)",
            "arange(4).roll(1, 0)",
            "tensor [4] i64 cpu: [3, 0, 1, 2]",
        )
        .on_tensor(1..=3, |call| {
            let (shifts, dims) = (call.ints(1, "shift")?, call.ints_or_absent(2, "dim")?);
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
                rearrange::roll(x, &shifts, dims.as_deref())
            })
        });
    registry
        .declare("tril(x, diagonal, #{diagonal})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the lower triangle, zeros above",
            "ones(2, 3).tril()",
            "tensor [2, 3] f32 cpu: [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]",
        )
        .on_tensor(1..=2, |call| kept(call, triangle::tril));
    registry
        .declare("triu(x, diagonal, #{diagonal})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the upper triangle, from a diagonal on",
            "ones(2, 3).triu(1)",
            "tensor [2, 3] f32 cpu: [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]",
        )
        .on_tensor(1..=2, |call| kept(call, triangle::triu));
}

fn install_diagonals(registry: &mut Registry) {
    registry
        .declare("diag(x, diagonal, #{diagonal})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "a matrix's diagonal, or the matrix with a vector as its diagonal; one diagonal \
            further right with 1",
            "[tensor([[1, 2], [3, 4]]).diag(), tensor([5]).diag(1)]",
            "[tensor [2] i64 cpu: [1, 4], tensor [2, 2] i64 cpu: [[0, 5], [0, 0]]]",
        )
        .on_tensor(1..=2, |call| {
            let offset = call.int_or_absent(1, "diagonal")?.unwrap_or(0);
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| diagonal::diag(x, offset))
        });
    registry
        .declare(
            "diagonal(x, offset, dim1, dim2, #{offset, dim1, dim2})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "the diagonals over two dims, the first two, along a new last dim: (offset, \
            dim1, dim2)",
            "arange(8).reshape(2, 2, 2).diagonal(0, -2, -1)",
            "tensor [2, 2] i64 cpu: [[0, 3], [4, 7]]",
        )
        .on_tensor(1..=4, |call| {
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

/// A function of a tensor and a list of integers, which errors call `what`.
fn listed(
    what: &'static str,
    run: fn(&Value, &[i64]) -> Result<Value>,
) -> impl Fn(&Call) -> Result<Handle> + Clone {
    move |call| {
        let ints = call.listed_ints(1, what)?;
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| run(x, &ints))
    }
}

/// Joins the tensors of an array along a dim.
fn joined(call: &Call, name: &str, join: fn(&[Value], i64) -> Result<Value>) -> Result<Handle> {
    let handles = tensors(name, &call.array(0, "an array of tensors")?)?;
    let values: Vec<Value> = handles.iter().map(|handle| handle.value().clone()).collect();
    let dim = call.int_or_absent(1, "dim")?.unwrap_or(0);
    let value = join(&values, dim).map_err(|error| uneven(error, name, &values, dim))?;
    mask::joined(value, &handles, |masks| join(masks, dim))
}

/// One triangle of a matrix.
fn kept(call: &Call, of: fn(&Value, i64) -> Result<Value>) -> Result<Handle> {
    let diagonal = call.int_or_absent(1, "diagonal")?.unwrap_or(0);
    derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |x| of(x, diagonal))
}

/// Writes a transposed tensor back. Rhai also calls the setter after a method call such as
/// `x.T.sum()`, with the unchanged tensor, which must not count as a write.
fn set_turned(t: &Handle, source: &Dynamic) -> Result<()> {
    let turned = match source.read_lock::<Handle>() {
        Some(source) => Dynamic::from(derive(&source, Masks::Follow, view::t)?),
        None => source.clone(),
    };
    super::index::assign(t, &[], turned)
}

/// The counts of `repeat_interleave`: an integer, or an array or a tensor of integers.
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

/// Adds a help to the error for joining token ids of different lengths into one batch.
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
