//! Reading a store: rows by their places, from any of its shards.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use super::{
    CAPTURED, Capture, Captured, Column, INDEX, Index, MAX_SHARDS, METADATA, ShardInfo, VERSION,
    shard_name,
};
use crate::checkpoint::safetensors_header::Header;
use crate::output::format::safetensors;
use crate::system::directory::HeldDirectory;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::positioned::read_exact_at;
use crate::tensor::{Value, budget};
use crate::{Error, Result, bail, error};

/// How many shards are held open at a time.
const MAX_OPEN: usize = 64;

/// The longest header of a shard, in bytes.
const MAX_HEADER: u64 = 64 << 20;

/// A store that is read.
pub struct Store {
    /// What messages call it.
    name: String,
    folder: HeldDirectory,
    index: Index,
    /// The row at which each shard begins, and at the end how many there are.
    starts: Vec<u64>,
    /// The shards that are open, those used last at the end.
    opened: RefCell<VecDeque<(usize, Rc<Shard>)>>,
}

/// An open shard.
struct Shard {
    file: File,
    /// The byte at which each tensor begins.
    places: BTreeMap<String, u64>,
}

impl Store {
    /// Opens a finished store in `folder`, which messages call `name`.
    ///
    /// # Errors
    /// There is none, or its index is broken.
    pub fn open(folder: HeldDirectory, name: &str) -> Result<Self> {
        let bytes = folder
            .file(Path::new(INDEX), FileKind::Tokenizer)
            .and_then(|file| file::read_open(&file, FileKind::Tokenizer));
        let index = match bytes {
            Ok(bytes) => serde_json::from_slice::<Index>(&bytes)
                .map_err(|e| error!("{name}/{INDEX} is no index of a store: {e}"))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(error!("{name} has no {INDEX}: it is no store, or was not finished")
                    .help("precompute run … --resume goes on with one that was broken off"));
            }
            Err(e) => bail!("{name}/{INDEX} can't be read: {}", describe_io_error(&e)),
        };
        Self::of_index(folder, name, index)
    }

    fn of_index(folder: HeldDirectory, name: &str, index: Index) -> Result<Self> {
        if index.store != VERSION {
            bail!(
                "{name} is a store of version {}, and this program reads version {VERSION}",
                index.store
            );
        }
        if index.shards.len() > MAX_SHARDS {
            bail!("{name} has {} shards, and a store at most {MAX_SHARDS}", index.shards.len());
        }
        let mut starts = vec![0u64];
        for shard in &index.shards {
            let last = starts.last().copied().unwrap_or(0);
            starts.push(
                last.checked_add(shard.rows).ok_or_else(|| error!("{name} has too many rows"))?,
            );
        }
        if starts.last() != Some(&index.rows) {
            bail!(
                "{name} is broken: its index says {} rows, and its shards have {}",
                index.rows,
                starts.last().unwrap_or(&0)
            );
        }
        for column in index.columns.values() {
            column.row_bytes().map_err(|e| e.at(name))?;
        }
        Ok(Self { name: name.into(), folder, index, starts, opened: RefCell::default() })
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.index.rows
    }

    /// The tensors by name.
    pub fn columns(&self) -> &BTreeMap<String, Column> {
        &self.index.columns
    }

    /// What its captures are of, if it has captures.
    pub fn captured(&self) -> Option<&Captured> {
        self.index.captured.as_ref()
    }

    /// The captures, each with the row at which it begins.
    pub fn captures(&self) -> impl Iterator<Item = (u64, &Capture)> {
        let mut next = 0;
        self.index.shards.iter().flat_map(|shard| &shard.captures).map(move |capture| {
            let at = next;
            next = u64::saturating_add(next, capture.batch.saturating_mul(capture.positions));
            (at, capture)
        })
    }

    /// The rows at `places`, of every tensor, or of the one called `only`.
    ///
    /// # Errors
    /// A shard is missing or broken, or the rows do not fit in memory.
    pub fn read(&self, places: &[u64], only: Option<&str>) -> Result<BTreeMap<String, Value>> {
        if let Some(place) = places.iter().find(|place| **place >= self.rows()) {
            bail!("{} has {} rows, and no row {place}", self.name, self.rows());
        }
        let wanted =
            self.index.columns.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        wanted
            .map(|(name, column)| Ok((name.clone(), self.column(name, column, places)?)))
            .collect()
    }

    fn column(&self, name: &str, column: &Column, places: &[u64]) -> Result<Value> {
        let row = column.row_bytes()?;
        let shape = [&[places.len()], column.shape.as_slice()].concat();
        let bytes =
            row.checked_mul(places.len()).ok_or_else(|| error!("{name} does not fit in memory"))?;
        budget::check(&shape, bytes)?;
        let mut held = Vec::new();
        held.try_reserve_exact(bytes).map_err(|_| error!("{name} does not fit in memory"))?;
        held.resize(bytes, 0u8);
        let mut done = 0;
        while done < places.len() {
            let first = places[done];
            let at = self.starts.partition_point(|start| *start <= first) - 1;
            let (start, end) = (self.starts[at], self.starts[at + 1]);
            // As many as stand next to each other in this shard.
            let run = places[done..]
                .iter()
                .zip(first..end)
                .take_while(|(place, next)| **place == *next)
                .count();
            let shard = self.shard(at)?;
            let place = shard.places.get(name).ok_or_else(|| self.broken(at, name))?;
            let from = place + (first - start) * row as u64;
            read_exact_at(&shard.file, &mut held[done * row..(done + run) * row], from).map_err(
                |e| {
                    error!(
                        "{}/{} can't be read: {}",
                        self.name,
                        shard_name(at),
                        describe_io_error(&e)
                    )
                },
            )?;
            done += run;
        }
        match safetensors::value(column.dtype, &shape, &held)? {
            Some(value) => Ok(value),
            None => bail!("{}: {name} is of a dtype that tensors don't have", self.name),
        }
    }

    fn broken(&self, at: usize, column: &str) -> Error {
        error!(
            "{}/{} is broken: its {column} is not what the index says",
            self.name,
            shard_name(at)
        )
    }

    fn shard(&self, at: usize) -> Result<Rc<Shard>> {
        let mut opened = self.opened.borrow_mut();
        if let Some(known) = opened.iter().position(|(number, _)| *number == at) {
            if let Some(found) = opened.remove(known) {
                opened.push_back(found);
            }
        } else {
            let shard = self.open_shard(at)?;
            if opened.len() == MAX_OPEN {
                opened.pop_front();
            }
            opened.push_back((at, Rc::new(shard)));
        }
        match opened.back() {
            Some((_, shard)) => Ok(shard.clone()),
            None => bail!("{} has no shard {at}", self.name),
        }
    }

    fn open_shard(&self, at: usize) -> Result<Shard> {
        let (file, header) = header(&self.folder, &self.name, at)?;
        let rows = usize::try_from(self.index.shards[at].rows).unwrap_or(usize::MAX);
        let mut places = BTreeMap::new();
        for (name, column) in &self.index.columns {
            let Some(Ok((dtype, place))) = header.find(name) else {
                return Err(self.broken(at, name));
            };
            let shape = [&[rows], column.shape.as_slice()].concat();
            if dtype != column.dtype || header.shape(name) != Some(shape) {
                return Err(self.broken(at, name));
            }
            places.insert(name.clone(), place.start as u64);
        }
        Ok(Shard { file, places })
    }
}

