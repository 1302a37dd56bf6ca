//! Attention that does not make the whole matrix of scores: the scores are computed for some queries
//! of a head at a time and stay in a core's cache. It serves passes in which no hook and no capture
//! asks for scores or patterns.

mod backward;

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;

use candle_core::{DType, Result, Tensor, bail};

use crate::cap::cap_each;
use crate::cpu::parallel;
use crate::cpu::parallel::Disjoint;
use crate::cpu::sgemm::{Cores, Matrix, Sums, product};
use crate::cpu::simd::vectorized;
use crate::differentiable::differentiable;
use crate::elements::{Elements, filled_tensor};
use crate::half_precision::{round, widen};
use crate::softmax::{divide, exponentials_of_scores};

/// Scores computed at a time, so few that they stay in a core's own cache.
const SCORES: usize = 1 << 16;
/// With more queries at a time, most of them would be hidden from many of the keys.
const QUERIES: usize = 128;
/// How the products of one head are computed.
const HOW: (Cores, Sums) = (Cores::One, Sums::Short);

/// How scores are made of products of queries and keys. Nothing of it is part of a graph of gradients.
#[derive(Clone)]
pub struct Rule {
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// Scores become cap · tanh(score / cap).
    pub cap: Option<f64>,
    /// [b or 1, 1, n, m], u8: which keys a query may attend to.
    pub allowed: Tensor,
    /// [b, h, 1, m], added to the scores (ALiBi).
    pub bias: Option<Tensor>,
}

/// softmax(q·kᵀ)·v of queries [b, h, n, c] with keys and values [b, k, m, c], each of whose heads
/// serves h/k heads of queries. The result has the shape [b, h, n, c]; without gradients it lies in
/// memory as [b, n, h, c]. Nothing for tensors that [`Elements`] does not take.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, rule: &Rule) -> Option<Result<Tensor>> {
    let detached = [q, k, v].map(Tensor::detach);
    let tracked = [q, k, v].iter().any(|t| t.track_op());
    if !tracked && q.device().is_cpu() && matches!(q.dtype(), DType::F16 | DType::BF16) {
        return half_types(q, k, v, rule).transpose();
    }
    if !detached.iter().all(|t| Heads::of(t).is_some()) || !rule.fits() {
        return None;
    }
    let kept = rule.clone();
    Some(differentiable(
        &[q, k, v],
        |inputs| forward(inputs, rule, tracked),
        move |back| backward::of_attention(back, &kept),
    ))
}

/// [`attention`] of half types, computed in float32.
fn half_types(q: &Tensor, k: &Tensor, v: &Tensor, rule: &Rule) -> Result<Option<Tensor>> {
    let bias = rule.bias.as_ref().map(widen).transpose()?;
    let wide = attention(&widen(q)?, &widen(k)?, &widen(v)?, &Rule { bias, ..rule.clone() });
    wide.map(|wide| round(&wide?, q.dtype())).transpose()
}

/// The values that the queries attend to, [b, h, n, c], which with `by_head` lie in memory in this
/// order.
fn forward(inputs: &[Tensor], rule: &Rule, by_head: bool) -> Result<Tensor> {
    let heads = Inputs::of(inputs, rule)?;
    let Inputs { b, h, n, c, .. } = heads;
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let out = Disjoint::new(out);
        let blocks = heads.blocks();
        parallel::each(b * h * blocks, |task| {
            // The last queries attend to the most keys: they begin first.
            let (row, head, block) =
                (task / (h * blocks), task / blocks % h, blocks - 1 - task % blocks);
            let part = heads.block(row, head, block);
            let query = block * heads.height;
            let (first, step) = match by_head {
                true => (((row * h + head) * n + query) * c, c),
                false => (((row * n + query) * h + head) * c, h * c),
            };
            // SAFETY: the rows of these queries and this head are this task's alone.
            unsafe { part.attend(rule, out.at(first).cast(), step) };
        });
    };
    let shape = if by_head { (b, h, n, c) } else { (b, n, h, c) };
    // SAFETY: the tasks cover all queries of all heads, and each writes the rows of its own.
    let joined = unsafe { filled_tensor(shape, fill) }?;
    if by_head { Ok(joined) } else { joined.transpose(1, 2) }
}

impl Rule {
    /// Whether the loops take the mask and the bias.
    fn fits(&self) -> bool {
        Elements::<u8>::contiguous(&self.allowed).is_some()
            && self.bias.as_ref().is_none_or(|bias| Elements::<f32>::contiguous(bias).is_some())
    }
}

/// Queries, keys and values, and which keys each query may attend to.
struct Inputs<'a> {
    b: usize,
    h: usize,
    groups: usize,
    n: usize,
    m: usize,
    c: usize,
    /// Queries of a block.
    height: usize,
    q: Heads<'a>,
    k: Heads<'a>,
    v: Heads<'a>,
    allowed: Elements<'a, u8>,
    bias: Option<Elements<'a, f32>>,
    /// Masks in `allowed`: one for each row of the batch, or one for all.
    masks: usize,
    /// [masks, n]
    spans: Vec<Span>,
}

