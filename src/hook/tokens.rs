//! The tokens that a hook acts on, selected by their position in the text and by the step of
//! generation that reads them first. The selection is the same whether a step reads the new token
//! only, with the others in a cache, or the whole text again.

use candle_core::{Device, Tensor};

use super::places::Places;
use super::point::{Dim, Point};
use crate::{Result, error};

/// The `positions` and `steps` options of a hook.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// Positions among a row's real tokens (those that are not padding). In the step that reads a
    /// token first, the text ends with what that step knows: so -1 selects the last token of the
    /// prompt, and each generated token in turn.
    pub positions: Places,
    /// Passes of a generation: step 0 reads the prompt, each later step the token that the step
    /// before it chose.
    pub steps: Places,
}

/// The tokens that a pass reads, as far as selecting among them needs to know.
#[derive(Debug, Clone)]
pub struct Reading {
    /// For each row, whether each of its m tokens is real.
    pub real: Vec<Vec<bool>>,
    /// How many of a row's tokens are in the cache of keys and values.
    pub past: usize,
    /// How many of a row's tokens are the prompt's.
    pub prompt: usize,
    /// How many steps the whole generation has, at most.
    pub steps: usize,
}

impl Tokens {
    /// Every token, in every step.
    pub const ALL: Self = Self { positions: Places::All, steps: Places::All };

    /// Whether every token is selected.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// Checks before a pass that the selection can select something.
    ///
    /// # Errors
    /// A position or a step that will not exist, or positions that none of the steps reads.
    pub fn check(&self, reading: &Reading) -> Result<()> {
        let prompts: Vec<usize> = reading
            .real
            .iter()
            .map(|real| real[..reading.prompt].iter().filter(|real| **real).count())
            .collect();
        let (longest, steps) = (prompts.iter().copied().max().unwrap_or(0), reading.steps);
        // No step reads the token that the last one chooses.
        let most = longest + steps.saturating_sub(1);
        if let Places::Some(list) = &self.positions
            && let Some(beyond) = list.iter().find(|&&at| !Places::one(at).within(most))
        {
            let texts = if prompts.len() == 1 { "the text has" } else { "the longest text has" };
            let generated = if steps > 1 {
                format!(", and at most {} are generated and read", steps - 1)
            } else {
                String::new()
            };
            return Err(error!(
                "there is no position {beyond}: {texts} {longest} tokens{generated}"
            )
            .help(format!(
                "positions count a row's real tokens: 0 to {}, or -1 for the last",
                most.max(1) - 1
            )));
        }
        if let Places::Some(list) = &self.steps
            && let Some(beyond) = list.iter().find(|&&at| !(0..steps as i64).contains(&at))
        {
            return Err(no_step(&format!("no step {beyond}"), steps));
        }
        if !(0..steps).any(|step| self.steps.contains(step, steps)) {
            return Err(no_step("none of the steps asked for", steps));
        }
        let any = prompts.iter().any(|&prompt| {
            let first = (0..prompt)
                .any(|at| self.steps.contains(0, steps) && self.positions.contains(at, prompt));
            let later = |step: usize| {
                self.steps.contains(step, steps)
                    && self.positions.contains(prompt + step - 1, prompt + step)
            };
            first || (1..steps).any(later)
        });
        match any {
            true => Ok(()),
            false => Err(error!(
                "none of the positions asked for is among the tokens that those steps read"
            )
            .help(format!(
                "positions count a row's real tokens, of which there are {longest} in the prompt"
            ))),
        }
    }

    /// The selected tokens of a pass.
    pub fn of(&self, reading: &Reading) -> Picked {
        let row = |real: &Vec<bool>| {
            let prompt = real[..reading.prompt].iter().filter(|real| **real).count();
            let places = (0..real.len()).filter(|&column| real[column]).enumerate();
            let meant = places.filter(|&(place, column)| {
                let step = (column + 1).saturating_sub(reading.prompt);
                let known = if step == 0 { prompt } else { place + 1 };
                self.positions.contains(place, known) && self.steps.contains(step, usize::MAX >> 1)
            });
            meant.map(|(_, column)| column).collect()
        };
        let last = |real: &Vec<bool>| real.iter().rposition(|real| *real).unwrap_or(0);
        Picked {
            rows: reading.real.iter().map(row).collect(),
            last: reading.real.iter().map(last).collect(),
            past: reading.past,
            all: reading.real.first().map_or(0, Vec::len),
        }
    }
}

