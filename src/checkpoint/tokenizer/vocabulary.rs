//! The tokenizer of vocab.json and merges.txt, as older checkpoints have them.

use serde_json::{Map, Value};
use tokenizers::Tokenizer as HfTokenizer;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::broken;
use crate::{Result, error};

/// The vocabulary alone, without any step before or after it.
///
/// # Errors
/// A file is broken, or one contradicts the other.
pub fn read(vocabulary: &[u8], merges: &[u8]) -> Result<HfTokenizer> {
    let vocabulary: Map<String, Value> = serde_json::from_slice(vocabulary)
        .map_err(|e| error!("vocab.json is not a map in JSON: {e}"))?;
    let vocabulary = vocabulary
        .into_iter()
        .map(|(token, id)| match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(id) => Ok((token, id)),
            None => Err(error!("vocab.json gives {token:?} no id but {id}")),
        })
        .collect::<Result<Vocab>>()?;
    let merges = std::str::from_utf8(merges).map_err(|_| error!("merges.txt is not UTF-8"))?;
    let merges = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.is_empty())
        .map(|line| match line.split_once(' ') {
            Some((a, b)) => Ok((a.to_owned(), b.to_owned())),
            None => Err(error!("merges.txt has a line that is no pair: {line:?}")),
        })
        .collect::<Result<Merges>>()?;
    let model = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(broken)?;
    Ok(HfTokenizer::new(model))
}
