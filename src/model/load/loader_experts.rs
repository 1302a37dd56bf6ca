//! Makes the weights of mixtures of experts of a checkpoint's tensors.

use candle_core::Tensor;

use super::loader::{Loader, Role};
use super::loader_blocks::whole;
use crate::Result;
use crate::model::experts::{Experts, Router, Shared};
use crate::model::family::{ExpertNames, ExpertsIn};
use crate::model::linear::Linear;
use crate::model::mlp::Dense;
use crate::model::spec::{ExpertsSpec, SharedExpert};

impl Loader<'_> {
    /// The mixture of experts of block `layer`.
    pub fn experts(
        &self,
        layer: usize,
        spec: &ExpertsSpec,
        names: &ExpertNames,
        kept: Option<&Experts>,
    ) -> Result<Experts> {
        let d = self.spec.hidden;
        let kept_router = kept.map(|kept| &kept.router);
        let [scores] = self.linear(
            &self.in_block(layer, names.router),
            [spec.count, d],
            spec.router.bias,
            [kept_router.map(|kept| &kept.scores)],
            whole,
        )?;
        let correction = match names.correction {
            Some(name) if spec.router.corrected => {
                let kept = kept_router.and_then(|kept| kept.correction.as_ref());
                let name = self.in_block(layer, name);
                // ERNIE has it as a row of a matrix.
                let shape = match name.contains("moe_statics") {
                    true => vec![1, spec.count],
                    false => vec![spec.count],
                };
                let [correction] = self.parts(&name, &shape, Role::Bias, [kept], |stored| {
                    Ok([stored.flatten_all()?])
                })?;
                Some(correction)
            }
            _ => None,
        };
        let router = Router { scores, correction, chosen: spec.chosen, spec: spec.router.clone() };
        let kept_experts = kept.map(|kept| kept.experts.as_slice());
        let experts = match names.experts {
            ExpertsIn::Each { list, matrices } => {
                let expert = |at: usize| {
                    let stem = format!("{list}.{at}");
                    let kept = kept_experts.map(|kept| &kept[at]);
                    self.gated(layer, &stem, matrices, spec.feed_forward, kept)
                };
                (0..spec.count).map(expert).collect::<Result<_>>()?
            }
            ExpertsIn::Stacked { input, output } => {
                self.stacked(layer, spec, [input, output], kept_experts)?
            }
            ExpertsIn::Interleaved { input, output } => {
                self.interleaved(layer, spec, [input, output], kept_experts)?
            }
        };
        let shared = match (spec.shared, names.shared) {
            (Some(shared), Some(stem)) => {
                let kept = kept.and_then(|kept| kept.shared.as_ref());
                Some(self.shared(layer, shared, stem, names.shared_gate, kept)?)
            }
            _ => None,
        };
        Ok(Experts { router, experts, shared })
    }

    fn shared(
        &self,
        layer: usize,
        spec: SharedExpert,
        stem: &str,
        gate: Option<&str>,
        kept: Option<&Shared>,
    ) -> Result<Shared> {
        let matrices = ["gate_proj", "up_proj", "down_proj"];
        let expert = kept.map(|kept| &kept.expert);
        let expert = self.gated(layer, stem, matrices, spec.feed_forward, expert)?;
        let gate = match gate.filter(|_| spec.gated) {
            Some(gate) => {
                let kept = [kept.and_then(|kept| kept.gate.as_ref())];
                let name = self.in_block(layer, gate);
                let [gate] = self.linear(&name, [1, self.spec.hidden], false, kept, whole)?;
                Some(gate)
            }
            None => None,
        };
        Ok(Shared { expert, gate })
    }

    /// A gated network of f inner dimensions, whose three matrices are `gate`, `up` and `down` below
    /// `stem`.
    fn gated(
        &self,
        layer: usize,
        stem: &str,
        [gate, up, down]: [&str; 3],
        f: usize,
        kept: Option<&Dense>,
    ) -> Result<Dense> {
        let d = self.spec.hidden;
        let one = |part: &str, shape: [usize; 2], kept: Option<&Linear>| -> Result<Linear> {
            let name = self.in_block(layer, &format!("{stem}.{part}"));
            let [one] = self.linear(&name, shape, false, [kept], whole)?;
            Ok(one)
        };
        let fc1 = one(gate, [f, d], kept.map(|kept| &kept.fc1))?;
        let up = one(up, [f, d], kept.and_then(|kept| kept.up.as_ref()))?;
        let fc2 = one(down, [d, f], kept.map(|kept| &kept.fc2))?;
        Ok(self.dense_of(fc1, Some(up), fc2))
    }

    /// Experts of which one tensor [x, 2f, d] has the gates and the other branches, and one
    /// [x, d, f] what they give.
    fn stacked(
        &self,
        layer: usize,
        spec: &ExpertsSpec,
        [input, output]: [&str; 2],
        kept: Option<&[Dense]>,
    ) -> Result<Vec<Dense>> {
        let (x, f, d) = (spec.count, spec.feed_forward, self.spec.hidden);
        let weights = |part: Part| tensors(kept, x, |expert| Some(&part(expert)?.weight));
        let name = |part: &str| format!("{}.weight", self.in_block(layer, part));
        let known: Vec<Option<&Tensor>> =
            [weights(|kept| Some(&kept.fc1)), weights(|kept| kept.up.as_ref())].concat();
        let into = self.pieces(&name(input), &[x, 2 * f, d], Role::Matrix, known, |stored| {
            let half = |start: usize| (0..x).map(move |at| stored.get(at)?.narrow(0, start, f));
            Ok(half(0).chain(half(f)).collect::<candle_core::Result<_>>()?)
        })?;
        let known = weights(|kept| Some(&kept.fc2));
        let out = self.pieces(&name(output), &[x, d, f], Role::Matrix, known, |stored| {
            Ok((0..x).map(|at| stored.get(at)).collect::<candle_core::Result<_>>()?)
        })?;
        let linear = |weight: &Tensor| Linear { weight: weight.clone(), bias: None, scale: None };
        let (gates, ups) = into.split_at(x);
        let experts = gates.iter().zip(ups).zip(&out);
        Ok(experts
            .map(|((gate, up), out)| self.dense_of(linear(gate), Some(linear(up)), linear(out)))
            .collect())
    }

    /// Experts of which one tensor [x, d, 2f] has the gates and the other branches in turns, and one
    /// [x, f, d] what they give; both have biases.
    fn interleaved(
        &self,
        layer: usize,
        spec: &ExpertsSpec,
        [input, output]: [&str; 2],
        kept: Option<&[Dense]>,
    ) -> Result<Vec<Dense>> {
        let (x, f, d) = (spec.count, spec.feed_forward, self.spec.hidden);
        let (into, out) = (self.in_block(layer, input), self.in_block(layer, output));
        let weights = |part: Part| tensors(kept, x, |expert| Some(&part(expert)?.weight));
        let biases = |part: Part| tensors(kept, x, |expert| part(expert)?.bias.as_ref());
        let gate: Part = |expert| Some(&expert.fc1);
        let up: Part = |expert| expert.up.as_ref();
        let down: Part = |expert| Some(&expert.fc2);
        // The rows of each expert that stand at even places, then those at odd ones.
        let in_turns = |stored: &Tensor| -> Result<Vec<Tensor>> {
            let rest = &stored.dims()[2..];
            let pairs = stored.reshape([&[x, f, 2], rest].concat())?;
            let half = |at: usize| {
                let pairs = pairs.narrow(2, at, 1)?.squeeze(2)?.contiguous()?;
                (0..x).map(|expert| pairs.get(expert)).collect::<candle_core::Result<Vec<_>>>()
            };
            Ok([half(0)?, half(1)?].concat())
        };
        let each = |stored: &Tensor| -> Result<Vec<Tensor>> {
            Ok((0..x).map(|expert| stored.get(expert)).collect::<candle_core::Result<_>>()?)
        };
        let known = [weights(gate), weights(up)].concat();
        let gates_and_ups = self.pieces(&into, &[x, d, 2 * f], Role::Matrix, known, |stored| {
            in_turns(&stored.transpose(1, 2)?.contiguous()?)
        })?;
        let known = [biases(gate), biases(up)].concat();
        let into = format!("{into}_bias");
        let in_biases = self.pieces(&into, &[x, 2 * f], Role::Bias, known, in_turns)?;
        let downs = self.pieces(&out, &[x, f, d], Role::Matrix, weights(down), |stored| {
            each(&stored.transpose(1, 2)?.contiguous()?)
        })?;
        let out = format!("{out}_bias");
        let out_biases = self.pieces(&out, &[x, d], Role::Bias, biases(down), each)?;
        let linear = |weights: &[Tensor], biases: &[Tensor], at: usize| Linear {
            weight: weights[at].clone(),
            bias: Some(biases[at].clone()),
            scale: None,
        };
        let expert = |at: usize| Dense {
            clamped: spec.clamped,
            ..self.dense_of(
                linear(&gates_and_ups, &in_biases, at),
                Some(linear(&gates_and_ups, &in_biases, x + at)),
                linear(&downs, &out_biases, at),
            )
        };
        Ok((0..x).map(expert).collect())
    }
}

/// One of an expert's projections.
type Part = fn(&Dense) -> Option<&Linear>;

/// A tensor of each of x experts, where there are experts already.
fn tensors<'a>(
    experts: Option<&'a [Dense]>,
    x: usize,
    of: impl Fn(&'a Dense) -> Option<&'a Tensor>,
) -> Vec<Option<&'a Tensor>> {
    (0..x).map(|at| of(&experts?[at])).collect()
}
