//! `precompute doctor`: what it finds, and that faults are told with what to do.

use std::path::Path;
use std::process::Command;

use crate::binary::{Ran, Workplace};

fn doctor(workplace: &Workplace, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = workplace.command(&["doctor"]);
    command.args(arguments).envs(environment.iter().copied());
    for variable in ["PRECOMPUTE_CPU", "RAYON_NUM_THREADS", "HF_HUB_OFFLINE"] {
        if !environment.iter().any(|(name, _)| *name == variable) {
            command.env_remove(variable);
        }
    }
    command.output().unwrap().into()
}

/// What it says of `what`, in JSON.
fn finding(workplace: &Workplace, what: &str, environment: &[(&str, &str)]) -> serde_json::Value {
    let ran = doctor(workplace, &["--json"], environment);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
    let faults = findings.iter().filter(|finding| finding["fault"] == true).count();
    assert_eq!(ran.code, Some(i32::from(faults > 0)), "{}", ran.stdout);
    let found = findings.iter().find(|finding| {
        let name = finding["what"].as_str().unwrap();
        name == what || (what == "cuda:0" && name.starts_with(what))
    });
    found.unwrap_or_else(|| panic!("nothing of {what}: {}", ran.stdout)).clone()
}

#[test]
fn a_machine_without_faults_is_0() {
    let here = Workplace::new(&[]);
    let cache = here.path().join("cache");
    let ran = doctor(&here, &[], &[("HF_HOME", cache.to_str().unwrap())]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    for said in [
        "precompute",
        "vector instructions",
        "threads",
        "memory",
        "driver",
        "models compute on",
        "Hub",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let cores = std::thread::available_parallelism().unwrap();
    assert_eq!(
        finding(&here, "threads", &[("RAYON_NUM_THREADS", "1")])["found"],
        format!("1 on {cores} cores")
    );
    // No more than the process may use.
    for (asked, used) in [("1", 1), ("1000", cores.get())] {
        let ran = doctor(&here, &["--threads", asked], &[]);
        assert!(ran.stdout.contains(&format!("{used} on {cores} cores")), "{}", ran.stdout);
    }
}

#[test]
fn each_fault_is_told_with_what_to_do() {
    let here = Workplace::new(&[("file", "")]);
    let file = here.path().join("file");
    let under = file.join("below");
    for (what, variable, value, remedy) in [
        ("vector instructions", "PRECOMPUTE_CPU", "sse", "set it to portable"),
        ("threads", "RAYON_NUM_THREADS", "many", "is no number"),
        ("models", "HF_HOME", under.to_str().unwrap(), "set HF_HOME"),
        ("recipes and history", "PRECOMPUTE_HOME", under.to_str().unwrap(), "set PRECOMPUTE_HOME"),
        ("Hub", "HF_ENDPOINT", "huggingface.co", "HF_ENDPOINT must be an address"),
    ] {
        let found = finding(&here, what, &[(variable, value)]);
        assert_eq!(found["fault"], true, "{found}");
        assert!(found["remedy"].as_str().unwrap().contains(remedy), "{found}");
    }
    let ran = doctor(&here, &[], &[("PRECOMPUTE_CPU", "sse")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "error: there is 1 fault\n"));
    assert!(
        ran.stdout.contains("What to do:\n  vector instructions: PRECOMPUTE_CPU=sse"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_could_be_better_is_no_fault() {
    let here = Workplace::new(&[]);
    let offline = finding(&here, "Hub", &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(
        (&offline["fault"], offline["remedy"].is_string()),
        (&false.into(), true),
        "{offline}"
    );
    let vectors = finding(&here, "vector instructions", &[("PRECOMPUTE_CPU", "portable")]);
    assert_eq!(vectors["fault"], false, "{vectors}");
}

/// A driver with one GPU, as far as the program asks.
const DRIVER: &str = r#"
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return COUNT < 0 ? 999 : 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    const char *from = "Test GPU";
    while ((*name++ = *from++));
    return 0;
}
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 8ul << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuMemGetInfo_v2(unsigned long *free, unsigned long *total) { *free = 6ul << 30; *total = 8ul << 30; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
"#;

fn driver(directory: &Path, version: i32, count: i32) {
    let source = directory.join("driver.c");
    std::fs::write(
        &source,
        DRIVER.replace("VERSION", &version.to_string()).replace("COUNT", &count.to_string()),
    )
    .unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o", "libcuda.so.1"]).arg(&source).current_dir(directory);
    assert!(compiler.status().unwrap().success());
}

/// The build without CUDA tells what another would find.
#[cfg(all(target_os = "linux", not(feature = "cuda")))]
#[test]
fn a_gpu_that_the_build_does_not_use_is_told_of() {
    let here = Workplace::new(&[]);
    let there = [("LD_LIBRARY_PATH", here.path().to_str().unwrap())];

    driver(here.path(), 13000, 1);
    let gpu = finding(&here, "cuda:0", &there);
    assert_eq!(gpu["what"], "cuda:0 Test GPU");
    assert_eq!(gpu["found"], "6.0 GiB free of 8.0 GiB, compute capability 9.0");
    let build = finding(&here, "this build", &there);
    assert!(build["remedy"].as_str().unwrap().contains("--features cuda"), "{build}");
    assert_eq!(finding(&here, "driver", &there)["found"], "of CUDA 13.0");
    let library = finding(&here, "libcublas.so.13", &there);
    assert_eq!(library["remedy"].is_string(), library["found"] == "not found", "{library}");

    for (version, count, remedy) in
        [(12040, 1, "update it"), (13000, 0, "it shows no GPU"), (13000, -1, "does not start")]
    {
        driver(here.path(), version, count);
        let found = finding(&here, "driver", &there);
        assert!(found["remedy"].as_str().unwrap().contains(remedy), "{found}");
    }
}

#[test]
fn a_password_in_the_hubs_address_is_not_shown() {
    let here = Workplace::new(&[]);
    for address in ["https://me:secret@hub.example", "me:secret@hub.example"] {
        let environment = [("HF_ENDPOINT", address)];
        let ran = doctor(&here, &[], &environment);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("secret"), "{}", ran.stdout);
        let found = finding(&here, "Hub", &environment)["found"].as_str().unwrap().to_owned();
        assert!(found.contains("***@hub.example"), "{found}");
    }
}
