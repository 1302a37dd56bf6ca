//! Attention that does not make the whole matrix of scores: the scores are computed for some queries
//! of a head at a time and stay in a core's cache. It serves passes in which no hook and no capture
//! asks for scores or patterns.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::Disjoint;
use super::cpu::sgemm::{Cores, Matrix, product};
use super::cpu::simd::math::tanh;
use super::cpu::simd::vectorized;
use super::elements::{Elements, filled_tensor};
use super::softmax::{divide, exponentials_of_scores};

/// Scores computed at a time, so few that they stay in a core's own cache.
const SCORES: usize = 1 << 16;
/// With more queries at a time, most of them would be hidden from many of the keys.
const QUERIES: usize = 128;

/// How scores are made of products of queries and keys.
pub struct Rule<'a> {
    pub scale: f64,
    /// Scores become cap · tanh(score / cap).
    pub cap: Option<f64>,
    /// [b or 1, 1, n, m], u8: which keys a query may attend to.
    pub allowed: &'a Tensor,
    /// [b, h, 1, m], added to the scores (ALiBi).
    pub bias: Option<&'a Tensor>,
}

/// softmax(q·kᵀ)·v of queries [b, h, n, c] with keys and values [b, k, m, c], each of whose heads
/// serves h/k heads of queries. The result has the shape [b, h, n, c] and lies in memory as
/// [b, n, h, c]. Nothing for tensors that [`Elements`] does not take.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, rule: &Rule) -> Option<Result<Tensor>> {
    let (&[b, h, n, c], &[_, groups, m, _]) = (q.dims(), k.dims()) else { return None };
    let masks = rule.allowed.dims().first().copied()?;
    let (queries, keys, values) = (Heads::of(q)?, Heads::of(k)?, Heads::of(v)?);
    let allowed = Elements::<u8>::contiguous(rule.allowed)?;
    let bias = match rule.bias {
        Some(bias) => Some(Elements::<f32>::contiguous(bias)?),
        None => None,
    };
    let (allowed, bias) = (&*allowed, bias.as_deref());
    let mut spans = vec![Span::NOTHING; masks * n];
    parallel::rows(&mut spans, 1, m, |query, span| span[0] = Span::of(&allowed[query * m..][..m]));
    let height = (SCORES / m.max(1)).clamp(8, QUERIES).min(n.max(1));
    let blocks = n.div_ceil(height);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = Disjoint::new(out);
        parallel::each(b * h * blocks, |task| {
            // The last queries attend to the most keys: they begin first.
            let (row, head, block) =
                (task / (h * blocks), task / blocks % h, blocks - 1 - task % blocks);
            let at = block * height..n.min((block + 1) * height);
            let mask = if masks == b { row } else { 0 };
            let part = Block {
                spans: &spans[mask * n + at.start..mask * n + at.end],
                allowed: &allowed[(mask * n + at.start) * m..(mask * n + at.end) * m],
                q: queries.rows(row, head, at.start),
                k: keys.rows(row, head / (h / groups), 0),
                v: values.rows(row, head / (h / groups), 0),
                bias: bias.map(|bias| &bias[(row * h + head) * m..][..m]),
                keys: m,
                c,
            };
            let first = out.at(((row * n + at.start) * h + head) * c);
            // SAFETY: the rows of these queries and this head in [b, n, h, c] are this task's alone.
            unsafe { part.attend(rule, first.cast(), h * c) };
        });
    };
    // SAFETY: the tasks cover all queries of all heads, and each writes the rows of its own.
    let joined = unsafe { filled_tensor((b, n, h, c), fill) };
    Some(joined.and_then(|joined| joined.transpose(1, 2)))
}

/// A tensor [b, h, n, c] whose rows of c elements are contiguous.
struct Heads<'a> {
    elements: Elements<'a, f32>,
    strides: [usize; 3],
}

impl<'a> Heads<'a> {
    fn of(t: &'a Tensor) -> Option<Self> {
        let &[row, head, token, 1] = t.stride() else { return None };
        Some(Self { elements: Elements::of(t)?, strides: [row, head, token] })
    }

    /// The rows of one head from this token on.
    fn rows(&self, row: usize, head: usize, token: usize) -> Rows<'_> {
        let [by_row, by_head, step] = self.strides;
        let first = row * by_row + head * by_head + token * step;
        Rows { elements: &self.elements[first..], step }
    }
}

/// Rows of numbers that begin `step` apart.
#[derive(Clone, Copy)]
struct Rows<'a> {
    elements: &'a [f32],
    step: usize,
}

