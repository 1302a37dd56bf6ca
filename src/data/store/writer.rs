//! Writing a store on a thread of its own, beside what computes the rows.
//!
//! What is appended waits in a queue of bounded size, so that a disk that is slower than the passes
//! slows them down and nothing is lost. A shard is written when enough rows have come, at the end of
//! a unit, under a temporary name, and renamed when it is whole.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use candle_core::DType;
use cap_std::fs::Dir;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

use super::{CAPTURED, Capture, Captured, Column, METADATA, ShardInfo, shard_name};
use crate::output::temporary::Temporary;
use crate::system::digest::hex;
use crate::system::file::describe_io_error;
use crate::system::interrupt;
use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Value, dtype};
use crate::{Error, Result, bail, error};

/// How often a waiting script looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);

/// How a store is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// A shard is written when its tensors have this many bytes.
    pub shard_bytes: usize,
    /// The dtype that floats are stored in; `None` for the one that they have.
    pub dtype: Option<DType>,
    /// The digest of what writes: [`ShardInfo::of`].
    pub of: String,
}

/// The folder of a store: shards are made in `root`, which holds it, and renamed into it.
pub struct Folder {
    /// The run's directory, where temporary files belong.
    pub root: Dir,
    /// The store's own.
    pub own: Dir,
}

/// Rows of every tensor of a store.
pub struct Rows {
    /// The tensors by name, on the CPU, all with the same first dim.
    pub tensors: BTreeMap<String, Value>,
    /// The capture that they are, and what it is of.
    pub capture: Option<(Capture, Captured)>,
}

/// What is written together or not at all.
type Unit = Vec<Rows>;

/// Writes a store.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The most bytes that wait.
    most: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Unit, usize)>,
    /// The bytes of what waits or is being written.
    bytes: usize,
    /// Whether nothing more will come, and then what becomes of the shard under way.
    end: Option<End>,
    written: Vec<ShardInfo>,
    failed: Option<Error>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It is written, as the last of the store.
    Write,
    /// It is dropped: the run failed, and `--resume` goes on after the last whole shard.
    Drop,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Begins to write shards, of which the first has the number `first`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(folder: Folder, first: usize, options: WriteOptions) -> Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let most = options.shard_bytes;
        let shards = Shards { folder, options, number: first, parts: Parts::default() };
        let own = shared.clone();
        let thread =
            std::thread::Builder::new().name("store".into()).spawn(move || shards.serve(&own));
        let thread = thread.map_err(|cause| error!("no thread can be started: {cause}"))?;
        Ok(Self { shared, thread: Some(thread), most })
    }

    /// Adds a unit. Waits as long as a shard's worth of others waits to be written.
    ///
    /// # Errors
    /// An earlier unit could not be written, or the run shall end.
    pub fn push(&self, unit: Unit) -> Result<()> {
        let size = |rows: &Rows| rows.tensors.values().map(size).sum::<usize>();
        let bytes = unit.iter().map(size).sum();
        let mut state = self.shared.lock();
        while state.bytes > 0
            && state.bytes.saturating_add(bytes) > self.most
            && state.failed.is_none()
        {
            interrupt::check_run()?;
            let waited = self.shared.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        state.bytes += bytes;
        state.waiting.push_back((unit, bytes));
        self.shared.changed.notify_all();
        Ok(())
    }

    /// The shards that were written since the last call.
    pub fn written(&self) -> Vec<ShardInfo> {
        std::mem::take(&mut self.shared.lock().written)
    }

    /// Writes what has come, and ends. Returns the shards that were written since the last call of
    /// [`written`](Self::written).
    ///
    /// # Errors
    /// A unit could not be written.
    pub fn finish(mut self) -> Result<Vec<ShardInfo>> {
        self.end(End::Write);
        let mut state = self.shared.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.written)),
        }
    }

    fn end(&mut self, how: End) {
        self.shared.lock().end.get_or_insert(how);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            let mut state = self.shared.lock();
            state
                .failed
                .get_or_insert_with(|| error!("the thread that writes the store has failed"));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(End::Drop);
    }
}

fn size(value: &Value) -> usize {
    value.parts().iter().map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum()
}

/// The shards of a store, on the thread that writes them.
struct Shards {
    folder: Folder,
    options: WriteOptions,
    /// The number of the shard under way.
    number: usize,
    parts: Parts,
}

/// The shard under way.
#[derive(Default)]
struct Parts {
    columns: BTreeMap<String, (Column, Vec<u8>)>,
    rows: u64,
    units: u64,
    captures: Vec<Capture>,
    captured: Option<Captured>,
}

