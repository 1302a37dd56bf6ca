//! One pass of a model for a script: its input, its context and its hooks. `forward`, `capture` and
//! `generate` are built on it.

use std::cell::Cell;
use std::rc::Rc;

use candle_core::{DType, Device};
use rhai::{Dynamic, NativeCallContext};

use super::non_finite;
use super::pass_options::PassOptions;
use crate::hook::{Observer, SiteSet};
use crate::model;
use crate::model::Input;
use crate::script::errors::error::ScriptResult;
use crate::script::hook::context::{Context, Serving};
use crate::script::hook::{Hook, HookObserver, PassInfo};
use crate::script::program::late_binding::Namespace;
use crate::script::reuse;
use crate::script::reuse::Reuse;
use crate::script::value::Handle;
use crate::script::value::model::Model;
use crate::script::value::record::Record;
use crate::system::message::notice;
use crate::tensor::Value;
use crate::{Result, bail};

/// How deep passes may nest. A hook can start a pass within the pass that calls it.
const DEEPEST: usize = 16;

/// Counts the passes in progress, each nested in the one before.
#[derive(Clone)]
pub struct Depth(Rc<Cell<usize>>, Namespace);

impl Depth {
    /// With no pass in progress.
    pub fn new(namespace: &Namespace) -> Self {
        Self(Rc::default(), namespace.clone())
    }

    fn enter(&self) -> Result<Nested> {
        if self.0.get() >= DEEPEST {
            bail!("passes are nested {DEEPEST} deep, each started by a hook of the one around it");
        }
        self.0.set(self.0.get() + 1);
        Ok(Nested(self.clone()))
    }
}

/// Represents one pass in progress.
pub struct Nested(Depth);

impl Drop for Nested {
    fn drop(&mut self) {
        let depth = &self.0.0;
        depth.set(depth.get() - 1);
    }
}

/// A call from a script that runs passes of a model.
pub struct Pass<'a> {
    /// The call.
    pub call: &'a NativeCallContext<'a>,
    /// The passes in progress.
    pub depth: &'a Depth,
    /// The model.
    pub model: &'a Model,
}

impl Pass<'_> {
    /// Runs one pass, with the context's hooks if there is one. `watch` observes it after the hooks
    /// and must not change anything.
    ///
    /// # Errors
    /// Invalid options or ids, a context in use, or an error in the pass or one of its hooks.
    pub fn run(
        &self,
        ids: &Handle,
        context: Option<&Context>,
        pass: &PassOptions,
        watch: &mut dyn Observer,
        reuse: &Reuse,
    ) -> ScriptResult<model::Output> {
        let _nested = self.enter()?;
        self.reload();
        let input = self.input(ids, pass.mask.as_ref(), pass.options.beyond)?;
        let said = |output: model::Output, hooks: &[(Hook, SiteSet)]| {
            if let Some(found) = &output.not_finite {
                non_finite::warn(found, hooks, pass.options.check_finite);
            }
            output
        };
        let Some(context) = context else {
            return Ok(said(
                reuse::run(reuse, self.model, &input, &pass.options, None, watch)?,
                &[],
            ));
        };
        let _serving = self.serve(context)?;
        let ids = seen(ids, pass.mask.as_ref(), &input)?;
        self.show(context, [ids.clone(), ids], &input, input.len())?;
        let info =
            PassInfo { options: &pass.options, input: &input, prompt: input.len(), steps: 1 };
        let mut script = self.hooks(context, info);
        let result = reuse::run(reuse, self.model, &input, &pass.options, Some(&mut script), watch);
        match result {
            Ok(output) => Ok(said(output, &script.bound())),
            Err(error) => Err(script.failure(error, self.call)),
        }
    }

    /// Counts a pass that begins, until the returned guard is dropped.
    ///
    /// # Errors
    /// Too many passes are nested.
    pub fn enter(&self) -> Result<Nested> {
        self.depth.enter()
    }

    /// Reloads watched files that have changed. Called before each pass.
    pub fn reload(&self) {
        self.depth.1.before_pass(self.call.engine());
    }

    /// The tokens that the model reads: `ids`, with the mask that they carry and the mask that the
    /// option `mask` gives.
    ///
    /// # Errors
    /// `ids` are no token ids, or a mask does not fit them.
    pub fn input(&self, ids: &Handle, mask: Option<&Handle>, beyond: bool) -> Result<Input> {
        let tensor = |mask: &Handle| mask.value().real("the mask").cloned();
        let (carried, given) =
            (ids.mask().as_ref().map(tensor).transpose()?, mask.map(tensor).transpose()?);
        let input =
            Input::masked(ids.value().real("token ids")?, carried.as_ref(), given.as_ref())?;
        let spec = self.model.loaded().decoder.spec();
        if beyond && spec.goes_beyond() && input.longest() > spec.longest_text() {
            let (longest, most) = (input.longest(), spec.longest_text());
            notice(format_args!(
                "warning: {longest} tokens go beyond the {most} positions that the model was made for"
            ));
        }
        Ok(input)
    }

    /// The observer that calls the context's hooks during a pass.
    pub fn hooks<'c>(&'c self, context: &'c Context, info: PassInfo<'c>) -> HookObserver<'c> {
        HookObserver::new(self.call.engine(), context, &self.model.loaded().decoder, info)
    }

    /// Takes the context for one pass or for several in a row.
    ///
    /// # Errors
    /// The context serves another pass.
    pub fn serve(&self, context: &Context) -> Result<Serving> {
        let serving = context.enter()?;
        context.set_reserved(
            "config",
            Dynamic::from(Record::deep(self.model.loaded().config.clone())),
        );
        Ok(serving)
    }

    /// Sets the context's keys that describe the input: `ids` are the tokens of this pass, `all`
    /// those of all passes so far, and `prompt` is the prompt's length.
    ///
    /// # Errors
    /// A tensor can't be created.
    pub fn show(
        &self,
        context: &Context,
        [ids, all]: [Handle; 2],
        input: &Input,
        prompt: usize,
    ) -> Result<()> {
        context.set_reserved("ids", Dynamic::from(ids));
        context.set_reserved("all_ids", Dynamic::from(all));
        context.set_reserved("prompt_len", (prompt as i64).into());
        context.set_reserved(
            "mask",
            Dynamic::from(Handle::fresh(Value::Bool(input.mask(&Device::Cpu)?))),
        );
        let positions = input.positions(&Device::Cpu)?.to_dtype(DType::I64)?;
        context.set_reserved("positions", Dynamic::from(Handle::from(positions)));
        Ok(())
    }
}

/// The ids that hooks see as `ctx.ids`: those given, which carry the mask of the option `mask` if
/// there is one.
fn seen(ids: &Handle, given: Option<&Handle>, input: &Input) -> Result<Handle> {
    Ok(match given {
        Some(_) => {
            ids.twin().with_mask(Handle::fresh(Value::Bool(input.mask(ids.value().device())?)))
        }
        None => ids.clone(),
    })
}
