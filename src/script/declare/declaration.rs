//! What is declared of each function that scripts may call: how it is called, whether it is pure,
//! where it computes for a tensor on a GPU, whether gradients go back through it, and what the
//! reference says of it.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::Engine;

use super::gradient::Gradient;
use super::page::Page;

/// What calling a function does besides giving a value.
///
/// The variants are ordered by how little a caller may assume. Overloads of one name may differ in
/// purity; the name counts as the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purity {
    /// The value depends on the arguments alone, and nothing else happens.
    Pure,
    /// As [`Purity::Pure`], but the call changes its first argument, the receiver of a method call.
    ChangesReceiver,
    /// It has another effect, in words that follow the function's name: `draws random numbers`.
    Impure(&'static str),
}

/// Where a function computes for a tensor on a GPU, as the table of src/docs/gpu.md says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnGpu(pub &'static str);

impl OnGpu {
    /// On the GPU.
    pub const NATIVE: Self = Self("there");
    /// On the GPU for floats; integers are copied to the CPU and the result back.
    pub const FLOATS: Self = Self("there, of floats; of integers on the CPU, and back");
    /// Copied to the CPU, and the result back.
    pub const VIA_CPU: Self = Self("on the CPU, and back");
    /// Made on the CPU from numbers and copied to the GPU.
    pub const SENT: Self = Self("made on the CPU, and sent");
    /// On the GPU, with ids or masks that are read on the CPU.
    pub const BY_IDS: Self =
        Self("there; ids and masks are read on the CPU, where they are best kept");
    /// Copied to the CPU, where it stays.
    pub const FETCHED: Self = Self("bring what they show or write to the CPU");
    /// The function takes no tensor, or computes nothing with it.
    pub const NO_TENSORS: Self = Self("");
}

/// A row of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// In Markdown: the code, and what follows to tell the row from others of the same name.
    pub title: String,
    /// What the function gives, in words.
    pub gives: String,
    /// A script; its last value is the result.
    pub example: String,
    /// What printing the example's value shows; empty where the value is `()`.
    pub result: String,
}

impl Row {
    /// The code in the title alone: `mean`, `.shape`, `t[i]`; the whole title if it has none.
    pub fn name(&self) -> &str {
        self.title.split('`').nth(1).unwrap_or(&self.title)
    }

    /// The title without Markdown.
    pub fn plain_title(&self) -> String {
        self.title.replace('`', "")
    }

    /// Whether a user who asks for `name` means this row: by the name, with or without the dot of a
    /// property, or by the title.
    pub fn is(&self, name: &str) -> bool {
        let own = self.name();
        own == name || own.trim_start_matches('.') == name || self.plain_title() == name
    }
}

/// A function, property or operator as declared where it is registered, or another thing that the
/// reference describes.
#[derive(Debug, Clone)]
pub struct Declared {
    /// As it is written: `sum`, `.shape`, `+`.
    pub name: &'static str,
    /// The parameters' names in order; a last `options` stands for a map of options.
    pub parameters: Vec<&'static str>,
    /// The keys of that map, where the signature lists them.
    pub options: Vec<&'static str>,
    /// What a call does besides giving a value.
    pub purity: Purity,
    /// Where it computes for a tensor on a GPU.
    pub on_gpu: OnGpu,
    /// Whether gradients go back through it.
    pub gradient: Gradient,
    /// The page of the reference that its rows are on.
    pub page: Page,
    /// The title of its section of the page.
    pub section: &'static str,
    /// The rows of the reference, each with an example.
    pub rows: Vec<Row>,
    /// The names that Rhai knows it by (`get$shape`), with the parameters' types.
    pub overloads: Vec<(String, Vec<TypeId>)>,
}

impl Declared {
    /// Reads a signature: a name, and in parentheses the parameters' names, of which the last may
    /// list the keys of a map: `sum(x, dim, #{dim, keepdim})`.
    pub(super) fn new(
        signature: &'static str,
        purity: Purity,
        on_gpu: OnGpu,
        gradient: Gradient,
        page: Page,
        section: &'static str,
    ) -> Self {
        let (name, rest) = signature.split_once('(').unwrap_or((signature, ""));
        let rest = rest.strip_suffix(')').unwrap_or(rest);
        let words = |list: &'static str| list.split(", ").filter(|word| !word.is_empty());
        let (listed, keys) = match rest.split_once("#{") {
            Some((listed, keys)) => (listed, Some(keys.trim_end_matches('}'))),
            None => (rest, None),
        };
        let mut parameters: Vec<&str> = words(listed.trim_end_matches(", ")).collect();
        parameters.extend(keys.map(|_| "options"));
        let options = keys.map(|keys| words(keys).collect()).unwrap_or_default();
        let (rows, overloads) = (Vec::new(), Vec::new());
        Self { name, parameters, options, purity, on_gpu, gradient, page, section, rows, overloads }
    }

