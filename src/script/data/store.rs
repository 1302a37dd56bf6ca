//! `store(name)` and `load_store(path)`: activations on disk.

use std::cell::Cell;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use candle_core::DType;
use rhai::{Array, Dynamic, INT, Map};

use super::batches::{Items, Reading};
use super::rows::{count, share};
use super::stores::Stores;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::program::source::Sources;
use crate::script::value::Handle;
use crate::script::value::options::{Options, describe};
use crate::script::value::record;
use crate::script::value::record::Record;
use crate::script::value::store::{StoreView, StoreWriter};
use crate::{Result, bail, error};

/// The bytes of a shard if no option sets them: 256 MiB.
const SHARD_BYTES: usize = 256 << 20;

fn create(stores: &Stores, sources: &Sources, name: &str, options: Map) -> Result<StoreWriter> {
    let options = Options::new("store", options, &["shard_bytes", "dtype"])?;
    let shard_bytes = match options.int("shard_bytes")? {
        None => SHARD_BYTES,
        Some(bytes) => usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| error!("store: shard_bytes must be at least 1, not {bytes}"))?,
    };
    let dtype = match options.string("dtype")?.as_deref() {
        None => None,
        Some("f16") => Some(DType::F16),
        Some("bf16") => Some(DType::BF16),
        Some("f32") => Some(DType::F32),
        Some(other) => bail!("store: dtype is one of f16, bf16, f32, not {other:?}"),
    };
    stores.create(sources, name, shard_bytes, dtype)
}

/// The tensors that a script gives `append`.
fn tensors(given: &Dynamic) -> Result<Vec<(String, Handle)>> {
    let Some(map) = record::read(given) else {
        bail!("append takes a map of tensors, not {}", describe(given))
    };
    let tensors = map.into_iter().map(|(name, value)| match value.read_lock::<Handle>() {
        Some(handle) => Ok((name.to_string(), handle.clone())),
        None => Err(error!("append: {name} must be a tensor, not {}", describe(&value))),
    });
    tensors.collect()
}

/// The items that a store does not hold yet.
#[derive(Clone)]
struct Remaining {
    store: StoreWriter,
    items: Items,
    /// Whether a loop has begun to go through them.
    begun: Rc<Cell<bool>>,
}

struct RemainingIter {
    store: StoreWriter,
    items: Reading,
    /// Whether another loop went through the same items, and this one must not.
    again: bool,
}

impl IntoIterator for Remaining {
    type Item = ScriptResult<Dynamic>;
    type IntoIter = RemainingIter;

    fn into_iter(self) -> RemainingIter {
        let again = self.begun.replace(true);
        RemainingIter { items: self.items.read_from(self.store.done()), store: self.store, again }
    }
}

impl Iterator for RemainingIter {
    type Item = ScriptResult<Dynamic>;

    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::take(&mut self.again) {
            let error = error!(
                "the items of remaining(…) are gone through once: each loop would pass over those on disk"
            );
            return Some(Err(error
                .help("one loop over all: the inner of two may go through an array")
                .into()));
        }
        match self.items.next() {
            Some(Ok(item)) => Some(match self.store.begin_item() {
                Ok(()) => Ok(item),
                Err(error) => Err(error.into()),
            }),
            Some(Err(error)) => Some(Err(error)),
            None => self.store.end_item().err().map(|error| Err(error.into())),
        }
    }
}

fn rows(view: &StoreView, from: i64, to: i64) -> Result<Record> {
    let length = i64::try_from(view.row_count()).unwrap_or(i64::MAX);
    let place = |at: i64| if at < 0 { at + length } else { at };
    let (from, to) = (place(from), if to == i64::MAX { length } else { place(to) });
    if from < 0 || from > length || to < from || to > length {
        bail!("the store has {length} rows, and no rows from {from} to {to}");
    }
    let rows = view.rows(from.unsigned_abs(), to.unsigned_abs())?;
    Ok(rows.into_iter().map(|(name, handle)| (name, Dynamic::from(handle))).collect())
}

