//! Stores as scripts hold them: one that is read, and one that is written.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use candle_core::Device;
use safetensors::Dtype;

use super::Handle;
use crate::data::selection::Selection;
use crate::data::store::reader::{Begun, Store};
use crate::data::store::shuffle::Shuffle;
use crate::data::store::writer::{Rows, Writer, column};
use crate::data::store::{Capture, Captured, Column, INDEX, Index, ShardInfo, VERSION};
use crate::output::Run;
use crate::output::format::safetensors::mask_name;
use crate::system::write::write_json;
use crate::tensor::Value;
use crate::{Result, bail, error};

/// The rows of a store, or a selection of them in some order. A clone is the same rows.
#[derive(Clone)]
pub struct StoreView {
    opened: Rc<Opened>,
    order: Option<Shuffle>,
    selection: Selection,
}

struct Opened {
    store: Store,
    /// The row, the batch and the positions of each capture, by the digest of its ids.
    captures: OnceCell<HashMap<String, (u64, u64, u64)>>,
}

impl StoreView {
    /// All rows of a store, in order.
    pub fn new(store: Store) -> Self {
        let opened = Opened { store, captures: OnceCell::new() };
        Self { opened: Rc::new(opened), order: None, selection: Selection::ALL }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.opened.store
    }

    /// These rows, or fewer of them.
    pub fn select(&self, change: impl FnOnce(Selection) -> Selection) -> Self {
        Self { selection: change(self.selection), ..self.clone() }
    }

    /// All rows of the store in the order that belongs to a seed.
    ///
    /// # Errors
    /// Some rows were selected already.
    pub fn shuffled(&self, seed: u64) -> Result<Self> {
        if self.selection != Selection::ALL {
            return Err(error!("shuffled takes a whole store")
                .help("select rows of the shuffled one: s.shuffled(0).take(n)"));
        }
        Ok(Self { order: Some(Shuffle::new(seed, self.store().rows())), ..self.clone() })
    }

    /// How many rows there are.
    pub fn row_count(&self) -> u64 {
        self.selection.len(self.store().rows())
    }

    /// The rows from the place `from` on, and before `to`: tensors by name. Token ids carry their
    /// mask.
    ///
    /// # Errors
    /// The store is broken, or they do not fit in memory.
    pub fn rows(&self, from: u64, to: u64) -> Result<Vec<(String, Handle)>> {
        let place = |k: u64| {
            let place = self.selection.place(k)?;
            Some(self.order.map_or(place, |order| order.at(place)))
        };
        let places: Option<Vec<u64>> = (from..to.max(from)).map(place).collect();
        let places = places.ok_or_else(|| error!("the store has {} rows", self.row_count()))?;
        let mut values = self.store().read(&places, None)?;
        let names: Vec<String> = values.keys().cloned().collect();
        let mut rows = Vec::new();
        for name in names {
            if name.strip_suffix(".mask").is_some_and(|of| self.store().columns().contains_key(of))
            {
                continue;
            }
            let mask = values.remove(&mask_name(&name));
            let Some(value) = values.remove(&name) else { continue };
            let handle = Handle::fresh(value);
            rows.push((
                name,
                match mask {
                    Some(mask) => handle.with_mask(Handle::fresh(mask)),
                    None => handle,
                },
            ));
        }
        Ok(rows)
    }

    /// The row at which the capture of some token ids begins, and the size of its batch and the
    /// number of positions; nothing if the store has none.
    pub fn capture(&self, ids: &str) -> Option<(u64, u64, u64)> {
        let captures = self.opened.captures.get_or_init(|| {
            let entry =
                |(row, of): (u64, &Capture)| (of.ids.clone(), (row, of.batch, of.positions));
            self.store().captures().map(entry).collect()
        });
        captures.get(ids).copied()
    }
}

/// A store that a run writes. A clone is the same store.
#[derive(Clone)]
pub struct StoreWriter(Rc<Written>);

