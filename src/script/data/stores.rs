//! The stores that a run writes: begun, or gone on with where an earlier run was broken off.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use candle_core::DType;
use sha2::{Digest, Sha256};

use crate::data::store::reader::{Store, begun};
use crate::data::store::writer::{Folder, WriteOptions, Writer};
use crate::output::Run;
use crate::script::program::source::Sources;
use crate::script::run::settings::Settings;
use crate::script::value::store::{StoreView, StoreWriter};
use crate::system::digest::hex;
use crate::system::directory::HeldDirectory;
use crate::tensor::dtype::to_safetensors;
use crate::{Result, bail, error};

/// The stores of a session's run.
pub struct Stores {
    settings: Settings,
    run: Rc<Run>,
    open: RefCell<Vec<StoreWriter>>,
    /// Whether a loop of this run passes over items that a store has on disk.
    passing: RefCell<Rc<Cell<bool>>>,
}

impl Stores {
    /// With no store.
    pub fn new(settings: Settings, run: Rc<Run>) -> Self {
        Self { settings, run, open: RefCell::default(), passing: RefCell::default() }
    }

    /// Starts a new run.
    pub fn begin(&self) {
        self.open.borrow_mut().clear();
        self.passing.take();
    }

    /// Finishes the stores of a run that has succeeded.
    ///
    /// # Errors
    /// One can't be written.
    pub fn close(&self) -> Result<()> {
        let open = std::mem::take(&mut *self.open.borrow_mut());
        open.iter().try_for_each(StoreWriter::close)
    }

    /// Ends the stores of a run that has failed: their shards stay.
    pub fn abandon(&self) {
        self.open.borrow_mut().drain(..).for_each(|store| store.abandon());
    }

    /// Begins a store, or goes on with one.
    pub fn create(
        &self,
        sources: &Sources,
        name: &str,
        shard_bytes: usize,
        dtype: Option<DType>,
    ) -> Result<StoreWriter> {
        if self.open.borrow().iter().any(|store| store.name() == name) {
            bail!("this run writes a store {name:?} already");
        }
        let (root, own) = self.run.folder(name)?;
        let path = self.run.directory().join(name);
        let shown = path.display().to_string();
        let again = own.try_clone().map_err(|e| error!("{shown} can't be read: {e}"))?;
        let begun = begun(&HeldDirectory::from_open(&path, again), &shown)?;
        let of = self.writer_digest(sources, dtype);
        if let Some(first) = begun.shards.first() {
            if !self.settings.resume {
                return Err(error!("{shown} has a store of {} shards", begun.shards.len()).help(
                    "--resume goes on with it; to begin anew, delete it or choose another --out",
                ));
            }
            if first.of != of {
                return Err(error!("{shown} was begun by another script, or with other parameters, models or seed")
                    .help("--resume goes on with the same ones; to begin anew, delete it or choose another --out"));
            }
        }
        let options = WriteOptions { shard_bytes, dtype, of };
        let writer = Writer::start(Folder { root, own }, begun.shards.len(), options)?;
        let (run, passing) = (self.run.clone(), self.passing.borrow().clone());
        let cast = dtype.and_then(to_safetensors);
        let store = StoreWriter::new(run, name, begun, writer, cast, passing);
        self.open.borrow_mut().push(store.clone());
        Ok(store)
    }

    /// The digest of everything that decides what a store's rows are: the texts of the script and its
    /// imports, and what the command line sets.
    fn writer_digest(&self, sources: &Sources, dtype: Option<DType>) -> String {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        let mut texts: Vec<String> = sources
            .ids()
            .into_iter()
            .filter_map(|id| Some(sources.get(&id)?.text().to_owned()))
            .collect();
        texts.sort();
        texts.iter().for_each(|text| add(text));
        let Settings { params, models, device, dtype: model_dtype, seed, .. } = &self.settings;
        params.iter().for_each(|(name, value)| add(&format!("{name}={value}")));
        add(&models.to_string());
        add(&format!("{device:?} {model_dtype:?} {dtype:?} {seed:?}"));
        hex(&digest.finalize())
    }

    /// Opens a finished store: beside the script or below `--read`.
    pub fn open(&self, path: &str) -> Result<StoreView> {
        let folder = self.run.readable().directory(path)?;
        Ok(StoreView::new(Store::open(folder, path)?))
    }

    /// Closes a store of this run and opens it to be read.
    pub fn reopen(&self, store: &StoreWriter) -> Result<StoreView> {
        store.close()?;
        let (_, own) = self.run.folder(store.name())?;
        let path = self.run.directory().join(store.name());
        let folder = HeldDirectory::from_open(&path, own);
        Ok(StoreView::new(Store::open(folder, &path.display().to_string())?))
    }
}
