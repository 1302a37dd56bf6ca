//! The tokenizer of tokenizer.model, as sentencepiece writes it, where there is no tokenizer.json.
//!
//! The file is a protocol buffer: `sentencepiece_model.proto` of sentencepiece, of which the fields
//! below are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Precompiled, Replace, Sequence};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    Tokenizer as HfTokenizer,
};

use super::broken;
use super::class::{self, Class};
use super::configs::Configs;
use super::protobuf::{Field, fields, signed};
use crate::{Result, bail, error};

/// The most bytes of a piece: sentencepiece makes pieces of 16 letters by default.
const MAX_PIECE: usize = 512;

/// The most pieces: four times those of the largest vocabularies.
const MAX_PIECES: usize = 1 << 20;
/// The most merges; the largest vocabularies in use have a seventh of that.
const MAX_MERGES: usize = 1 << 22;

/// The kinds of pieces.
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// The kinds of models.
const UNIGRAM: u64 = 1;
const MERGES: u64 = 2;

/// A sentencepiece model.
pub struct Model {
    pieces: Vec<Piece>,
    kind: u64,
    byte_fallback: bool,
    unknown: (i64, String),
    begin: (i64, String),
    end: (i64, String),
    charsmap: Vec<u8>,
    dummy_prefix: bool,
    remove_spaces: bool,
    escape_spaces: bool,
}

struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

