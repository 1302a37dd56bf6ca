//! Generation: tokens one at a time, each drawn from what the model makes of all before it.

use candle_core::{D, DType, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as Draw};
use candle_transformers::utils::apply_repeat_penalty;

use super::decoder::{Decoder, Logits, Options};
use super::input::Input;
use super::kv_cache::Cache;
use crate::hook::Observer;
use crate::{Result, bail, error};

/// By how many tokens a cache grows at most.
const GROWTH: usize = 2048;

/// What is generated, and when it ends.
#[derive(Debug, Clone)]
pub struct Plan {
    pub max_new_tokens: usize,
    pub sampling: Sampling,
    /// The tokens that end a row.
    pub ends: Vec<u32>,
    /// What fills a row that has ended.
    pub pad: u32,
    /// Keep keys and values, rather than read the whole sequence at every step.
    pub cache: bool,
    /// Go on past the model's positions, where it can.
    pub beyond: bool,
}

/// How a token is drawn from logits. With neither temperature, `top_k` nor `top_p` the likeliest is taken.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// What the logits are divided by; 1 where only the others are given, and at 0 the likeliest token is taken.
    pub temperature: Option<f64>,
    /// Only the likeliest k tokens.
    pub top_k: Option<usize>,
    /// Only the fewest tokens whose probabilities sum to p.
    pub top_p: Option<f64>,
    /// Logits of tokens that the row has already are divided by it where they are positive, else multiplied (Keskar et al.
    /// 2019).
    pub repetition_penalty: Option<f64>,
    /// Row r of a batch draws with `seed` + r.
    pub seed: u64,
}

impl Sampling {
    fn draw(&self) -> Result<Draw> {
        if let Some(t) = self.temperature.filter(|t| !t.is_finite() || *t < 0.0) {
            bail!("temperature must be a number of at least 0, not {t}");
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            bail!("top_p must be above 0 and at most 1, not {p}");
        }
        if self.top_k == Some(0) {
            bail!("top_k must be at least 1");
        }
        if let Some(penalty) = self.repetition_penalty.filter(|p| !p.is_finite() || *p <= 0.0) {
            bail!("repetition_penalty must be above 0, not {penalty}");
        }
        let temperature = match (self.temperature, self.top_k, self.top_p) {
            (Some(0.0), ..) | (None, None, None) => return Ok(Draw::ArgMax),
            (temperature, ..) => temperature.unwrap_or(1.0),
        };
        Ok(match (self.top_k, self.top_p) {
            (None, None) => Draw::All { temperature },
            (Some(k), None) => Draw::TopK { k, temperature },
            (None, Some(p)) => Draw::TopP { p, temperature },
            (Some(k), Some(p)) => Draw::TopKThenTopP { k, p, temperature },
        })
    }
}

/// A batch being continued.
pub struct Generation<'a> {
    decoder: &'a Decoder,
    plan: Plan,
    input: Input,
    cache: Option<Cache>,
    /// One a row.
    draws: Vec<LogitsProcessor>,
    going: Vec<bool>,
    step: usize,
}

impl<'a> Generation<'a> {
    /// # Errors
    /// A plan that can't be: settings out of range, more tokens than the model has positions for.
    pub fn new(decoder: &'a Decoder, input: Input, plan: Plan) -> Result<Self> {
        input.check(decoder.spec(), plan.beyond)?;
        if input.sight().is_some() {
            return Err(error!("a mask of attention says nothing of the tokens that are to be generated")
                .help("a hook at post-mask-attn-weights or attn-probs acts at every step; a mask [b, n] says which tokens are real"));
        }
        if plan.max_new_tokens == 0 {
            bail!("max_new_tokens must be at least 1");
        }
        let spec = decoder.spec();
        let (prompt, room) = (input.longest(), (spec.max_positions + 1).saturating_sub(input.longest()));
        if plan.max_new_tokens > room && !(plan.beyond && spec.goes_beyond()) {
            return Err(error!(
                "a prompt of {prompt} tokens and {} more pass the model's {} positions",
                plan.max_new_tokens, spec.max_positions
            )
            .help(format!("max_new_tokens: {room} is the most that fits")));
        }
        let draw = plan.sampling.draw()?;
        let seed = plan.sampling.seed;
        let rows = input.batch();
        let growth = (input.attended() + plan.max_new_tokens).min(GROWTH.max(input.attended()));
        Ok(Self {
            decoder,
            cache: plan.cache.then(|| Cache::new(spec.layers, growth)),
            draws: (0..rows)
                .map(|row| LogitsProcessor::from_sampling(seed.wrapping_add(row as u64), draw.clone()))
                .collect(),
            going: vec![true; rows],
            step: 0,
            input,
            plan,
        })
    }