impl<'a> Inputs<'a> {
    fn of(inputs: &'a [Tensor], rule: &'a Rule) -> Result<Self> {
        let [q, k, v] = inputs else { bail!("attention has three inputs") };
        let ((b, h, n, c), (_, groups, m, _)) = (q.dims4()?, k.dims4()?);
        let allowed = Elements::<u8>::contiguous(&rule.allowed);
        let heads = (Heads::of(q), Heads::of(k), Heads::of(v), allowed);
        let (Some(q), Some(k), Some(v), Some(allowed)) = heads else {
            bail!("attention without its scores takes float32 on the CPU")
        };
        let masks = rule.allowed.dim(0)?;
        let mut spans = vec![Span::NOTHING; masks * n];
        let mask = &*allowed;
        parallel::rows(&mut spans, 1, m, |query, span| span[0] = Span::of(&mask[query * m..][..m]));
        let height = (SCORES / m.max(1)).clamp(8, QUERIES).min(n.max(1));
        let bias = rule.bias.as_ref().and_then(Elements::contiguous);
        Ok(Self { b, h, groups, n, m, c, height, q, k, v, allowed, bias, masks, spans })
    }

    /// Blocks of queries of a head.
    fn blocks(&self) -> usize {
        self.n.div_ceil(self.height)
    }

    fn block(&self, row: usize, head: usize, block: usize) -> Block<'_> {
        let (n, m) = (self.n, self.m);
        let at = block * self.height..n.min((block + 1) * self.height);
        let mask = if self.masks == self.b { row } else { 0 };
        let group = head / (self.h / self.groups);
        Block {
            spans: &self.spans[mask * n + at.start..mask * n + at.end],
            allowed: &self.allowed[(mask * n + at.start) * m..(mask * n + at.end) * m],
            q: self.q.rows(row, head, at.start),
            k: self.k.rows(row, group, 0),
            v: self.v.rows(row, group, 0),
            bias: self.bias.as_ref().map(|bias| &bias[(row * self.h + head) * m..][..m]),
            keys: m,
            c: self.c,
        }
    }
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
    /// The keys from the first to the last that one of these queries may attend to.
    fn seen(&self) -> Range<usize> {
        let first = self.spans.iter().map(|span| span.first).min().unwrap_or(0);
        let end = self.spans.iter().map(|span| span.end).max().unwrap_or(0);
        first..end
    }

    /// Writes the queries' values to rows of c elements that begin at `out`, `step` apart.
    ///
    /// # Safety
    /// There must be a row for each query that may be written and that nothing else uses meanwhile.
    unsafe fn attend(&self, rule: &Rule, out: *mut f32, step: usize) {
        let keys = self.seen();
        let (rows, width) = (self.spans.len(), keys.len());
        with_space(rows * (width + self.c), |space| {
            let (scores, scaled) = space.split_at_mut(rows * width);
            let totals = self.exponentials(rule, scaled, scores, None);
            let pattern = Matrix { numbers: scores, steps: [width, 1] };
            let values = Matrix { numbers: self.v.from(keys.start), steps: [self.v.step, 1] };
            // SAFETY: the caller guarantees a row of c elements for each query, which the product
            // writes before it is divided.
            unsafe {
                product([rows, self.c, width], (out, step), pattern, values, None, HOW);
                for (row, total) in totals.into_iter().enumerate() {
                    divide(std::slice::from_raw_parts_mut(out.add(row * step), self.c), total);
                }
            }
        });
    }

    /// Writes e^(score − the largest of its query) to `scores` [queries, keys seen], 0 where a query
    /// may not attend, and gives each query's sum. `scaled` [queries, c] gets the queries times the
    /// scale, and `capped`, which has the shape of the scores, the scores after the cap.
    fn exponentials(
        &self,
        rule: &Rule,
        scaled: &mut [f32],
        scores: &mut [f32],
        capped: Option<&mut [f32]>,
    ) -> Vec<f32> {
        let seen = self.seen();
        let (first, rows, width) = (seen.start, self.spans.len(), seen.len());
        for (row, scaled) in scaled.chunks_exact_mut(self.c.max(1)).enumerate() {
            scale(scaled, &self.q.from(row)[..self.c], rule.scale as f32);
        }
        let queries = Matrix { numbers: scaled, steps: [self.c, 1] };
        let keys = Matrix { numbers: self.k.from(first), steps: [1, self.k.step] };
        let out = (scores.as_mut_ptr(), width);
        // SAFETY: the scores are `rows` rows of `width` elements, borrowed here alone.
        unsafe { product([rows, width, self.c], out, queries, keys, None, HOW) };
        if let Some(cap) = rule.cap {
            cap_each(scores, cap as f32);
        }
        if let Some(capped) = capped {
            capped.copy_from_slice(scores);
        }
        scores
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
                if let Some(bias) = self.bias {
                    add(scores, &bias[span.first..span.end]);
                }
                if span.holes {
                    hide(scores, &self.allowed[row * self.keys..][span.first..span.end]);
                }
                exponentials_of_scores(scores)
            })
            .collect()
    }
}

/// Calls `f` with room for `count` numbers, which hold anything.
fn with_space<R>(count: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local!(static SPACE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
    SPACE.with_borrow_mut(|space| {
        space.resize(space.len().max(count), 0.0);
        f(&mut space[..count])
    })
}

vectorized! {
    fn scale(out: &mut [f32], x: &[f32], by: f32) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x * by;
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
