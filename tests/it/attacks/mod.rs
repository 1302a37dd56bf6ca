//! What strangers' files, servers and scripts have tried, and what must come of it: one file a kind
//! of attack, a table where that serves (the input, what must be said, what must not exist
//! afterwards).

#[cfg(unix)]
mod cache;
mod checkpoints;
mod config;
mod cycles;
#[cfg(target_os = "linux")]
mod directories;
#[cfg(unix)]
mod files;
pub mod forge;
#[cfg(unix)]
mod hub;
mod invariants;
#[cfg(unix)]
mod liar;
mod limits;
mod panics;
#[cfg(unix)]
mod rerun;
#[cfg(unix)]
mod runs;
mod values;

/// A .npy of one zero.
#[cfg(unix)]
fn forged_npy() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    [
        b"\x93NUMPY\x01\x00".as_slice(),
        &(header.len() as u16).to_le_bytes(),
        header.as_bytes(),
        &[0; 4],
    ]
    .concat()
}
