//! A decoder with other weights: tensors in the place of some of the checkpoint's. It shares all
//! others with the decoder that it was made from.
//!
//! A tensor may be *tracked*: a variable, or computed from one, so that gradients reach it. An
//! optimiser writes a variable's elements in place. What a decoder computes with is therefore made
//! of tracked tensors anew in every pass; what it makes of others is made once.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Tensor};

use super::checkpoint_layout::CheckpointLayout;
use super::loader::{CheckpointNames, Role, Stored, Weights, replaced};
use crate::kernel::differentiable::is_without_graph;
use crate::kernel::moved;
use crate::model::Decoder;
use crate::model::decoder::Options;
use crate::model::family::Initial;
use crate::tensor::Kind;
use crate::{Result, bail, error};

/// Tensors in the place of the checkpoint's, by the checkpoint's names.
#[derive(Clone, Default)]
pub struct Changes {
    /// All of them, as they were given.
    pub(in crate::model) all: BTreeMap<String, Tensor>,
    /// Those that are tracked.
    pub(in crate::model) tracked: HashMap<String, Tensor>,
}

impl Decoder {
    /// The decoder with `tensors` in the place of the checkpoint's tensors of those names. A tied
    /// weight that the checkpoint stores under two names changes under both.
    ///
    /// # Errors
    /// The decoder does not compute with a tensor of such a name; a tensor has another shape than
    /// the checkpoint's, is not of a float dtype or is on another device; the two names of a tied
    /// weight get different tensors.
    pub fn with_weights(&self, tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        let mut changes = self.changes.clone();
        let mut fresh = HashMap::new();
        for (name, tensor) in self.with_ties(tensors)? {
            self.check_change(&name, &tensor)?;
            changes.tracked.remove(&name);
            match tensor.track_op() {
                true => changes.tracked.insert(name.clone(), tensor.clone()),
                false => fresh.insert(name.clone(), tensor.clone()),
            };
            changes.all.insert(name, tensor);
        }
        if !changes.tracked.is_empty() && self.is_offloaded() {
            return Err(error!(
                "the blocks of this model stay in host memory, so its weights can't be variables"
            )
            .help("a model that fits the device can be trained; --dtype bf16 halves it"));
        }
        let stored = self.stored_with(&fresh, self.dtype)?;
        Ok(Self { stored, changes, ..self.clone() })
    }

    /// The tensor in the place of the checkpoint's of this name, as it was given.
    pub fn changed_weight(&self, name: &str) -> Option<&Tensor> {
        self.changes.all.get(name)
    }

    /// The tensors in the place of the checkpoint's, by name, as they were given.
    pub fn changed_weights(&self) -> &BTreeMap<String, Tensor> {
        &self.changes.all
    }

    /// Whether weights are variables or computed from some, so that they may differ in the next
    /// pass, and a pass builds a graph for gradients.
    pub fn has_variables(&self) -> bool {
        !self.changes.tracked.is_empty()
    }

