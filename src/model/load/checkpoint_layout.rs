//! Where a checkpoint has the decoder's tensors: under which prefix, and whether the two ends of a
//! model that ties them are stored apart.

use candle_core::{DType, Device, Tensor};

use crate::model::family::Names;
use crate::model::spec::Spec;
use crate::tensor::WeightSource;
use crate::{Result, bail};

/// What a checkpoint of a model of several parts has before the names of its text half.
const OUTER: [&str; 3] = ["", "language_model.", "model.language_model."];

/// The prefixes of a checkpoint's names.
#[derive(Debug, Clone)]
pub struct CheckpointLayout {
    /// The one of [`Names::prefixes`] that this checkpoint uses, after what a model of several parts
    /// has before it.
    pub prefix: String,
    /// Names that the unembedding may have, without `.weight` and `.bias`.
    pub heads: Vec<String>,
}

impl CheckpointLayout {
    /// How `source` names them: found by its token embeddings.
    ///
    /// # Errors
    /// It has none.
    pub fn find(names: &Names, source: &dyn WeightSource) -> Result<Self> {
        let embeddings = |prefix: &str| format!("{prefix}{}.weight", names.token_embeddings);
        for outer in OUTER {
            for inner in names.prefixes {
                let prefix = format!("{outer}{inner}");
                if source.contains(&embeddings(&prefix)) {
                    let mut heads: Vec<String> =
                        names.heads.iter().map(|head| (*head).to_owned()).collect();
                    if !outer.is_empty() {
                        heads.extend(names.heads.iter().map(|head| format!("{outer}{head}")));
                    }
                    return Ok(Self { prefix, heads });
                }
            }
        }
        bail!("the checkpoint has no token embeddings: expected {}", embeddings(names.prefixes[0]))
    }

    /// Whether the checkpoint has an unembedding that differs from its token embeddings, although the
    /// config ties them: then the stored one counts, as in transformers.
    ///
    /// # Errors
    /// One of the two can't be read.
    pub fn stores_both_ends(
        &self,
        spec: &Spec,
        names: &Names,
        source: &dyn WeightSource,
        dtype: DType,
    ) -> Result<bool> {
        let head = self.heads.iter().map(|head| format!("{head}.weight"));
        let Some(head) = head.into_iter().find(|head| source.contains(head)) else {
            return Ok(false);
        };
        if !spec.tied {
            return Ok(false);
        }
        let load = |name: &str| source.load(name, dtype, &Device::Cpu);
        let table = load(&format!("{}{}.weight", self.prefix, names.token_embeddings))?;
        differ(&table, &load(&head)?)
    }
}

/// Whether two tables differ in shape or in any element.
fn differ(a: &Tensor, b: &Tensor) -> Result<bool> {
    /// How many rows are compared at a time.
    const ROWS: usize = 1024;
    if a.dims() != b.dims() {
        return Ok(true);
    }
    let rows = a.dim(0)?;
    for first in (0..rows).step_by(ROWS) {
        let part = |x: &Tensor| x.narrow(0, first, ROWS.min(rows - first));
        let unequal = part(a)?.ne(&part(b)?)?.flatten_all()?.max(0)?;
        if unequal.to_scalar::<u8>()? != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