impl<'a> Rows<'a> {
    /// The elements from the start of a row on.
    fn from(self, row: usize) -> &'a [f32] {
        &self.elements[row * self.step..]
    }
}

/// The keys from the first to the last that a query may attend to.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    end: usize,
    /// Whether some keys between them are hidden.
    holes: bool,
    /// A query that may attend to no key attends to all alike, as with scores that are all the
    /// lowest number.
    blind: bool,
}

impl Span {
    const NOTHING: Self = Self { first: 0, end: 0, holes: false, blind: true };

    fn of(allowed: &[u8]) -> Self {
        let Some(first) = allowed.iter().position(|&allowed| allowed != 0) else {
            return Self { first: 0, end: allowed.len(), holes: false, blind: true };
        };
        let end = allowed.iter().rposition(|&allowed| allowed != 0).map_or(first, |last| last + 1);
        Self { first, end, holes: allowed[first..end].contains(&0), blind: false }
    }
}

/// Some queries of one head.
struct Block<'a> {
    spans: &'a [Span],
    /// [queries, m]
    allowed: &'a [u8],
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    /// [m]
    bias: Option<&'a [f32]>,
    keys: usize,
    c: usize,
}

impl Block<'_> {
    /// Writes the queries' values to rows of c elements that begin at `out`, `step` apart.
    ///
    /// # Safety
    /// There must be a row for each query that may be written and that nothing else uses meanwhile.
    unsafe fn attend(&self, rule: &Rule, out: *mut f32, step: usize) {
        thread_local!(static SPACE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
        let first = self.spans.iter().map(|span| span.first).min().unwrap_or(0);
        let end = self.spans.iter().map(|span| span.end).max().unwrap_or(0);
        let (rows, width) = (self.spans.len(), end - first);
        SPACE.with_borrow_mut(|space| {
            space.resize(space.len().max(rows * (width + self.c)), 0.0);
            let (scores, scaled) = space[..rows * (width + self.c)].split_at_mut(rows * width);
            for (row, scaled) in scaled.chunks_exact_mut(self.c.max(1)).enumerate() {
                scale(scaled, &self.q.from(row)[..self.c], rule.scale as f32);
            }
            let queries = Matrix { numbers: scaled, steps: [self.c, 1] };
            let keys = Matrix { numbers: self.k.from(first), steps: [1, self.k.step] };
            let out_scores = (scores.as_mut_ptr(), width);
            // SAFETY: the scores are `rows` rows of `width` elements, borrowed here alone.
            unsafe { product([rows, width, self.c], out_scores, queries, keys, None, Cores::One) };
            let totals: Vec<f32> = scores
                .chunks_exact_mut(width)
                .zip(self.spans)
                .enumerate()
                .map(|(row, (scores, span))| {
                    let (from, to) = (span.first - first, span.end - first);
                    scores[..from].fill(0.0);
                    scores[to..].fill(0.0);
                    let scores = &mut scores[from..to];
                    if span.blind {
                        scores.fill(1.0);
                        return scores.len() as f32;
                    }
                    if let Some(cap) = rule.cap {
                        soft_cap(scores, cap as f32);
                    }
                    if let Some(bias) = self.bias {
                        add(scores, &bias[span.first..span.end]);
                    }
                    if span.holes {
                        hide(scores, &self.allowed[row * self.keys..][span.first..span.end]);
                    }
                    exponentials_of_scores(scores)
                })
                .collect();
            let pattern = Matrix { numbers: scores, steps: [width, 1] };
            let values = Matrix { numbers: self.v.from(first), steps: [self.v.step, 1] };
            // SAFETY: the caller guarantees a row of c elements for each query, which the product
            // writes before it is divided.
            unsafe {
                product([rows, self.c, width], (out, step), pattern, values, None, Cores::One);
                for (row, total) in totals.into_iter().enumerate() {
                    divide(std::slice::from_raw_parts_mut(out.add(row * step), self.c), total);
                }
            }
        });
    }
}

vectorized! {
    fn scale(out: &mut [f32], x: &[f32], by: f32) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x * by;
        }
    }
}

vectorized! {
    fn soft_cap(scores: &mut [f32], cap: f32) {
        for score in scores {
            *score = tanh::<FUSED>(*score / cap) * cap;
        }
    }
}

vectorized! {
    fn add(scores: &mut [f32], bias: &[f32]) {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += bias;
        }
    }
}

vectorized! {
    fn hide(scores: &mut [f32], allowed: &[u8]) {
        for (score, allowed) in scores.iter_mut().zip(allowed) {
            *score = if *allowed == 0 { f32::NEG_INFINITY } else { *score };
        }
    }
}
