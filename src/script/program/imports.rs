//! The imports that a script's text names, and the files that they mean.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use crate::{Result, bail, error};

/// The path at which an import in the script `from` is looked for first.
pub fn beside(from: &str, parts: &[&OsStr]) -> PathBuf {
    let directory = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut file = directory.join(parts.iter().collect::<PathBuf>()).into_os_string();
    file.push(".rhai");
    file.into()
}

/// The components of an import's path.
///
/// # Errors
/// The path is empty or leaves the script's directory.
pub fn inside(path: &str) -> Result<Vec<&OsStr>> {
    let bare = path.strip_suffix(".rhai").unwrap_or(path);
    let mut parts = Vec::new();
    for part in Path::new(bare).components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => {
                return Err(error!("import {path:?} leaves the directory of the script")
                    .help("an import names a file beside the importing one, or below it"));
            }
        }
    }
    if parts.is_empty() || bare.contains('\\') {
        bail!("import {path:?} names no file");
    }
    Ok(parts)
}

/// The literal imports of a script `id`: the script, the imported name, and its position.
pub fn imports(id: &str, ast: &AST) -> Vec<(String, String, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last()
            && let Expr::StringConstant(name, position) = &import.0
        {
            found.push((id.to_owned(), name.to_string(), *position));
        }
        true
    });
    found
}
