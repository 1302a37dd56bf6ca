//! Replacements for functions of Rhai that allocate much in one call, during which neither Ctrl-C
//! nor the run's limits would be checked. Each checks first that there is memory for the result.

use rhai::{Array, Blob, Dynamic, ImmutableString};

use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::run::limits::Limits;
use crate::script::value::record;
use crate::system::memory;

/// Checks that `times` times `bytes` can be allocated.
///
/// # Errors
/// That would exceed the run's memory limit.
fn room(limits: Limits, bytes: usize, times: usize) -> ScriptResult<()> {
    let needed = bytes.saturating_mul(times);
    if needed as u64 > limits.memory || memory::would_exceed(needed) {
        return Err(limits.memory_exceeded().into());
    }
    Ok(())
}

/// The bytes that a copy of a value takes.
fn weight(value: &Dynamic) -> usize {
    let inner: usize =
        match (value.read_lock::<Array>(), record::read(value), value.read_lock::<Blob>()) {
            (Some(array), ..) => array.iter().map(weight).sum(),
            (_, Some(map), _) => {
                map.iter().map(|(key, value)| size_of_val(key) + weight(value)).sum()
            }
            (.., Some(blob)) => blob.len(),
            // Copies of strings and handles share their data.
            _ => 0,
        };
    size_of::<Dynamic>() + inner
}

/// How many items to add to `have` to get `wanted`.
fn missing(have: usize, wanted: i64) -> usize {
    usize::try_from(wanted).map_or(0, |wanted| wanted.saturating_sub(have))
}

/// Registers what grows values, each within `limits`.
pub fn install(registry: &mut Registry, limits: Limits) {
    registry
        .declare(
            "pad(whole, length, filler)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "makes an array or a string as long as that, with as many fillers as it takes",
            "let a = [1]; a.pad(3, 0); a",
            "[1, 0, 0]",
        )
        .function(move |array: &mut Array, len: i64, item: Dynamic| -> ScriptResult<()> {
            let missing = missing(array.len(), len);
            room(limits, weight(&item), missing)?;
            array.resize(array.len() + missing, item);
            Ok(())
        })
        .function(move |blob: &mut Blob, len: i64, value: i64| -> ScriptResult<()> {
            let missing = missing(blob.len(), len);
            room(limits, 1, missing)?;
            blob.resize(blob.len() + missing, value as u8);
            Ok(())
        })
        .function(move |text: &mut ImmutableString, len: i64, padding: char| {
            pad(limits, text, len, padding.encode_utf8(&mut [0; 4]))
        })
        .function(move |text: &mut ImmutableString, len: i64, padding: &str| {
            pad(limits, text, len, padding)
        });
    registry
        .declare("blob", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(move |len: i64| blob(limits, len, 0))
        .function(move |len: i64, value: i64| blob(limits, len, value));
    registry
        .declare(
            "replace(text, before, after)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "in every place of a text puts what comes after where the one before stood",
            r#"let t = "a-b-c"; t.replace("-", "+"); t"#,
            "a+b+c",
        )
        .function(move |text: &mut ImmutableString, find: &str, by: &str| -> ScriptResult<()> {
            let times = if by.len() > find.len() { text.matches(find).count() } else { 0 };
            room(limits, by.len() - find.len().min(by.len()), times)?;
            *text = text.replace(find, by).into();
            Ok(())
        })
        .function(move |text: &mut ImmutableString, find: char, by: &str| -> ScriptResult<()> {
            room(limits, by.len(), text.matches(find).count())?;
            *text = text.replace(find, by).into();
            Ok(())
        });
}

fn blob(limits: Limits, len: i64, value: i64) -> ScriptResult<Blob> {
    let len = missing(0, len);
    room(limits, 1, len)?;
    Ok(vec![value as u8; len])
}

/// Pads to `len` characters; the last repetition of the padding is cut to fit.
fn pad(limits: Limits, text: &mut ImmutableString, len: i64, padding: &str) -> ScriptResult<()> {
    let missing = missing(text.chars().count(), len);
    if missing == 0 || padding.is_empty() {
        return Ok(());
    }
    let (bytes, characters) = (padding.len(), padding.chars().count());
    room(limits, bytes, missing.div_ceil(characters))?;
    let text = text.make_mut();
    text.push_str(&padding.repeat(missing / characters));
    text.extend(padding.chars().take(missing % characters));
    Ok(())
}
