//! What a pass reads: token ids, which of them are real, their positions, and how many are in a
//! cache already.

use candle_core::{DType, Device, Tensor};

use super::spec::Spec;
use crate::{Result, bail, error};

/// A batch of token ids [b, m], checked against nothing yet but itself. A pass reads the last n of
/// them: those that are not past, and all where there is no cache.
#[derive(Debug, Clone)]
pub struct Input {
    ids: Vec<Vec<u32>>,
    /// False where a position is padding.
    mask: Vec<Vec<bool>>,
    /// Besides, which keys each query may see, [b or 1, m, m] of 0 and 1.
    sight: Option<Vec<u8>>,
    /// How many tokens of each row are in a cache.
    past: usize,
}

impl Input {
    /// `ids` and `mask` are [b, n] of integers (or bool); the mask is 1 at real tokens. Without one
    /// every token is real.
    ///
    /// # Errors
    /// Another shape or dtype, an empty batch or prompt, a negative id, a mask of another shape, a
    /// row of padding alone.
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

    /// Token ids with the mask that they carry, and one that is given besides: one of their own
    /// shape [b, n] stands in for the carried one, every other is of attention, as
    /// [`seeing`](Self::seeing) takes it.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`seeing`](Self::seeing).
    pub fn masked(ids: &Tensor, carried: Option<&Tensor>, given: Option<&Tensor>) -> Result<Self> {
        match given {
            Some(mask) if mask.dims() == ids.dims() => Self::new(ids, Some(mask)),
            Some(mask) => Self::new(ids, carried)?.seeing(mask),
            None => Self::new(ids, carried),
        }
    }

    /// With a mask of attention, [n, n], [b or 1, n, n] or [b or 1, 1, n, n]: 1 where the query may
    /// look at the key, 0 where it may not. It only takes away: what comes later, padding, and
    /// what lies beyond a window stay hidden.
    ///
    /// # Errors
    /// Another shape, a number other than 0 and 1, a real token that is left nothing to look at.
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

    /// A query that may look at nothing.
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

    pub fn batch(&self) -> usize {
        self.ids.len()
    }

    /// n: the tokens of a row that a pass reads.
    pub fn len(&self) -> usize {
        self.attended() - self.past
    }

    /// m: all tokens of a row.
    pub fn attended(&self) -> usize {
        self.ids[0].len()
    }

    /// m − n: those in a cache.
    pub fn past(&self) -> usize {
        self.past
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_padded(&self) -> bool {
        self.mask.iter().flatten().any(|real| !real)
    }

    /// All token ids of a row, \[m\].
    pub fn row(&self, row: usize) -> &[u32] {
        &self.ids[row]
    }

    /// Which of a row's tokens are real, \[m\].
    pub fn real(&self, row: usize) -> &[bool] {
        &self.mask[row]
    }

    /// The mask of attention, where there is one: [b or 1, m, m] of 0 and 1.
    pub fn sight(&self) -> Option<&[u8]> {
        self.sight.as_deref()
    }

    /// Whether the mask of attention lets a row's query look at a key.
    pub fn sees(&self, row: usize, query: usize, key: usize) -> bool {
        let m = self.attended();
        self.sight.as_ref().is_none_or(|sight| {
            let first = if sight.len() == m * m { 0 } else { row * m * m };
            sight[first + query * m + key] != 0
        })
    }

    /// How many of the tokens after the first are real, and right after one that is.
    pub fn targets(&self) -> usize {
        let real =
            |row: &Vec<bool>| row[self.past..].windows(2).filter(|pair| pair[0] && pair[1]).count();
        self.mask.iter().map(real).sum()
    }

    /// How many positions the longest row takes.
    pub fn longest(&self) -> usize {
        self.mask.iter().map(|row| row.iter().filter(|real| **real).count()).max().unwrap_or(0)
    }

    /// Appends a token to every row: its id, and whether it is real. A mask of attention knows
    /// nothing of it, and is gone.
    pub fn push(&mut self, tokens: impl IntoIterator<Item = (u32, bool)>) {
        self.sight = None;
        for ((ids, mask), (id, real)) in self.ids.iter_mut().zip(&mut self.mask).zip(tokens) {
            ids.push(id);
            mask.push(real);
        }
    }

    /// Other rows of the same batch, in another order or several times.
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

    /// The same tokens, the first `past` of each row being in a cache.
    pub fn after(&self, past: usize) -> Self {
        Self { past, ..self.clone() }
    }

    /// # Errors
    /// An id out of the vocabulary; more tokens than the model has positions for, unless it may go
    /// `beyond` them and can.
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
        if longest > spec.max_positions && !(beyond && spec.goes_beyond()) {
            let error = error!(
                "the prompt has {longest} tokens, and the model has positions for {}",
                spec.max_positions
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

    /// [b, n], u32.
    pub fn ids(&self, device: &Device) -> Result<Tensor> {
        let rows: Vec<&[u32]> = self.ids.iter().map(|row| &row[self.past..]).collect();
        Ok(Tensor::new(rows, device)?)
    }

    /// [b, n], u8: 1 at real tokens.
    pub fn mask(&self, device: &Device) -> Result<Tensor> {
        let rows: Vec<Vec<u8>> = self
            .mask
            .iter()
            .map(|row| row[self.past..].iter().map(|&real| u8::from(real)).collect())
            .collect();
        Ok(Tensor::new(rows, device)?)
    }

    /// How many real tokens stand before each of a row's, \[m\]; 0 before the first, and at padding
    /// the last token's.
    pub fn row_positions(&self, row: usize) -> Vec<u32> {
        let mut seen = 0u32;
        let position = |&real: &bool| {
            seen += u32::from(real);
            seen.saturating_sub(1)
        };
        self.mask[row].iter().map(position).collect()
    }

    /// [b, n], u32: how many real tokens stand before each.
    pub fn positions(&self, device: &Device) -> Result<Tensor> {
        self.attended_positions(device)?
            .narrow(1, self.past, self.len())?
            .contiguous()
            .map_err(Into::into)
    }

    /// [b, m], u32.
    pub fn attended_positions(&self, device: &Device) -> Result<Tensor> {
        let rows: Vec<Vec<u32>> = (0..self.batch()).map(|row| self.row_positions(row)).collect();
        Ok(Tensor::new(rows, device)?)
    }

    /// [b, n], u32: the rows of a table of learned positions. Padding reads row `offset` − 1 where
    /// there is one, as OPT has it.
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

    /// For each row, the index among the n of its last real token.
    pub fn last(&self) -> Vec<u32> {
        let last =
            |row: &Vec<bool>| row[self.past..].iter().rposition(|&real| real).unwrap_or(0) as u32;
        self.mask.iter().map(last).collect()
    }
}

/// A mask's elements, which are 0 or 1.
///
/// # Errors
/// Another number, as additive masks hold.
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
