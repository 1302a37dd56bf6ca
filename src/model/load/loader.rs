//! Loads a checkpoint's tensors into the decoder's weights.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor};

use super::block_weights::Blocks;
use crate::model::attention::Attention;
use crate::model::block::{Block, Norms, Scales};
use crate::model::family::{MlpIn, Names, Qkv};
use crate::model::linear::Linear;
use crate::model::mlp::Mlp;
use crate::model::norm::Norm;
use crate::model::spec::{NormPlace, Positions, QkNorm, Spec};
use crate::tensor::WeightSource;
use crate::{Result, bail};

/// Everything a decoder computes with.
pub struct Weights {
    /// [v, e]
    pub token_embeddings: Tensor,
    /// [positions + offset, d], with learned positions.
    pub position_embeddings: Option<Tensor>,
    /// From the embedding size e to the hidden size d (OPT-350m).
    pub project_in: Option<Linear>,
    /// On the embeddings, before block 0 (BLOOM).
    pub embedding_norm: Option<Norm>,
    pub blocks: Blocks,
    pub final_norm: Option<Norm>,
    /// From the hidden size d to the embedding size e (OPT-350m).
    pub project_out: Option<Linear>,
    /// From e to v.
    pub unembedding: Linear,
    /// Names of the checkpoint's tensors that the family does not use and that are no known buffers.
    pub unused: Vec<String>,
}

/// Where the blocks' weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the device that computes.
    Resident,
    /// In host memory, copied to the device block by block during a pass.
    Offloaded,
}

struct Loader<'a> {
    spec: &'a Spec,
    names: &'a Names,
    source: &'a dyn WeightSource,
    /// The one of [`Names::prefixes`] that this checkpoint uses.
    prefix: &'static str,
    dtype: DType,
    device: &'a Device,
    /// The names of the tensors that were loaded.
    used: RefCell<BTreeSet<String>>,
}

/// Loads a decoder's weights, under the names that the family's checkpoints have for them.
///
/// # Errors
/// A weight is missing, or its shape is not the one that the config implies.
pub fn load(
    spec: &Spec,
    names: &Names,
    source: &dyn WeightSource,
    dtype: DType,
    device: &Device,
    placement: Placement,
) -> Result<Weights> {
    let embeddings = |prefix: &str| format!("{prefix}{}.weight", names.token_embeddings);
    let Some(prefix) = names.prefixes.iter().find(|prefix| source.contains(&embeddings(prefix)))
    else {
        bail!("the checkpoint has no token embeddings: expected {}", embeddings(names.prefixes[0]))
    };
    let used = RefCell::default();
    let loader = Loader { spec, names, source, prefix, dtype, device, used };
    let blocks = match placement {
        Placement::Resident => Blocks::Resident(loader.blocks()?),
        Placement::Offloaded => {
            let host = Loader { device: &Device::Cpu, ..loader };
            let blocks = Blocks::offloaded(host.blocks()?, device)?;
            return Loader { device, ..host }.weights(blocks);
        }
    };
    loader.weights(blocks)
}