struct Written {
    run: Rc<Run>,
    name: String,
    /// None once the store is closed.
    writer: RefCell<Option<Writer>>,
    /// The dtype that floats are stored in, if one was asked for.
    cast: Option<Dtype>,
    columns: RefCell<BTreeMap<String, Column>>,
    captured: RefCell<Option<Captured>>,
    shards: RefCell<Vec<ShardInfo>>,
    /// How many units were on disk when the store was opened, and how many have come since the run
    /// began, those among them.
    done: u64,
    units: Cell<u64>,
    /// How many rows have come, those that are on disk among them.
    rows: Cell<u64>,
    /// What is appended for the item under way of what [`StoreWriter::begin_item`] counts.
    item: RefCell<Option<Vec<Rows>>>,
    has_items: Cell<bool>,
    passing: Rc<Cell<bool>>,
}

impl StoreWriter {
    /// A store called `name` in the directory of a run, which goes on with what is there. `passing`,
    /// which the run's stores share, says whether a loop passes over items that are on disk.
    pub fn new(
        run: Rc<Run>,
        name: &str,
        begun: Begun,
        writer: Writer,
        cast: Option<Dtype>,
        passing: Rc<Cell<bool>>,
    ) -> Self {
        let done = begun.shards.iter().map(|shard| shard.units).sum();
        let rows = begun.shards.iter().map(|shard| shard.rows).sum();
        Self(Rc::new(Written {
            run,
            name: name.into(),
            writer: RefCell::new(Some(writer)),
            cast,
            columns: RefCell::new(begun.columns),
            captured: RefCell::new(begun.captured),
            shards: RefCell::new(begun.shards),
            done,
            units: Cell::new(0),
            rows: Cell::new(rows),
            item: RefCell::new(None),
            has_items: Cell::new(false),
            passing,
        }))
    }

