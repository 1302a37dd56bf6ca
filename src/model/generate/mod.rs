//! Generation: tokens one at a time, each drawn from what the model makes of all before it, or the
//! best of several beams.

mod beams;
mod sampling;

use beams::Beams;
use candle_core::{D, DType, Tensor};
pub use sampling::Sampling;
use sampling::{Drawing, penalize_repetition};

use super::decoder::{Decoder, Logits, Options};
use super::finite::NotFinite;
use super::input::Input;
use super::kv_cache::Cache;
use crate::hook::Observer;
use crate::kernel::softmax;
use crate::{Result, bail, error};

/// By how many tokens a cache grows at most.
const GROWTH: usize = 2048;

/// What is generated, and when it ends.
#[derive(Debug, Clone)]
pub struct Plan {
    pub max_new_tokens: usize,
    pub sampling: Sampling,
    /// How many continuations of each row are followed at once; with more than 1 nothing is drawn,
    /// and the likeliest is given.
    pub beams: usize,
    /// The tokens that end a row.
    pub ends: Vec<u32>,
    /// What fills a row that has ended.
    pub pad: u32,
    /// Keep keys and values, rather than read the whole sequence at every step.
    pub cache: bool,
    /// Go on past the model's positions, where it can.
    pub beyond: bool,
}

/// A batch being continued.
pub struct Generation<'a> {
    decoder: &'a Decoder,
    plan: Plan,
    prompts: Input,
    /// What the model has read and is to read: with beams, each row as many times as there are.
    input: Input,
    cache: Option<Cache>,
    search: Search,
    step: usize,
    check_finite: bool,
    not_finite: Option<NotFinite>,
}

/// How tokens are chosen.
enum Search {
    /// Of each row what draws for it, and whether it goes on.
    Draws(Vec<(Drawing, bool)>),
    Beams(Beams),
}

impl<'a> Generation<'a> {
    /// # Errors
    /// A plan that can't be: settings out of range or at odds, more tokens than the model has
    /// positions for.
    pub fn new(decoder: &'a Decoder, prompts: Input, plan: Plan) -> Result<Self> {
        let spec = decoder.spec();
        prompts.check(spec, plan.beyond)?;
        if prompts.sight().is_some() {
            return Err(error!("a mask of attention says nothing of the tokens that are to be generated")
                .help("a hook at post-mask-attn-weights or attn-probs acts at every step; a mask [b, n] says which tokens are real"));
        }
        if plan.max_new_tokens == 0 {
            bail!("max_new_tokens must be at least 1");
        }
        let (prompt, room) =
            (prompts.longest(), (spec.max_positions + 1).saturating_sub(prompts.longest()));
        if plan.max_new_tokens > room && !(plan.beyond && spec.goes_beyond()) {
            return Err(error!(
                "a prompt of {prompt} tokens and {} more pass the model's {} positions",
                plan.max_new_tokens, spec.max_positions
            )
            .help(format!("max_new_tokens: {room} is the most that fits")));
        }
        plan.sampling.check()?;
        let (rows, beams) = (prompts.batch(), plan.beams);
        let search = match beams {
            0 => bail!("num_beams must be at least 1"),
            1 => Search::Draws(
                (0..rows).map(|row| (Drawing::new(&plan.sampling, row), true)).collect(),
            ),
            _ if beams > spec.vocabulary => {
                bail!(
                    "num_beams: {beams} beams are more than the {} tokens that a text can go on with",
                    spec.vocabulary
                )
            }
            _ => {
                if let Some(name) = plan.sampling.drawing() {
                    return Err(error!(
                        "num_beams looks for the likeliest text, and {name} draws one by chance"
                    )
                    .help("leave out one of the two"));
                }
                Search::Beams(Beams::new(rows, beams, &plan.ends, plan.pad))
            }
        };
        let input = prompts.select((0..rows * beams).map(|row| row / beams));
        let growth = (input.attended() + plan.max_new_tokens).min(GROWTH.max(input.attended()));
        let cache = plan.cache.then(|| Cache::new(spec.layers, growth));
        Ok(Self {
            decoder,
            cache,
            search,
            step: 0,
            check_finite: false,
            not_finite: None,
            prompts,
            input,
            plan,
        })
    }

    /// The same, its passes looking for what is no finite number at every point.
    pub fn check_finite(self) -> Self {
        Self { check_finite: true, ..self }
    }

    /// Where a pass first had what is no finite number, of finite ones.
    pub fn not_finite(&self) -> Option<NotFinite> {
        self.not_finite
    }

