//! Examines the processor and the memory.

use std::thread::available_parallelism;

use super::{Finding, size};
use crate::kernel::cpu::simd::Cpu;
use crate::system::memory::MachineMemory;

const SECTION: &str = "processor";

/// Examines the vector instructions, the threads and the memory.
pub fn findings() -> Vec<Finding> {
    vec![vectors(), threads(), memory()]
}

fn vectors() -> Finding {
    let chosen = Cpu::chosen();
    let found = format!("{chosen} (engine {})", chosen.name());
    let finding = Finding::new(SECTION, "vector instructions", found);
    match Cpu::asked() {
        Err(error) => finding.fault(format!(
            "{}: set it to {}, or unset it", error, Cpu::names()
        )),
        Ok(asked) if asked < Cpu::widest() => {
            finding.advise(format!("{}={} holds back faster ones: unset it", Cpu::VARIABLE, asked.name()))
        }
        _ if cfg!(target_arch = "x86_64") && Cpu::widest() == Cpu::Portable => finding.advise(
            "models run several times slower without AVX2: a processor from 2013 or later has it, and a \
                            virtual machine may hide it",
        ),
        _ => finding,
    }
}

fn threads() -> Finding {
    let cores = available_parallelism().map_or(1, usize::from);
    let finding = Finding::new(
        SECTION,
        "threads",
        format!("{} on {cores} cores", crate::kernel::cpu::parallel::threads()),
    );
    match std::env::var("RAYON_NUM_THREADS").ok().filter(|said| !said.is_empty()) {
        Some(said) => match said.parse::<usize>() {
            Err(_) => finding
                .fault(format!("RAYON_NUM_THREADS={said} is no number and is not heeded: correct it or unset it")),
            Ok(count) if count > cores => finding.advise(format!(
                "RAYON_NUM_THREADS={said} is more than there are cores: they will wait for one another"
            )),
            Ok(count) if count > 0 && count < cores => {
                finding.advise(format!("RAYON_NUM_THREADS={said} leaves cores idle: unset it for all of them"))
            }
            Ok(_) => finding,
        },
        None => finding,
    }
}

fn memory() -> Finding {
    /// What a model of 125 million parameters takes, with room to work.
    const LITTLE: u64 = 1 << 30;
    let MachineMemory { free, total, .. } = MachineMemory::now();
    let finding =
        Finding::new(SECTION, "memory", format!("{} free of {}", size(free), size(total)));
    if free < LITTLE {
        return finding.advise(
            "a model of 125 million parameters takes half a GiB in float32: close other programs, or run small models",
        );
    }
    finding
}
