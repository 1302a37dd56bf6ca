//! Integer tensors whose elements are positions along a dim.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::DType;

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::CHUNK;
use crate::tensor::{Kind, Value, dims, elements};
use crate::{Result, error};

/// The elements of `ids` in row-major order as positions along dim `dim` of a tensor of shape
/// `sizes`. Negative ids count from the end. `call` names the operation in the error.
///
/// # Errors
/// `ids` is not an integer tensor, or has an id out of range.
pub(crate) fn places(ids: &Value, dim: usize, sizes: &[usize], call: &str) -> Result<Vec<i64>> {
    let kind = Kind::of(ids);
    if !matches!(kind, Kind::U8 | Kind::U32 | Kind::I64) {
        return Err(error!("{call} needs integers for ids, not {}", kind.name())
            .help("convert them, with .to(\"i64\")"));
    }
    let mut ids = elements::to_vec::<i64>(&ids.real(call)?.to_dtype(DType::I64)?)?;
    let size = sizes[dim] as i64;
    let out_of_range = AtomicBool::new(false);
    parallel::chunks(&mut ids, CHUNK, |_, ids| {
        for id in ids {
            if !(-size..size).contains(id) {
                out_of_range.store(true, Ordering::Relaxed);
                return;
            }
            *id += if *id < 0 { size } else { 0 };
        }
    });
    if out_of_range.into_inner()
        && let Some(&id) = ids.iter().find(|id| !(-size..size).contains(*id))
    {
        return Err(dims::index(id, dim, sizes)
            .err()
            .unwrap_or_else(|| error!("{call}: no id {id}")));
    }
    Ok(ids)
}
