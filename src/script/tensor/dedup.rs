//! `dedup` of arrays. Rhai's own function is replaced because it takes an error in its comparer,
//! even the end of the run, for "not the same".

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, NativeCallContext};

use crate::error;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;

/// Keeps the first of each run of elements that are the `same`. The array is unchanged if `same`
/// fails.
fn dedup(
    array: &mut Array,
    mut same: impl FnMut(&Dynamic, &Dynamic) -> ScriptResult<Dynamic>,
) -> ScriptResult<()> {
    let mut kept: Array = Array::new();
    for item in array.iter() {
        let Some(last) = kept.last() else {
            kept.push(item.clone());
            continue;
        };
        let said = same(last, item)?;
        match said.as_bool() {
            Ok(true) => {}
            Ok(false) => kept.push(item.clone()),
            Err(_) => {
                return Err(error!(
                    "dedup: whether two are the same must be a bool, not {}",
                    describe(&said)
                )
                .into());
            }
        }
    }
    *array = kept;
    Ok(())
}

/// Whether two values are equal by `==`; `false` if their types have no `==`.
fn equal(call: &NativeCallContext, a: &Dynamic, b: &Dynamic) -> ScriptResult<Dynamic> {
    let (mut a, mut b) = (a.clone(), b.clone());
    match call.call_native_fn_raw("==", true, &mut [&mut a, &mut b]) {
        Err(error) if matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) => {
            Ok(Dynamic::FALSE)
        }
        said => said,
    }
}

/// Registers `dedup`.
pub fn install(registry: &mut Registry) {
    registry
        .declare(
            "dedup(array, comparer)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "leaves of elements in a row that are the same the first, by `==` or by a \
            comparer |a, b| that says whether they are",
            "let a = [1, 1, 2, 1]; a.dedup(); a",
            "[1, 2, 1]",
        )
        .function(|call: NativeCallContext, array: &mut Array| -> ScriptResult<()> {
            dedup(array, |a, b| equal(&call, a, b))
        })
        .function(
            |call: NativeCallContext, array: &mut Array, comparer: FnPtr| -> ScriptResult<()> {
                dedup(array, |a, b| comparer.call_raw(&call, None, [a.clone(), b.clone()]))
            },
        );
}
