use std::process::ExitCode;

use precompute::system::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    precompute::cli::main()
}