impl Model {
    /// Reads a tokenizer.model.
    ///
    /// # Errors
    /// It is no sentencepiece model of pieces or merges.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).filter(|model| !model.pieces.is_empty()).ok_or_else(|| {
            error!("tokenizer.model is no sentencepiece model, or is broken")
                .help("tokenizer.json is read in its place if it stands beside it")
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut model = Self {
            pieces: Vec::new(),
            kind: UNIGRAM,
            byte_fallback: false,
            unknown: (0, "<unk>".into()),
            begin: (1, "<s>".into()),
            end: (2, "</s>".into()),
            charsmap: Vec::new(),
            dummy_prefix: true,
            remove_spaces: true,
            escape_spaces: true,
        };
        for (number, field) in fields(bytes)? {
            match (number, field) {
                (1, Field::Bytes(piece)) => {
                    if model.pieces.len() == MAX_PIECES {
                        return None;
                    }
                    model.pieces.push(Piece::parse(piece)?);
                }
                (2, Field::Bytes(trainer)) => model.parse_trainer(trainer)?,
                (3, Field::Bytes(normalizer)) => model.parse_normalizer(normalizer)?,
                _ => {}
            }
        }
        Some(model)
    }

    fn parse_trainer(&mut self, bytes: &[u8]) -> Option<()> {
        for (number, field) in fields(bytes)? {
            match (number, field) {
                (3, Field::Number(kind)) => self.kind = kind,
                (35, Field::Number(flag)) => self.byte_fallback = flag != 0,
                (40, Field::Number(id)) => self.unknown.0 = signed(id),
                (41, Field::Number(id)) => self.begin.0 = signed(id),
                (42, Field::Number(id)) => self.end.0 = signed(id),
                (45, Field::Bytes(text)) => self.unknown.1 = utf8(text)?,
                (46, Field::Bytes(text)) => self.begin.1 = utf8(text)?,
                (47, Field::Bytes(text)) => self.end.1 = utf8(text)?,
                _ => {}
            }
        }
        Some(())
    }

    fn parse_normalizer(&mut self, bytes: &[u8]) -> Option<()> {
        for (number, field) in fields(bytes)? {
            match (number, field) {
                (2, Field::Bytes(map)) => self.charsmap = map.to_vec(),
                (3, Field::Number(flag)) => self.dummy_prefix = flag != 0,
                (4, Field::Number(flag)) => self.remove_spaces = flag != 0,
                (5, Field::Number(flag)) => self.escape_spaces = flag != 0,
                _ => {}
            }
        }
        Some(())
    }

    /// The tokenizer, and what the configs say of its special tokens after what the model says.
    ///
    /// # Errors
    /// The model has no pieces and no merges, or contradicts itself.
    pub fn build(&self, class: Class, configs: &mut Configs) -> Result<HfTokenizer> {
        let by_class = matches!(class, Class::Llama | Class::Gemma);
        if by_class && self.kind != MERGES {
            bail!(
                "tokenizer.model has no merges, and tokenizer_class names a class that needs them"
            );
        }
        let special = self
            .pieces
            .iter()
            .filter(|piece| piece.kind == CONTROL || piece.kind == USER_DEFINED && by_class);
        configs.default_extra(special.map(|piece| {
            AddedToken::from(piece.text.clone(), piece.kind == CONTROL).normalized(false)
        }));
        if by_class {
            let mut inner = HfTokenizer::new(self.merging(self.merges_by_id()?, false, true)?);
            class::build(class, &mut inner, configs)?;
            return Ok(inner);
        }
        let roles =
            [("bos_token", &self.begin), ("eos_token", &self.end), ("unk_token", &self.unknown)];
        let roles = roles.iter().filter(|(_, (id, _))| *id >= 0);
        let roles: Vec<_> = roles.map(|(role, (_, text))| (*role, text.as_str())).collect();
        configs.default_roles(&roles, |token| self.pieces.iter().any(|piece| piece.text == token));
        self.as_sentencepiece(configs)
    }

    /// The tokenizer that encodes as sentencepiece does.
    fn as_sentencepiece(&self, configs: &mut Configs) -> Result<HfTokenizer> {
        let names = self.names(configs);
        let user_defined: Vec<&str> = self
            .pieces
            .iter()
            .zip(&names)
            .filter_map(|(piece, name)| (piece.kind == USER_DEFINED).then_some(name.as_str()))
            .collect();
        let mut inner = match self.kind {
            MERGES => {
                let merges = self.merges_by_score(&names)?;
                HfTokenizer::new(self.merging(
                    merges,
                    !user_defined.is_empty(),
                    self.byte_fallback,
                )?)
            }
            UNIGRAM => {
                let scored = self.pieces.iter().zip(&names);
                let pieces = scored.map(|(p, name)| (name.clone(), f64::from(p.score))).collect();
                let unknown = usize::try_from(self.unknown.0).ok();
                let model = Unigram::from(pieces, unknown, self.byte_fallback);
                HfTokenizer::new(model.map_err(broken)?)
            }
            _ => bail!("tokenizer.model is of whole words or single letters, which is not read"),
        };
        if self.dummy_prefix {
            configs.match_added_raw();
        }
        let legacy = configs.flag("legacy").unwrap_or(true);
        inner.with_normalizer(Some(self.normalizer(legacy)?)).map_err(broken)?;
        inner.with_pre_tokenizer(self.pre_tokenizer(legacy, user_defined)?);
        inner.with_decoder(Some(self.decoder()?));
        Ok(inner)
    }

    fn normalizer(&self, legacy: bool) -> Result<Sequence> {
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if !self.charsmap.is_empty() {
            let map = Precompiled::from(&self.charsmap)
                .map_err(|_| error!("tokenizer.model has a broken map of characters"))?;
            steps.push(map.into());
        }
        let mut replace = |pattern: ReplacePattern, by: &str| -> Result<()> {
            steps.push(Replace::new(pattern, by).map_err(broken)?.into());
            Ok(())
        };
        let regex = |pattern: &str| ReplacePattern::Regex(pattern.into());
        if self.remove_spaces {
            replace(regex(r"\A +| +\z"), "")?;
            replace(regex(" {2,}"), " ")?;
        }
        if self.escape_spaces {
            replace(ReplacePattern::String(" ".into()), "▁")?;
        }
        // The step that prefixes texts leaves alone what begins with a space, and sentencepiece
        // does not.
        if self.dummy_prefix && legacy {
            replace(regex(r"\A▁"), "▁▁")?;
        }
        Ok(Sequence::new(steps))
    }

    fn pre_tokenizer(
        &self,
        legacy: bool,
        mut user_defined: Vec<&str>,
    ) -> Result<Option<PreTokenizers>> {
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        if self.dummy_prefix {
            let scheme = if legacy { PrependScheme::Always } else { PrependScheme::First };
            steps.push(Metaspace::new('▁', scheme, false).into());
        }
        if !user_defined.is_empty() {
            // Pieces of the user's are whole, the longest first.
            user_defined.sort_by_key(|piece| std::cmp::Reverse(piece.chars().count()));
            let escaped: Vec<_> =
                user_defined.iter().map(|piece| fancy_regex::escape(piece)).collect();
            let pattern = SplitPattern::Regex(escaped.join("|"));
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            steps.push(split.map_err(broken)?.into());
        }
        Ok((!steps.is_empty()).then(|| PreTokenizers::new(steps)))
    }

    fn decoder(&self) -> Result<DecoderWrapper> {
        let mut steps = vec![
            serde_json::json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        ];
        if self.byte_fallback {
            steps.push(serde_json::json!({"type": "ByteFallback"}));
        }
        if self.dummy_prefix || self.byte_fallback {
            steps.push(serde_json::json!({"type": "Fuse"}));
        }
        if self.dummy_prefix {
            steps.push(serde_json::json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        serde_json::from_value(serde_json::json!({"type": "Sequence", "decoders": steps}))
            .map_err(|e| error!("the tokenizer failed: {e}"))
    }

    /// The pieces' names: the configs may rename those that were kept free.
    fn names(&self, configs: &Configs) -> Vec<String> {
        let renamed: BTreeMap<usize, &str> = configs
            .added()
            .filter_map(|(id, token)| Some((usize::try_from(id).ok()?, token.content.as_str())))
            .collect();
        let others = self.pieces.iter().enumerate().filter(|(id, _)| !renamed.contains_key(id));
        let kept: HashSet<&str> = others.map(|(_, piece)| piece.text.as_str()).collect();
        let own = self.pieces.iter().enumerate().map(|(id, piece)| match renamed.get(&id) {
            Some(name) if *name != piece.text && !kept.contains(name) => (*name).to_owned(),
            _ => piece.text.clone(),
        });
        own.collect()
    }

    fn merging(
        &self,
        (names, merges): (Vec<String>, Merges),
        whole: bool,
        byte_fallback: bool,
    ) -> Result<BPE> {
        let vocabulary: Vocab = names.into_iter().zip(0u32..).collect();
        let unknown = self.unknown.1.clone();
        let builder = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .fuse_unk(true)
            .byte_fallback(byte_fallback)
            .ignore_merges(whole);
        builder.unk_token(unknown).build().map_err(broken)
    }

    /// Each way to put a normal piece together of two others, the likeliest piece first.
    fn merges_by_score(&self, names: &[String]) -> Result<(Vec<String>, Merges)> {
        let normal: HashMap<&str, usize> = names
            .iter()
            .enumerate()
            .filter(|(id, _)| self.pieces[*id].kind == NORMAL)
            .map(|(id, name)| (name.as_str(), id))
            .collect();
        let mut ranked = Vec::new();
        for (name, &id) in &normal {
            for (left, right) in splits(name) {
                if normal.contains_key(left) && normal.contains_key(right) {
                    check_merges(ranked.len())?;
                    ranked.push((id, left, right));
                }
            }
        }
        let score = |id: usize| self.pieces[id].score;
        ranked.sort_by(|a, b| {
            score(b.0).total_cmp(&score(a.0)).then_with(|| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)))
        });
        let merges = ranked.into_iter().map(|(_, left, right)| (left.into(), right.into()));
        Ok((names.to_vec(), merges.collect()))
    }

    /// Each way to put any piece together of two others, in the order of the pieces.
    fn merges_by_id(&self) -> Result<(Vec<String>, Merges)> {
        let names: Vec<String> = self.pieces.iter().map(|piece| piece.text.clone()).collect();
        let known: HashMap<&str, usize> =
            names.iter().enumerate().map(|(id, name)| (name.as_str(), id)).collect();
        let mut merges = Merges::new();
        for (left, right) in names.iter().flat_map(|name| splits(name)) {
            if known.contains_key(left) && known.contains_key(right) {
                check_merges(merges.len())?;
                merges.push((left.to_owned(), right.to_owned()));
            }
        }
        Ok((names, merges))
    }
}

