//! Beam search as in transformers' `generate` with `num_beams`, `do_sample=False`,
//! `length_penalty=1.0` and `early_stopping=False`. At each step the likeliest of all continuations
//! of a text's beams go on. A continuation that ends with an end token becomes a candidate, scored
//! by its mean log-probability a token; the best candidate is the result.

use candle_core::{D, Tensor};

use crate::Result;
use crate::model::input::Input;

/// The log-probability of a beam that must not be continued: at first the beams of a text are equal,
/// and only the first one counts.
const UNLIKELY: f32 = -1e9;

/// A continuation that has ended.
#[derive(Debug, Clone)]
struct Ended {
    /// The mean log-probability of its new tokens.
    score: f64,
    /// The new tokens.
    tokens: Vec<u32>,
}

/// The beams of one text.
struct Text {
    /// The log-probability of each beam's new tokens, the likeliest first.
    scores: Vec<f32>,
    /// Each beam's new tokens.
    tokens: Vec<Vec<u32>>,
    /// The best continuations that have ended, at most as many as there are beams.
    ended: Vec<Ended>,
    /// No beam can still become better than those.
    done: bool,
}

/// The beams of a batch of texts. The model reads beam i of text t in row `t * beams + i`.
pub struct Beams {
    beams: usize,
    texts: Vec<Text>,
    ends: Vec<u32>,
    pad: u32,
}

/// For each row after a step: the row that it continues, its new token, and whether the token is
/// real (or fills the rows of a text that is done).
pub type Continued = Vec<(usize, u32, bool)>;

impl Beams {
    /// Begins a search with `beams` beams for each of `texts` prompts. The tokens `ends` end a text,
    /// and `pad` fills rows after their end.
    pub fn new(texts: usize, beams: usize, ends: &[u32], pad: u32) -> Self {
        let text = || {
            let mut scores = vec![UNLIKELY; beams];
            scores[0] = 0.0;
            Text { scores, tokens: vec![Vec::new(); beams], ended: Vec::new(), done: false }
        };
        Self { beams, texts: (0..texts).map(|_| text()).collect(), ends: ends.to_vec(), pad }
    }

    /// Whether no text can still become better.
    pub fn is_done(&self) -> bool {
        self.texts.iter().all(|text| text.done)
    }

    /// Continues every text by one token, from the log-probabilities of the next token
    /// [texts · beams, v], float32.
    ///
    /// # Errors
    /// candle's.
    pub fn advance(&mut self, logarithms: &Tensor) -> Result<Continued> {
        let vocabulary = logarithms.dim(D::Minus1)?;
        let rows = logarithms.to_vec2::<f32>()?;
        let mut continued = Vec::with_capacity(rows.len());
        for (at, text) in self.texts.iter_mut().enumerate() {
            let first = at * self.beams;
            if text.done {
                continued.extend((0..self.beams).map(|beam| (first + beam, self.pad, false)));
                continue;
            }
            // Enough that, however many of them end, `beams` are left to go on.
            let kept = (2.max(1 + self.ends.len()) * self.beams).min(self.beams * vocabulary);
            let score = |place: usize| {
                text.scores[place / vocabulary]
                    + rows[first + place / vocabulary][place % vocabulary]
            };
            let best = best(self.beams * vocabulary, kept, score);
            let steps = text.tokens[0].len() + 1;
            let (mut scores, mut tokens, mut going) = (Vec::new(), Vec::new(), Vec::new());
            for (rank, &(place, score)) in best.iter().enumerate() {
                let (beam, token) = (place / vocabulary, (place % vocabulary) as u32);
                let mut longer = text.tokens[beam].clone();
                longer.push(token);
                if self.ends.contains(&token) {
                    // One that is not among the `beams` best would not have gone on either.
                    if rank < self.beams {
                        add(
                            &mut text.ended,
                            self.beams,
                            Ended { score: f64::from(score) / steps as f64, tokens: longer },
                        );
                    }
                    continue;
                }
                if scores.len() < self.beams {
                    scores.push(score);
                    tokens.push(longer);
                    going.push((first + beam, token, true));
                }
            }
            // If every token of the vocabulary ends a text, there are not enough to go on.
            while scores.len() < self.beams {
                scores.push(UNLIKELY);
                tokens.push(vec![self.pad; steps]);
                going.push((first, self.pad, true));
            }
            let attainable = best
                .first()
                .map_or(f64::NEG_INFINITY, |(_, score)| f64::from(*score) / steps as f64);
            let worst = text.ended.iter().map(|ended| ended.score).fold(f64::INFINITY, f64::min);
            text.done = text.ended.len() == self.beams && worst >= attainable;
            (text.scores, text.tokens) = (scores, tokens);
            continued.append(&mut going);
        }
        Ok(continued)
    }

    /// The new tokens of each text's best continuation so far.
    pub fn best(&self) -> Vec<Vec<u32>> {
        let best = |text: &Text| {
            let mut ended = text.ended.clone();
            if !text.done {
                for (score, tokens) in text.scores.iter().zip(&text.tokens) {
                    let score = f64::from(*score) / tokens.len().max(1) as f64;
                    add(&mut ended, self.beams, Ended { score, tokens: tokens.clone() });
                }
            }
            let first = ended
                .into_iter()
                .reduce(|best, other| if other.score > best.score { other } else { best });
            first.map(|best| best.tokens).unwrap_or_default()
        };
        self.texts.iter().map(best).collect()
    }

    /// The prompts, each with its best continuation, padded to the length of the longest.
    pub fn finished(&self, prompts: &Input) -> Input {
        let mut input = prompts.clone();
        let best = self.best();
        let longest = best.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            input
                .push(best.iter().map(|tokens| {
                    (tokens.get(at).copied().unwrap_or(self.pad), at < tokens.len())
                }));
        }
        input
    }
}

/// Adds a continuation to the `most` best that have ended, or drops the worst.
fn add(ended: &mut Vec<Ended>, most: usize, new: Ended) {
    let worst = ended.iter().map(|ended| ended.score).fold(f64::INFINITY, f64::min);
    if ended.len() < most || new.score > worst {
        ended.push(new);
        if ended.len() > most
            && let Some(at) = ended.iter().position(|ended| ended.score == worst)
        {
            ended.remove(at);
        }
    }
}

/// The `count` places with the highest scores among places 0 to `all`, the highest first; equal
/// scores in the order of their places.
fn best(all: usize, count: usize, score: impl Fn(usize) -> f32) -> Vec<(usize, f32)> {
    let mut places: Vec<(usize, f32)> = (0..all).map(|place| (place, score(place))).collect();
    let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}
