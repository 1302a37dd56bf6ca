//! Makes the weights of blocks, and of the kinds of layers that a decoder has, of a checkpoint's
//! tensors.

use std::sync::Arc;

use candle_core::Tensor;

use super::loader::{Loader, Role, Stored};
use crate::kernel::half_precision::widen;
use crate::model::attention::Attention;
use crate::model::block::{Block, Norms, Scales};
use crate::model::family::{MlpIn, Qkv};
use crate::model::linear::Linear;
use crate::model::mlp::{Dense, Mlp};
use crate::model::norm::Norm;
use crate::model::spec::{NormPlace, QkNorm, Spec};
use crate::{Result, bail, error};

/// One stored tensor is one of the decoder's.
pub(super) fn whole(stored: &Tensor) -> Result<[Tensor; 1]> {
    Ok([stored.clone()])
}

impl Loader<'_> {
    /// All blocks, each from the checkpoint.
    pub fn blocks(&self) -> Result<Vec<Arc<Block>>> {
        (0..self.spec.layers).map(|layer| Ok(Arc::new(self.block(layer, None)?))).collect()
    }

    /// The blocks with what comes from the source replaced. A block without any such tensor is
    /// shared.
    pub fn blocks_of(&self, kept: &[Arc<Block>]) -> Result<Vec<Arc<Block>>> {
        let names = self.source.names();
        let block = |(layer, kept): (usize, &Arc<Block>)| {
            let prefix = self.in_block(layer, "");
            match names.iter().any(|name| name.starts_with(&prefix)) {
                true => Ok(Arc::new(self.block(layer, Some(kept))?)),
                false => Ok(kept.clone()),
            }
        };
        kept.iter().enumerate().map(block).collect()
    }

    /// The checkpoint's name of a part of block `layer`.
    pub fn in_block(&self, layer: usize, part: &str) -> String {
        format!("{}{}.{layer}.{part}", self.layout.prefix, self.names.block)
    }

    fn block(&self, layer: usize, kept: Option<&Block>) -> Result<Block> {
        let Spec { hidden: d, heads, kv_heads, head_dim, .. } = *self.spec;
        let [q, k, v] = self.qkv(layer, kept.map(|kept| &kept.attention))?;
        let norms = |first: &str,
                     output: Option<&str>,
                     points: Scales,
                     kept: Option<&Norms>|
         -> Result<Norms> {
            let output = match output {
                Some(output) if self.spec.norm_place == NormPlace::Both => {
                    let kept = kept.and_then(|kept| kept.output.as_ref());
                    Some(self.norm(&self.in_block(layer, output), &[d], kept)?)
                }
                _ => None,
            };
            let norm =
                self.norm(&self.in_block(layer, first), &[d], kept.map(|kept| &kept.norm))?;
            Ok(Norms { norm, output, place: self.spec.norm_place, points })
        };
        let attn_norms = norms(
            self.names.attn_norm,
            self.names.attn_out_norm,
            Scales::ATTN,
            kept.map(|kept| &kept.attn_norms),
        );
        let mlp_norms = norms(
            self.names.mlp_norm,
            self.names.mlp_out_norm,
            Scales::MLP,
            kept.map(|kept| &kept.mlp_norms),
        );
        let out = self.linear(
            &self.in_block(layer, self.names.attn_out),
            [d, heads * head_dim],
            self.spec.biases.attn_out,
            [kept.map(|kept| &kept.attention.out)],
            whole,
        );
        let [out] = out?;
        let out = Linear { scale: self.spec.residual_scale, ..out };
        Ok(Block {
            attn_norms: attn_norms?,
            attention: Attention {
                q,
                k,
                v,
                out,
                sinks: self.sinks(layer, kept.map(|kept| &kept.attention))?,
                qk_norms: self.qk_norms(layer, kept.map(|kept| &kept.attention))?,
                heads,
                kv_heads,
                head_dim,
                score_scale: self.spec.score_scale(layer),
                score_cap: self.spec.score_cap,
                clip: self.spec.qkv_clip,
            },
            mlp_norms: mlp_norms?,
            mlp: self.mlp(layer, kept.map(|kept| &kept.mlp))?,
            parallel: self.spec.parallel,
        })
    }

    fn mlp(&self, layer: usize, kept: Option<&Mlp>) -> Result<Mlp> {
        let (dense, experts) = match kept {
            Some(Mlp::Dense(dense)) => (Some(dense), None),
            Some(Mlp::Experts(experts)) => (None, Some(&**experts)),
            None => (None, None),
        };
        match (self.spec.experts(layer), &self.names.experts) {
            (Some(spec), Some(names)) => {
                Ok(Mlp::Experts(Box::new(self.experts(layer, spec, names, experts)?)))
            }
            _ => Ok(Mlp::Dense(self.dense(layer, dense)?)),
        }
    }

    fn dense(&self, layer: usize, kept: Option<&Dense>) -> Result<Dense> {
        let Spec { hidden: d, feed_forward: f, .. } = *self.spec;
        let bias = self.spec.biases.mlp;
        let one = |part: &str, [out, input]: [usize; 2], kept: Option<&Linear>| {
            self.linear(&self.in_block(layer, part), [out, input], bias, [kept], whole)
        };
        let (kept_fc1, kept_up) =
            (kept.map(|kept| &kept.fc1), kept.and_then(|kept| kept.up.as_ref()));
        let (fc1, up) = match self.names.mlp_in {
            MlpIn::Plain(fc1) => {
                let [fc1] = one(fc1, [f, d], kept_fc1)?;
                (fc1, None)
            }
            MlpIn::Gated { gate, up } => {
                let ([gate], [up]) = (one(gate, [f, d], kept_fc1)?, one(up, [f, d], kept_up)?);
                (gate, Some(up))
            }
            MlpIn::Stacked(both) => {
                let [gate, up] = self.linear(
                    &self.in_block(layer, both),
                    [2 * f, d],
                    bias,
                    [kept_fc1, kept_up],
                    |both| Ok([both.narrow(0, 0, f)?, both.narrow(0, f, f)?]),
                )?;
                (gate, Some(up))
            }
        };
        let [fc2] = one(self.names.fc2, [d, f], kept.map(|kept| &kept.fc2))?;
        Ok(self.dense_of(fc1, up, fc2))
    }

    /// An MLP, or an expert, of its projections.
    pub fn dense_of(&self, fc1: Linear, up: Option<Linear>, fc2: Linear) -> Dense {
        let fc2 = Linear { scale: self.spec.residual_scale, ..fc2 };
        Dense { fc1, up, fc2, activation: self.spec.activation, clamped: None }
    }

    fn sinks(&self, layer: usize, kept: Option<&Attention>) -> Result<Option<Tensor>> {
        match self.names.sinks.filter(|_| self.spec.sinks) {
            Some(name) => {
                let kept = kept.and_then(|kept| kept.sinks.as_ref());
                let name = self.in_block(layer, name);
                Ok(Some(self.single(&name, &[self.spec.heads], Role::Bias, kept)?))
            }
            None => Ok(None),
        }
    }

    fn qk_norms(
        &self,
        layer: usize,
        kept: Option<&Attention>,
    ) -> Result<Option<(QkNorm, [Norm; 2])>> {
        let (Some(kind), Some([q_name, k_name])) = (self.spec.qk_norm, self.names.qk_norms) else {
            return Ok(None);
        };
        let Spec { heads, kv_heads, head_dim: c, .. } = *self.spec;
        let norm = |part: &str, heads: usize, kept: Option<&Norm>| -> Result<Norm> {
            let name = self.in_block(layer, part);
            match kind {
                QkNorm::Shared => self.norm(&name, &[c], kept),
                QkNorm::Whole => self.norm(&name, &[heads * c], kept),
                QkNorm::PerHead => {
                    // [h, 1, c], against queries [b, h, n, c].
                    let kept = kept.and_then(|kept| kept.weight.as_ref());
                    let weight = match self.names.qk_norms_in_one {
                        true => {
                            let kept = kept.map(|kept| kept.squeeze(1)).transpose()?;
                            let name = format!("{name}.weight");
                            self.single(&name, &[heads, c], Role::Gain, kept.as_ref())?
                        }
                        false => {
                            let each = (0..heads).map(|head| {
                                let kept =
                                    kept.map(|kept| kept.get(head)?.squeeze(0)).transpose()?;
                                let name = format!("{name}.norms.{head}.weight");
                                self.single(&name, &[c], Role::Gain, kept.as_ref())
                            });
                            Tensor::stack(&each.collect::<Result<Vec<_>>>()?, 0)?
                        }
                    };
                    let weight = weight.unsqueeze(1)?;
                    let spec = &self.spec.norm;
                    Ok(Norm { kind: spec.kind, eps: spec.eps, weight: Some(weight), bias: None })
                }
            }
        };
        let kept = kept.and_then(|kept| kept.qk_norms.as_ref()).map(|(_, norms)| norms);
        let [q, k] = [kept.map(|[q, _]| q), kept.map(|[_, k]| k)];
        Ok(Some((kind, [norm(q_name, heads, q)?, norm(k_name, kv_heads, k)?])))
    }

    fn qkv(&self, layer: usize, kept: Option<&Attention>) -> Result<[Linear; 3]> {
        let Spec { hidden: d, heads, kv_heads, head_dim: c, .. } = *self.spec;
        let bias = self.spec.biases.qkv;
        let kept = [kept.map(|kept| &kept.q), kept.map(|kept| &kept.k), kept.map(|kept| &kept.v)];
        match &self.names.qkv {
            Qkv::Separate(parts) => {
                let one = |at: usize, heads: usize| {
                    let name = self.in_block(layer, parts[at]);
                    self.linear(&name, [heads * c, d], bias, [kept[at]], whole)
                };
                let ([q], [k], [v]) = (one(0, heads)?, one(1, kv_heads)?, one(2, kv_heads)?);
                Ok([q, k, v])
            }
            Qkv::Stacked(all) => {
                let shape = [(heads + 2 * kv_heads) * c, d];
                self.linear(&self.in_block(layer, all), shape, bias, kept, |all| {
                    let part = |start: usize, heads: usize| all.narrow(0, start * c, heads * c);
                    Ok([part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?])
                })
            }
            Qkv::ByMachine(all) => {
                const MACHINES: usize = 4;
                let each = heads * c / MACHINES;
                if each * MACHINES != heads * c {
                    bail!(
                        "queries of {} dimensions do not divide into {MACHINES} parts",
                        heads * c
                    );
                }
                self.linear(&self.in_block(layer, all), [3 * heads * c, d], bias, kept, |all| {
                    let rest = &all.dims()[1..];
                    let parts = all.reshape([&[MACHINES, 3, each], rest].concat())?;
                    let part =
                        |at: usize| parts.narrow(1, at, 1)?.reshape([&[heads * c], rest].concat());
                    Ok([part(0)?, part(2)?, part(1)?])
                })
            }
            Qkv::ByGroup(all) => {
                let group = heads / kv_heads;
                let shape = [(group + 2) * kv_heads * c, d];
                self.linear(&self.in_block(layer, all), shape, bias, kept, |all| {
                    let rest = &all.dims()[1..];
                    let groups = all.reshape([&[kv_heads, group + 2, c], rest].concat())?;
                    let part = |start: usize, each: usize| {
                        let shape = [&[kv_heads * each * c], rest].concat();
                        groups.narrow(1, start, each)?.reshape(shape)
                    };
                    Ok([part(0, group)?, part(group, 1)?, part(group + 1, 1)?])
                })
            }
        }
    }

    /// The norm `name`, of gains of `shape`.
    pub fn norm(&self, name: &str, shape: &[usize], kept: Option<&Norm>) -> Result<Norm> {
        let spec = &self.spec.norm;
        let gain = |stored: &Tensor| -> Result<[Tensor; 1]> {
            Ok([match spec.gain_less_one {
                // At least in float32, in which transformers computes Gemma's norms in any dtype.
                true => (widen(stored)? + 1.0)?,
                false => stored.clone(),
            }])
        };
        let weight = match spec.affine {
            true => {
                let kept = [kept.and_then(|kept| kept.weight.as_ref())];
                let [weight] =
                    self.parts(&format!("{name}.weight"), shape, Role::Gain, kept, gain)?;
                Some(weight)
            }
            false => None,
        };
        let bias = spec.affine && self.spec.biases.norm;
        let size = shape.iter().product();
        let [bias] =
            self.bias(name, bias, size, [kept.and_then(|kept| kept.bias.as_ref())], whole)?;
        Ok(Norm { kind: spec.kind, eps: spec.eps, weight, bias })
    }

    /// The projections that the stored projection `name`, of `out` outputs of `input`, consists of;
    /// `cut` takes them from its matrix [out, in] and from its bias \[out\].
    pub fn linear<const N: usize>(
        &self,
        name: &str,
        [out, input]: [usize; 2],
        bias: bool,
        kept: [Option<&Linear>; N],
        cut: impl Fn(&Tensor) -> Result<[Tensor; N]>,
    ) -> Result<[Linear; N]> {
        let transposed = self.names.transposed;
        let shape = if transposed { [input, out] } else { [out, input] };
        let weights = self.parts(
            &format!("{name}.weight"),
            &shape,
            Role::Matrix,
            kept.map(|kept| kept.map(|kept| &kept.weight)),
            |stored| match transposed {
                // Copied to rows of [out, in], so that matrix products need not transpose it each
                // time.
                true => cut(&stored.t()?.contiguous()?),
                false => cut(stored),
            },
        )?;
        let kept = kept.map(|kept| kept.and_then(|kept| kept.bias.as_ref()));
        let mut biases = self.bias(name, bias, out, kept, cut)?.into_iter();
        Ok(weights.map(|weight| Linear { weight, bias: biases.next().flatten(), scale: None }))
    }

    /// The parts of the bias of the layer `name`, if it has one.
    pub fn bias<const N: usize>(
        &self,
        name: &str,
        has: bool,
        size: usize,
        kept: [Option<&Tensor>; N],
        cut: impl Fn(&Tensor) -> Result<[Tensor; N]>,
    ) -> Result<[Option<Tensor>; N]> {
        match has {
            true => {
                Ok(self.parts(&format!("{name}.bias"), &[size], Role::Bias, kept, cut)?.map(Some))
            }
            false => Ok([const { None }; N]),
        }
    }

    /// A stored tensor that the decoder uses as it is.
    pub fn single(
        &self,
        name: &str,
        shape: &[usize],
        role: Role,
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let [tensor] = self.parts(name, shape, role, [kept], whole)?;
        Ok(tensor)
    }

    /// What `cut` makes of a stored tensor, unless the decoder has it all and the source does not.
    pub fn parts<const N: usize>(
        &self,
        name: &str,
        shape: &[usize],
        role: Role,
        kept: [Option<&Tensor>; N],
        cut: impl Fn(&Tensor) -> Result<[Tensor; N]>,
    ) -> Result<[Tensor; N]> {
        let parts =
            self.pieces(name, shape, role, kept.to_vec(), |stored| Ok(cut(stored)?.to_vec()))?;
        parts.try_into().map_err(|_| error!("{name} gives another number of parts"))
    }

    /// As [`parts`](Self::parts), of a number of parts that the config determines.
    pub fn pieces(
        &self,
        name: &str,
        shape: &[usize],
        role: Role,
        kept: Vec<Option<&Tensor>>,
        cut: impl Fn(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        if !self.source.contains(name)
            && let Some(known) = kept.into_iter().map(|part| part.cloned()).collect()
        {
            return Ok(known);
        }
        self.note(name, role, shape);
        let factor = matches!(role, Role::Matrix | Role::TokenEmbeddings);
        let stored = match self.keeps_half && factor {
            true => self.source.load_factor(name)?,
            false => self.source.load(name, self.dtype, self.device)?,
        };
        if stored.dims() != shape {
            bail!("the weight {name} is {:?}, and config.json makes it {shape:?}", stored.dims());
        }
        cut(&stored)
    }

    /// Notes that the decoder computes with a tensor.
    pub fn note(&self, name: &str, role: Role, shape: &[usize]) {
        self.used.borrow_mut().insert(name.to_owned(), Stored { role, shape: shape.to_vec() });
    }
}