/// Registers `store`, `load_store`, and what both give. What shares its name with functions of
/// arrays and tensors is declared no less pure than those are: a hook that holds rows or a store is
/// never left out, since these can't be compared.
pub fn install(registry: &mut Registry, stores: &Rc<Stores>, sources: &Sources) {
    let (own, with_options) = (stores.clone(), stores.clone());
    let (own_sources, sources) = (sources.clone(), sources.clone());
    registry
        .declare(
            "store(name, #{shard_bytes, dtype})",
            Purity::Impure("writes files"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "begins a store of activations in the run's directory: rows of tensors in shards of \
            about #{shard_bytes} (256 MiB), each whole or not there; #{dtype: \"bf16\"} casts floats. \
            It is whole when the run ends, or at .close(); a run that is broken off goes on with \
            --resume",
            "let s = store(\"acts\"); s.append(#{x: zeros(2, 3)}); s.append(#{x: ones(1, 3)}); s.len",
            "3",
        )
        .function(move |name: &str| -> ScriptResult<StoreWriter> {
            Ok(create(&own, &own_sources, name, Map::new())?)
        })
        .function(move |name: &str, options: Map| -> ScriptResult<StoreWriter> {
            Ok(create(&with_options, &sources, name, options)?)
        });
    registry.type_name::<StoreWriter>("store");
    registry
        .declare(
            "append(store, tensors)",
            Purity::ChangesReceiver,
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "adds rows along the first dim: a map of tensors with the same first dim, and rows of \
            one shape. Writing goes on beside the script, which waits where the disk is slower",
            "let s = store(\"pairs\"); s.append(#{a: arange(4), b: zeros(4, 2)}); s.len",
            "4",
        )
        .function(|store: &mut StoreWriter, given: Dynamic| -> ScriptResult<()> {
            Ok(store.append(&tensors(&given)?, None)?)
        });
    registry
        .declare("remaining(store, items)", Purity::Impure("reads a file"), OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "what a loop still has to do for a store: all items (rows, batches or an array), and \
            under --resume those whose rows are not on disk",
            "let s = store(\"rest\"); for x in s.remaining([1, 2, 3]) { s.append(#{x: tensor([x])}); } s.len",
            "3",
        )
        .function(|store: &mut StoreWriter, items: Dynamic| -> ScriptResult<Remaining> {
            let items = Items::read("remaining", &items)?;
            store.count_items()?;
            Ok(Remaining { store: store.clone(), items, begun: Rc::default() })
        })
        .iterator::<Remaining, Dynamic>();
    registry.type_name::<Remaining>("remaining items");
    registry
        .declare("close(store)", Purity::Impure("writes files"), OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "writes the rest of a store and its index, as the end of the run does",
            "let s = store(\"closed\"); s.append(#{x: zeros(2)}); s.close(); let said = \"\"; try { s.append(#{x: zeros(1)}); } catch (e) { said = e; } said",
            "the store \"closed\" is closed",
        )
        .function(|store: &mut StoreWriter| -> ScriptResult<()> { Ok(store.close()?) });
    install_view(registry, stores);
}

fn install_view(registry: &mut Registry, stores: &Rc<Stores>) {
    let (own, again) = (stores.clone(), stores.clone());
    registry
        .declare(
            "load_store(path)",
            Purity::Impure("reads a file"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "a finished store, beside the script or below a --read directory; or one of this run, \
            which is closed. Rows are read when they are asked for",
            "let s = store(\"squares\"); s.append(#{x: arange(5) ** 2}); load_store(s)[1..3].x",
            "tensor [2] i64 cpu: [1, 4]",
        )
        .function(move |path: &str| -> ScriptResult<StoreView> { Ok(own.open(path)?) })
        .function(move |store: StoreWriter| -> ScriptResult<StoreView> {
            Ok(again.reopen(&store)?)
        });
    registry.type_name::<StoreView>("rows of a store");
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(|view: &mut StoreView| {
            format!("{} rows of the store {}", view.row_count(), view.store().name())
        })
        .shown(|store: &mut StoreWriter| format!("store {}: {} rows", store.name(), store.rows()));
    registry
        .declare(".keys", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of a store: the names of its tensors",
            "let s = store(\"keyed\"); s.append(#{a: zeros(1), b: zeros(1)}); load_store(s).keys",
            r#"["a", "b"]"#,
        )
        .get(|view: &mut StoreView| -> Array {
            view.store().columns().keys().map(|name| name.clone().into()).collect()
        });
    let length = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    registry
        .declare(".len", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row_for(
            "of a store",
            "how many rows it has",
            "let s = store(\"long\"); s.append(#{a: zeros(7)}); load_store(s).len",
            "7",
        )
        .get(move |view: &mut StoreView| length(view.row_count()))
        .get(move |store: &mut StoreWriter| length(store.rows()));
    registry
        .declare("s[…]", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row_titled(
            "`s[a..b]` of a store",
            "a map of tensors with these rows; `s[i]` of one, without the first dim",
            "let s = store(\"part\"); s.append(#{x: arange(6)}); let d = load_store(s); [d[-2..].x.to_array(), d[0].x.item()]",
            "[[4, 5], 0]",
        )
        .index_get(|view: &mut StoreView, range: Range<INT>| -> ScriptResult<Record> {
            Ok(rows(view, range.start, range.end)?)
        })
        .index_get(|view: &mut StoreView, range: RangeInclusive<INT>| -> ScriptResult<Record> {
            let end = if *range.end() == -1 { i64::MAX } else { range.end().saturating_add(1) };
            Ok(rows(view, *range.start(), end)?)
        })
        .index_get(|view: &mut StoreView, at: INT| -> ScriptResult<Record> {
            let end = if at == -1 { i64::MAX } else { at.saturating_add(1) };
            let one = rows(view, at, end)?;
            let rows = one.map().iter().map(|(name, value)| {
                let handle = value.clone().cast::<Handle>();
                let row = handle.value().map(|t| t.squeeze(0))?;
                Ok((name.to_string(), Dynamic::from(Handle::fresh(row))))
            });
            Ok(rows.collect::<Result<Vec<_>>>()?.into_iter().collect())
        });
    registry
        .declare("shuffled(store, seed)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the rows of a store in an order that belongs to the seed",
            "let s = store(\"mixed\"); s.append(#{x: arange(100)}); let d = load_store(s).shuffled(1); [d[0..100].x.sum().item(), d[0..2].x.to_array() == [0, 1]]",
            "[4950, false]",
        )
        .function(|view: &mut StoreView, seed: i64| -> ScriptResult<StoreView> {
            Ok(view.shuffled(seed.cast_unsigned())?)
        });
    registry
        .declare("take(rows, n)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|view: &mut StoreView, n: i64| -> ScriptResult<StoreView> {
            let n = count("take", n)?;
            Ok(view.select(|all| all.take(n)))
        });
    registry
        .declare("skip(rows, n)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|view: &mut StoreView, n: i64| -> ScriptResult<StoreView> {
            let n = count("skip", n)?;
            Ok(view.select(|all| all.skip(n)))
        });
    registry
        .declare("shard(rows, i, n)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|view: &mut StoreView, i: i64, n: i64| -> ScriptResult<StoreView> {
            let (i, n) = share(i, n)?;
            Ok(view.select(|all| all.shard(i, n)))
        });
}
