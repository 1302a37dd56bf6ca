//! Text generation: one token at a time by sampling, or the likeliest text by beam search.

mod beams;
mod sampling;

use beams::Beams;
use candle_core::{D, DType, Tensor};
pub use sampling::Sampling;
use sampling::{Sampler, penalize_repetition};

use super::decoder::{Decoder, Logits, Options};
use super::finite::NotFinite;
use super::input::Input;
use super::kv_cache::Cache;
use super::spec::RotarySpec;
use crate::hook::Observer;
use crate::kernel::softmax;
use crate::{Result, bail, error};

/// The most tokens by which a cache grows at once.
const GROWTH: usize = 2048;

/// What to generate, and when to stop.
#[derive(Debug, Clone)]
pub struct GenerationConfig {
    /// The most tokens that are added to each row.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// The number of beams (`num_beams` in transformers). With more than 1, nothing is drawn: beam
    /// search gives the likeliest text that it finds.
    pub beams: usize,
    /// The tokens that end a row.
    pub ends: Vec<u32>,
    /// The token that fills a row after its end.
    pub pad: u32,
    /// Whether to keep keys and values; without, every step reads the whole text.
    pub cache: bool,
    /// Whether to go beyond the model's `max_positions`, if its kind of positions allows it.
    pub beyond: bool,
}

/// A batch being continued.
pub struct Generation<'a> {
    decoder: &'a Decoder,
    config: GenerationConfig,
    prompts: Input,
    /// The texts so far. With beams, each prompt has as many rows as there are beams.
    input: Input,
    cache: Option<Cache>,
    search: Search,
    /// How many passes have run.
    step: usize,
    check_finite: bool,
    not_finite: Option<NotFinite>,
}

/// How tokens are chosen.
enum Search {
    /// For each row its sampler, and whether the row goes on.
    Sampling(Vec<(Sampler, bool)>),
    Beams(Beams),
}

impl<'a> Generation<'a> {
    /// Begins to continue `prompts`.
    ///
    /// # Errors
    /// A setting is out of range or contradicts another, the prompts carry a mask of attention, or
    /// the model does not have positions for so many tokens.
    pub fn new(decoder: &'a Decoder, prompts: Input, config: GenerationConfig) -> Result<Self> {
        let spec = decoder.spec();
        prompts.check(spec, config.beyond)?;
        if prompts.sight().is_some() {
            return Err(error!("a mask of attention says nothing of the tokens that are to be generated")
                .help("a hook at post-mask-attn-weights or attn-probs acts at every step; a mask [b, n] says which tokens are real"));
        }
        if spec.bidirectional {
            bail!("this model reads texts in both directions, and does not go on with one");
        }
        if config.max_new_tokens == 0 {
            bail!("max_new_tokens must be at least 1");
        }
        let (prompt, room) =
            (prompts.longest(), (spec.longest_text() + 1).saturating_sub(prompts.longest()));
        if config.max_new_tokens > room && !(config.beyond && spec.goes_beyond()) {
            return Err(error!(
                "a prompt of {prompt} tokens and {} more pass the model's {} positions",
                config.max_new_tokens,
                spec.longest_text()
            )
            .help(format!("max_new_tokens: {room} is the most that fits")));
        }
        config.sampling.check()?;
        let (rows, beams) = (prompts.batch(), config.beams);
        let search = match beams {
            0 => bail!("num_beams must be at least 1"),
            1 => Search::Sampling(
                (0..rows).map(|row| (Sampler::new(&config.sampling, row), true)).collect(),
            ),
            _ if beams > spec.vocabulary => {
                bail!(
                    "num_beams: {beams} beams are more than the {} tokens that a text can go on with",
                    spec.vocabulary
                )
            }
            _ => {
                if let Some(name) = config.sampling.random_setting() {
                    return Err(error!(
                        "num_beams looks for the likeliest text, and {name} draws one by chance"
                    )
                    .help("leave out one of the two"));
                }
                Search::Beams(Beams::new(rows, beams, &config.ends, config.pad))
            }
        };
        let input = prompts.select((0..rows * beams).map(|row| row / beams));
        let growth = (input.attended() + config.max_new_tokens).min(GROWTH.max(input.attended()));
        let cache = config.cache.then(|| Cache::new(spec.layers, growth));
        Ok(Self {
            decoder,
            cache,
            search,
            step: 0,
            check_finite: false,
            not_finite: None,
            prompts,
            input,
            config,
        })
    }

    /// The same generation, with every pass looking for NaN and infinities at every point.
    pub fn check_finite(self) -> Self {
        Self { check_finite: true, ..self }
    }

