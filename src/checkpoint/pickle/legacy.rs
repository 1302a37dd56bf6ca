//! Checkpoints of PyTorch before 1.6: five pickles in a row, and then the storages.
//!
//! The pickles are a number by which the file is known, the format's version, a description of the
//! machine, the tensors by name, and the list of the storages' keys in their order in the file. Each
//! storage is the number of its elements, 64 bits, and the elements.

use super::machine::Objects;
use super::object::Object;
use super::state_dict::{StateDict, element_sizes};
use super::{ByteRange, StateOf};
use crate::system::file::FileKind;
use crate::{Result, bail, error};

/// The first pickle.
const FIRST: [u8; 15] =
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];

/// Whether a file begins as such a checkpoint.
pub fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&FIRST)
}

/// The tensors, and the place of each of their storages in the file or why it can't be read.
///
/// # Errors
/// A pickle is broken or holds something else, or the numbers are not little-endian.
pub fn contents(bytes: &[u8], of: StateOf) -> Result<(StateDict, Vec<Result<ByteRange>>)> {
    let mut at = FIRST.len();
    let mut next = |what: &str| {
        let rest = bytes.get(at..).unwrap_or_default();
        let most = usize::try_from(FileKind::Pickle.max_bytes()).unwrap_or(usize::MAX);
        let objects = Objects::read(&rest[..rest.len().min(most)]).map_err(|e| e.at(what))?;
        at += objects.length();
        Ok::<_, crate::Error>(objects)
    };
    next("its version")?;
    let machine = next("its description of the machine")?;
    let objects = next("its pickle")?;
    let keys = next("its list of storages")?;
    if !is_little_endian(&machine) {
        bail!("its numbers are not little-endian");
    }
    let Object::List(keys_of) = keys.get(keys.value()) else { bail!("it has no list of storages") };
    let sizes = element_sizes(&objects);
    let mut found = std::collections::BTreeMap::new();
    for &key in keys_of {
        let &Object::Text(key) = keys.get(key) else { bail!("a storage's key is no text") };
        let Some(size) = sizes.get(key) else {
            bail!("it does not say what storage {key:?} holds")
        };
        let Some(&count) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            bail!("its storages are cut short")
        };
        let elements = usize::try_from(u64::from_le_bytes(count)).ok();
        let length = elements.and_then(|elements| elements.checked_mul(*size));
        let start = at + count.len();
        let end = length.and_then(|length| start.checked_add(length));
        match (length, end.filter(|end| *end <= bytes.len())) {
            (Some(length), Some(end)) => {
                found.insert(key, (start, length));
                at = end;
            }
            _ => bail!("its storages are cut short"),
        }
    }
    let state = of(&objects)?;
    let place = |key: &String| {
        found.get(&**key).copied().ok_or_else(|| error!("its storage is not in the file"))
    };
    let places = state.storages.iter().map(|storage| place(&storage.key)).collect();
    Ok((state, places))
}

fn is_little_endian(machine: &Objects) -> bool {
    let Object::Dict(entries) = machine.get(machine.value()) else { return false };
    entries.iter().any(|(key, value)| {
        *machine.get(*key) == Object::Text("little_endian")
            && *machine.get(*value) == Object::Bool(true)
    })
}