fn no_step(which: &str, steps: usize) -> crate::Error {
    let there_are = match steps {
        1 => "a pass of its own is step 0".to_owned(),
        _ => format!("there are {steps}, 0 to {}", steps - 1),
    };
    error!("there is {which}: {there_are}")
        .help("steps count the passes of generate from 0, which reads the prompt")
}

/// The tokens of one pass that a hook acts on.
#[derive(Debug, Clone)]
pub struct Picked {
    /// For each row, the selected tokens' indices among all m.
    rows: Vec<Vec<usize>>,
    /// For each row, the index of its last real token among all m.
    last: Vec<usize>,
    /// How many tokens of a row are in the cache.
    past: usize,
    /// m
    all: usize,
}

/// The entries of one point's tensor that belong to the selected tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Slots {
    /// The dimension that counts tokens.
    dim: usize,
    /// For each row, the indices along that dimension.
    places: Vec<Vec<usize>>,
    /// For each row, the tokens' indices among all m.
    pub tokens: Vec<Vec<usize>>,
    /// The number of slots of every row: as many as the row with the most tokens needs. A shorter
    /// row repeats its last token.
    pub width: usize,
}

impl Picked {
    /// The tokens' entries in the tensor at `point`, whose token dimension has `len` entries; `None`
    /// if it holds none of them.
    pub fn at(&self, point: Point, len: usize) -> Option<Slots> {
        let (dim, counts) = point.token_dim()?;
        let new = self.all - self.past;
        let place = |row: usize, token: usize| match counts {
            Dim::Attended => Some(token),
            // The tensor holds each row's last token only.
            _ if len != new => (token == self.last[row]).then_some(0),
            _ => token.checked_sub(self.past),
        };
        let row = |(row, tokens): (usize, &Vec<usize>)| -> (Vec<usize>, Vec<usize>) {
            tokens.iter().filter_map(|&token| Some((place(row, token)?, token))).unzip()
        };
        let (places, tokens): (Vec<_>, Vec<_>) = self.rows.iter().enumerate().map(row).unzip();
        let width = places.iter().map(Vec::len).max().unwrap_or(0);
        (width > 0).then_some(Slots { dim, places, tokens, width })
    }

    /// Whether a hook at `point` has anything to do.
    pub fn reach(&self, point: Point) -> bool {
        self.at(point, self.all - self.past).is_some()
    }
}

impl Slots {
    /// The entries of `x`, with [`width`](Self::width) entries in the token dimension.
    ///
    /// # Errors
    /// candle's.
    pub fn take(&self, x: &Tensor) -> Result<Tensor> {
        let fill = |places: &Vec<usize>| -> Vec<u32> {
            let mut row: Vec<u32> = places.iter().map(|&place| place as u32).collect();
            row.resize(self.width, row.last().copied().unwrap_or(0));
            row
        };
        self.select(x, &self.places.iter().map(fill).collect::<Vec<_>>())
    }

    /// `x` with its entries replaced by `part`, which has the shape that [`take`](Self::take)
    /// returns. The filling of short rows is ignored.
    ///
    /// # Errors
    /// candle's.
    pub fn put(&self, x: &Tensor, part: &Tensor) -> Result<Tensor> {
        let len = x.dim(self.dim)?;
        let both = Tensor::cat(&[x, &part.to_device(x.device())?.to_dtype(x.dtype())?], self.dim)?;
        let row = |places: &Vec<usize>| -> Vec<u32> {
            let mut row: Vec<u32> = (0..len as u32).collect();
            places.iter().enumerate().for_each(|(slot, &place)| row[place] = (len + slot) as u32);
            row
        };
        self.select(&both, &self.places.iter().map(row).collect::<Vec<_>>())
    }

