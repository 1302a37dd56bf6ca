//! A context as it stood at a boundary, so that it can be put back: not only what it holds, but
//! which of its tensors are those that it, or the script, held before the pass.

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

/// What the context's own keys held.
pub struct Saved {
    entries: BTreeMap<String, Node>,
    /// Of each tensor its value: first those that were there before the pass, nothing where they
    /// are as they were.
    tensors: Vec<Option<Frozen>>,
    /// Of those that are token ids with a mask: their numbers, and their masks'.
    masks: Vec<(usize, usize)>,
}

enum Node {
    Plain(Dynamic),
    /// By its number.
    Tensor(usize),
    Array(Vec<Node>),
    Map(BTreeMap<String, Node>),
    Record(BTreeMap<String, Node>),
}

/// The tensors that a context held before a pass, and how often each had been written to.
#[derive(Default)]
pub struct Before {
    pub handles: Vec<Handle>,
    versions: Vec<u64>,
}

impl Before {
    pub fn new(handles: Vec<Handle>) -> Self {
        Self { versions: handles.iter().map(Handle::version).collect(), handles }
    }
}

impl Saved {
    /// What the context holds now; nothing where that can't be put back: it holds one of `others`,
    /// which belong to the script or the pass, or something that is no data.
    pub fn of(
        context: &Context,
        before: &Before,
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

    /// Puts it back into a context that holds what that one held before its pass.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn restore(
        &self,
        context: &Context,
        before: &Before,
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

    /// Every value that is held for it.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        self.tensors.iter().flatten().flat_map(Frozen::values).cloned()
    }
}

fn node(of: &Dynamic, handles: &mut Vec<Handle>, others: &[Handle]) -> Option<Node> {
    if of.is_shared() {
        return None;
    }
    if let Some(handle) = of.read_lock::<Handle>() {
        return number(&handle, handles, others).map(Node::Tensor);
    }
    if let Some(array) = of.read_lock::<Array>() {
        return Some(Node::Array(
            array.iter().map(|item| node(item, handles, others)).collect::<Option<_>>()?,
        ));
    }
    if let Some(map) = record::read(of) {
        let entries =
            map.iter().map(|(key, item)| Some((key.to_string(), node(item, handles, others)?)));
        let kind = if of.is::<Record>() { Node::Record } else { Node::Map };
        return Some(kind(entries.collect::<Option<_>>()?));
    }
    (plain(of).is_some() || of.read_lock::<Model>().is_some()).then(|| Node::Plain(of.clone()))
}

/// The tensor's number among `handles`, to which it is added; nothing where it is one of `others`.
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

fn value(node: &Node, handles: &[Handle]) -> Dynamic {
    match node {
        Node::Plain(value) => value.clone(),
        Node::Tensor(at) => Dynamic::from(handles[*at].clone()),
        Node::Array(items) => {
            items.iter().map(|item| value(item, handles)).collect::<Array>().into()
        }
        Node::Record(entries) => Dynamic::from(
            entries.iter().map(|(key, item)| (key, value(item, handles))).collect::<Record>(),
        ),
        Node::Map(entries) => entries
            .iter()
            .map(|(key, item)| (key.into(), value(item, handles)))
            .collect::<Map>()
            .into(),
    }
}
