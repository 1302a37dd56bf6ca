//! Between text and token ids: `encode`, `decode`, `tokens`, `token_id`.

use candle_core::{DType, Device, Tensor};
use rhai::{Array, Dynamic, Engine, Map};

use super::error::ScriptResult;
use super::model::Model;
use super::options::{Options, describe};
use super::tensor::Handle;
use crate::checkpoint::Tokenizer;
use crate::tensor::Value;
use crate::{Error, Result, bail, error};

fn tokenizer(m: &Model) -> Result<&Tokenizer> {
    m.loaded().checkpoint.tokenizer()
}

/// Token ids [1, n] of a text; of an array of texts [b, n], padded, with the mask of real tokens.
fn encode(m: &Model, text: &Dynamic, options: Map) -> Result<Handle> {
    let options = Options::new("encode", options, &["special", "pad"])?;
    let special = options.bool("special")?.unwrap_or(true);
    let left = match options.string("pad")?.as_deref() {
        None | Some("right") => false,
        Some("left") => true,
        Some(other) => bail!("encode: pad must be \"right\" or \"left\", not {other:?}"),
    };
    let tokenizer = tokenizer(m)?;
    if let Ok(text) = text.clone().into_immutable_string() {
        let ids = checked(tokenizer.encode(&text, special)?, &text)?;
        return Ok(Handle::from(Tensor::new(vec![ids], &Device::Cpu)?.to_dtype(DType::I64)?));
    }
    let Some(texts) = text.read_lock::<Array>() else {
        bail!("encode takes a text or an array of texts, not {}", describe(text))
    };
    if texts.is_empty() {
        bail!("encode was given an empty array: there is no text in it");
    }
    let rows = texts
        .iter()
        .map(|text| match text.clone().into_immutable_string() {
            Ok(text) => checked(tokenizer.encode(&text, special)?, &text),
            Err(_) => Err(error!("encode takes texts, and one of the array's elements is {}", describe(text))),
        })
        .collect::<Result<Vec<_>>>()?;
    pad(rows, tokenizer.pad_id(), left)
}

fn checked(ids: Vec<u32>, text: &str) -> Result<Vec<u32>> {
    if ids.is_empty() {
        return Err(error!("the prompt {text:?} is empty: it encodes to no token"));
    }
    Ok(ids)
}

fn pad(rows: Vec<Vec<u32>>, pad: u32, left: bool) -> Result<Handle> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for row in &rows {
        let padding = longest - row.len();
        let (before, after) = if left { (padding, 0) } else { (0, padding) };
        let around = |n: usize| std::iter::repeat_n(i64::from(pad), n);
        ids.extend(around(before).chain(row.iter().map(|&id| i64::from(id))).chain(around(after)));
        let real = |n: usize, real: u8| std::iter::repeat_n(real, n);
        mask.extend(real(before, 0).chain(real(row.len(), 1)).chain(real(after, 0)));
    }
    let shape = (rows.len(), longest);
    let mask = Handle::fresh(Value::Bool(Tensor::from_vec(mask, shape, &Device::Cpu)?));
    Ok(Handle::from(Tensor::from_vec(ids, shape, &Device::Cpu)?).with_mask(mask))
}

/// Token ids as rows, and whether they came as one row: an integer, an array of them, a tensor [n] or [b, n].
fn rows(ids: &Dynamic) -> Result<(Vec<Vec<u32>>, bool)> {
    let id = |id: i64| u32::try_from(id).map_err(|_| error!("{id} is no token id"));
    if let Some(handle) = ids.read_lock::<Handle>() {
        let value = handle.value();
        let tensor = value.real("token ids")?;
        if !tensor.dtype().is_int() {
            bail!("token ids must be integers, not {}", value.dtype_name());
        }
        let wide = tensor.to_dtype(DType::I64)?;
        let (rows, one) = match tensor.rank() {
            0 => (vec![vec![wide.to_scalar::<i64>()?]], true),
            1 => (vec![wide.to_vec1::<i64>()?], true),
            2 => (wide.to_vec2::<i64>()?, tensor.dims()[0] == 1),
            _ => bail!("token ids must be [n] or [b, n], not {:?}", tensor.dims()),
        };
        let rows = rows.into_iter().map(|row| row.into_iter().map(id).collect()).collect::<Result<_>>()?;
        return Ok((rows, one));
    }
    match super::options::ints(ids) {
        Some(list) => Ok((vec![list.into_iter().map(id).collect::<Result<_>>()?], true)),
        None => bail!("token ids are a tensor or integers, not {}", describe(ids)),
    }
}

/// One value for one row, an array for several.
fn each(ids: &Dynamic, show: impl Fn(&[u32]) -> Result<Dynamic>) -> Result<Dynamic> {
    let (rows, one) = rows(ids)?;
    let mut shown = rows.iter().map(|row| show(row)).collect::<Result<Array>>()?;
    match (one, shown.pop()) {
        (true, Some(only)) => Ok(only),
        (_, last) => {
            shown.extend(last);
            Ok(shown.into())
        }
    }
}

pub fn install(engine: &mut Engine) {
    engine.register_fn("encode", |m: &mut Model, text: Dynamic| -> ScriptResult<Handle> {
        Ok(encode(m, &text, Map::new())?)
    });
    engine.register_fn("encode", |m: &mut Model, text: Dynamic, options: Map| -> ScriptResult<Handle> {
        Ok(encode(m, &text, options)?)
    });
    engine.register_get("mask", |ids: &mut Handle| -> ScriptResult<Handle> {
        Ok(ids.mask().ok_or_else(|| {
            Error::new("this tensor carries no mask").help("the ids that encode makes of an array of texts do")
        })?)
    });
    engine.register_fn("decode", |m: &mut Model, ids: Dynamic| -> ScriptResult<Dynamic> {
        let tokenizer = tokenizer(m)?;
        Ok(each(&ids, |row| Ok(tokenizer.decode(row)?.into()))?)
    });
    engine.register_fn("tokens", |m: &mut Model, ids: Dynamic| -> ScriptResult<Dynamic> {
        let tokenizer = tokenizer(m)?;
        let strings = |row: &[u32]| -> Result<Dynamic> {
            Ok(tokenizer.token_strings(row)?.into_iter().map(Dynamic::from).collect::<Array>().into())
        };
        match ids.clone().into_immutable_string() {
            Ok(text) => Ok(strings(&tokenizer.encode(&text, true)?)?),
            Err(_) => Ok(each(&ids, strings)?),
        }
    });
    engine.register_fn("token_id", |m: &mut Model, text: &str| -> ScriptResult<i64> {
        Ok(i64::from(tokenizer(m)?.single_token(text)?))
    });
}
