//! `encode`, `decode`, `tokens` and `token_id`: conversion between text and token ids.

use candle_core::{DType, Device, Tensor};
use rhai::{Array, Dynamic, Map};

use crate::checkpoint::Tokenizer;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::model::Model;
use crate::script::value::options::{Options, describe};
use crate::tensor::Value;
use crate::{Result, bail, error};

fn tokenizer(m: &Model) -> Result<&Tokenizer> {
    m.loaded().checkpoint.tokenizer()
}

/// The token ids of a text, \[1, n\], or of an array of texts, \[b, n\] with padding. They carry
/// the mask of real tokens.
fn encode(m: &Model, text: &Dynamic, options: Map) -> Result<Handle> {
    let options = Options::new("encode", options, &["special", "pad", "max_tokens"])?;
    let special = options.bool("special")?.unwrap_or(true);
    let left = match options.string("pad")?.as_deref() {
        None | Some("right") => false,
        Some("left") => true,
        Some(other) => bail!("encode: pad must be \"right\" or \"left\", not {other:?}"),
    };
    let most = options.int("max_tokens")?.map(|most| match usize::try_from(most) {
        Ok(most) if most > 0 => Ok(most),
        _ => Err(error!("encode: max_tokens must be at least 1, not {most}")),
    });
    let most = most.transpose()?;
    let tokenizer = tokenizer(m)?;
    let ids = |text: &str| match most {
        Some(most) => tokenizer.encode_at_most(text, special, most),
        None => tokenizer.encode(text, special),
    };
    if let Ok(text) = text.clone().into_immutable_string() {
        let ids = checked(ids(&text)?, &text)?;
        return Handle::from(Tensor::new(vec![ids], &Device::Cpu)?.to_dtype(DType::I64)?)
            .all_real();
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
            Ok(text) => checked(ids(&text)?, &text),
            Err(_) => Err(error!(
                "encode takes texts, and one of the array's elements is {}",
                describe(text)
            )),
        })
        .collect::<Result<Vec<_>>>()?;
    pad(rows, tokenizer.pad_id(), left)
}

/// The token ids that the function `call` reads: a tensor of ids, or a text or an array of texts,
/// encoded with special tokens and padded on the right.
///
/// # Errors
/// The argument is something else, or a text that can't be encoded.
pub fn to_read(m: &Model, call: &str, given: &Dynamic) -> Result<Handle> {
    if let Some(ids) = given.read_lock::<Handle>() {
        return Ok(ids.clone());
    }
    let is_texts = |array: &Array| !array.is_empty() && array.iter().all(Dynamic::is_string);
    if given.is_string() || given.read_lock::<Array>().is_some_and(|array| is_texts(&array)) {
        return encode(m, given, Map::new()).map_err(|error| error.at(call));
    }
    let help = match given.read_lock::<Array>() {
        Some(array) if array.iter().any(Dynamic::is_string) => {
            "each element of the array must be a text"
        }
        Some(array) if array.iter().any(Dynamic::is::<Handle>) => {
            "stack(rows) makes a batch of rows"
        }
        Some(_) => "tensor([[…]]) makes a batch of one of token ids",
        None => "m.encode(text) gives a text's token ids",
    };
    Err(error!("{call} reads token ids, a text or an array of texts, not {}", describe(given))
        .help(help))
}

fn checked(ids: Vec<u32>, text: &str) -> Result<Vec<u32>> {
    if ids.is_empty() {
        return Err(error!("the prompt {text:?} is empty: it encodes to no token"));
    }
    Ok(ids)
}

/// Rows padded to equal length, with the mask of real tokens.
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

