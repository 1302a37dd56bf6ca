//! The command line, `precompute`.

use std::process::ExitCode;

use precompute::system::memory::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    precompute::cli::main()
}