impl Loader<'_> {
    fn blocks(&self) -> Result<Vec<Block>> {
        (0..self.spec.layers).map(|layer| self.block(layer)).collect()
    }

    fn weights(&self, blocks: Blocks) -> Result<Weights> {
        let Spec { hidden: d, embedding: e, vocabulary: v, max_positions, .. } = *self.spec;
        let token_embeddings = self.outer(self.names.token_embeddings, &[v, e])?;
        let position_embeddings = match (&self.spec.positions, self.names.position_embeddings) {
            (Positions::Learned { offset }, Some(name)) => {
                Some(self.outer(name, &[max_positions + offset, d])?)
            }
            _ => None,
        };
        let [project_in, project_out] = match self.names.project {
            Some([into, out]) if e != d => {
                [Some(self.outer(into, &[d, e])?), Some(self.outer(out, &[e, d])?)]
            }
            _ => [None, None],
        };
        let embedding_norm = match self.names.embedding_norm {
            Some(name) if self.spec.embedding_norm => {
                Some(self.norm(&format!("{}{name}", self.prefix), &[d])?)
            }
            _ => None,
        };
        let final_norm = match self.spec.final_norm {
            true => Some(self.norm(&format!("{}{}", self.prefix, self.names.final_norm), &[d])?),
            false => None,
        };
        let unembedding = self.unembedding(&token_embeddings)?;
        let plain = |weight: Tensor| Linear { weight, bias: None };
        Ok(Weights {
            token_embeddings,
            position_embeddings,
            project_in: project_in.map(plain),
            embedding_norm,
            blocks,
            final_norm,
            project_out: project_out.map(plain),
            unembedding,
            unused: self.unused(),
        })
    }

    fn unembedding(&self, token_embeddings: &Tensor) -> Result<Linear> {
        let heads: Vec<String> =
            self.names.heads.iter().map(|name| format!("{name}.weight")).collect();
        let found = heads.iter().find(|name| self.source.contains(name)).unwrap_or(&heads[0]);
        let bias = match (self.spec.biases.unembedding, found.strip_suffix("weight")) {
            (true, Some(stem)) => {
                Some(self.tensor(&format!("{stem}bias"), &[self.spec.vocabulary])?)
            }
            _ => None,
        };
        if self.spec.tied {
            // Some checkpoints store the tied matrix under both names.
            self.used.borrow_mut().extend(heads);
            return Ok(Linear { weight: token_embeddings.clone(), bias });
        }
        Ok(Linear {
            weight: self.tensor(found, &[self.spec.vocabulary, self.spec.embedding])?,
            bias,
        })
    }

    fn block(&self, layer: usize) -> Result<Block> {
        let Spec { hidden: d, heads, kv_heads, head_dim, .. } = *self.spec;
        let name = |part: &str| format!("{}{}.{layer}.{part}", self.prefix, self.names.block);
        let [q, k, v] = self.qkv(layer)?;
        let norms = |first: &str, output: Option<&'static str>, points: Scales| -> Result<Norms> {
            let output = match output {
                Some(output) if self.spec.norm_place == NormPlace::Both => {
                    Some(self.norm(&name(output), &[d])?)
                }
                _ => None,
            };
            Ok(Norms {
                norm: self.norm(&name(first), &[d])?,
                output,
                place: self.spec.norm_place,
                points,
            })
        };
        Ok(Block {
            attn_norms: norms(self.names.attn_norm, self.names.attn_out_norm, Scales::ATTN)?,
            attention: Attention {
                q,
                k,
                v,
                out: self.linear(
                    &name(self.names.attn_out),
                    d,
                    heads * head_dim,
                    self.spec.biases.attn_out,
                )?,
                qk_norms: self.qk_norms(layer)?,
                heads,
                kv_heads,
                head_dim,
                score_scale: self.spec.score_scale,
                score_cap: self.spec.score_cap,
            },
            mlp_norms: norms(self.names.mlp_norm, self.names.mlp_out_norm, Scales::MLP)?,
            mlp: self.mlp(layer)?,
            parallel: self.spec.parallel,
        })
    }

    fn mlp(&self, layer: usize) -> Result<Mlp> {
        let Spec { hidden: d, feed_forward: f, activation, .. } = *self.spec;
        let bias = self.spec.biases.mlp;
        let name = |part: &str| format!("{}{}.{layer}.{part}", self.prefix, self.names.block);
        let (fc1, up) = match self.names.mlp_in {
            MlpIn::Plain(fc1) => (self.linear(&name(fc1), f, d, bias)?, None),
            MlpIn::Gated { gate, up } => {
                (self.linear(&name(gate), f, d, bias)?, Some(self.linear(&name(up), f, d, bias)?))
            }
            MlpIn::Stacked(both) => {
                let both = self.linear(&name(both), 2 * f, d, bias)?;
                (rows(&both, 0, f)?, Some(rows(&both, f, f)?))
            }
        };
        Ok(Mlp { fc1, up, fc2: self.linear(&name(self.names.fc2), d, f, bias)?, activation })
    }

    fn qk_norms(&self, layer: usize) -> Result<Option<(QkNorm, [Norm; 2])>> {
        let (Some(kind), Some(names)) = (self.spec.qk_norm, self.names.qk_norms) else {
            return Ok(None);
        };
        let Spec { heads, kv_heads, head_dim: c, .. } = *self.spec;
        let norm = |part: &str, heads: usize| -> Result<Norm> {
            let name = format!("{}{}.{layer}.{part}", self.prefix, self.names.block);
            match kind {
                QkNorm::Shared => self.norm(&name, &[c]),
                QkNorm::Whole => self.norm(&name, &[heads * c]),
                QkNorm::PerHead => {
                    let each = (0..heads)
                        .map(|head| self.tensor(&format!("{name}.norms.{head}.weight"), &[c]));
                    // [h, 1, c], against queries [b, h, n, c].
                    let weight =
                        Tensor::stack(&each.collect::<Result<Vec<_>>>()?, 0)?.unsqueeze(1)?;
                    let spec = &self.spec.norm;
                    Ok(Norm { kind: spec.kind, eps: spec.eps, weight: Some(weight), bias: None })
                }
            }
        };
        Ok(Some((kind, [norm(names[0], heads)?, norm(names[1], kv_heads)?])))
    }

    fn qkv(&self, layer: usize) -> Result<[Linear; 3]> {
        let Spec { hidden: d, heads, kv_heads, head_dim: c, .. } = *self.spec;
        let bias = self.spec.biases.qkv;
        let name = |part: &str| format!("{}{}.{layer}.{part}", self.prefix, self.names.block);
        match &self.names.qkv {
            Qkv::Separate([q, k, v]) => Ok([
                self.linear(&name(q), heads * c, d, bias)?,
                self.linear(&name(k), kv_heads * c, d, bias)?,
                self.linear(&name(v), kv_heads * c, d, bias)?,
            ]),
            Qkv::Stacked(all) => {
                let all = self.linear(&name(all), (heads + 2 * kv_heads) * c, d, bias)?;
                let part = |start: usize, heads: usize| rows(&all, start * c, heads * c);
                Ok([part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?])
            }
            Qkv::ByGroup(all) => {
                let group = heads / kv_heads;
                let all = self.linear(&name(all), (group + 2) * kv_heads * c, d, bias)?;
                let part = |start: usize, each: usize| -> Result<Linear> {
                    let weight =
                        all.weight.reshape((kv_heads, group + 2, c, d))?.narrow(1, start, each)?;
                    let bias = match &all.bias {
                        Some(bias) => {
                            let bias =
                                bias.reshape((kv_heads, group + 2, c))?.narrow(1, start, each)?;
                            Some(bias.reshape(kv_heads * each * c)?)
                        }
                        None => None,
                    };
                    Ok(Linear { weight: weight.reshape((kv_heads * each * c, d))?, bias })
                };
                Ok([part(0, group)?, part(group, 1)?, part(group + 1, 1)?])
            }
        }
    }

    fn norm(&self, name: &str, shape: &[usize]) -> Result<Norm> {
        let spec = &self.spec.norm;
        let part = |wanted: bool, ending: &str| {
            wanted.then(|| self.tensor(&format!("{name}.{ending}"), shape)).transpose()
        };
        let mut weight = part(spec.affine, "weight")?;
        if spec.gain_less_one
            && let Some(less_one) = weight
        {
            // In float32, as transformers computes Gemma's norms in any dtype.
            weight = Some((less_one.to_dtype(DType::F32)? + 1.0)?);
        }
        Ok(Norm {
            kind: spec.kind,
            eps: spec.eps,
            weight,
            bias: part(spec.affine && self.spec.biases.norm, "bias")?,
        })
    }

    fn linear(&self, name: &str, out: usize, input: usize, bias: bool) -> Result<Linear> {
        let weight = match self.names.transposed {
            // Copied to rows of [out, in], so that matrix products need not transpose it each time.
            true => self.tensor(&format!("{name}.weight"), &[input, out])?.t()?.contiguous()?,
            false => self.tensor(&format!("{name}.weight"), &[out, input])?,
        };
        let bias = bias.then(|| self.tensor(&format!("{name}.bias"), &[out])).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// The weight tensor of a layer outside the blocks.
    fn outer(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.tensor(&format!("{}{name}.weight", self.prefix), shape)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.used.borrow_mut().insert(name.to_owned());
        let tensor = self.source.load(name, self.dtype, self.device)?;
        if tensor.dims() != shape {
            bail!("the weight {name} is {:?}, and config.json makes it {shape:?}", tensor.dims());
        }
        Ok(tensor)
    }

    fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let is_buffer = |name: &str| self.names.buffers.iter().any(|buffer| name.ends_with(buffer));
        self.source
            .names()
            .into_iter()
            .filter(|name| !used.contains(name) && !is_buffer(name))
            .collect()
    }
}

/// The part of a projection that computes `count` of its outputs, from output `start`.
fn rows(linear: &Linear, start: usize, count: usize) -> Result<Linear> {
    let bias = linear.bias.as_ref().map(|bias| bias.narrow(0, start, count)).transpose()?;
    Ok(Linear { weight: linear.weight.narrow(0, start, count)?, bias })
}