impl Shards {
    fn serve(mut self, shared: &Shared) {
        loop {
            let mut state = shared.lock();
            while state.waiting.is_empty() && state.end.is_none() {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let next = state.waiting.pop_front();
            let last = next.is_none();
            if last && state.end == Some(End::Drop) {
                return;
            }
            drop(state);
            let (outcome, bytes) = match next {
                Some((unit, bytes)) => (self.add(unit), bytes),
                None => (self.write(), 0),
            };
            let mut state = shared.lock();
            state.bytes -= bytes;
            match outcome {
                Ok(written) => state.written.extend(written),
                Err(error) => state.failed = Some(error),
            }
            shared.changed.notify_all();
            if last || state.failed.is_some() {
                return;
            }
        }
    }

    /// Adds a unit to the shard under way, which is written if it is large enough.
    fn add(&mut self, unit: Unit) -> Result<Option<ShardInfo>> {
        for Rows { tensors, capture } in unit {
            let mut rows = 0;
            for (name, value) in tensors {
                let value = match (&value, self.options.dtype) {
                    (Value::Real(t), Some(wanted)) if t.dtype().is_float() => {
                        Value::Real(t.to_dtype(wanted)?)
                    }
                    _ => value,
                };
                rows = value.dims().first().copied().unwrap_or(0) as u64;
                let column = column(&value).map_err(|e| e.at(&name))?;
                let bytes = to_le_bytes(&value)?;
                let (_, held) =
                    self.parts.columns.entry(name).or_insert_with(|| (column, Vec::new()));
                held.extend_from_slice(&bytes);
            }
            self.parts.rows += rows;
            if let Some((capture, captured)) = capture {
                self.parts.captures.push(capture);
                self.parts.captured = Some(captured);
            }
        }
        self.parts.units += 1;
        let held: usize = self.parts.columns.values().map(|(_, bytes)| bytes.len()).sum();
        if held >= self.options.shard_bytes { self.write() } else { Ok(None) }
    }

    /// Writes the shard under way, if there is anything in it.
    fn write(&mut self) -> Result<Option<ShardInfo>> {
        let Parts { columns, rows, units, captures, captured } = std::mem::take(&mut self.parts);
        if units == 0 {
            return Ok(None);
        }
        let mut digest = Sha256::new();
        columns.values().for_each(|(_, bytes)| digest.update(bytes));
        let info = ShardInfo {
            rows,
            units,
            sha256: hex(&digest.finalize()),
            of: self.options.of.clone(),
            captures,
        };
        let name = shard_name(self.number);
        self.write_file(&name, columns, &info, captured.as_ref()).map_err(|e| e.at(&name))?;
        self.number += 1;
        Ok(Some(info))
    }

    fn write_file(
        &self,
        name: &str,
        columns: BTreeMap<String, (Column, Vec<u8>)>,
        info: &ShardInfo,
        captured: Option<&Captured>,
    ) -> Result<()> {
        let rows = usize::try_from(info.rows).map_err(|_| error!("the shard has too many rows"))?;
        let views = columns.iter().map(|(name, (column, bytes))| {
            let shape = [&[rows], column.shape.as_slice()].concat();
            let view = TensorView::new(column.dtype, shape, bytes);
            view.map(|view| (name, view)).map_err(|e| error!("{name} can't be written: {e}"))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let mut metadata = HashMap::from([(METADATA.to_owned(), json(info)?)]);
        if let Some(captured) = captured {
            metadata.insert(CAPTURED.to_owned(), json(captured)?);
        }
        let (temporary, file) = Temporary::file(&self.folder.root).map_err(|e| failed(&e))?;
        let mut file = file.into_std();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|e| error!("it can't be written: {e}"))?;
        file.write_all(&bytes).map_err(|e| failed(&e))?;
        drop(file);
        self.folder.root.rename(temporary.name(), &self.folder.own, name).map_err(|e| failed(&e))
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| error!("{e}"))
}

fn failed(cause: &std::io::Error) -> Error {
    error!("it can't be written: {}", describe_io_error(cause))
        .help("make room on the disk, or choose another directory with --out DIR; --resume goes on")
}

/// The column that a tensor is rows of.
///
/// # Errors
/// A tensor without rows, or of a dtype that .safetensors does not have.
pub fn column(value: &Value) -> Result<Column> {
    let [_, shape @ ..] = value.dims() else {
        bail!("a tensor without dims has no rows; unsqueeze(0) makes it one")
    };
    let stored = match value {
        Value::Bool(_) => safetensors::Dtype::BOOL,
        Value::Complex(_) => bail!("a store holds no complex numbers: append .real and .imag"),
        Value::Real(t) => match dtype::to_safetensors(t.dtype()) {
            Some(dtype) => dtype,
            None => bail!("a store can't hold {}", t.dtype().as_str()),
        },
    };
    Ok(Column { dtype: stored, shape: shape.to_vec() })
}
