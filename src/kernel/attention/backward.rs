//! The derivative of attention that does not make the whole matrix of scores: scores and pattern are
//! computed anew for some queries of a head at a time, as in FlashAttention (Dao et al. 2022).
//!
//! With the pattern P and the gradient g of the result, that of the values is Pᵀ·g, that of the scores
//! S = P ∘ (g·vᵀ − Σ P ∘ g·vᵀ), that of the queries scale · S·k, and that of the keys scale · Sᵀ·q.

use candle_core::{Result, Tensor};

use super::{Block, HOW, Heads, Inputs, Rows, Rule, with_space};
use crate::cpu::parallel;
use crate::cpu::parallel::Disjoint;
use crate::cpu::sgemm::{Matrix, add_product, product};
use crate::cpu::simd::vectorized;
use crate::differentiable::{Backward, Gradients};
use crate::softmax::divide;
use crate::sum::sum_of_heads;

/// With regard to queries, keys and values.
pub(super) fn of_attention(back: &Backward, rule: &Rule) -> Result<Gradients> {
    let heads = Inputs::of(&back.inputs, rule)?;
    let Inputs { b, h, groups, n, m, c, .. } = heads;
    let gradient = match Heads::of(back.gradient) {
        Some(_) => back.gradient.clone(),
        None => back.gradient.force_contiguous()?,
    };
    let Some(given) = Heads::of(&gradient) else {
        candle_core::bail!("the gradient of float32 attention is float32")
    };
    // A head of queries has its own gradients of its group's keys and values, which are added up
    // afterwards: then no two heads need wait for one another.
    let zeros = |asked: bool, rows: usize| vec![0f32; if asked { b * h * rows * c } else { 0 }];
    let mut of_q = zeros(back.wants(0), n);
    let (mut of_k, mut of_v) = (zeros(back.wants(1), m), zeros(back.wants(2), m));
    let parts = [(&mut of_q, n), (&mut of_k, m), (&mut of_v, m)]
        .map(|(all, rows)| (Disjoint::new(all), rows));
    parallel::each(b * h, |task| {
        let (row, head) = (task / h, task % h);
        let [of_q, of_k, of_v] = [0, 1, 2].map(|at| {
            back.wants(at).then(|| {
                let (all, rows) = &parts[at];
                // SAFETY: each task has its own row and head of all three.
                unsafe { all.part(task * rows * c..(task + 1) * rows * c) }
            })
        });
        let mut to = Parts { of_q, of_k, of_v };
        for block in 0..heads.blocks() {
            let query = block * heads.height;
            heads.block(row, head, block).go_back(
                rule,
                given.rows(row, head, query),
                query,
                &mut to,
            );
        }
    });
    let grouped = |elements: Vec<f32>| -> Result<Tensor> {
        let all = Tensor::from_vec(elements, (b * groups, h / groups, m * c), gradient.device())?;
        let sums = if h == groups { all } else { sum_of_heads(&all)? };
        sums.reshape((b, groups, m, c))
    };
    Ok(vec![
        back.of(0, || Tensor::from_vec(of_q, (b, h, n, c), gradient.device()))?,
        back.of(1, || grouped(of_k))?,
        back.of(2, || grouped(of_v))?,
    ])
}

/// Where one head's gradients go that are asked for: [n, c], [m, c] and [m, c], zeros at first.
struct Parts<'a> {
    of_q: Option<&'a mut [f32]>,
    of_k: Option<&'a mut [f32]>,
    of_v: Option<&'a mut [f32]>,
}

