//! `m.save(name)`: writes a model's checkpoint into the run's directory.

use std::rc::Rc;

use crate::checkpoint::MAX_SHARD_BYTES;
use crate::output::{Run, name};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::model::{Loaded, Model};
use crate::{Result, bail};

/// Writes the checkpoint to `folder` in the run's directory. Returns its path, which `model()`
/// reads.
fn save(run: &Run, m: &Model, folder: &str) -> Result<String> {
    name::check(folder)?;
    let Loaded { checkpoint, decoder, .. } = m.loaded();
    let changed = decoder.changed_weights();
    run.check_room(checkpoint.size(changed)?)?;
    let directory = run.directory().join(folder);
    if run.files().iter().any(|file| file.name == format!("{folder}/config.json")) {
        bail!("this run has saved a model as {folder:?} already: save under another name");
    }
    if let Some(other) = checkpoint.foreign_file(&directory, changed, MAX_SHARD_BYTES)? {
        bail!("{} has {other} of another model: save under another name", directory.display());
    }
    checkpoint.save(changed, MAX_SHARD_BYTES, &mut |name, fill| {
        run.write(&format!("{folder}/{name}"), |to| fill(to)).map(|_| ())
    })?;
    Ok(directory.display().to_string())
}

/// Registers `m.save(name)`.
pub fn install(registry: &mut Registry, run: &Rc<Run>) {
    let own = run.clone();
    registry
        .declare(
            "save(model, name)",
            Purity::Impure("writes a file"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row_for(
            "of a model",
            "writes the model's checkpoint, with weights of its own in the place of others, below \
            the run's directory, as the Hub and transformers have it; gives its path",
            r#"model(m.save("copy")).config.model_type"#,
            "opt",
        )
        .function(move |m: &mut Model, name: &str| -> ScriptResult<String> {
            Ok(save(&own, m, name)?)
        });
}
