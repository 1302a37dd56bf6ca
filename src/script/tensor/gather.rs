//! `narrow`, `gather`, `scatter`, `masked_fill`, `where`, `nonzero`, `copy`.

use rhai::Engine;

use super::arguments::{Side, combine, define, derive, derive_anew, put};
use super::handle::mask;
use super::{Handle, Masks};
use crate::tensor::index::{gather, masked, select};

pub fn install(engine: &mut Engine) {
    define::<Handle, Handle>(engine, "narrow", 4..=4, &[], |call| {
        let (dim, start, len) = (call.int(1, "dim")?, call.int(2, "start")?, call.int(3, "len")?);
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| select::narrow(x, dim, start, len))
    });
    define::<Handle, Handle>(engine, "select", 3..=3, &[], |call| {
        let (dim, index) = (call.int(1, "dim")?, call.int(2, "index")?);
        derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| select::select(x, dim, index))
    });
    define::<Handle, Handle>(engine, "index_select", 3..=3, &[], |call| {
        let (dim, ids) = (call.int(1, "dim")?, call.tensor(2, "ids")?);
        let found = derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
            select::index_select(x, dim, &ids.value())
        })?;
        mask::looked_up(found, &ids)
    });
    define::<Handle, Handle>(engine, "gather", 3..=3, &[], |call| {
        let (dim, ids) = (call.int(1, "dim")?, call.tensor(2, "ids")?);
        let found = derive(&call.tensor(0, "a tensor")?, Masks::Follow, |x| {
            gather::gather(x, dim, &ids.value())
        })?;
        mask::looked_up(found, &ids)
    });
    define::<Handle, Handle>(engine, "scatter", 4..=4, &[], |call| {
        let (dim, ids, source) =
            (call.int(1, "dim")?, call.tensor(2, "ids")?, call.side(3, "source")?);
        put(&call.tensor(0, "a tensor")?, &source, |x, source| {
            gather::scatter(x, dim, &ids.value(), source)
        })
    });
    define::<Handle, Handle>(engine, "masked_fill", 3..=3, &[], |call| {
        let (mask, fill) = (call.tensor(1, "mask")?, call.side(2, "value")?);
        put(&call.tensor(0, "a tensor")?, &fill, |x, fill| {
            masked::masked_fill(x, &mask.value(), fill)
        })
    });
    define::<Handle, Handle>(engine, "where", 3..=3, &[], |call| {
        let condition = call.tensor(0, "a condition")?;
        let (a, b): (Side, Side) = (call.side(1, "a")?, call.side(2, "b")?);
        combine(&a, &b, Masks::Follow, |a, b| masked::where_(&condition.value(), a, b))
    });
    define::<Handle, Handle>(engine, "nonzero", 1..=1, &[], |call| {
        derive(&call.tensor(0, "a tensor")?, Masks::End, masked::nonzero)
    });
    define::<Handle, Handle>(engine, "copy", 1..=1, &[], |call| {
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| x.deep_copy())
    });
}