    /// `sum(x, dim, options)`; nothing of a property, an operator or an indexer.
    pub fn signature(&self) -> Option<String> {
        let called = self.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        (called && !self.overloads.is_empty())
            .then(|| format!("{}({})", self.name, self.parameters.join(", ")))
    }
}

/// Functions of Rhai's own by what they do; of those that are not named, each is pure.
pub type RhaisOwn = &'static [(Purity, &'static [&'static str])];

/// What is declared of the functions of an engine.
#[derive(Debug, Default)]
pub struct Declarations {
    pub(super) declared: Vec<Declared>,
    pub(super) purity: BTreeMap<String, Purity>,
}

impl Declarations {
    /// What was declared of the functions of `engine`: nothing, if no
    /// [`Registry`](super::registry::Registry) filled it.
    pub fn of(engine: &Engine) -> Rc<Self> {
        let declared = engine.default_tag().read_lock::<Rc<Self>>();
        declared.map(|declared| declared.clone()).unwrap_or_default()
    }

    /// Everything that was declared, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Declared> {
        self.declared.iter()
    }

    /// The purity of a function, by the name that Rhai knows it by. Of Rhai's own functions only those
    /// that are not pure are known.
    pub fn purity(&self, name: &str) -> Option<Purity> {
        self.purity.get(name).copied()
    }

    /// The names of the functions of tensors that return a new value and have no other effect. A name
    /// that Rhai also gives to a function that changes its receiver is not among them.
    pub fn computing(&self) -> BTreeSet<String> {
        let on_page = self.declared.iter().filter(|declared| declared.page == Page::Tensors);
        on_page
            .flat_map(|declared| declared.overloads.iter().map(|(name, _)| name))
            .filter(|name| self.purity(name) == Some(Purity::Pure))
            .cloned()
            .collect()
    }

    /// The names that are known not to be pure, and what they do.
    pub fn impure(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.purity.iter().filter_map(|(name, purity)| match purity {
            Purity::Impure(does) => Some((name.as_str(), *does)),
            _ => None,
        })
    }

    /// The rows of the reference: those of the declarations, and those of the language.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let declared = self.declared.iter().flat_map(|declared| declared.rows.iter().cloned());
        declared.chain(super::language::rows())
    }

    /// How functions of a name are called, each way once.
    pub fn signatures(&self, name: &str) -> Vec<String> {
        let of_that_name = self.declared.iter().filter(|declared| declared.name == name);
        let mut signatures: Vec<String> = of_that_name.filter_map(Declared::signature).collect();
        signatures.sort();
        signatures.dedup();
        signatures
    }

    /// The keys of the options of functions of a name, where their signatures list them.
    pub fn options(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let of_that_name = self.declared.iter().filter(move |declared| declared.name == name);
        of_that_name.flat_map(|declared| declared.options.iter().copied())
    }

    /// The declaration of an overload.
    pub fn overload(&self, name: &str, types: &[TypeId]) -> Option<&Declared> {
        let is_it = |(known, parameters): &(String, Vec<TypeId>)| {
            known == name && parameters.as_slice() == types
        };
        self.declared.iter().find(|declared| declared.overloads.iter().any(is_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(signature: &'static str) -> Declared {
        Declared::new(signature, Purity::Pure, OnGpu::NATIVE, Gradient::Yes, Page::Tensors, "")
    }

    #[test]
    fn a_signature_has_parameters_and_options() {
        let sum = declared("sum(x, dim, #{dim, keepdim})");
        assert_eq!((sum.name, sum.parameters.join(" ")), ("sum", "x dim options".into()));
        assert_eq!(sum.options, ["dim", "keepdim"]);
        let plot = declared("plot(options)");
        assert_eq!((plot.parameters.join(" "), plot.options.len()), ("options".into(), 0));
        let only_options = declared("f(#{a})");
        assert_eq!(only_options.parameters, ["options"]);
        assert!(declared("+").parameters.is_empty() && declared(".shape").name == ".shape");
    }

    #[test]
    fn a_name_is_as_pure_as_its_worst_overload() {
        assert!(Purity::Pure < Purity::ChangesReceiver);
        assert!(Purity::ChangesReceiver < Purity::Impure("prints"));
    }
}
