//! Fills a Rhai engine: whatever a script may call is declared as it is registered.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext, RhaiNativeFunc, Variant};

use super::declaration::{Declarations, Declared, OnGpu, Purity, RhaisOwn, Row};
use super::gradient::{Gradient, Graph, Guard, Guarded};
use super::page::Page;
use crate::script::errors::error::ScriptResult;

/// An engine that is being filled. It is private until it is full, so that nothing is registered
/// without a declaration.
pub struct Registry {
    engine: Engine,
    declarations: Declarations,
    graph: Graph,
    page: Page,
    section: &'static str,
}

/// A function that was declared, to which rows and overloads are added.
pub struct Declaration<'r> {
    registry: &'r mut Registry,
    at: usize,
}

impl Registry {
    /// Takes an engine that has functions of Rhai's own alone; `rhais_own` says which of those are
    /// not pure, and `graph` which values are tensors with a graph of gradients.
    pub fn new(engine: Engine, rhais_own: RhaisOwn, graph: Graph) -> Self {
        let names = |(purity, names): &(Purity, &'static [&'static str])| {
            let purity = *purity;
            names.iter().map(move |name| ((*name).to_owned(), purity))
        };
        let purity: BTreeMap<_, _> = rhais_own.iter().flat_map(names).collect();
        let declarations = Declarations { declared: Vec::new(), purity };
        Self { engine, declarations, graph, page: Page::Tensors, section: "" }
    }

    /// Begins a section of a page of the reference: what is declared next has its rows there.
    pub fn section(&mut self, page: Page, title: &'static str) {
        (self.page, self.section) = (page, title);
    }

    /// Declares a function, property or operator. Its overloads and the rows of the reference
    /// follow on what this gives.
    ///
    /// What every function has to say of itself is a parameter here, so that no function can leave
    /// it out. `signature` is the name and the parameters' names: `sum(x, dim, #{dim, keepdim})`,
    /// `.shape`, `+`. Without parentheses no parameter has a name.
    pub fn declare(
        &mut self,
        signature: &'static str,
        purity: Purity,
        on_gpu: OnGpu,
        gradient: Gradient,
    ) -> Declaration<'_> {
        let at = self.declarations.declared.len();
        let declared = Declared::new(signature, purity, on_gpu, gradient, self.page, self.section);
        self.declarations.declared.push(declared);
        Declaration { registry: self, at }
    }

    /// Describes what scripts may write that is no function: `import`.
    pub fn describe(&mut self, name: &'static str) -> Declaration<'_> {
        self.declare(name, Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
    }

    /// Names a type, for `type_of` and for errors.
    pub fn type_name<T: Variant + Clone>(&mut self, name: &str) {
        self.engine.register_type_with_name::<T>(name);
    }

    /// The engine, which holds what was declared of its functions.
    pub fn finish(mut self) -> Engine {
        let declarations = Dynamic::from(Rc::new(self.declarations));
        // Rhai clones the tag for each run.
        self.engine.set_default_tag(declarations.into_shared());
        self.engine
    }
}

impl Declaration<'_> {
    fn declared(&mut self) -> &mut Declared {
        &mut self.registry.declarations.declared[self.at]
    }

    /// Adds the row of the function itself.
    pub fn row(self, gives: &str, example: &str, result: &str) -> Self {
        self.row_for("", gives, example, result)
    }

    /// Adds a row for a way to call the function: `with options`.
    pub fn row_for(self, way: &str, gives: &str, example: &str, result: &str) -> Self {
        let title = format!("`{}` {way}", self.name()).trim_end().to_owned();
        self.row_titled(&title, gives, example, result)
    }

    /// Adds a row with a title of its own, in Markdown.
    pub fn row_titled(mut self, title: &str, gives: &str, example: &str, result: &str) -> Self {
        let [title, gives, example, result] = [title, gives, example, result].map(str::to_owned);
        self.declared().rows.push(Row { title, gives, example, result });
        self
    }

    /// Names the parameters, where the signature that was declared is a name alone.
    pub fn parameters(mut self, names: &[&'static str]) -> Self {
        self.declared().parameters = names.to_vec();
        self
    }

    /// The declared name.
    pub fn name(&self) -> &'static str {
        self.registry.declarations.declared[self.at].name
    }

    /// The keys of the options that the signature lists.
    pub fn options(&self) -> &[&'static str] {
        &self.registry.declarations.declared[self.at].options
    }

    /// Registers an overload that is called by the declared name.
    pub fn function<A: 'static, const N: usize, const X: bool, R, const F: bool>(
        self,
        function: impl RhaiNativeFunc<A, N, X, R, F> + 'static,
    ) -> Self
    where
        R: Variant + Clone,
    {
        let name = self.name();
        self.register(name.to_owned(), function)
    }

    /// Registers an overload that takes its arguments as Rhai has them.
    pub fn raw<R: Variant + Clone>(
        mut self,
        types: &[TypeId],
        function: impl Fn(NativeCallContext, &mut [&mut Dynamic]) -> ScriptResult<R> + 'static,
    ) -> Self {
        let name = self.name();
        self.note(name.to_owned(), types);
        let guard = self.guard();
        let guarded = move |context: NativeCallContext, args: &mut [&mut Dynamic]| {
            let run = |args: &mut [&mut Dynamic]| function(context, args).map(Dynamic::from);
            if guard.is_needed() { guard.call(args, run) } else { run(args) }
        };
        self.registry.engine.register_raw_fn(name, types, guarded);
        self
    }

    /// Registers what reads a property, which is declared with its dot.
    pub fn get<A: 'static, const X: bool, R: Variant + Clone, const F: bool>(
        self,
        get: impl RhaiNativeFunc<A, 1, X, R, F> + 'static,
    ) -> Self {
        let name = format!("get${}", self.property());
        self.register(name, get)
    }

    /// Registers what sets a property, which is declared with its dot.
    pub fn set<A: 'static, const X: bool, const F: bool>(
        self,
        set: impl RhaiNativeFunc<A, 2, X, (), F> + 'static,
    ) -> Self {
        let name = format!("set${}", self.property());
        self.register(name, set)
    }

    /// Registers what reads a place: `t[i]`.
    pub fn index_get<A: 'static, const X: bool, R: Variant + Clone, const F: bool>(
        self,
        get: impl RhaiNativeFunc<A, 2, X, R, F> + 'static,
    ) -> Self {
        self.register("index$get$".to_owned(), get)
    }

    /// Registers what writes to a place: `t[i] = x`.
    pub fn index_set<A: 'static, const X: bool, const F: bool>(
        self,
        set: impl RhaiNativeFunc<A, 3, X, (), F> + 'static,
    ) -> Self {
        self.register("index$set$".to_owned(), set)
    }

    /// Registers what `print` and string interpolation show of a value.
    pub fn shown<A: 'static, const X: bool, R: Variant + Clone, const F: bool>(
        self,
        show: impl RhaiNativeFunc<A, 1, X, R, F> + Clone + 'static,
    ) -> Self {
        self.register("to_string".to_owned(), show.clone()).register("to_debug".to_owned(), show)
    }

    /// Lets `for` go through values of a type, of which any step may fail.
    pub fn iterator<T, R>(self) -> Self
    where
        T: Variant + Clone + IntoIterator<Item = ScriptResult<R>>,
        R: Variant + Clone,
    {
        self.registry.engine.register_iterator_result::<T, R>();
        self
    }

    fn property(&self) -> &'static str {
        self.name().trim_start_matches('.')
    }

    fn register<A: 'static, const N: usize, const X: bool, R, const F: bool, T>(
        mut self,
        name: String,
        function: T,
    ) -> Self
    where
        R: Variant + Clone,
        T: RhaiNativeFunc<A, N, X, R, F> + 'static,
    {
        self.note(name.clone(), &T::param_types());
        let guard = self.guard();
        self.registry.engine.register_fn(name, Guarded { function, guard });
        self
    }

    fn guard(&mut self) -> Guard {
        let graph = self.registry.graph;
        let Declared { name, purity, gradient, .. } = *self.declared();
        Guard { name, purity, gradient, graph }
    }

    /// Notes an overload under the name that Rhai knows it by.
    fn note(&mut self, name: String, types: &[TypeId]) {
        let purity = self.declared().purity;
        let known = self.registry.declarations.purity.entry(name.clone()).or_insert(purity);
        *known = purity.max(*known);
        // Rhai has one type of string.
        let types = types.iter().map(|of| match *of {
            of if of == TypeId::of::<&str>() || of == TypeId::of::<String>() => {
                TypeId::of::<ImmutableString>()
            }
            of => of,
        });
        let types = types.collect();
        self.declared().overloads.push((name, types));
    }
}