    /// Where a pass first made a NaN or an infinity of finite numbers.
    pub fn not_finite(&self) -> Option<NotFinite> {
        self.not_finite
    }

    /// How many passes have run.
    pub fn step(&self) -> usize {
        self.step
    }

    /// What is generated, and when it stops.
    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// The options of each pass.
    pub fn options(&self) -> Options {
        let (beyond, check_finite) = (self.config.beyond, self.check_finite);
        Options { logits: Logits::Last, beyond, check_finite, ..Options::default() }
    }

    /// The tokens that the next pass reads: those that are not in the cache.
    pub fn reads(&self) -> Input {
        self.cache.as_ref().map_or_else(|| self.input.clone(), |cache| cache.rest_of(&self.input))
    }

    /// The texts so far; with beams, those of every beam.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The prompts with their continuations; of beams the best of each prompt.
    pub fn result(&self) -> Input {
        match &self.search {
            Search::Sampling(_) => self.input.clone(),
            Search::Beams(beams) => beams.finished(&self.prompts),
        }
    }

    /// Whether no pass is left to run.
    pub fn is_done(&self) -> bool {
        self.step == self.config.max_new_tokens
            || match &self.search {
                Search::Sampling(samplers) => samplers.iter().all(|(_, going)| !going),
                Search::Beams(beams) => beams.is_done(),
            }
    }

    /// Ends a row, at a stop string for example. Beam search takes no notice.
    pub fn end(&mut self, row: usize) {
        if let Search::Sampling(samplers) = &mut self.search {
            samplers[row].1 = false;
        }
    }

    /// Runs one pass and gives each row's new token: `None` for a row that has ended, and for every
    /// row of a beam search, whose text is known only at its end.
    ///
    /// # Errors
    /// Those of [`Decoder::forward`]; logits that are NaN or infinite.
    pub fn advance(&mut self, observer: &mut dyn Observer) -> Result<Vec<Option<u32>>> {
        let logits = self.pass(observer)?;
        let rows = (0..self.input.batch())
            .map(|row| self.penalised(row, &logits))
            .collect::<Result<Vec<_>>>()?;
        self.step += 1;
        match &mut self.search {
            Search::Sampling(samplers) => {
                let mut drawn = Vec::with_capacity(samplers.len());
                for ((sampler, going), logits) in samplers.iter_mut().zip(&rows) {
                    let token = going.then(|| sampler.draw(logits)).transpose()?;
                    *going &= token.is_some_and(|token| !self.config.ends.contains(&token));
                    drawn.push(token);
                }
                self.input.push(
                    drawn.iter().map(|token| (token.unwrap_or(self.config.pad), token.is_some())),
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

    /// Runs a pass: the logits [b, v] of each row's last token, float32.
    fn pass(&mut self, observer: &mut dyn Observer) -> Result<Tensor> {
        let options = self.options();
        let output = match &mut self.cache {
            None => self.decoder.forward(&self.input, &options, observer)?,
            Some(cache) => {
                if is_rotated_otherwise(self.decoder, cache, &self.input) {
                    cache.clear();
                }
                self.decoder.extend(&self.input, cache, &options, observer)?
            }
        };
        self.not_finite = self.not_finite.or(output.not_finite);
        let Some(logits) = output.logits else { bail!("the pass made no logits") };
        Ok(logits.squeeze(1)?.to_dtype(DType::F32)?)
    }

    /// One row's scores \[v\] after the repetition penalty: its logits, or for beams their log
    /// softmax. A row that has ended keeps its logits.
    fn penalised(&self, row: usize, logits: &Tensor) -> Result<Tensor> {
        let mut logits = logits.get(row)?;
        if let Search::Sampling(samplers) = &self.search
            && !samplers[row].1
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
        if let Some(penalty) = self.config.sampling.repetition_penalty {
            let seen =
                self.input.row(row).iter().zip(self.input.real(row)).filter(|(_, real)| **real);
            let seen: Vec<u32> = seen.map(|(id, _)| *id).collect();
            logits = penalize_repetition(&logits, penalty, &seen)?;
        }
        Ok(logits)
    }
}

/// Whether the cached keys were rotated at frequencies that no longer hold because the text has
/// grown beyond the pretraining's length (LongRoPE, dynamic scaling).
fn is_rotated_otherwise(decoder: &Decoder, cache: &Cache, input: &Input) -> bool {
    let longest = input.longest();
    let changes = |rotary: &RotarySpec| rotary.changes_between(longest - 1, longest);
    !cache.is_empty() && decoder.spec().rotary().is_some_and(changes)
}
