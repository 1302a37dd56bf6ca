//! From a checkpoint's tensors to the decoder's weights.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use candle_core::{DType, Device, Tensor};

use super::attention::Attention;
use super::block::Block;
use super::family::{Names, Qkv};
use super::linear::Linear;
use super::mlp::Mlp;
use super::norm::Norm;
use super::spec::Spec;
use crate::{Result, bail};

/// Where weights come from.
pub trait WeightSource {
    fn names(&self) -> Vec<String>;

    fn contains(&self, name: &str) -> bool;

    /// # Errors
    /// There is no such tensor, or it cannot be read.
    fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor>;
}

/// Weights that are in memory already.
impl WeightSource for HashMap<String, Tensor> {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(tensor) = self.get(name) else { bail!("there is no weight {name}") };
        Ok(tensor.to_device(device)?.to_dtype(dtype)?)
    }
}

/// Everything a decoder computes with.
pub struct Weights {
    /// [v, e]
    pub token_embeddings: Tensor,
    /// [positions, d]
    pub position_embeddings: Option<Tensor>,
    pub project_in: Option<Linear>,
    pub blocks: Vec<Block>,
    pub final_norm: Option<Norm>,
    pub project_out: Option<Linear>,
    /// [v, e], without a bias.
    pub unembedding: Linear,
    /// Tensors of the checkpoint that the family has no use for.
    pub unused: Vec<String>,
}

struct Loader<'a> {
    spec: &'a Spec,
    names: &'a Names,
    source: &'a dyn WeightSource,
    prefix: &'static str,
    dtype: DType,
    device: &'a Device,
    used: RefCell<BTreeSet<String>>,
}

/// # Errors
/// A weight that is missing, or has another shape than the config says.
pub fn load(spec: &Spec, names: &Names, source: &dyn WeightSource, dtype: DType, device: &Device) -> Result<Weights> {
    let embeddings = |prefix: &str| format!("{prefix}{}.weight", names.token_embeddings);
    let Some(prefix) = names.prefixes.iter().find(|prefix| source.contains(&embeddings(prefix))) else {
        bail!("the checkpoint has no token embeddings: expected {}", embeddings(names.prefixes[0]))
    };
    Loader { spec, names, source, prefix, dtype, device, used: RefCell::default() }.weights()
}

impl Loader<'_> {
    fn weights(&self) -> Result<Weights> {
        let Spec { hidden: d, embedding: e, vocabulary: v, max_positions, .. } = *self.spec;
        let token_embeddings = self.outer(self.names.token_embeddings, &[v, e])?;
        let position_embeddings = match (&self.spec.positions, self.names.position_embeddings) {
            (super::spec::Positions::Learned { offset }, Some(name)) => {
                Some(self.outer(name, &[max_positions + offset, d])?)
            }
            _ => None,
        };
        let [project_in, project_out] = match self.names.project {
            Some([into, out]) if e != d => [Some(self.outer(into, &[d, e])?), Some(self.outer(out, &[e, d])?)],
            _ => [None, None],
        };
        let blocks = (0..self.spec.layers).map(|layer| self.block(layer)).collect::<Result<_>>()?;
        let final_norm = match self.spec.final_norm {
            true => Some(self.norm(&format!("{}{}", self.prefix, self.names.final_norm), d)?),
            false => None,
        };
        let unembedding = self.unembedding(&token_embeddings)?;
        let plain = |weight: Tensor| Linear { weight, bias: None };
        Ok(Weights {
            token_embeddings,
            position_embeddings,
            project_in: project_in.map(plain),
            blocks,
            final_norm,
            project_out: project_out.map(plain),
            unembedding: plain(unembedding),
            unused: self.unused(),
        })
    }

    fn unembedding(&self, token_embeddings: &Tensor) -> Result<Tensor> {
        let heads: Vec<String> = self.names.heads.iter().map(|name| format!("{name}.weight")).collect();
        if self.spec.tied {
            // Some checkpoints carry the tied matrix twice.
            self.used.borrow_mut().extend(heads);
            return Ok(token_embeddings.clone());
        }
        let name = heads.iter().find(|name| self.source.contains(name)).unwrap_or(&heads[0]);
        self.tensor(name, &[self.spec.vocabulary, self.spec.embedding])
    }

    fn block(&self, layer: usize) -> Result<Block> {
        let Spec { hidden: d, heads, kv_heads, head_dim, feed_forward: f, .. } = *self.spec;
        let biases = self.spec.biases;
        let name = |part: &str| format!("{}{}.{layer}.{part}", self.prefix, self.names.block);
        let [q, k, v] = self.qkv(layer)?;
        let qk_norms = match self.names.qk_norms {
            Some([q, k]) if self.spec.qk_norm => Some([self.norm(&name(q), head_dim)?, self.norm(&name(k), head_dim)?]),
            _ => None,
        };
        let up = match self.names.up {
            Some(up) if self.spec.gated => Some(self.linear(&name(up), f, d, biases.mlp)?),
            _ => None,
        };
        Ok(Block {
            attn_norm: self.norm(&name(self.names.attn_norm), d)?,
            attention: Attention {
                q,
                k,
                v,
                out: self.linear(&name(self.names.attn_out), d, heads * head_dim, biases.attn_out)?,
                qk_norms,
                heads,
                kv_heads,
                head_dim,
            },
            mlp_norm: self.norm(&name(self.names.mlp_norm), d)?,
            mlp: Mlp {
                fc1: self.linear(&name(self.names.fc1), f, d, biases.mlp)?,
                up,
                fc2: self.linear(&name(self.names.fc2), d, f, biases.mlp)?,
                activation: self.spec.activation,
            },
            norm_place: self.spec.norm_place,
            parallel: self.spec.parallel,
        })
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
                let part = |start: usize, rows: usize| -> Result<Linear> {
                    let bias = all.bias.as_ref().map(|bias| bias.narrow(0, start * c, rows * c)).transpose()?;
                    Ok(Linear { weight: all.weight.narrow(0, start * c, rows * c)?, bias })
                };
                Ok([part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?])
            }
            Qkv::PerHead(all) => {
                let all = self.linear(&name(all), 3 * heads * c, d, bias)?;
                let part = |which: usize| -> Result<Linear> {
                    let weight = all.weight.reshape((heads, 3, c, d))?.narrow(1, which, 1)?;
                    let bias = match &all.bias {
                        Some(bias) => Some(bias.reshape((heads, 3, c))?.narrow(1, which, 1)?.reshape(heads * c)?),
                        None => None,
                    };
                    Ok(Linear { weight: weight.reshape((heads * c, d))?, bias })
                };
                Ok([part(0)?, part(1)?, part(2)?])
            }
        }
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm> {
        let spec = &self.spec.norm;
        let part =
            |wanted: bool, ending: &str| wanted.then(|| self.tensor(&format!("{name}.{ending}"), &[size])).transpose();
        Ok(Norm {
            kind: spec.kind,
            eps: spec.eps,
            weight: part(spec.affine, "weight")?,
            bias: part(spec.affine && self.spec.biases.norm, "bias")?,
        })
    }

    fn linear(&self, name: &str, out: usize, input: usize, bias: bool) -> Result<Linear> {
        let weight = match self.names.transposed {
            true => self.tensor(&format!("{name}.weight"), &[input, out])?.t()?,
            false => self.tensor(&format!("{name}.weight"), &[out, input])?,
        };
        let bias = bias.then(|| self.tensor(&format!("{name}.bias"), &[out])).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// A weight outside the blocks.
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
        self.source.names().into_iter().filter(|name| !used.contains(name) && !is_buffer(name)).collect()
    }
}
