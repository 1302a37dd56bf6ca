//! `batches(rows, size)`, and what sequences that are read as they go have in common: `.len`,
//! `.take(n)`, `.skip(n)`, `.shard(i, n)`.

use std::rc::Rc;

use rhai::{Array, Dynamic};

use super::rows::{RecordIter, Rows, count, length, share};
use crate::data::selection::Selection;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::options::describe;
use crate::script::value::record::Record;
use crate::script::value::store::StoreView;
use crate::{Result, error};

/// A sequence that is read as it goes.
#[derive(Clone)]
pub enum Items {
    /// The rows of a file.
    Rows(Rows),
    /// The elements of an array.
    Array(Array),
    /// Batches.
    Batches(Rc<Batches>),
}

/// A sequence in the course of being read.
pub enum Reading {
    /// The rows of a file.
    Rows(RecordIter),
    /// The elements of an array.
    Array(std::vec::IntoIter<Dynamic>),
    /// Batches.
    Batches(Box<BatchIter>),
}

impl Items {
    /// The items that a script gives to the function `call`.
    pub fn read(call: &str, items: &Dynamic) -> Result<Self> {
        if let Some(rows) = items.read_lock::<Rows>() {
            return Ok(Items::Rows(rows.clone()));
        }
        if let Some(array) = items.read_lock::<Array>() {
            return Ok(Items::Array(array.clone()));
        }
        match items.read_lock::<Batches>() {
            Some(batches) => Ok(Items::Batches(Rc::new(batches.clone()))),
            None => Err(error!("{call} takes rows, batches or an array, not {}", describe(items))),
        }
    }

    /// How many there are, if that is known.
    fn len(&self) -> Result<Option<u64>> {
        match self {
            Items::Rows(rows) => rows.len(),
            Items::Array(array) => Ok(Some(array.len() as u64)),
            Items::Batches(batches) => batches.len(),
        }
    }

    /// Begins to read at the item `from`.
    pub fn read_from(&self, from: u64) -> Reading {
        match self {
            Items::Rows(rows) => Reading::Rows(rows.select(|all| all.skip(from)).into_iter()),
            Items::Array(array) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(array.len());
                Reading::Array(array.clone().split_off(from).into_iter())
            }
            Items::Batches(batches) => {
                Reading::Batches(Box::new(batches.select(|all| all.skip(from)).into_iter()))
            }
        }
    }
}

impl Iterator for Reading {
    type Item = ScriptResult<Dynamic>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Reading::Rows(rows) => Some(rows.next()?.map(Dynamic::from)),
            Reading::Array(items) => items.next().map(Ok),
            Reading::Batches(batches) => batches.next(),
        }
    }
}

/// Consecutive items, so many at a time: arrays of rows or elements, maps of the tensors of a store.
/// A clone reads them anew.
#[derive(Clone)]
pub struct Batches {
    of: Batched,
    size: u64,
    selection: Selection,
}

#[derive(Clone)]
enum Batched {
    Items(Items),
    Store(StoreView),
}

impl Batches {
    fn new(items: &Dynamic, size: i64) -> Result<Self> {
        let size = u64::try_from(size)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| error!("batches: a batch has at least 1 row, not {size}"))?;
        let of = match items.read_lock::<StoreView>() {
            Some(store) => Batched::Store(store.clone()),
            None => Batched::Items(Items::read("batches", items)?),
        };
        Ok(Self { of, size, selection: Selection::ALL })
    }

    fn select(&self, change: impl FnOnce(Selection) -> Selection) -> Self {
        Self { selection: change(self.selection), ..self.clone() }
    }

    fn len(&self) -> Result<Option<u64>> {
        let items = match &self.of {
            Batched::Items(items) => items.len()?,
            Batched::Store(store) => Some(store.row_count()),
        };
        Ok(items.map(|items| self.selection.len(items.div_ceil(self.size))))
    }
}

/// Reads batches, one after the other.
pub struct BatchIter {
    batches: Batches,
    /// The items that are read, from the one at `at` on.
    reading: Option<Reading>,
    at: u64,
    given: u64,
    ended: bool,
}

impl BatchIter {
    /// The rows of a store from `from` on.
    fn stored(&self, store: &StoreView, from: u64) -> Result<Option<Dynamic>> {
        let to = from.saturating_add(self.batches.size).min(store.row_count());
        if from >= to {
            return Ok(None);
        }
        let tensor = |(name, handle)| (name, Dynamic::from::<Handle>(handle));
        let rows: Record = store.rows(from, to)?.into_iter().map(tensor).collect();
        Ok(Some(Dynamic::from(rows)))
    }

