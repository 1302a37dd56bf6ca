//! The options that `forward` and `capture` share.

use crate::hook::{Layers, Point, PointName, Site};
use crate::model;
use crate::model::{Logits, Spec, Start};
use crate::script::value::Handle;
use crate::script::value::model::Loaded;
use crate::script::value::options::Options;
use crate::{Result, bail, error};

/// The names of the options.
pub const NAMES: &[&str] =
    &["loss", "logits", "stop", "mask", "beyond", "start", "from", "check_finite", "checkpoint"];

/// The options of a pass.
pub struct PassOptions {
    /// The options of the decoder.
    pub options: model::Options,
    /// The tokens to attend to, besides the mask that the ids carry.
    pub mask: Option<Handle>,
}

impl PassOptions {
    /// Reads the options for a pass of `model`.
    ///
    /// # Errors
    /// A value of the wrong type, or a point that the pass can't start or stop at.
    pub fn read(options: &Options, model: &Loaded) -> Result<Self> {
        let spec = model.decoder.spec();
        let logits = match options.string("logits")?.as_deref() {
            None | Some("all") => Logits::All,
            Some("last") => Logits::Last,
            Some("none") => Logits::None,
            Some(other) => bail!("logits must be \"all\", \"last\" or \"none\", not {other:?}"),
        };
        let stop = options.string("stop")?.map(|name| site("stop", &name, spec)).transpose()?;
        let loss = options.bool("loss")?.unwrap_or(false);
        let beyond = options.bool("beyond")?.unwrap_or(false);
        let start = start(options, spec)?;
        let check_finite = options.bool("check_finite")?.unwrap_or(model.check_finite);
        let options_of_pass = model::Options {
            logits,
            loss,
            stop,
            start,
            resume: None,
            beyond,
            check_finite,
            gradients: false,
            checkpoint: options.bool("checkpoint")?.unwrap_or(false),
        };
        Ok(Self { options: options_of_pass, mask: options.tensor("mask")? })
    }
}

/// The options `start` and `from`: the block at which a pass starts, and its residual stream.
fn start(options: &Options, spec: &Spec) -> Result<Option<Start>> {
    let written = "as in #{start: \"pre-block@2\", from: x}";
    match (options.string("start")?, options.tensor("from")?) {
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(error!("start says where the pass begins, and from, what stands there, is missing")
                .help(written))
        }
        (None, Some(_)) => {
            Err(error!("from is what a pass begins with, and start, where it begins, is missing")
                .help(written))
        }
        (Some(name), Some(from)) => match site("start", &name, spec)? {
            Site { point: Point::PreBlock, layer: Some(layer) } => {
                Ok(Some(Start { layer, stream: from.lend().real("from")?.clone() }))
            }
            other => {
                Err(error!("a pass begins where a block does, at pre-block, and not at {other}")
                    .help(written))
            }
        },
    }
}

/// The site that an option names: `post-mlp@3`, or the name of a point outside the blocks.
fn site(option: &str, name: &str, spec: &Spec) -> Result<Site> {
    let named = PointName::parse(name)?.in_family(spec.family, spec.rotary().is_some())?;
    let layer = match named.layer {
        Some(layer) => Some(Layers::one(layer).resolve(spec.layers)?[0]),
        None if named.point.in_block() => {
            return Err(error!("{option}: every block has {0}; which one?", named.point)
                .help(format!("write the layer after an @, as in {}@0", named.point)));
        }
        None => None,
    };
    Ok(Site { point: named.point, layer })
}