    /// How many passes have run.
    pub fn step(&self) -> usize {
        self.step
    }

    /// What the next pass reads.
    pub fn reads(&self) -> Input {
        self.cache.as_ref().map_or_else(|| self.input.clone(), |cache| cache.rest_of(&self.input))
    }

    /// Everything so far.
    pub fn input(&self) -> &Input {
        &self.input
    }

    pub fn is_done(&self) -> bool {
        self.step == self.plan.max_new_tokens || !self.going.contains(&true)
    }

    /// Ends a row.
    pub fn end(&mut self, row: usize) {
        self.going[row] = false;
    }

    /// One pass, and a token for every row that goes on.
    ///
    /// # Errors
    /// As [`Decoder::forward`]; logits that are no numbers.
    pub fn advance(&mut self, observer: &mut dyn Observer) -> Result<Vec<Option<u32>>> {
        let options = Options { logits: Logits::Last, beyond: self.plan.beyond, ..Options::default() };
        let output = match &mut self.cache {
            None => self.decoder.forward(&self.input, &options, observer)?,
            Some(cache) => {
                if turns_otherwise(self.decoder, cache, &self.input) {
                    cache.clear();
                }
                self.decoder.extend(&self.input, cache, &options, observer)?
            }
        };
        let Some(logits) = output.logits else { bail!("the pass made no logits") };
        let logits = logits.squeeze(1)?.to_dtype(DType::F32)?;
        let drawn = (0..self.going.len()).map(|row| self.draw(row, &logits)).collect::<Result<Vec<Option<u32>>>>()?;
        self.input.push(drawn.iter().map(|token| (token.unwrap_or(self.plan.pad), token.is_some())));
        for (row, token) in drawn.iter().enumerate() {
            self.going[row] &= token.is_some_and(|token| !self.plan.ends.contains(&token));
        }
        self.step += 1;
        Ok(drawn)
    }

    fn draw(&mut self, row: usize, logits: &Tensor) -> Result<Option<u32>> {
        if !self.going[row] {
            return Ok(None);
        }
        let mut logits = logits.get(row)?;
        // An infinity less itself is no number either.
        let top = logits.max(D::Minus1)?.to_scalar::<f32>()?;
        if !top.is_finite() || logits.sum_all()?.to_scalar::<f32>()?.is_nan() {
            bail!("the logits of row {row} are no numbers at step {}", self.step);
        }
        if let Some(penalty) = self.plan.sampling.repetition_penalty {
            let seen = self.input.row(row).iter().zip(self.input.real(row)).filter(|(_, real)| **real);
            let seen: Vec<u32> = seen.map(|(id, _)| *id).collect();
            logits = apply_repeat_penalty(&logits, penalty as f32, &seen)?;
        }
        Ok(Some(self.draws[row].sample(&logits)?))
    }
}

/// Whether the cached keys were turned at frequencies that no longer hold, the sequence having grown (LongRoPE).
fn turns_otherwise(decoder: &Decoder, cache: &Cache, input: &Input) -> bool {
    let switch = decoder.spec().rotary().and_then(|rotary| rotary.switches_after());
    switch.is_some_and(|most| !cache.is_empty() && input.longest() == most + 1)
}
