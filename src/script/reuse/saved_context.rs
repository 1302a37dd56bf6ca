//! A context's entries as they were at a boundary, so that they can be restored into the context of
//! a later pass. Identity is restored too: a tensor that the context, or the script, held before
//! the pass is the same tensor again.

use std::collections::BTreeMap;

use rhai::{Array, Dynamic, Map};

use crate::Result;
use crate::script::hook::context::Context;
use crate::script::value::Handle;
use crate::script::value::frozen::Frozen;
use crate::script::value::model::Model;
use crate::script::value::plain::plain;
use crate::script::value::record;
use crate::script::value::record::Record;
use crate::tensor::Value;

/// A copy of the entries that hooks had put into a context.
pub struct SavedContext {
    entries: BTreeMap<String, SavedValue>,
    /// The values of the tensors, by number. First come those that existed before the pass, with
    /// `None` for one that had not been written to.
    tensors: Vec<Option<Frozen>>,
    /// For each tensor of token ids with a mask, the numbers of both.
    masks: Vec<(usize, usize)>,
}

/// A copy of one value.
enum SavedValue {
    Plain(Dynamic),
    /// The number of the tensor.
    Tensor(usize),
    Array(Vec<SavedValue>),
    Map(BTreeMap<String, SavedValue>),
    Record(BTreeMap<String, SavedValue>),
}

/// The tensors that a context held before a pass, with their versions then.
#[derive(Default)]
pub struct TensorsBefore {
    /// The tensors, in the order of their numbers.
    pub handles: Vec<Handle>,
    versions: Vec<u64>,
}

impl TensorsBefore {
    /// Notes the versions of `handles`.
    pub fn new(handles: Vec<Handle>) -> Self {
        Self { versions: handles.iter().map(Handle::version).collect(), handles }
    }
}

impl SavedContext {
    /// Copies the entries that `context` holds now. `None` if they can't be restored: one of them
    /// is, or holds, one of `others`, which belong to the script or the pass, or something other
    /// than data. Adds to `frozen` the tensors whose writes are recorded from now on.
    pub fn of(
        context: &Context,
        before: &TensorsBefore,
        others: &[Handle],
        frozen: &mut Vec<Handle>,
    ) -> Option<Self> {
        let mut handles = before.handles.clone();
        let entries = context.own_entries().into_iter();
        let entries = entries.map(|(key, value)| Some((key, node(&value, &mut handles, others)?)));
        let entries = entries.collect::<Option<BTreeMap<_, _>>>()?;
        let mut masks = Vec::new();
        for at in 0..handles.len() {
            if let Some(mask) = handles[at].mask() {
                masks.push((at, number(&mask, &mut handles, others)?));
            }
        }
        let tensors =
            handles.iter().enumerate().map(|(at, handle)| match before.versions.get(at) {
                Some(version) if *version == handle.version() => None,
                _ => {
                    frozen.push(handle.clone());
                    Some(handle.freeze())
                }
            });
        Some(Self { tensors: tensors.collect(), masks, entries })
    }

    /// Restores the entries into the context of a pass that started with the same entries.
    ///
    /// # Errors
    /// Out of memory.
    pub fn restore(
        &self,
        context: &Context,
        before: &TensorsBefore,
        frozen: &mut Vec<Handle>,
    ) -> Result<()> {
        let mut handles = before.handles.clone();
        for (at, kept) in self.tensors.iter().enumerate() {
            match (handles.get(at), kept) {
                (Some(handle), Some(kept)) => handle.restore(kept)?,
                (None, Some(kept)) => handles.push(Handle::thawed(kept)?),
                (_, None) => {}
            }
        }
        for &(ids, mask) in &self.masks {
            handles[ids].clone().with_mask(handles[mask].clone());
        }
        frozen.extend(handles.iter().cloned());
        context.set_own_entries(
            self.entries.iter().map(|(key, node)| (key.clone(), value(node, &handles))).collect(),
        );
        Ok(())
    }

    /// Every tensor value that the copy holds, for counting its memory.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        self.tensors.iter().flatten().flat_map(Frozen::values).cloned()
    }
}

/// The copy of a value; `None` if it can't be restored.
fn node(of: &Dynamic, handles: &mut Vec<Handle>, others: &[Handle]) -> Option<SavedValue> {
    if of.is_shared() {
        return None;
    }
    if let Some(handle) = of.read_lock::<Handle>() {
        return number(&handle, handles, others).map(SavedValue::Tensor);
    }
    if let Some(array) = of.read_lock::<Array>() {
        return Some(SavedValue::Array(
            array.iter().map(|item| node(item, handles, others)).collect::<Option<_>>()?,
        ));
    }
    if let Some(map) = record::read(of) {
        let entries =
            map.iter().map(|(key, item)| Some((key.to_string(), node(item, handles, others)?)));
        let kind = if of.is::<Record>() { SavedValue::Record } else { SavedValue::Map };
        return Some(kind(entries.collect::<Option<_>>()?));
    }
    (plain(of).is_some() || of.read_lock::<Model>().is_some())
        .then(|| SavedValue::Plain(of.clone()))
}

/// The number of a tensor, which is added to `handles` if it is new; `None` if it is one of
/// `others`.
fn number(of: &Handle, handles: &mut Vec<Handle>, others: &[Handle]) -> Option<usize> {
    if others.iter().any(|other| other.same(of)) {
        return None;
    }
    if let Some(at) = handles.iter().position(|known| known.same(of)) {
        return Some(at);
    }
    handles.push(of.clone());
    Some(handles.len() - 1)
}

fn value(node: &SavedValue, handles: &[Handle]) -> Dynamic {
    match node {
        SavedValue::Plain(value) => value.clone(),
        SavedValue::Tensor(at) => Dynamic::from(handles[*at].clone()),
        SavedValue::Array(items) => {
            items.iter().map(|item| value(item, handles)).collect::<Array>().into()
        }
        SavedValue::Record(entries) => Dynamic::from(
            entries.iter().map(|(key, item)| (key, value(item, handles))).collect::<Record>(),
        ),
        SavedValue::Map(entries) => entries
            .iter()
            .map(|(key, item)| (key.into(), value(item, handles)))
            .collect::<Map>()
            .into(),
    }
}