/// Opens a shard and reads its header.
fn header(folder: &HeldDirectory, store: &str, at: usize) -> Result<(File, Header)> {
    let name = shard_name(at);
    let unread =
        |e: std::io::Error| error!("{store}/{name} can't be read: {}", describe_io_error(&e));
    let broken = || error!("{store}/{name} is broken: it is no .safetensors file");
    let file = folder.file(Path::new(&name), FileKind::Data).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    let mut length = [0; 8];
    read_exact_at(&file, &mut length, 0).map_err(|_| broken())?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length.saturating_add(8) > size {
        return Err(broken());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| broken())? + 8];
    read_exact_at(&file, &mut bytes, 0).map_err(unread)?;
    let size = usize::try_from(size).map_err(|_| broken())?;
    let header = Header::read_beginning(&bytes, size).map_err(|_| broken())?;
    Ok((file, header))
}

/// What a store that may not be finished holds.
#[derive(Debug, Default)]
pub struct Begun {
    /// The shards that are there, from the first on.
    pub shards: Vec<ShardInfo>,
    /// The columns that they have.
    pub columns: BTreeMap<String, Column>,
    /// What their captures are of.
    pub captured: Option<Captured>,
}

/// What the shards in the folder of a store say of themselves.
///
/// # Errors
/// A shard is broken, or is none.
pub fn begun(folder: &HeldDirectory, store: &str) -> Result<Begun> {
    let mut begun = Begun::default();
    while folder.file(Path::new(&shard_name(begun.shards.len())), FileKind::Data).is_ok() {
        let at = begun.shards.len();
        let (_, header) = header(folder, store, at)?;
        let broken = || error!("{store}/{} is no shard of a store", shard_name(at));
        let info = header.metadata(METADATA).ok_or_else(broken)?;
        begun.shards.push(serde_json::from_str(info).map_err(|_| broken())?);
        if let Some(captured) = header.metadata(CAPTURED) {
            begun.captured = Some(serde_json::from_str(captured).map_err(|_| broken())?);
        }
        for name in header.names() {
            let Some(Ok((dtype, _))) = header.find(&name) else { return Err(broken()) };
            let shape = header.shape(&name).unwrap_or_default();
            let column = Column { dtype, shape: shape.get(1..).ok_or_else(broken)?.to_vec() };
            if *begun.columns.entry(name).or_insert_with(|| column.clone()) != column {
                return Err(broken());
            }
        }
    }
    Ok(begun)
}
