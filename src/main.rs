use std::process::ExitCode;

fn main() -> ExitCode {
    precompute::cli::main()
}
