use std::process::ExitCode;

use precompute::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    precompute::cli::main()
}