    /// The items from `from` on.
    fn collected(&mut self, items: &Items, from: u64) -> ScriptResult<Option<Dynamic>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => {
                self.at = from;
                items.read_from(from)
            }
        };
        for _ in self.at..from {
            if reading.next().transpose()?.is_none() {
                return Ok(None);
            }
        }
        let size = usize::try_from(self.batches.size).unwrap_or(usize::MAX);
        let batch = reading.by_ref().take(size).collect::<ScriptResult<Array>>()?;
        if batch.is_empty() {
            return Ok(None);
        }
        (self.at, self.reading) = (from + batch.len() as u64, Some(reading));
        Ok(Some(batch.into()))
    }
}

impl Iterator for BatchIter {
    type Item = ScriptResult<Dynamic>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let from = self.batches.selection.place(self.given)?.checked_mul(self.batches.size)?;
        let batch = match self.batches.of.clone() {
            Batched::Store(store) => self.stored(&store, from).map_err(Into::into),
            Batched::Items(items) => self.collected(&items, from),
        };
        self.given += 1;
        let batch = batch.transpose();
        // Nothing comes after what can't be read.
        self.ended = !matches!(batch, Some(Ok(_)));
        batch
    }
}

impl IntoIterator for Batches {
    type Item = ScriptResult<Dynamic>;
    type IntoIter = BatchIter;

    fn into_iter(self) -> BatchIter {
        BatchIter { batches: self, reading: None, at: 0, given: 0, ended: false }
    }
}

/// Registers `batches`, and the parts of sequences.
pub fn install(registry: &mut Registry) {
    registry
        .declare("batches(rows, size)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "arrays of so many rows each, read as a loop goes through them; the last may have fewer. \
            Of a store's rows, maps of tensors",
            "let sizes = []; for batch in batches([1, 2, 3, 4, 5], 2) { sizes.push(batch.len()); } sizes",
            "[2, 2, 1]",
        )
        .function(|rows: Dynamic, size: i64| -> ScriptResult<Batches> { Ok(Batches::new(&rows, size)?) })
        .iterator::<Batches, Dynamic>();
    registry.type_name::<Batches>("batches");
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(|batches: &mut Batches| format!("batches of {}", batches.size));
    registry
        .declare(".len", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row_for(
            "of rows",
            "how many there are, where that is known without reading them: of Parquet and of arrays; else ()",
            "batches([1, 2, 3], 2).len",
            "2",
        )
        .get(|rows: &mut Rows| -> ScriptResult<Dynamic> { Ok(length(rows.len()?)) })
        .get(|batches: &mut Batches| -> ScriptResult<Dynamic> { Ok(length(batches.len()?)) });
    registry
        .declare("take(rows, n)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of rows or batches: the first n",
            "let all = []; for batch in batches([1, 2, 3, 4], 1).take(2) { all += batch; } all",
            "[1, 2]",
        )
        .function(|rows: &mut Rows, n: i64| -> ScriptResult<Rows> {
            let n = count("take", n)?;
            Ok(rows.select(|all| all.take(n)))
        })
        .function(|batches: &mut Batches, n: i64| -> ScriptResult<Batches> {
            let n = count("take", n)?;
            Ok(batches.select(|all| all.take(n)))
        });
    registry
        .declare("skip(rows, n)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of rows or batches: those after the first n",
            "let all = []; for batch in batches([1, 2, 3, 4], 1).skip(3) { all += batch; } all",
            "[4]",
        )
        .function(|rows: &mut Rows, n: i64| -> ScriptResult<Rows> {
            let n = count("skip", n)?;
            Ok(rows.select(|all| all.skip(n)))
        })
        .function(|batches: &mut Batches, n: i64| -> ScriptResult<Batches> {
            let n = count("skip", n)?;
            Ok(batches.select(|all| all.skip(n)))
        });
    registry
        .declare("shard(rows, i, n)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of rows or batches: every n-th from the i-th on, the share i of n",
            "let all = []; for batch in batches([1, 2, 3, 4], 1).shard(1, 2) { all += batch; } all",
            "[2, 4]",
        )
        .function(|rows: &mut Rows, i: i64, n: i64| -> ScriptResult<Rows> {
            let (i, n) = share(i, n)?;
            Ok(rows.select(|all| all.shard(i, n)))
        })
        .function(|batches: &mut Batches, i: i64, n: i64| -> ScriptResult<Batches> {
            let (i, n) = share(i, n)?;
            Ok(batches.select(|all| all.shard(i, n)))
        });
}
