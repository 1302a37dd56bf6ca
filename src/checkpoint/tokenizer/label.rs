//! Single tokens as they are shown, and the token that a text means.

use super::{Tokenizer, catching};
use crate::{Error, Result, bail, error};

/// Texts after which a word is looked for: what a word's token is within a text.
const BEFORE: [&str; 4] = ["\n", "a", ".", "1"];

impl Tokenizer {
    /// A token as it is shown: as the vocabulary writes it, so that two tokens never look the same
    /// and a space at the beginning is seen (`▁the`). Where the vocabulary writes bytes as letters
    /// of its own, their text, with `<0xE2>` for a byte that is none.
    ///
    /// # Errors
    /// There is no token of that id.
    pub fn label(&self, id: u32) -> Result<String> {
        self.check(id)?;
        let token = self.inner.id_to_token(id).unwrap_or_default();
        if !self.has_bytes || self.added(id).is_some() {
            return Ok(token);
        }
        let Some(bytes) = token.chars().map(byte_of).collect::<Option<Vec<u8>>>() else {
            return Ok(token);
        };
        let mut label = String::new();
        for part in bytes.utf8_chunks() {
            label.push_str(part.valid());
            label.extend(part.invalid().iter().map(|byte| format!("<0x{byte:02X}>")));
        }
        Ok(label)
    }

    /// The labels of tokens, as [`label`](Self::label) gives them.
    ///
    /// # Errors
    /// As [`label`](Self::label).
    pub fn labels(&self, ids: &[u32]) -> Result<Vec<String>> {
        ids.iter().map(|&id| self.label(id)).collect()
    }

    /// The id of the only token of a text; or of one that begins with a space or a sign, the id that
    /// it has within a text; or of a token's own [label](Self::label).
    ///
    /// # Errors
    /// The text is no token, or several.
    pub fn single_token(&self, text: &str) -> Result<u32> {
        let ids = self.encode(text, false)?;
        if let &[id] = ids.as_slice()
            && !self.is_unknown(id, text)
        {
            return Ok(id);
        }
        let begins_inside = text.chars().next().is_some_and(|first| !first.is_alphanumeric());
        if begins_inside && let Some(id) = self.token_within(text)? {
            return Ok(id);
        }
        let own = self.token_labelled(text)?;
        match own {
            // A piece of plain letters continues words, and the text as a word is another.
            Some(id) if begins_inside || self.decode(&[id])? != text => Ok(id),
            own => Err(self.no_single(text, &ids, own)?),
        }
    }

    /// The id that a text has behind another, if it is one token there.
    fn token_within(&self, text: &str) -> Result<Option<u32>> {
        for before in BEFORE {
            let (alone, both) =
                (self.encode(before, false)?, self.encode(&format!("{before}{text}"), false)?);
            if let Some(&[id]) = both.strip_prefix(alone.as_slice())
                && !self.is_unknown(id, text)
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The token with this label.
    fn token_labelled(&self, label: &str) -> Result<Option<u32>> {
        if !self.has_bytes {
            return catching(|| Ok(self.inner.token_to_id(label)));
        }
        // What such a vocabulary writes may be the text of other bytes.
        let ids = self.inner.get_vocab(true).into_values();
        Ok(ids.filter(|&id| self.label(id).is_ok_and(|own| own == label)).min())
    }

    /// Whether a token only says that the text is not in the vocabulary.
    fn is_unknown(&self, id: u32, text: &str) -> bool {
        let unknown = self.unknown.as_deref().filter(|unknown| *unknown != text.trim());
        unknown.is_some_and(|unknown| self.inner.token_to_id(unknown) == Some(id))
    }

    /// The error for a text that is not one token.
    fn no_single(&self, text: &str, ids: &[u32], own: Option<u32>) -> Result<Error> {
        let error = match ids {
            [] => bail!("{text:?} is not one token but none"),
            [_] => error!("{text:?} is no token of the vocabulary"),
            ids => {
                let pieces = self.labels(ids)?;
                let pieces = pieces.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>().join(", ");
                error!("{text:?} is not one token but {}: {pieces}", ids.len())
            }
        };
        Ok(error.help(match own {
            Some(id) => format!(
                "token {id} is a piece of that text, which continues words: write {id} for it"
            ),
            None if text.starts_with(char::is_whitespace) => {
                "m.tokens(text) shows the tokens of a text; each of them can be written here".into()
            }
            None => "a word in a text usually has its space before it, as in \" Mary\"".into(),
        }))
    }
}

/// The byte that a letter of a byte-level vocabulary stands for: printable ones are themselves, the
/// others follow from U+0100 on.
fn byte_of(letter: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(letter) {
        code @ 0..=0xff => u8::try_from(code).ok().filter(printable),
        code => (0..=u8::MAX).filter(|byte| !printable(byte)).nth((code - 0x100) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_for_bytes_as_the_library_has_it() {
        let letters = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<u8> = letters.iter().filter_map(|&letter| byte_of(letter)).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!(
            [byte_of('Ġ'), byte_of('Ċ'), byte_of('é'), byte_of('▁')],
            [Some(b' '), Some(b'\n'), Some(0xe9), None]
        );
    }
}
