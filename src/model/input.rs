//! The input of a pass: token ids, which of them are padding, their positions, and how many of them
//! are in a cache already.

use candle_core::{DType, Device, Tensor};

use super::spec::Spec;
use crate::{Result, bail, error};

/// A batch of token ids [b, m]. A pass reads the last n tokens of each row: those that are not in a
/// cache, or all. Rows are checked against one another here, and against a model by
/// [`check`](Self::check).
#[derive(Debug, Clone)]
pub struct Input {
    ids: Vec<Vec<u32>>,
    /// For each row, whether each token is real: false at padding.
    mask: Vec<Vec<bool>>,
    /// A mask of attention [b or 1, m, m]: 1 where the query (second dimension) may attend to the
    /// key (third dimension), 0 elsewhere.
    sight: Option<Vec<u8>>,
    /// m − n: how many tokens of each row are in a cache.
    past: usize,
}

impl Input {
    /// Token ids [b, n] of an integer dtype, and a mask [b, n] that is 1 at real tokens and 0 at
    /// padding. Without a mask every token is real.
    ///
    /// # Errors
    /// A wrong shape or dtype, an empty batch or prompt, a negative id, or a row of padding only.
    pub fn new(ids: &Tensor, mask: Option<&Tensor>) -> Result<Self> {
        let (b, n) = match ids.dims() {
            &[b, n] => (b, n),
            dims => {
                return Err(error!("token ids must be [b, n], not {dims:?}")
                    .help("unsqueeze(0) makes a batch of one"));
            }
        };
        if !ids.dtype().is_int() {
            bail!("token ids must be integers, not {}", ids.dtype().as_str());
        }
        if b == 0 || n == 0 {
            bail!("the prompt is empty: token ids [{b}, {n}] hold no token");
        }
        let rows = ids.to_dtype(DType::I64)?.to_vec2::<i64>()?;
        let ids = rows
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|id| u32::try_from(id).map_err(|_| error!("{id} is no token id")))
                    .collect()
            })
            .collect::<Result<Vec<Vec<u32>>>>()?;
        let mask = match mask {
            None => vec![vec![true; n]; b],
            Some(mask) if mask.dims() != [b, n] => {
                bail!(
                    "the mask is {:?}, and the token ids are [{b}, {n}]: they must be alike",
                    mask.dims()
                )
            }
            Some(mask) => bits(&mask.flatten_all()?)?.chunks(n).map(<[bool]>::to_vec).collect(),
        };
        if let Some(row) = mask.iter().position(|row| !row.contains(&true)) {
            bail!("row {row} of the mask leaves no token: the prompt is empty");
        }
        Ok(Self { ids, mask, sight: None, past: 0 })
    }

    /// Token ids with the padding mask that they carry and a mask that the user gives. If
    /// the given mask has the shape of the ids, it replaces the carried one; otherwise it is a mask
    /// of attention, see [`seeing`](Self::seeing).
    ///
    /// # Errors
    /// Those of [`new`](Self::new) and [`seeing`](Self::seeing).
    pub fn masked(ids: &Tensor, carried: Option<&Tensor>, given: Option<&Tensor>) -> Result<Self> {
        match given {
            Some(mask) if mask.dims() == ids.dims() => Self::new(ids, Some(mask)),
            Some(mask) => Self::new(ids, carried)?.seeing(mask),
            None => Self::new(ids, carried),
        }
    }

    /// Adds a mask of attention, [n, n], [b or 1, n, n] or [b or 1, 1, n, n]: 1 where the query may
    /// attend to the key, 0 elsewhere. It can only hide keys: later tokens, padding and keys outside
    /// a sliding window stay hidden whatever it says.
    ///
    /// # Errors
    /// A wrong shape, a number other than 0 and 1, or a real token that is left no key at all.
    pub fn seeing(mut self, mask: &Tensor) -> Result<Self> {
        let (b, n) = (self.batch(), self.len());
        match *mask.dims() {
            [q, k] if (q, k) == (n, n) => {}
            [rows, q, k] | [rows, 1, q, k] if (rows == 1 || rows == b) && (q, k) == (n, n) => {}
            [_, _, q, k] if (q, k) == (n, n) => {
                return Err(error!(
                    "the mask is {:?}: one for each head is more than a pass takes",
                    mask.dims()
                )
                .help(
                    "a hook at post-mask-attn-weights or attn-probs reaches every head by itself",
                ));
            }
            _ => {
                return Err(error!(
                    "the mask is {:?}, and the token ids are [{b}, {n}]: it must be [{b}, {n}] (1 at real tokens), or \
                     [{n}, {n}], [{b}, {n}, {n}] or [{b}, 1, {n}, {n}] (1 where a query may look at a key)",
                    mask.dims()
                ));
            }
        }
        self.sight = Some(bits(&mask.flatten_all()?)?.into_iter().map(u8::from).collect());
        for row in 0..b {
            for query in (0..n).filter(|&query| self.mask[row][query]) {
                if !(0..=query).any(|key| self.mask[row][key] && self.sees(row, query, key)) {
                    return Err(self.blind(row, query));
                }
            }
        }
        Ok(self)
    }

    /// The error for a query that a mask of attention leaves no key.
    pub fn blind(&self, row: usize, query: usize) -> crate::Error {
        let place = if self.batch() > 1 { format!(" of row {row}") } else { String::new() };
        error!("the mask leaves token {query}{place} nothing to look at")
            .help("let it see itself, or zero what its attention adds with a hook at attn-weighted-values")
    }

    /// A batch of one without padding.
    ///
    /// # Errors
    /// No tokens.
    pub fn tokens(ids: &[u32]) -> Result<Self> {
        if ids.is_empty() {
            bail!("the prompt is empty");
        }
        Ok(Self {
            ids: vec![ids.to_vec()],
            mask: vec![vec![true; ids.len()]],
            sight: None,
            past: 0,
        })
    }

    /// b: the number of rows.
    pub fn batch(&self) -> usize {
        self.ids.len()
    }

    /// n: how many tokens of each row the pass reads.
    pub fn len(&self) -> usize {
        self.attended() - self.past
    }

    /// m: how many tokens each row has, cached ones included.
    pub fn attended(&self) -> usize {
        self.ids[0].len()
    }

    /// m − n: how many tokens of each row are in a cache.
    pub fn past(&self) -> usize {
        self.past
    }

    /// Whether the pass has no token to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any row has padding.
    pub fn is_padded(&self) -> bool {
        self.mask.iter().flatten().any(|real| !real)
    }

    /// A row's token ids, \[m\].
    pub fn row(&self, row: usize) -> &[u32] {
        &self.ids[row]
    }

    /// Whether each of a row's tokens is real, \[m\].
    pub fn real(&self, row: usize) -> &[bool] {
        &self.mask[row]
    }

    /// The mask of attention, if one was given: [b or 1, m, m] of 0 and 1, row by row.
    pub fn sight(&self) -> Option<&[u8]> {
        self.sight.as_deref()
    }

    /// Whether the mask of attention, if any, lets the query at index `query` attend to the key at
    /// index `key`.
    pub fn sees(&self, row: usize, query: usize, key: usize) -> bool {
        let m = self.attended();
        self.sight.as_ref().is_none_or(|sight| {
            let first = if sight.len() == m * m { 0 } else { row * m * m };
            sight[first + query * m + key] != 0
        })
    }

    /// The number of next-token targets: tokens that are real and follow a real token directly.
    pub fn targets(&self) -> usize {
        let real =
            |row: &Vec<bool>| row[self.past..].windows(2).filter(|pair| pair[0] && pair[1]).count();
        self.mask.iter().map(real).sum()
    }

    /// The number of real tokens of the longest row.
    pub fn longest(&self) -> usize {
        self.mask.iter().map(|row| row.iter().filter(|real| **real).count()).max().unwrap_or(0)
    }

    /// Appends a token to every row: its id, and whether it is real. A mask of attention does not
    /// cover the new tokens and is dropped.
    pub fn push(&mut self, tokens: impl IntoIterator<Item = (u32, bool)>) {
        self.sight = None;
        for ((ids, mask), (id, real)) in self.ids.iter_mut().zip(&mut self.mask).zip(tokens) {
            ids.push(id);
            mask.push(real);
        }
    }

    /// The batch of these rows of this one; a row may be taken several times.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let rows: Vec<usize> = rows.into_iter().collect();
        let each = self.attended() * self.attended();
        let sight = self.sight.as_ref().map(|sight| match sight.len() == each {
            true => sight.clone(),
            false => rows.iter().flat_map(|row| &sight[row * each..][..each]).copied().collect(),
        });
        let (ids, mask) =
            rows.iter().map(|&row| (self.ids[row].clone(), self.mask[row].clone())).unzip();
        Self { ids, mask, sight, past: self.past }
    }

    /// The same tokens, with the first `past` of each row in a cache.
    pub fn after(&self, past: usize) -> Self {
        Self { past, ..self.clone() }
    }

    /// Checks that a model can read the input. `beyond` permits more tokens than the model's
    /// `max_positions`, which works unless its positions are a table.
    ///
    /// # Errors
    /// An id is out of the vocabulary, or a row has too many tokens.
    pub fn check(&self, spec: &Spec, beyond: bool) -> Result<()> {
        for (row, ids) in self.ids.iter().enumerate() {
            for (position, &id) in ids.iter().enumerate() {
                if id as usize >= spec.vocabulary {
                    let place =
                        if self.batch() > 1 { format!(" of row {row}") } else { String::new() };
                    bail!(
                        "token id {id} at position {position}{place} is out of range: the vocabulary has {} tokens",
                        spec.vocabulary
                    );
                }
            }
        }
        let longest = self.longest();
        if longest > spec.longest_text() && !(beyond && spec.goes_beyond()) {
            let error = error!(
                "the prompt has {longest} tokens, and the model has positions for {}",
                spec.longest_text()
            );
            return Err(match spec.goes_beyond() {
                true => error.help(
                    "shorten it, as in ids[[.., 0..n]], or go on all the same with #{beyond: true}",
                ),
                false => error.help("shorten it, as in ids[[.., 0..n]]"),
            });
        }
        Ok(())
    }

    /// The token ids that the pass reads, [b, n], u32.
    pub fn ids(&self, device: &Device) -> Result<Tensor> {
        let rows: Vec<&[u32]> = self.ids.iter().map(|row| &row[self.past..]).collect();
        Ok(Tensor::new(rows, device)?)
    }

    /// [b, n], u8: 1 at the real ones of the tokens that the pass reads.
    pub fn mask(&self, device: &Device) -> Result<Tensor> {
        let rows: Vec<Vec<u8>> = self
            .mask
            .iter()
            .map(|row| row[self.past..].iter().map(|&real| u8::from(real)).collect())
            .collect();
        Ok(Tensor::new(rows, device)?)
    }

    /// A row's positions, \[m\]: how many real tokens precede each token. Padding has the position
    /// of the real token before it, or 0.
    pub fn row_positions(&self, row: usize) -> Vec<u32> {
        let mut seen = 0u32;
        let position = |&real: &bool| {
            seen += u32::from(real);
            seen.saturating_sub(1)
        };
        self.mask[row].iter().map(position).collect()
    }

    /// The positions of the tokens that the pass reads, [b, n], u32.
    pub fn positions(&self, device: &Device) -> Result<Tensor> {
        self.attended_positions(device)?
            .narrow(1, self.past, self.len())?
            .contiguous()
            .map_err(Into::into)
    }

    /// The positions of all tokens, cached ones included, [b, m], u32.
    pub fn attended_positions(&self, device: &Device) -> Result<Tensor> {
        let rows: Vec<Vec<u32>> = (0..self.batch()).map(|row| self.row_positions(row)).collect();
        Ok(Tensor::new(rows, device)?)
    }

    /// Each token's row in a table of learned positions, [b, n], u32: position + `offset`. With an
    /// offset, padding has row `offset` − 1, as in transformers' `OPTLearnedPositionalEmbedding`.
    pub fn table_positions(&self, offset: usize, device: &Device) -> Result<Tensor> {
        let positions = self.positions(device)?;
        if offset == 0 {
            return Ok(positions);
        }
        let real = self.mask(device)?.to_dtype(DType::U32)?;
        let shifted = (&positions + &real)?;
        // offset + position where real, offset − 1 where not.
        Ok(((shifted * real)?.affine(1.0, offset as f64 - 1.0))?)
    }

    /// The index of each row's last real token among the n that the pass reads; 0 if none is real.
    pub fn last(&self) -> Vec<u32> {
        let last =
            |row: &Vec<bool>| row[self.past..].iter().rposition(|&real| real).unwrap_or(0) as u32;
        self.mask.iter().map(last).collect()
    }
}

/// The elements of a mask.
///
/// # Errors
/// An element is neither 0 nor 1, as in masks that are added to scores.
fn bits(mask: &Tensor) -> Result<Vec<bool>> {
    let numbers = mask.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let bit = |number: f32| match number {
        0.0 => Ok(false),
        1.0 => Ok(true),
        other => Err(error!("a mask holds true or 1, and false or 0, not {other}").help(
            "compare first: of a mask that is added to scores, mask == 0.0 is what may be seen",
        )),
    };
    numbers.into_iter().map(bit).collect()
}
