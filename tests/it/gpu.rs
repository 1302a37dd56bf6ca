//! tests/gpu.sh, which needs a GPU, on the CPU and without a Python: the script itself works, and
//! its checks can be met.

use std::path::Path;
use std::process::Command;

use crate::fixture::CASES;

#[test]
fn the_script_for_a_gpu_runs_on_the_cpu() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut script = Command::new("bash");
    script
        .arg(root.join("tests/gpu.sh"))
        .args([env!("CARGO_BIN_EXE_precompute"), "cpu"])
        .env("PYTHON", "false");
    let output = script.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let all = format!("float32, {} fixtures", CASES.len());
    let row = said.lines().find(|line| line.starts_with(&all)).unwrap_or_default();
    assert!(
        output.status.success() && row.ends_with("ok"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("f16 against float32") && said.contains("not run"), "{said}");
}