/// The rows of token ids, and whether there is just one. `ids` is an integer, an array of integers,
/// or a tensor \[n\] or \[b, n\]. `real_alone` leaves out padding.
fn rows(ids: &Dynamic, real_alone: bool) -> Result<(Vec<Vec<u32>>, bool)> {
    let id = |id: i64| u32::try_from(id).map_err(|_| error!("{id} is no token id"));
    if let Some(handle) = ids.read_lock::<Handle>() {
        let value = handle.value();
        let tensor = value.real("token ids")?;
        if !tensor.dtype().is_int() {
            bail!("token ids must be integers, not {}", value.dtype_name());
        }
        let (b, n, one) = match *tensor.dims() {
            [] => (1, 1, true),
            [n] => (1, n, true),
            [b, n] => (b, n, b == 1),
            _ => bail!("token ids must be [n] or [b, n], not {:?}", tensor.dims()),
        };
        let numbers = |tensor: &Tensor| -> Result<Vec<Vec<i64>>> {
            Ok(tensor.to_dtype(DType::I64)?.reshape((b, n))?.to_vec2::<i64>()?)
        };
        let mut rows = numbers(tensor)?;
        if let Some(mask) = handle.mask().filter(|_| real_alone) {
            for (row, real) in rows.iter_mut().zip(numbers(mask.value().real("the mask")?)?) {
                let mut real = real.into_iter();
                row.retain(|_| real.next() != Some(0));
            }
        }
        let rows =
            rows.into_iter().map(|row| row.into_iter().map(id).collect()).collect::<Result<_>>()?;
        return Ok((rows, one));
    }
    match crate::script::value::options::ints(ids) {
        Some(list) => Ok((vec![list.into_iter().map(id).collect::<Result<_>>()?], true)),
        None => bail!("token ids are a tensor or integers, not {}", describe(ids)),
    }
}

/// Applies `show` to each row. The result is a single value if there is just one row, else an
/// array.
fn each(
    ids: &Dynamic,
    real_alone: bool,
    show: impl Fn(&[u32]) -> Result<Dynamic>,
) -> Result<Dynamic> {
    let (rows, one) = rows(ids, real_alone)?;
    let mut shown = rows.iter().map(|row| show(row)).collect::<Result<Array>>()?;
    match (one, shown.pop()) {
        (true, Some(only)) => Ok(only),
        (_, last) => {
            shown.extend(last);
            Ok(shown.into())
        }
    }
}

/// Registers what turns texts into token ids and back.
pub fn install(registry: &mut Registry) {
    registry
        .declare(
            "encode(model, text, options)",
            Purity::Pure,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "token ids [1, n] of a text; of an array of texts a padded batch [b, n]; both \
            carry their mask; options #{special, pad, max_tokens}",
            r#"m.encode(["one", "one two"]).mask.shape[0]"#,
            "2",
        )
        .row_for(
            "to a length",
            "#{max_tokens} cuts each text at its end; special tokens count, and stay",
            r#"m.encode("When Mary and John went", #{max_tokens: 3}).shape"#,
            "[1, 3]",
        )
        .function(|m: &mut Model, text: Dynamic| -> ScriptResult<Handle> {
            Ok(encode(m, &text, Map::new())?)
        })
        .function(|m: &mut Model, text: Dynamic, options: Map| -> ScriptResult<Handle> {
            Ok(encode(m, &text, options)?)
        });
    registry
        .declare("decode(model, ids)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row(
            "the text of token ids, padding left out; an array where there are several rows",
            r#"m.decode(m.encode("Mary went", #{special: false}))"#,
            "Mary went",
        )
        .function(|m: &mut Model, ids: Dynamic| -> ScriptResult<Dynamic> {
            let tokenizer = tokenizer(m)?;
            Ok(each(&ids, true, |row| Ok(tokenizer.decode(row)?.into()))?)
        });
    registry
        .declare("tokens(model, text_or_ids)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row(
            "the tokens of a text or of ids, as the vocabulary writes them (▁the; bytes that it writes \
            as letters are shown as text), as an array of strings: one a position, padding too",
            r#"m.tokens(" Mary").contains(" Mary")"#,
            "true",
        )
        .function(|m: &mut Model, ids: Dynamic| -> ScriptResult<Dynamic> {
            let tokenizer = tokenizer(m)?;
            let strings = |row: &[u32]| -> Result<Dynamic> {
                Ok(tokenizer
                    .labels(row)?
                    .into_iter()
                    .map(Dynamic::from)
                    .collect::<Array>()
                    .into())
            };
            match ids.clone().into_immutable_string() {
                Ok(text) => Ok(strings(&tokenizer.encode(&text, true)?)?),
                // One string a position, padding too: they stand beside what a pass gives for each.
                Err(_) => Ok(each(&ids, false, strings)?),
            }
        });
    registry
        .declare("token_id(model, text)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the id of a text that is one token exactly, by itself or, if it begins with a space or a \
            sign, within a text; or of a string that tokens gives; else an error",
            r#"m.decode(m.token_id(" Mary"))"#,
            " Mary",
        )
        .function(|m: &mut Model, text: &str| -> ScriptResult<i64> {
            Ok(i64::from(tokenizer(m)?.single_token(text)?))
        });
}
