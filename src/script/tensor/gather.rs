//! `narrow`, `gather`, `scatter`, `masked_fill`, `where`, `nonzero`, `unravel_index`, `copy`.

use rhai::{Array, Dynamic};

use super::Masks;
use super::arguments::{Side, combine, derive, derive_anew, put};
use super::handle::mask;
use crate::Result;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::tensor::index::unravel::unravel_index;
use crate::tensor::index::{gather, masked, select};

/// Registers the functions that pick elements or slices, and those that replace some.
pub fn install(registry: &mut Registry) {
    registry
        .declare("copy(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "a tensor of its own: `let b = a;` is the same one",
            "let a = zeros(2); let b = a; let c = a.copy(); b[0] = 1; [a, c]",
            "[tensor [2] f32 cpu: [1.0, 0.0], tensor [2] f32 cpu: [0.0, 0.0]]",
        )
        .on_tensor(1..=1, |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| x.deep_copy())
        });
    registry
        .declare("narrow(x, dim, start, len)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "so many slices along a dim, from a start: (dim, start, len)",
            "arange(6).narrow(0, 2, 3)",
            "tensor [3] i64 cpu: [2, 3, 4]",
        )
        .on_tensor(4..=4, |call| {
            let (dim, start, len) =
                (call.int(1, "dim")?, call.int(2, "start")?, call.int(3, "len")?);
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
                select::narrow(x, dim, start, len)
            })
        });
    registry
        .declare("select(x, dim, index)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "one slice along a dim: (dim, index)",
            "tensor([[1, 2], [3, 4]]).select(1, 0)",
            "tensor [2] i64 cpu: [1, 3]",
        )
        .on_tensor(3..=3, |call| {
            let (dim, index) = (call.int(1, "dim")?, call.int(2, "index")?);
            derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| select::select(x, dim, index))
        });
    registry
        .declare("index_select(x, dim, ids)", Purity::Pure, OnGpu::BY_IDS, Gradient::Yes)
        .row(
            "the slices along a dim that ids number: (dim, ids)",
            "tensor([[1, 2], [3, 4]]).index_select(1, tensor([1, 1, 0]))",
            "tensor [2, 3] i64 cpu: [[2, 2, 1], [4, 4, 3]]",
        )
        .on_tensor(3..=3, |call| {
            let (dim, ids) = (call.int(1, "dim")?, call.tensor(2, "ids")?);
            let found = derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
                select::index_select(x, dim, &ids.value())
            })?;
            mask::looked_up(found, &ids)
        });
    registry
        .declare("gather(x, dim, ids)", Purity::Pure, OnGpu::BY_IDS, Gradient::Yes)
        .row(
            "along a dim, for each id the element there: (dim, ids)",
            "tensor([[1, 2], [3, 4]]).gather(1, tensor([[1], [0]]))",
            "tensor [2, 1] i64 cpu: [[2], [3]]",
        )
        .on_tensor(3..=3, |call| {
            let (dim, ids) = (call.int(1, "dim")?, call.tensor(2, "ids")?);
            let found = derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
                gather::gather(x, dim, &ids.value())
            })?;
            mask::looked_up(found, &ids)
        });
    registry
        .declare("scatter(x, dim, ids, source)", Purity::Pure, OnGpu::BY_IDS, Gradient::Yes)
        .row(
            "a copy, with elements put where ids say along a dim: (dim, ids, source)",
            "zeros(2, 3).scatter(1, tensor([[2], [0]]), 1.0)",
            "tensor [2, 3] f32 cpu: [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]",
        )
        .on_tensor(4..=4, |call| {
            let (dim, ids, source) =
                (call.int(1, "dim")?, call.tensor(2, "ids")?, call.side(3, "source")?);
            put(&call.tensor(0, "a tensor")?, &source, |x, source| {
                gather::scatter(x, dim, &ids.value(), source)
            })
        });
    registry
        .declare("masked_fill(x, mask, value)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "a copy, with a number where the mask is true: (mask, value)",
            "let t = arange(4); t.masked_fill(t > 1, -1)",
            "tensor [4] i64 cpu: [0, 1, -1, -1]",
        )
        .on_tensor(3..=3, |call| {
            let (mask, fill) = (call.tensor(1, "mask")?, call.side(2, "value")?);
            put(&call.tensor(0, "a tensor")?, &fill, |x, fill| {
                masked::masked_fill(x, &mask.value(), fill)
            })
        });
    registry
        .declare("where(condition, a, b)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "elements of the second where the first is true, else of the third",
            "let t = tensor([1.0, -2.0]); where(t > 0.0, t, 0.0)",
            "tensor [2] f32 cpu: [1.0, 0.0]",
        )
        .on_tensor(3..=3, |call| {
            let condition = call.tensor(0, "a condition")?;
            let (a, b): (Side, Side) = (call.side(1, "a")?, call.side(2, "b")?);
            combine(&a, &b, Masks::Follow, |a, b| masked::where_(&condition.value(), a, b))
        });
    registry
        .declare("nonzero(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Outside)
        .row(
            "where the elements other than 0 are: [count, rank]",
            "tensor([[0, 5], [6, 0]]).nonzero()",
            "tensor [2, 2] i64 cpu: [[0, 1], [1, 0]]",
        )
        .on_tensor(1..=1, |call| derive(&call.tensor(0, "a tensor")?, Masks::End, masked::nonzero));
    registry
        .declare("unravel_index(indices, shape)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Outside)
        .row(
            "where along each dim of a shape the elements are that indices number, an array: \
            after argmax, or topk of a flattened tensor",
            "unravel_index(tensor([1, 5]), [2, 3])",
            "[tensor [2] i64 cpu: [0, 1], tensor [2] i64 cpu: [1, 2]]",
        )
        .on_tensor(2..=2, |call| {
            let (indices, shape) = (call.tensor(0, "indices")?, call.ints(1, "shape")?);
            let places = unravel_index(&indices.value(), &shape)?.into_iter();
            places
                .map(|place| Ok(Dynamic::from(Masks::End.of_all(place, &[&indices])?)))
                .collect::<Result<Array>>()
        });
}
