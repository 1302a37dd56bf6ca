//! Sliding windows, of all layers or of some.

use crate::model::load::config::Fields;
use crate::model::spec::Window;
use crate::{Result, bail};

/// The sliding window of a family in which all layers have it or none.
pub fn windowed_everywhere(fields: &Fields, layers: usize) -> Result<Option<Window>> {
    let size = fields.positions("sliding_window")?;
    Ok(size.map(|size| Window { size, layers: vec![true; layers], rotary: None }))
}

/// The sliding window of a family in which `layer_types` says which layers have it; where that is
/// absent, those for which `is_windowed` is true. `size` is the window's, if the config has one.
///
/// # Errors
/// `layer_types` is not of as many layers as the model has, names another kind of layer, or names
/// windows while there is none.
pub fn layer_windows(
    fields: &Fields,
    layers: usize,
    size: Option<usize>,
    is_windowed: impl Fn(usize) -> bool,
) -> Result<Option<Window>> {
    let windowed = match fields.optional::<Vec<String>>("layer_types")? {
        None => (0..layers).map(is_windowed).collect(),
        Some(kinds) if kinds.len() != layers => {
            bail!("config.json: layer_types names {} layers of {layers}", kinds.len())
        }
        Some(kinds) => kinds
            .iter()
            .map(|kind| match kind.as_str() {
                "sliding_attention" => Ok(true),
                "full_attention" => Ok(false),
                other => bail!("config.json: layer_types has {other:?}, which can't be honoured"),
            })
            .collect::<Result<Vec<bool>>>()?,
    };
    match size {
        Some(size) => Ok(Some(Window { size, layers: windowed, rotary: None })),
        None if windowed.contains(&true) => {
            bail!("config.json: layer_types has sliding_attention, and there is no sliding_window")
        }
        None => Ok(None),
    }
}