    /// From each row of `x`, the entries of the token dimension at that row's indices.
    fn select(&self, x: &Tensor, rows: &[Vec<u32>]) -> Result<Tensor> {
        let indices = |row: &[u32]| Tensor::new(row, &Device::Cpu)?.to_device(x.device());
        if let Some((first, rest)) = rows.split_first()
            && rest.iter().all(|row| row == first)
        {
            return Ok(x.contiguous()?.index_select(&indices(first)?, self.dim)?);
        }
        let rows = rows.iter().enumerate().map(|(at, row)| {
            x.narrow(0, at, 1)?.contiguous()?.index_select(&indices(row)?, self.dim)
        });
        Ok(Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(positions: Places, steps: Places) -> Tokens {
        Tokens { positions, steps }
    }

    /// Prompts of 3 and 2 tokens, padded on a side, and two more that were generated.
    fn reading(left: bool, past: usize) -> Reading {
        let short = if left {
            vec![false, true, true, true, true]
        } else {
            vec![true, true, false, true, true]
        };
        Reading { real: vec![vec![true; 5], short], past, prompt: 3, steps: 4 }
    }

    #[test]
    fn positions_count_real_tokens_and_the_last_is_that_of_its_step() {
        let picked = |positions, steps, left| tokens(positions, steps).of(&reading(left, 0)).rows;
        assert_eq!(picked(Places::one(-1), Places::All, true), [vec![2, 3, 4], vec![2, 3, 4]]);
        assert_eq!(picked(Places::one(-1), Places::All, false), [vec![2, 3, 4], vec![1, 3, 4]]);
        assert_eq!(picked(Places::one(2), Places::All, false), [vec![2], vec![3]]);
        assert_eq!(picked(Places::Range(1, i64::MAX), Places::one(0), true), [vec![1, 2], vec![2]]);
        assert_eq!(
            picked(Places::All, Places::Range(1, i64::MAX), false),
            [vec![3, 4], vec![3, 4]]
        );
        assert_eq!(picked(Places::All, Places::one(2), false), [vec![4], vec![4]]);
        assert_eq!(picked(Places::one(0), Places::one(1), false), [vec![], vec![0; 0]]);
    }

    #[test]
    fn a_part_is_taken_and_put_back() {
        let x = Tensor::arange(0f32, 20.0, &Device::Cpu).unwrap().reshape((2, 5, 2)).unwrap();
        for (positions, steps) in [
            (Places::one(-1), Places::All),
            (Places::Range(1, i64::MAX), Places::All),
            (Places::one(2), Places::All),
            (Places::All, Places::one(0)),
        ] {
            let picked = tokens(positions, steps).of(&reading(false, 0));
            let slots = picked.at(Point::PostMlp, 5).unwrap();
            let part = slots.take(&x).unwrap();
            assert_eq!(part.dims(), [2, slots.width, 2]);
            let same = slots.put(&x, &part).unwrap();
            assert_eq!(same.to_vec3::<f32>().unwrap(), x.to_vec3::<f32>().unwrap());
            let changed = slots.put(&x, &(part * 0.0).unwrap()).unwrap().to_vec3::<f32>().unwrap();
            for (row, meant) in picked.rows.iter().enumerate() {
                for (column, token) in changed[row].iter().enumerate() {
                    let zero = *token == [0.0, 0.0];
                    assert_eq!(zero, meant.contains(&column), "row {row}, column {column}");
                }
            }
        }
    }

    #[test]
    fn a_cached_step_has_the_new_token_and_all_keys() {
        let picked = Tokens::ALL.of(&reading(true, 4));
        assert_eq!(picked.at(Point::PostMlp, 1).unwrap().places, [[0], [0]]);
        assert_eq!(picked.at(Point::AttnProbs, 1).unwrap().dim, 2);
        assert_eq!(
            picked.at(Point::KeyStates, 5).unwrap().places,
            [vec![0, 1, 2, 3, 4], vec![1, 2, 3, 4]]
        );
        assert!(!tokens(Places::one(0), Places::All).of(&reading(true, 4)).reach(Point::PostMlp));
        assert!(tokens(Places::one(0), Places::All).of(&reading(true, 4)).reach(Point::KeyStates));
        // Logits of each row's last token alone.
        let last = tokens(Places::one(-1), Places::All).of(&reading(false, 0));
        assert_eq!(last.at(Point::Logits, 1).unwrap().places, [[0], [0]]);
    }

    #[test]
    fn what_there_will_not_be_is_an_error() {
        let check = |positions, steps| tokens(positions, steps).check(&reading(true, 0));
        assert!(check(Places::one(5), Places::All).is_ok(), "it is generated and read");
        for (positions, steps, said) in [
            (Places::one(6), Places::All, "there is no position 6"),
            (Places::one(-7), Places::All, "there is no position -7"),
            (Places::All, Places::one(4), "there is no step 4"),
            (Places::All, Places::one(-1), "there is no step -1"),
            (Places::All, Places::Range(4, i64::MAX), "none of the steps asked for"),
            (Places::Range(9, i64::MAX), Places::All, "none of the positions"),
            (Places::one(4), Places::one(0), "none of the positions"),
        ] {
            let error = check(positions, steps).unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
