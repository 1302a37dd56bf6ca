//! A loaded model, as scripts hold it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Tensor;
use rhai::Map;

use crate::checkpoint::Checkpoint;
use crate::model::Decoder;
use crate::output::record;
use crate::tensor::budget::Held;
use crate::tensor::device;
use crate::tensor::dtype::Kind;

/// A loaded model. A clone is a handle to the same model.
#[derive(Clone)]
pub struct Model(Rc<Loaded>);

/// A checkpoint and the decoder made of it.
pub struct Loaded {
    /// Identifies the weights: equal for two models of the same weights, dtype and device, and never
    /// used twice in a process.
    pub number: u64,
    /// The revision that the script asked for; the checkpoint has the commit.
    pub asked: Option<String>,
    /// The files that it was loaded from.
    pub checkpoint: Rc<Checkpoint>,
    /// Shared by models that name one checkpoint differently: by a branch and by its commit, say.
    pub decoder: Rc<Decoder>,
    /// config.json as scripts see it.
    pub config: Map,
    /// Whether its passes check every hook point for NaN and infinities unless a script says
    /// otherwise.
    pub check_finite: bool,
    /// The digest of the weights and of how they compute, if something has asked for it.
    pub digest: OnceCell<String>,
    /// What other weights than the checkpoint's take of the script's memory budget.
    pub held: Held,
}

/// The [number](Loaded::number) of the next model.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A [number](Loaded::number) that no model has had.
pub fn next_number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

impl Model {
    /// A handle to a model that was just loaded.
    pub fn new(loaded: Loaded) -> Self {
        Self(Rc::new(loaded))
    }

    /// The checkpoint and the decoder.
    pub fn loaded(&self) -> &Loaded {
        &self.0
    }

    /// A model of the same checkpoint with a decoder of other weights.
    pub fn with_decoder(&self, decoder: Decoder) -> Self {
        let Loaded { asked, checkpoint, config, check_finite, .. } = self.loaded();
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let held = Held::new(decoder.changed_weights().values().map(bytes).sum());
        Self::new(Loaded {
            number: next_number(),
            asked: asked.clone(),
            checkpoint: checkpoint.clone(),
            decoder: Rc::new(decoder),
            config: config.clone(),
            check_finite: *check_finite,
            digest: OnceCell::new(),
            held,
        })
    }

    /// Whether both are the same model.
    pub fn same(&self, other: &Model) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The entry for the model in run.json.
    pub fn record(&self) -> record::Model {
        let Loaded { asked, checkpoint, decoder, .. } = self.loaded();
        record::Model {
            id: checkpoint.id.clone(),
            asked: asked.clone(),
            revision: checkpoint.revision.clone(),
            device: device::name(decoder.device()),
            dtype: Kind::from_candle(decoder.dtype()).name().into(),
        }
    }
}
