//! Copies a tensor on the CPU into the storage of another, on all cores.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::CHUNK;

/// Overwrites the elements of one contiguous tensor with those of another of the same size and
/// dtype.
pub struct Overwrite;

impl InplaceOp2 for Overwrite {
    fn name(&self) -> &'static str {
        "overwrite"
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        to_at: &Layout,
        from: &CpuStorage,
        from_at: &Layout,
    ) -> Result<()> {
        let (Some(to_at), Some(from_at)) =
            (to_at.contiguous_offsets(), from_at.contiguous_offsets())
        else {
            bail!("overwrite copies tensors that lie in one piece")
        };
        if to_at.1 - to_at.0 != from_at.1 - from_at.0 {
            bail!("overwrite copies as many elements as there are")
        }
        macro_rules! by_type {
            ($($Type:ident)*) => {
                match (to, from) {
                    $((CpuStorage::$Type(to), CpuStorage::$Type(from)) => {
                        copy(&mut to[to_at.0..to_at.1], &from[from_at.0..from_at.1])
                    })*
                    _ => bail!("overwrite copies tensors of one dtype"),
                }
            };
        }
        by_type!(U8 U32 I16 I32 I64 BF16 F16 F32 F64);
        Ok(())
    }
}

fn copy<T: Copy + Send + Sync>(to: &mut [T], from: &[T]) {
    parallel::chunks(to, CHUNK, |piece, to| to.copy_from_slice(&from[piece * CHUNK..][..to.len()]));
}