    /// The decoder with the values that its variables have now, outside of any graph. Nothing is
    /// copied: what is a view of a variable changes with it.
    ///
    /// # Errors
    /// candle's.
    pub fn detached(&self) -> Result<Cow<'_, Self>> {
        if !self.has_variables() {
            return Ok(Cow::Borrowed(self));
        }
        let detached = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.detach());
        let fresh: HashMap<String, Tensor> = self.changes.tracked.iter().map(detached).collect();
        let mut changes = Changes { all: self.changes.all.clone(), tracked: HashMap::new() };
        changes.all.extend(fresh.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
        let stored = self.stored_with(&fresh, self.dtype)?;
        Ok(Cow::Owned(Self { stored, changes, ..self.clone() }))
    }

    /// The weights of a pass that begins now.
    ///
    /// # Errors
    /// candle's.
    pub(in crate::model) fn weights(&self) -> Result<Cow<'_, Weights>> {
        if !self.has_variables() {
            return Ok(Cow::Borrowed(&self.stored));
        }
        self.check_computed()?;
        let dtype = self.dtype_of_pass(&Options::default());
        let tracked = &self.changes.tracked;
        Ok(Cow::Owned(match is_without_graph() {
            true => {
                let detach = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.detach());
                self.stored_with(&tracked.iter().map(detach).collect(), dtype)?
            }
            false => self.stored_with(tracked, dtype)?,
        }))
    }

    /// Checks that what was computed from variables still is what it would be computed to.
    fn check_computed(&self) -> Result<()> {
        for (name, tensor) in &self.changes.tracked {
            if moved::since(tensor).is_some() {
                return Err(error!("{name} of this model was computed from a variable that has moved since").help(
                    "call with_weights again in each round; a variable that stands in a weight's place itself needs that not",
                ));
            }
        }
        Ok(())
    }

    /// The checkpoint's name of a tensor that another checkpoint of the model may have under another
    /// prefix, or the unembedding under another name. Nothing if the decoder does not compute with
    /// it.
    pub fn stored_name(&self, name: &str) -> Option<String> {
        let CheckpointNames { layout: CheckpointLayout { prefix, heads }, used, .. } =
            &*self.stored.names;
        let without = |of: &&str| name.strip_prefix(*of);
        let prefixes = self.names.prefixes.iter().filter_map(without);
        let with_prefix = prefixes.map(|rest| format!("{prefix}{rest}"));
        let stem =
            |head: &String| name.strip_prefix(&**head).and_then(|rest| rest.strip_prefix('.'));
        let of_head = heads.iter().find_map(stem).into_iter();
        let as_head =
            of_head.flat_map(|rest| heads.iter().map(move |head| format!("{head}.{rest}")));
        std::iter::once(name.to_owned())
            .chain(with_prefix)
            .chain(as_head)
            .find(|name| used.contains_key(name))
    }

    /// The name that a tensor of this checkpoint has in most checkpoints of its family.
    pub fn usual_name(&self, stored: &str) -> String {
        match stored.strip_prefix(&*self.stored.names.layout.prefix) {
            Some(rest) if !self.is_unembedding(stored) => {
                format!("{}{rest}", self.names.prefixes[0])
            }
            _ => stored.to_owned(),
        }
    }

    /// Whether a tensor of the checkpoint belongs to the unembedding.
    pub fn is_unembedding(&self, name: &str) -> bool {
        let ends =
            |head: &String| name.strip_prefix(&**head).is_some_and(|rest| rest.starts_with('.'));
        self.stored.names.layout.heads.iter().any(ends)
    }

    /// Whether the checkpoint's matrices are [in, out].
    pub fn stores_input_first(&self) -> bool {
        self.names.transposed
    }

    /// How the family draws its weights before training.
    pub fn initial(&self) -> Initial {
        self.names.initial
    }

    fn stored_with(&self, source: &HashMap<String, Tensor>, dtype: DType) -> Result<Weights> {
        if source.is_empty() {
            return Ok(self.stored.clone());
        }
        replaced(&self.stored, &self.spec, &self.names, source, dtype, &self.device)
    }

    /// The tensors, and for one end of a tied weight the other end's name too.
    fn with_ties(&self, mut tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let ends = self.ends();
        let given: Vec<(&String, &Tensor)> =
            tensors.iter().filter(|(name, _)| ends.contains(name)).collect();
        let Some(&(first, tensor)) = given.first() else { return Ok(tensors) };
        if let Some((other, _)) = given.iter().find(|(_, other)| other.id() != tensor.id()) {
            bail!(
                "{first} and {other} are one tied weight, and can't become two different tensors"
            );
        }
        let tensor = tensor.clone();
        let ends: Vec<String> = ends.into_iter().cloned().collect();
        tensors.extend(ends.into_iter().map(|name| (name, tensor.clone())));
        Ok(tensors)
    }

    /// The names under which the checkpoint stores the token embeddings, which in a tied model may
    /// be two.
    fn ends(&self) -> Vec<&String> {
        let used = &self.stored.names.used;
        used.iter().filter(|(_, it)| it.role == Role::TokenEmbeddings).map(|it| it.0).collect()
    }

    fn check_change(&self, name: &str, tensor: &Tensor) -> Result<()> {
        let Some(Stored { shape, .. }) = self.stored.names.used.get(name) else {
            bail!("the model does not compute with a weight {name:?}")
        };
        if !Kind::from_candle(tensor.dtype()).is_float() {
            bail!("{name}: a weight is of a float dtype, not {}", tensor.dtype().as_str());
        }
        if tensor.dims() != shape {
            bail!("{name}: the weight is {shape:?}, and the tensor {:?}", tensor.dims());
        }
        if !tensor.device().same_device(&self.device) {
            let name_of = crate::tensor::device::name;
            let (here, there) = (name_of(tensor.device()), name_of(&self.device));
            return Err(error!("{name}: the tensor is on {here}, and the model on {there}")
                .help(format!("w.to({there:?})")));
        }
        Ok(())
    }
}