impl Piece {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: NORMAL };
        for (number, field) in fields(bytes)? {
            match (number, field) {
                (1, Field::Bytes(text)) => piece.text = utf8(text)?,
                (2, Field::Word(bits)) => piece.score = f32::from_bits(bits),
                (3, Field::Number(kind)) => piece.kind = kind,
                _ => {}
            }
        }
        (piece.text.len() <= MAX_PIECE && piece.score.is_finite()).then_some(piece)
    }
}

/// Whether there may be one more than `count` ways to put pieces together.
fn check_merges(count: usize) -> Result<()> {
    if count == MAX_MERGES {
        bail!(
            "tokenizer.model has more than {MAX_MERGES} ways to put a piece together of two others"
        );
    }
    Ok(())
}

/// The ways to cut a text in two, from the shortest beginning on.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.char_indices().skip(1).map(|(at, _)| text.split_at(at))
}

fn utf8(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_a_sentence() {
        let piece =
            |text: &[u8]| [&[0x0a, text.len() as u8 + 2, 0x0a, text.len() as u8], text].concat();
        assert_eq!(Model::read(&piece(b"ab")).unwrap().pieces[0].text, "ab");
        for bytes in
            [&b""[..], b"hello", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a", &piece(b"\xff"), &[0xff; 11]]
        {
            assert!(Model::read(bytes).err().unwrap().to_string().contains("tokenizer.model"));
        }
    }
}
