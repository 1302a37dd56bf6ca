//! Whether the scripts in a run's record are identical to those on this machine. If they are, they
//! run as the user's own; if any differs, the record counts as a stranger's.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Component, Path};

use super::describe;
use super::imports::{beside, inside};
use super::library::{SHIPPED, shipped_text};
use crate::output::record::{Record, ScriptText};
use crate::system::directory::{HeldDirectory, escapes_directory};
use crate::system::file;
use crate::system::file::FileKind;
use crate::{Result, bail};

/// The directory of the record's script, if every script of the record is identical to the file
/// there or to one that ships with this program, and the record has everything that the script
/// would import there.
///
/// # Errors
/// Which script differs.
pub fn folder(record: &Record) -> Result<HeldDirectory> {
    let main = Path::new(&record.script.path);
    let Some(name) = main.file_name() else { bail!("{:?} is no script here", record.script.path) };
    let Ok(folder) = HeldDirectory::parent_of(main) else {
        bail!("there is no {} here", record.script.path)
    };
    let text = match folder.file(Path::new(name), FileKind::Script) {
        // A link to a script elsewhere. The script runs as if it were in the link's directory.
        Err(cause) if escapes_directory(&cause) => file::open(main, FileKind::Script),
        opened => opened,
    };
    same(&record.script, text)?;
    let root = main.parent().unwrap_or(Path::new(""));
    for source in &record.imports {
        if let Some(name) = source.path.strip_prefix(SHIPPED) {
            match shipped_text(name) {
                Some(text) if text == source.text => {}
                Some(_) => bail!("the record's {} is not the one of this program", source.path),
                None => bail!("the record's {} does not ship with this program", source.path),
            }
            continue;
        }
        let below = Path::new(&source.path).strip_prefix(root).ok();
        let below =
            below.filter(|path| path.components().all(|part| matches!(part, Component::Normal(_))));
        let Some(below) = below else {
            bail!("the record's {} is not beside its script", source.path)
        };
        same(source, folder.file(below, FileKind::Script))?;
    }
    whole(record, root, &folder)
}

fn same(source: &ScriptText, here: std::io::Result<std::fs::File>) -> Result<()> {
    let mut text = Vec::new();
    // One byte more than the expected text is enough to see a difference.
    let most = source.text.len() as u64 + 1;
    match here.and_then(|file| file.take(most).read_to_end(&mut text)) {
        Ok(_) if text == source.text.as_bytes() => Ok(()),
        Ok(_) => bail!("{} is another text here than in the record", source.path),
        Err(_) => bail!("there is no {} here", source.path),
    }
}

/// Checks that no import finds a file here that the record lacks.
fn whole(record: &Record, root: &Path, folder: &HeldDirectory) -> Result<HeldDirectory> {
    let known: BTreeSet<&str> = record.imports.iter().map(|source| source.path.as_str()).collect();
    for source in std::iter::once(&record.script).chain(&record.imports) {
        if source.path.starts_with(SHIPPED) {
            continue;
        }
        for name in describe::imports(&source.text) {
            let Ok(parts) = inside(&name) else { continue };
            let file = beside(&source.path, &parts);
            let here = file
                .strip_prefix(root)
                .is_ok_and(|below| folder.file(below, FileKind::Script).is_ok());
            let id = file.display().to_string();
            if here && !known.contains(id.as_str()) {
                bail!("{} imports {id} here, which is not in the record", source.path);
            }
        }
    }
    Ok(folder.clone())
}