impl Block<'_> {
    /// Adds the gradients through these queries, the first of which is `query`, to a head's. `g` has
    /// the gradients of the queries' values.
    fn go_back(&self, rule: &Rule, g: Rows, query: usize, to: &mut Parts) {
        let seen = self.seen();
        let (first, rows, width, c) = (seen.start, self.spans.len(), seen.len(), self.c);
        let buffers = if rule.cap.is_some() { 3 } else { 2 };
        with_space(rows * (buffers * width + c), |space| {
            let (pattern, space) = space.split_at_mut(rows * width);
            let (of_scores, space) = space.split_at_mut(rows * width);
            let (scaled, capped) = space.split_at_mut(rows * c);
            let capped = rule.cap.map(|_| capped);
            let (totals, capped) = match capped {
                None => (self.exponentials(rule, scaled, pattern, None), None),
                Some(capped) => {
                    (self.exponentials(rule, scaled, pattern, Some(&mut *capped)), Some(capped))
                }
            };
            for (row, total) in pattern.chunks_exact_mut(width.max(1)).zip(totals) {
                divide(row, total);
            }
            let g = Matrix { numbers: g.elements, steps: [g.step, 1] };
            let turned = |numbers| Matrix { numbers, steps: [1, width] };
            if let Some(of_v) = &mut to.of_v {
                let out = of_v[first * c..][..width * c].as_mut_ptr();
                // SAFETY: `out` has `width` rows of c elements, borrowed here alone.
                unsafe { add_product([width, c, rows], (out, c), turned(pattern), g) };
            }
            if to.of_q.is_none() && to.of_k.is_none() {
                return;
            }
            let values = Matrix { numbers: self.v.from(first), steps: [1, self.v.step] };
            let out = (of_scores.as_mut_ptr(), width);
            // SAFETY: `of_scores` has `rows` rows of `width` elements, borrowed here alone.
            unsafe { product([rows, width, c], out, g, values, None, HOW) };
            for (row, span) in self.spans.iter().enumerate() {
                let at = row * width..(row + 1) * width;
                let of_scores = &mut of_scores[at.clone()];
                // The scores of a blind query are replaced by one number: they have no gradient.
                if span.blind {
                    of_scores.fill(0.0);
                    continue;
                }
                through_softmax(of_scores, &pattern[at.clone()]);
                if let (Some(capped), Some(cap)) = (&capped, rule.cap) {
                    through_cap(of_scores, &capped[at], cap as f32);
                }
            }
            if let Some(of_q) = &mut to.of_q {
                let of_q = &mut of_q[query * c..][..rows * c];
                let of_scores = Matrix { numbers: of_scores, steps: [width, 1] };
                let keys = Matrix { numbers: self.k.from(first), steps: [self.k.step, 1] };
                let out = (of_q.as_mut_ptr(), c);
                // SAFETY: `of_q` has `rows` rows of c elements, borrowed here alone.
                unsafe { product([rows, c, width], out, of_scores, keys, None, HOW) };
                multiply(of_q, rule.scale as f32);
            }
            if let Some(of_k) = &mut to.of_k {
                let out = of_k[first * c..][..width * c].as_mut_ptr();
                let queries = Matrix { numbers: scaled, steps: [c, 1] };
                // SAFETY: `out` has `width` rows of c elements, borrowed here alone.
                unsafe { add_product([width, c, rows], (out, c), turned(of_scores), queries) };
            }
        });
    }
}

/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 32;

vectorized! {
    /// Replaces the gradients of a row of the pattern by those of its scores.
    fn through_softmax(g: &mut [f32], pattern: &[f32]) {
        let mut sums = [0f32; LANES];
        let ((whole, rest), (pattern_whole, pattern_rest)) =
            (g.as_chunks::<LANES>(), pattern.as_chunks::<LANES>());
        for (g, share) in whole.iter().zip(pattern_whole) {
            for lane in 0..LANES {
                sums[lane] += g[lane] * share[lane];
            }
        }
        let rest: f32 = rest.iter().zip(pattern_rest).map(|(g, share)| g * share).sum();
        let sum = sums.iter().sum::<f32>() + rest;
        for (g, share) in g.iter_mut().zip(pattern) {
            *g = share * (*g - sum);
        }
    }
}

vectorized! {
    /// Multiplies gradients of scores by the slope of the cap.
    fn through_cap(g: &mut [f32], capped: &[f32], cap: f32) {
        for (g, score) in g.iter_mut().zip(capped) {
            let share = score / cap;
            *g *= 1.0 - share * share;
        }
    }
}

vectorized! {
    fn multiply(elements: &mut [f32], by: f32) {
        for x in elements {
            *x *= by;
        }
    }
}