    /// How many passes have run.
    pub fn step(&self) -> usize {
        self.step
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What each pass is asked for.
    pub fn options(&self) -> Options {
        let (beyond, check_finite) = (self.plan.beyond, self.check_finite);
        Options { logits: Logits::Last, beyond, check_finite, ..Options::default() }
    }

    /// What the next pass reads.
    pub fn reads(&self) -> Input {
        self.cache.as_ref().map_or_else(|| self.input.clone(), |cache| cache.rest_of(&self.input))
    }

    /// Everything so far; with beams, of each of them.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The prompts and what was found to follow them.
    pub fn result(&self) -> Input {
        match &self.search {
            Search::Draws(_) => self.input.clone(),
            Search::Beams(beams) => beams.finished(&self.prompts),
        }
    }

    pub fn is_done(&self) -> bool {
        self.step == self.plan.max_new_tokens
            || match &self.search {
                Search::Draws(draws) => draws.iter().all(|(_, going)| !going),
                Search::Beams(beams) => beams.is_done(),
            }
    }

    /// Ends a row; beams end where they will.
    pub fn end(&mut self, row: usize) {
        if let Search::Draws(draws) = &mut self.search {
            draws[row].1 = false;
        }
    }

    /// One pass, and a token for every row that goes on. Of beams, nothing is known yet.
    ///
    /// # Errors
    /// As [`Decoder::forward`]; logits that are no numbers.
    pub fn advance(&mut self, observer: &mut dyn Observer) -> Result<Vec<Option<u32>>> {
        let logits = self.pass(observer)?;
        let rows = (0..self.input.batch())
            .map(|row| self.penalised(row, &logits))
            .collect::<Result<Vec<_>>>()?;
        self.step += 1;
        match &mut self.search {
            Search::Draws(draws) => {
                let mut drawn = Vec::with_capacity(draws.len());
                for ((draw, going), logits) in draws.iter_mut().zip(&rows) {
                    let token = going.then(|| draw.token(logits)).transpose()?;
                    *going &= token.is_some_and(|token| !self.plan.ends.contains(&token));
                    drawn.push(token);
                }
                self.input.push(
                    drawn.iter().map(|token| (token.unwrap_or(self.plan.pad), token.is_some())),
                );
                Ok(drawn)
            }
            Search::Beams(beams) => {
                let continued = beams.advance(&Tensor::stack(&rows, 0)?)?;
                let from: Vec<usize> = continued.iter().map(|(from, ..)| *from).collect();
                self.input = self.input.select(from.iter().copied());
                self.input.push(continued.iter().map(|&(_, token, real)| (token, real)));
                if let Some(cache) = &mut self.cache {
                    cache.select(&from)?;
                }
                Ok(vec![None; self.prompts.batch()])
            }
        }
    }

    /// Logits [b, v] of each row's last token.
    fn pass(&mut self, observer: &mut dyn Observer) -> Result<Tensor> {
        let options = self.options();
        let output = match &mut self.cache {
            None => self.decoder.forward(&self.input, &options, observer)?,
            Some(cache) => {
                if turns_otherwise(self.decoder, cache, &self.input) {
                    cache.clear();
                }
                self.decoder.extend(&self.input, cache, &options, observer)?
            }
        };
        self.not_finite = self.not_finite.or(output.not_finite);
        let Some(logits) = output.logits else { bail!("the pass made no logits") };
        Ok(logits.squeeze(1)?.to_dtype(DType::F32)?)
    }

    /// What a row's token is chosen by, \[v\]: its logits, of beams their logarithms as
    /// probabilities, with the penalty for repetition.
    fn penalised(&self, row: usize, logits: &Tensor) -> Result<Tensor> {
        let mut logits = logits.get(row)?;
        if let Search::Draws(draws) = &self.search
            && !draws[row].1
        {
            return Ok(logits);
        }
        // An infinity less itself is no number either.
        let top = logits.max(D::Minus1)?.to_scalar::<f32>()?;
        if !top.is_finite() || logits.sum_all()?.to_scalar::<f32>()?.is_nan() {
            bail!("the logits of row {row} are no numbers at step {}", self.step);
        }
        if matches!(self.search, Search::Beams(_)) {
            logits = softmax::log_softmax(&logits)?;
        }
        if let Some(penalty) = self.plan.sampling.repetition_penalty {
            let seen =
                self.input.row(row).iter().zip(self.input.real(row)).filter(|(_, real)| **real);
            let seen: Vec<u32> = seen.map(|(id, _)| *id).collect();
            logits = penalize_repetition(&logits, penalty, &seen)?;
        }
        Ok(logits)
    }
}

/// Whether the cached keys were turned at frequencies that no longer hold, the sequence having
/// grown (LongRoPE).
fn turns_otherwise(decoder: &Decoder, cache: &Cache, input: &Input) -> bool {
    let switch = decoder.spec().rotary().and_then(|rotary| rotary.switches_after());
    switch.is_some_and(|most| !cache.is_empty() && input.longest() == most + 1)
}
