//! What a host can tell without running a script: about scripts, values, hooks, and the functions
//! that exist. The REPL, the commands and recipes show it to the user.

use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{Dynamic, Scope};

use super::Host;
use crate::script::declare::Declarations;
use crate::script::diagnostics::failure::Failure;
use crate::script::hook::Hook;
use crate::script::program::bundle::Program;
use crate::script::program::describe;
use crate::script::program::describe::Description;
use crate::script::program::location::Location;
use crate::script::program::params::Declared;
use crate::script::reference::vocabulary::Function;
use crate::script::reference::{definitions, vocabulary};
use crate::script::value::options::describe as describe_value;

impl Host {
    /// What was declared of the functions that scripts can call.
    pub fn declarations(&self) -> Rc<Declarations> {
        Declarations::of(&self.engine)
    }

    /// The definition files for Rhai's language server, by file name: everything that scripts can
    /// call.
    pub fn definitions(&self) -> Vec<(String, String)> {
        definitions::files(&self.engine)
    }

    /// The text that `print` shows for a value.
    pub fn text_of(&self, value: &Dynamic) -> String {
        let text = self.ask("value.to_string()", [("value", value.clone())]);
        text.ok().and_then(|text| text.into_string().ok()).unwrap_or_else(|| describe_value(value))
    }

    /// Every function and property of the engine and of the scripts read so far.
    pub fn functions(&self) -> BTreeSet<Function> {
        vocabulary::functions(&self.engine, &self.sources)
    }

    /// The names of the types that the functions called `name` return; only for functions of this
    /// program, because Rhai does not tell the types of its own.
    pub fn gives(&self, name: &str) -> BTreeSet<String> {
        vocabulary::of_this_program(&self.engine)
            .into_iter()
            .filter(|native| native.function.name == name)
            .map(|native| native.gives)
            .collect()
    }

    /// The name of a value's type in errors.
    pub fn type_of(&self, value: &Dynamic) -> &str {
        vocabulary::word(self.engine.map_type_name(value.type_name()))
    }

    /// The property `name` of a value, if it has one.
    pub fn property(&self, value: &Dynamic, name: &str) -> Option<Dynamic> {
        let mut scope = Scope::new();
        scope.push_dynamic("value", value.clone());
        self.engine.eval_expression_with_scope(&mut scope, &format!("value.{name}")).ok()
    }

    /// The place where a hook was bound, as `file:line:column`.
    pub fn place_of(&self, hook: &Hook) -> Option<String> {
        let (source, position) = hook.bound_at();
        Location::of(&self.sources, source, position).map(|place| place.short())
    }

    /// The parameters that a script declares.
    ///
    /// # Errors
    /// The script can't be read or does not compile.
    pub fn params(&self, program: &Program) -> Result<Vec<Declared>, Failure> {
        Ok(self.compiled(program)?.params)
    }

    /// Describes a script without running it.
    ///
    /// # Errors
    /// The script, or a module that it imports, can't be read or does not compile.
    pub fn describe(&self, program: &Program) -> Result<Description, Failure> {
        let script = self.compiled(program)?;
        let imported = self.modules.imported(&self.engine, &script.id, &script.ast);
        let imported = imported.map_err(|error| self.failure(&script.id, &error))?;
        let (mut points, mut texts, mut sources) = (Vec::new(), BTreeSet::new(), Vec::new());
        let all = std::iter::once((script.id.clone(), &script.ast))
            .chain(imported.iter().map(|(id, ast)| (id.clone(), &**ast)));
        for (id, ast) in all {
            let place = |position| Location::of(&self.sources, &id, position);
            let here =
                describe::points(ast).into_iter().filter_map(|(name, at)| Some((name, place(at)?)));
            points.extend(here);
            texts.append(&mut describe::texts(ast));
            let text =
                self.sources.get(&id).map(|source| source.text().to_owned()).unwrap_or_default();
            sources.push((id, text));
        }
        Ok(Description { params: script.params, models: script.models, points, texts, sources })
    }
}
