//! What keeps the names of one script apart from those of another, and from the engine's.
//!
//! Rhai looks a function up by its bare name among the functions of everything that runs: while a
//! module's function calls back a closure of the script, the module's functions hide those of the
//! script and those of the engine, and a function of the script hides the engine's from the module.
//! So each script is compiled with the names of its own functions and imports changed to ones that
//! no other script has, wherever it defines and uses them. Other scripts call a module's functions
//! by a qualified name (`lib::name`), for which a module has them under a second name, that nobody
//! uses without a module before it.
//!
//! A function that does not use `this` is none that can be called after a dot: there the engine's
//! function, or the closure in a map, is meant.
//!
//! The inputs of a session are compiled one by one and share their functions, which are looked up
//! by name at each call: these keep their names.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{
    AST, ASTNode, Engine, Expr, FnAccess, FnCallExpr, Module, Position, ScriptFuncDef, Shared,
    Stmt, Token,
};

use super::compile::{compile, is_closure};
use crate::script::errors::error::ScriptResult;
use crate::system::digest::sha256_hex;

/// Stands between a name and the digest of its script.
const OF: &str = "__of_";
/// The number of hexadecimal digits of that digest.
const DIGITS: usize = 8;
/// Ends the name by which other scripts call a function.
const EXPORTED: &str = "__exported";

/// What a text is compiled as.
#[derive(Clone, Copy, PartialEq)]
pub enum Role {
    /// A script that runs as a whole.
    Script,
    /// A script that others import.
    Module,
    /// An input of a session.
    Input,
}

/// A compiled text.
pub struct Compiled {
    /// As it is written: for errors and descriptions.
    pub written: AST,
    /// As it runs, with the names of its own.
    pub ast: AST,
}

/// Changes names while a text is compiled. A clone is the same.
#[derive(Clone, Default)]
pub struct OwnNames(Rc<RefCell<Changes>>);

/// The changes of the text that is being compiled.
#[derive(Default)]
struct Changes {
    /// The new name of what stands at a line and column.
    at: BTreeMap<(Option<usize>, Option<usize>), String>,
    /// The new names of the functions, for where they are defined.
    functions: BTreeMap<String, String>,
    /// Whether the token comes after `fn`, before the parameters.
    defines: bool,
}

impl OwnNames {
    /// Compiles the script `id`.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn compile(
        &self,
        engine: &Engine,
        id: &str,
        text: &str,
        role: Role,
    ) -> ScriptResult<Compiled> {
        let mut written = compile(engine, text)?;
        written.set_source(id);
        let changes = Changes::of(&written, id, role);
        if changes.at.is_empty() && changes.functions.is_empty() {
            return Ok(Compiled { ast: written.clone(), written });
        }
        *self.0.borrow_mut() = changes;
        let ast = compile(engine, text);
        self.0.take();
        let mut ast = ast?;
        if role == Role::Module {
            ast = with_exports(&ast);
        }
        ast.set_source(id);
        Ok(Compiled { written, ast })
    }

    /// What the parser is to read for a token.
    pub fn token(&self, token: Token, position: Position) -> Token {
        let changes = &mut *self.0.borrow_mut();
        let new = match &token {
            Token::Fn => {
                changes.defines = true;
                return token;
            }
            Token::Period => return token,
            Token::Identifier(name) if changes.defines => changes.functions.get(name.as_str()),
            Token::Identifier(_) | Token::StringConstant(_) => changes.at.get(&place(position)),
            _ => None,
        };
        let token = match (new, token) {
            (Some(new), Token::Identifier(_)) => Token::Identifier(Box::new(new.as_str().into())),
            (Some(new), _) => Token::StringConstant(Box::new(new.as_str().into())),
            (None, token) => token,
        };
        changes.defines &= matches!(token, Token::Identifier(_));
        token
    }
}

fn place(position: Position) -> (Option<usize>, Option<usize>) {
    (position.line(), position.position())
}

impl Changes {
    fn of(ast: &AST, id: &str, role: Role) -> Self {
        let digest = &sha256_hex(id.as_bytes())[..DIGITS];
        let own = |name: &str| format!("{name}{OF}{digest}");
        let mut names = Self::default();
        let functions = Functions::of(ast, role);
        for name in &functions.names {
            names.functions.insert(name.clone(), own(name));
        }
        let mut imports = BTreeSet::new();
        if role != Role::Input {
            ast.walk(&mut |path| {
                if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last()
                    && !import.1.name.is_empty()
                {
                    imports.insert(import.1.name.to_string());
                    names.at.insert(place(import.1.pos), own(&import.1.name));
                }
                true
            });
        }
        let mut change = |position: Position, name: String| names.at.insert(place(position), name);
        ast.walk(&mut |path| {
            match path.last() {
                Some(
                    ASTNode::Stmt(Stmt::FnCall(call, position))
                    | ASTNode::Expr(Expr::FnCall(call, position)),
                ) if call.namespace.is_empty() => {
                    if let Some((position, name)) = functions.called(call, *position) {
                        change(position, own(&name));
                    }
                }
                Some(
                    ASTNode::Stmt(Stmt::FnCall(call, position))
                    | ASTNode::Expr(Expr::FnCall(call, position)),
                ) => {
                    change(*position, format!("{}{EXPORTED}", call.name));
                    if let Some(import) = imports.get(call.namespace.root()) {
                        change(call.namespace.position(), own(import));
                    }
                }
                Some(ASTNode::Expr(Expr::MethodCall(call, position)))
                    if functions.methods.contains(&(call.name.to_string(), call.args.len())) =>
                {
                    change(*position, own(&call.name));
                }
                Some(ASTNode::Expr(Expr::Variable(variable, short, position))) => {
                    let (index, name, namespace, _) = &**variable;
                    if !namespace.is_empty() {
                        if let Some(import) = imports.get(namespace.root()) {
                            change(namespace.position(), own(import));
                        }
                    } else if index.is_none()
                        && short.is_none()
                        && functions.names.contains(name.as_str())
                    {
                        change(*position, own(name));
                    }
                }
                _ => {}
            }
            true
        });
        names
    }
}

