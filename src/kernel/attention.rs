//! Attention whose scores nobody looks at: they are made for some queries at a time, of the keys
//! that those may see, and stay near.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::Disjoint;
use super::cpu::sgemm::{Cores, Matrix, product};
use super::cpu::simd::math::tanh;
use super::cpu::simd::rows::divide;
use super::cpu::simd::vectorized;
use super::softmax::shares;
use super::{Elements, made, suits};

/// Scores that are held at a time: they stay in a core's own cache.
const SCORES: usize = 1 << 16;
/// More queries than this at a time see many keys that most of them may not.
const QUERIES: usize = 128;

/// What becomes of a product of queries and keys.
pub struct Rule<'a> {
    pub scale: f64,
    pub cap: Option<f64>,
    /// [b or 1, 1, n, m], u8.
    pub allowed: &'a Tensor,
    /// [b, h, 1, m]
    pub bias: Option<&'a Tensor>,
}

/// softmax(q·kᵀ)·v of queries [b, h, n, c], keys and values [b, k, m, c], whose heads are shared by
/// groups of queries'. What comes back is [b, h, n, c] and lies as [b, n, h, c].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, rule: &Rule) -> Option<Result<Tensor>> {
    let heads = |t: &Tensor| suits(t) && t.rank() == 4 && t.stride()[3] == 1;
    let mask = rule.allowed.device().is_cpu()
        && rule.allowed.is_contiguous()
        && rule.allowed.dtype() == DType::U8;
    let bias = rule.bias.is_none_or(|bias| suits(bias) && bias.is_contiguous());
    ([q, k, v].into_iter().all(heads) && mask && bias).then(|| attend(q, k, v, rule))
}

/// The keys from the first to the last that a query may see.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    end: usize,
    /// Whether some between may not be seen.
    holes: bool,
    /// A query that may see nothing sees everything alike, as where all scores are the lowest
    /// number.
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

/// Rows of numbers, one after the other in equal steps.
#[derive(Clone, Copy)]
struct Rows<'a> {
    elements: &'a [f32],
    step: usize,
}

impl<'a> Rows<'a> {
    /// One head of a tensor [b, h, n, c].
    fn head(elements: &'a [f32], strides: &[usize], row: usize, head: usize) -> Self {
        Self { elements: &elements[row * strides[0] + head * strides[1]..], step: strides[2] }
    }

    fn from(self, row: usize) -> &'a [f32] {
        &self.elements[row * self.step..]
    }
}

fn attend(q: &Tensor, k: &Tensor, v: &Tensor, rule: &Rule) -> Result<Tensor> {
    let ((b, h, n, c), (_, groups, m, _)) = (q.dims4()?, k.dims4()?);
    let masks = rule.allowed.dim(0)?;
    let (q, k, v) = (Elements::of(q), Elements::of(k), Elements::of(v));
    let strides = [&q, &k, &v].map(|t| t.layout.stride());
    let (q, k, v) = (q.f32()?, k.f32()?, v.f32()?);
    let (allowed, bias) = (Elements::of(rule.allowed), rule.bias.map(Elements::of));
    let allowed = allowed.u8()?;
    let bias = bias.as_ref().map(|bias| bias.whole()).transpose()?;
    let mut spans = vec![Span::NOTHING; masks * n];
    parallel::rows(&mut spans, 1, m, |query, span| span[0] = Span::of(&allowed[query * m..][..m]));
    let queries = (SCORES / m.max(1)).clamp(8, QUERIES).min(n.max(1));
    let blocks = n.div_ceil(queries);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = Disjoint::new(out);
        parallel::each(b * h * blocks, |task| {
            // The last queries see most keys: they begin first.
            let (row, head, block) =
                (task / (h * blocks), task / blocks % h, blocks - 1 - task % blocks);
            let at = block * queries..n.min((block + 1) * queries);
            let of = if masks == b { row } else { 0 };
            let here = Block {
                spans: &spans[of * n + at.start..of * n + at.end],
                allowed: &allowed[(of * n + at.start) * m..(of * n + at.end) * m],
                q: Rows {
                    elements: Rows::head(q, strides[0], row, head).from(at.start),
                    step: strides[0][2],
                },
                k: Rows::head(k, strides[1], row, head / (h / groups)),
                v: Rows::head(v, strides[2], row, head / (h / groups)),
                bias: bias.map(|bias| &bias[(row * h + head) * m..][..m]),
                keys: m,
                c,
            };
            let first = out.at(((row * n + at.start) * h + head) * c);
            // SAFETY: the rows of these queries and this head in [b, n, h, c] are this task's alone.
            unsafe { here.attend(rule, first.cast(), h * c) };
        });
        Ok(())
    };
    // SAFETY: the tasks are all rows of all heads, and each writes its own.
    unsafe { made((b, n, h, c), fill) }?.transpose(1, 2)
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
    /// Writes the queries' values to rows that begin at `out`, `step` apart.
    ///
    /// # Safety
    /// Those rows are nobody else's.
    unsafe fn attend(&self, rule: &Rule, out: *mut f32, step: usize) {
        thread_local!(static SPACE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
        let first = self.spans.iter().map(|span| span.first).min().unwrap_or(0);
        let end = self.spans.iter().map(|span| span.end).max().unwrap_or(0);
        let (rows, width) = (self.spans.len(), end - first);
        SPACE.with_borrow_mut(|space| {
            space.resize(space.len().max(rows * (width + self.c)), 0.0);
            let (scores, scaled) = space[..rows * (width + self.c)].split_at_mut(rows * width);
            for (row, scaled) in scaled.chunks_exact_mut(self.c.max(1)).enumerate() {
                times(scaled, &self.q.from(row)[..self.c], rule.scale as f32);
            }
            let queries = Matrix { numbers: scaled, steps: [self.c, 1] };
            let keys = Matrix { numbers: self.k.from(first), steps: [1, self.k.step] };
            let out_scores = (scores.as_mut_ptr(), width);
            // SAFETY: the scores are [rows, width].
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
                    shares(scores)
                })
                .collect();
            let pattern = Matrix { numbers: scores, steps: [width, 1] };
            let values = Matrix { numbers: self.v.from(first), steps: [self.v.step, 1] };
            // SAFETY: `out` has `rows` rows of c numbers, which are this block's own.
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
    fn times(out: &mut [f32], x: &[f32], by: f32) {
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