    /// Its name in the run's directory.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.0.rows.get()
    }

    /// How many units of work were on disk when the store was opened.
    pub fn done(&self) -> u64 {
        self.0.done
    }

    /// Begins to count the items that a loop goes through as units, of which those on disk are
    /// passed over.
    ///
    /// # Errors
    /// Something was appended before.
    pub fn count_items(&self) -> Result<()> {
        let own = &self.0;
        if own.units.get() > 0 || own.has_items.get() {
            bail!("remaining: call it once, before anything is appended to the store");
        }
        own.has_items.set(true);
        own.units.set(own.done);
        own.passing.set(own.passing.get() || own.done > 0);
        Ok(())
    }

    /// Ends the item before, whose rows are then written together, and begins another.
    ///
    /// # Errors
    /// The rows can't be written.
    pub fn begin_item(&self) -> Result<()> {
        self.end_item()?;
        *self.0.item.borrow_mut() = Some(Vec::new());
        Ok(())
    }

    /// Ends the item under way.
    ///
    /// # Errors
    /// The rows can't be written.
    pub fn end_item(&self) -> Result<()> {
        match self.0.item.take() {
            Some(unit) => self.push(unit),
            None => Ok(()),
        }
    }

    /// Appends rows: tensors with the same first dim.
    ///
    /// # Errors
    /// The tensors do not fit each other or the rows before; or they can't be written.
    pub fn append(
        &self,
        tensors: &[(String, Handle)],
        capture: Option<(Capture, Captured)>,
    ) -> Result<()> {
        let own = &self.0;
        if own.writer.borrow().is_none() {
            bail!("the store {:?} is closed", own.name);
        }
        if capture.is_some() && own.cast.is_some() {
            return Err(error!(
                "a store that casts floats can't give a capture back bit for bit: {:?} does",
                own.name
            )
            .help("append what m.capture gives, or leave out #{dtype}"));
        }
        let mut values = BTreeMap::new();
        for (name, handle) in tensors {
            if let Some(mask) = handle.mask() {
                values.insert(mask_name(name), mask.lend().map(|t| t.to_device(&Device::Cpu))?);
            }
            values.insert(name.clone(), handle.lend().map(|t| t.to_device(&Device::Cpu))?);
        }
        let rows = self.check(&values)?;
        if let Some((_, captured)) = &capture {
            let mut known = own.captured.borrow_mut();
            if known.get_or_insert_with(|| captured.clone()) != captured {
                return Err(error!("the store {:?} has captures of another model, or of other points or layers", own.name)
                    .help("a store holds captures of one model and the same points: give the others a store of their own"));
            }
        }
        let unit = Rows { tensors: values, capture };
        if own.has_items.get() {
            return match &mut *own.item.borrow_mut() {
                Some(item) => {
                    item.push(unit);
                    own.rows.set(own.rows.get() + rows);
                    Ok(())
                }
                None => {
                    bail!("append to the store {:?} within the loop over remaining(…)", own.name)
                }
            };
        }
        if own.done > 0 && own.passing.get() {
            return Err(error!("the store {:?} can't be gone on with: a loop over remaining(…) of another store passes over items, whose rows it would miss", own.name)
                .help("append to one store in that loop, or loop over all items"));
        }
        if own.units.get() >= own.done {
            own.rows.set(own.rows.get() + rows);
        }
        self.push(vec![unit])
    }

    /// Checks rows against each other and those before, and returns how many they are.
    fn check(&self, values: &BTreeMap<String, Value>) -> Result<u64> {
        let name = &self.0.name;
        let Some((first, value)) = values.first_key_value() else {
            bail!("append: a map of tensors is needed, and it is empty")
        };
        let mut columns = BTreeMap::new();
        for (key, value) in values {
            let mut column = column(value).map_err(|e| e.at(key))?;
            let is_float =
                matches!(column.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64);
            column.dtype = self.0.cast.filter(|_| is_float).unwrap_or(column.dtype);
            columns.insert(key.clone(), column);
        }
        let rows = value.dims()[0];
        if let Some((other, value)) = values.iter().find(|(_, value)| value.dims()[0] != rows) {
            bail!("append: {first} has {rows} rows, and {other} has {}", value.dims()[0]);
        }
        let mut known = self.0.columns.borrow_mut();
        if known.is_empty() {
            *known = columns;
            return Ok(rows as u64);
        }
        if !known.keys().eq(columns.keys()) {
            let names = |columns: &BTreeMap<String, Column>| {
                columns.keys().cloned().collect::<Vec<_>>().join(", ")
            };
            bail!(
                "the store {name:?} has rows of {}, and these are of {}",
                names(&known),
                names(&columns)
            );
        }
        for (key, column) in &columns {
            if known[key].dtype != column.dtype {
                let (had, has) = (known[key].dtype, column.dtype);
                bail!("{key}: the store {name:?} has rows of {had:?}, and these are of {has:?}");
            }
            if known[key].shape != column.shape {
                bail!(
                    "{key}: the store {name:?} has rows {:?}, and these are {:?}",
                    known[key].shape,
                    column.shape
                );
            }
        }
        Ok(rows as u64)
    }

    /// Gives a unit to what writes it, unless it is on disk.
    fn push(&self, unit: Vec<Rows>) -> Result<()> {
        let own = &self.0;
        own.units.set(own.units.get() + 1);
        if own.units.get() <= own.done {
            return Ok(());
        }
        let bytes = |rows: &Rows| {
            rows.tensors
                .values()
                .flat_map(Value::parts)
                .map(|t| t.elem_count() * t.dtype().size_in_bytes())
                .sum::<usize>()
        };
        own.run.charge(unit.iter().map(bytes).sum())?;
        let writer = own.writer.borrow();
        let Some(writer) = &*writer else { bail!("the store {:?} is closed", own.name) };
        writer.push(unit).map_err(|e| if e.ends_the_run() { e } else { e.at(&own.name) })?;
        self.note(writer.written())
    }

    fn note(&self, written: Vec<ShardInfo>) -> Result<()> {
        let count = written.len();
        self.0.shards.borrow_mut().extend(written);
        if count == 0 { Ok(()) } else { self.0.run.count_files(count) }
    }

    /// Writes what has come, and the index that makes the store whole. Does nothing to a store that
    /// is closed.
    ///
    /// # Errors
    /// It can't be written.
    pub fn close(&self) -> Result<()> {
        let own = &self.0;
        self.end_item()?;
        let Some(writer) = own.writer.take() else { return Ok(()) };
        self.note(writer.finish().map_err(|e| e.at(&own.name))?)?;
        let shards = own.shards.borrow().clone();
        let rows = shards.iter().map(|shard| shard.rows).sum();
        let columns = own.columns.borrow().clone();
        let index = Index {
            store: VERSION,
            rows,
            columns,
            captured: own.captured.borrow().clone(),
            shards,
        };
        let json = serde_json::to_value(&index).map_err(|e| error!("{e}"))?;
        own.run.write(&format!("{}/{INDEX}", own.name), |to| write_json(to, &json))?;
        Ok(())
    }

    /// Drops what is not in a shard yet.
    pub fn abandon(&self) {
        self.0.writer.take();
    }
}