/// The functions that a script defines.
#[derive(Default)]
struct Functions {
    names: BTreeSet<String>,
    /// By name and number of parameters.
    all: BTreeSet<(String, usize)>,
    /// Those that use `this`.
    methods: BTreeSet<(String, usize)>,
}

impl Functions {
    fn of(ast: &AST, role: Role) -> Self {
        let mut functions = Self::default();
        if role == Role::Input {
            return functions;
        }
        for function in ast.iter_fn_def().filter(|function| !is_closure(&function.name)) {
            let key = (function.name.to_string(), function.params.len());
            if has(function, |expression| matches!(expression, Expr::ThisPtr(_))) {
                functions.methods.insert(key.clone());
            }
            functions.names.insert(key.0.clone());
            functions.all.insert(key);
        }
        functions
    }

    /// The name that a call without a namespace means, and its position, if it is one of these: the
    /// function that is called, or the one that `Fn("name")` gives.
    fn called(&self, call: &FnCallExpr, position: Position) -> Option<(Position, String)> {
        match (call.name.as_str(), call.args.first()) {
            ("Fn" | "is_def_fn", Some(Expr::StringConstant(name, position))) => {
                self.names.get(name.as_str()).map(|name| (*position, name.clone()))
            }
            _ => {
                let key = (call.name.to_string(), call.args.len());
                self.all.contains(&key).then_some((position, key.0))
            }
        }
    }
}

/// Whether there is such an expression in the function.
pub fn has(function: &Shared<ScriptFuncDef>, such: impl Fn(&Expr) -> bool) -> bool {
    let mut alone = Module::new();
    alone.set_script_fn(function.clone());
    let mut found = false;
    AST::new([], alone).walk(&mut |path| {
        found |= matches!(path.last(), Some(ASTNode::Expr(expression)) if such(expression));
        !found
    });
    found
}

/// A module's text with its public functions under the names by which other scripts call them, too.
/// Under its own name each can be reached from everywhere, by a pointer that the module gives.
fn with_exports(ast: &AST) -> AST {
    let mut functions = Module::clone(ast.shared_lib());
    for function in ast.iter_fn_def().filter(|function| !is_closure(&function.name)) {
        let own = ScriptFuncDef::clone(function);
        if own.access == FnAccess::Public {
            let name = format!("{}{EXPORTED}", written(&own.name)).into();
            functions.set_script_fn(ScriptFuncDef { name, ..own.clone() });
        }
        functions.set_script_fn(ScriptFuncDef { access: FnAccess::Public, ..own });
    }
    AST::new(ast.statements().iter().cloned(), functions)
}

/// Lets those who import a module reach what it imports itself by the names that it wrote.
pub fn name_imports(module: &mut Module) {
    let imported: Vec<_> = module
        .iter_sub_modules()
        .filter_map(|(name, imported)| {
            let as_written = written(name);
            (as_written != name).then(|| (as_written.to_owned(), imported.clone()))
        })
        .collect();
    for (name, imported) in imported {
        module.set_sub_module(name, imported);
    }
}

/// A name as the script has it.
pub fn written(name: &str) -> &str {
    if let Some(bare) = name.strip_suffix(EXPORTED) {
        return bare;
    }
    match name.rsplit_once(OF) {
        Some((bare, digest)) if is_digest(digest) => bare,
        _ => name,
    }
}

/// Whether no function of another script, and none of the engine, has this name.
pub fn is_own(name: &str) -> bool {
    name.rsplit_once(OF).is_some_and(|(_, digest)| is_digest(digest))
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A sentence with the names as the scripts have them.
pub fn in_words(sentence: &str) -> Cow<'_, str> {
    if !sentence.contains(OF) && !sentence.contains(EXPORTED) {
        return sentence.into();
    }
    let mut words = String::with_capacity(sentence.len());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = sentence;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        words.push_str(before);
        words.push_str(written(word));
        rest = after;
    }
    words.push_str(rest);
    words.into()
}
