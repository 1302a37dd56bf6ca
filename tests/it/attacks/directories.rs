//! Directories that another process swaps for a link to somewhere else while they are read: nothing
//! from there is ever read.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::script::{Host, Program, Settings};
use precompute::tensor::WeightSource;

use crate::binary::{Ran, Workplace};

/// Exchanges two paths without end, on a thread of its own, until it is dropped.
struct Swapping {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Swapping {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ended, counted) = (stop.clone(), count.clone());
        let path = |path: PathBuf| CString::new(path.as_os_str().as_bytes()).unwrap();
        let (one, other) = (path(one), path(other));
        let swap = move || {
            while !ended.load(Ordering::Relaxed) {
                // SAFETY: both are strings that end with a zero, and live as long as the call.
                let swapped = unsafe {
                    libc::renameat2(
                        libc::AT_FDCWD,
                        one.as_ptr(),
                        libc::AT_FDCWD,
                        other.as_ptr(),
                        libc::RENAME_EXCHANGE,
                    )
                };
                assert_eq!(swapped, 0, "{}", std::io::Error::last_os_error());
                counted.fetch_add(1, Ordering::Relaxed);
                // Both states must last long enough to be met.
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        };
        Self { stop, count, thread: Some(std::thread::spawn(swap)) }
    }

    /// How often they were swapped.
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A .npy of so many zeros.
fn npy(size: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({size},), }}\n");
    let data = vec![0; 4 * size];
    [
        b"\x93NUMPY\x01\x00".as_slice(),
        &(header.len() as u16).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat()
}

/// `work`, with `d` in it, and beside them `outside` with the same names, to which `work/link` and
/// `link` lead.
fn place(script: &str) -> Workplace {
    let here = Workplace::new(&[
        ("work/s.rhai", script),
        ("work/d/m.rhai", "fn who() { \"inside\" }"),
        ("work/d/deep/m.rhai", "import \"n\" as n; fn who() { n::who() }"),
        ("work/d/deep/n.rhai", "fn who() { \"inside\" }"),
        ("outside/m.rhai", "fn who() { \"outside\" }"),
        ("outside/n.rhai", "fn who() { \"outside\" }"),
        ("outside/deep/m.rhai", "fn who() { \"outside\" }"),
        ("outside/deep/n.rhai", "fn who() { \"outside\" }"),
        ("outside/s.rhai", "print(\"outside\")"),
        ("outside/d/m.rhai", "fn who() { \"outside\" }"),
    ]);
    for name in ["work/x.npy", "work/d/x.npy", "work/d/deep/x.npy"] {
        here.write(name, &npy(1));
    }
    for name in ["outside/x.npy", "outside/d/x.npy", "outside/deep/x.npy"] {
        here.write(name, &npy(2));
    }
    symlink("../outside", here.path().join("work/link")).unwrap();
    symlink("outside", here.path().join("link")).unwrap();
    here
}

/// Loads a file many times, and says how often it was which.
const LOADS: &str = r#"
let counts = #{inside: 0, outside: 0, refused: 0};
let path = param("path", "d/x.npy");
print("go");
for i in 0..param("times", 4000) {
    let n = 0;
    try { n = load_tensors(path).numel; } catch {}
    let who = if n == 1 { "inside" } else if n == 2 { "outside" } else { "refused" };
    counts[who] += 1;
}
print(counts.inside); print(counts.outside); print(counts.refused);
"#;

/// Runs the script in `work` while two paths are swapped, from when it says `go`; what it counted.
fn counted(here: &Workplace, arguments: &[&str], one: &str, other: &str) -> [usize; 3] {
    let mut command = here.command(&[&["run", "work/s.rhai"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("go"));
    let swapping = Swapping::start(here.path().join(one), here.path().join(other));
    let counts: Vec<usize> = said.map(|line| line.parse().unwrap()).collect();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(swapping.count() > 50, "it was swapped {} times", swapping.count());
    counts.try_into().unwrap()
}

#[test]
fn tensors_are_read_below_the_scripts_directory_whatever_is_swapped() {
    for (path, one, other) in [
        // A folder in it for a link that leads out.
        ("d/x.npy", "work/d", "work/link"),
        ("d/deep/x.npy", "work/d", "work/link"),
        ("d/deep/../x.npy", "work/d", "work/link"),
        // The directory itself.
        ("x.npy", "work", "link"),
        ("d/x.npy", "work", "link"),
    ] {
        let here = place(LOADS);
        let [inside, outside, refused] =
            counted(&here, &["--set", &format!("path={path}")], one, other);
        assert_eq!(outside, 0, "{path}: {inside} inside, {refused} refused");
        assert!(inside > 0, "{path}: {refused} refused");
    }
}

#[test]
fn tensors_are_read_below_a_directory_of_read_whatever_is_swapped() {
    for (path, one, other) in
        [("x.npy", "data", "link"), ("d/x.npy", "data/d", "data/link"), ("d/x.npy", "data", "link")]
    {
        for absolute in [false, true] {
            let here = place("");
            fs::rename(here.path().join("work"), here.path().join("data")).unwrap();
            here.write("work/s.rhai", LOADS.as_bytes());
            let path = match absolute {
                true => here.path().join("data").join(path).display().to_string(),
                false => path.to_owned(),
            };
            let arguments = ["--read", "data", "--set", &format!("path={path}")];
            let [inside, outside, refused] = counted(&here, &arguments, one, other);
            assert_eq!(outside, 0, "{path}: {inside} inside, {refused} refused");
            assert!(inside > 0, "{path}: {refused} refused");
        }
    }
}

#[test]
fn modules_are_read_below_the_importing_script_whatever_is_swapped() {
    for import in ["d/m", "d/deep/m", "d/./m"] {
        let here = place(&format!("import \"{import}\" as m; m::who()"));
        let out = here.path().join("out");
        let host =
            Host::new(Settings { out: Some(out), silent: true, ..Settings::default() }).unwrap();
        let program = Program::File(here.path().join("work/s.rhai"));
        let swapping = Swapping::start(here.path().join("work/d"), here.path().join("work/link"));
        let (mut inside, mut refused) = (0, 0);
        for _ in 0..400 {
            match host.run(&program) {
                Ok(who) => {
                    assert_eq!(who.into_string().unwrap(), "inside", "{import}");
                    inside += 1;
                }
                Err(_) => refused += 1,
            }
        }
        assert!(
            inside > 0 && refused > 0 && swapping.count() > 50,
            "{import}: {inside} inside, {refused} refused"
        );
    }
}

#[test]
fn a_script_and_what_it_imports_as_it_runs_are_of_one_directory() {
    let script = "print(\"go\"); let counts = #{inside: 0, outside: 0, refused: 0};\n\
                  for i in 0..300 { let who = \"refused\"; try { let name = `many/m${i}`; import name as m; who = m::who(); } catch {}\n\
                  counts[who] += 1; } print(counts.inside); print(counts.outside); print(counts.refused);";
    for (one, other) in [("work", "link"), ("work/many", "work/link")] {
        let here = place(script);
        for n in 0..300 {
            here.write(&format!("work/many/m{n}.rhai"), b"fn who() { \"inside\" }");
            here.write(&format!("outside/many/m{n}.rhai"), b"fn who() { \"outside\" }");
            here.write(&format!("outside/m{n}.rhai"), b"fn who() { \"outside\" }");
        }
        let mut command = here.command(&["run", "work/s.rhai", "--out", "out"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(said.next().as_deref(), Some("go"));
        let swapping = Swapping::start(here.path().join(one), here.path().join(other));
        let counts: Vec<usize> = said.map(|line| line.parse().unwrap()).collect();
        let output = child.wait_with_output().unwrap();
        drop(swapping);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(counts[1], 0, "{one}: {counts:?}");
        assert!(counts[0] > 0, "{one}: {counts:?}");
    }
}

#[test]
fn a_model_is_of_one_directory_whatever_is_swapped() {
    let here = Workplace::new(&[("models/x", ""), ("outside/x", "")]);
    for (family, to) in [("gpt2", "models/d"), ("llama", "outside")] {
        for entry in fs::read_dir(crate::fixture::directory(family)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                here.write(
                    &format!("{to}/{}", entry.file_name().to_string_lossy()),
                    &fs::read(entry.path()).unwrap(),
                );
            }
        }
    }
    symlink("../outside", here.path().join("models/link")).unwrap();
    let swapping = Swapping::start(here.path().join("models/d"), here.path().join("models/link"));
    let id = here.path().join("models/d").display().to_string();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..1000 {
        let Ok(checkpoint) = Checkpoint::open(&id, &OpenOptions::default()) else { continue };
        let family = checkpoint.config["model_type"].as_str().unwrap().to_owned();
        let own = if family == "gpt2" { "wte.weight" } else { "embed_tokens.weight" };
        let names = checkpoint.weights.names();
        assert!(names.iter().any(|name| name.ends_with(own)), "{family}: {names:?}");
        *seen.entry(family).or_default() += 1;
    }
    assert!(seen.len() == 2 && swapping.count() > 50, "{seen:?}");
}

#[test]
fn a_strangers_model_is_no_directory_that_comes_to_stand_under_its_name() {
    let here = Workplace::new(&[("work/x", "")]);
    let open = OpenOptions { offline: true, hub_id_only: true, ..OpenOptions::default() };
    let hub = precompute::checkpoint::Hub {
        cache: Some(here.path().join("cache")),
        ..Default::default()
    };
    // The directory tests of this repository run in has one of this name.
    assert!(Path::new("src").is_dir());
    let said = Checkpoint::open("src", &OpenOptions { hub, ..open }).err().unwrap().to_string();
    assert!(said.contains("src is not in the cache"), "{said}");
}

#[test]
fn what_is_saved_stays_below_the_output_directory_whatever_is_swapped() {
    let script = "print(\"go\"); let wrote = 0; for i in 0..1500 { try { save(`a/f${i}`, i); wrote += 1; } catch {} } print(wrote);";
    for (one, other) in [("out/a", "out/link"), ("out", "link")] {
        let here = place(script);
        fs::create_dir_all(here.path().join("out/a")).unwrap();
        fs::remove_dir_all(here.path().join("outside")).unwrap();
        fs::create_dir_all(here.path().join("outside/a")).unwrap();
        symlink("../outside", here.path().join("out/link")).unwrap();
        let mut command =
            here.command(&["run", "work/s.rhai", "--out", "out", "--max-files", "100000"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(said.next().as_deref(), Some("go"));
        let swapping = Swapping::start(here.path().join(one), here.path().join(other));
        let wrote: usize = said.next().unwrap().parse().unwrap();
        child.wait().unwrap();
        assert!(wrote > 0 && swapping.count() > 50, "{one}");
        drop(swapping);
        let files = |path: &Path| {
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let outside = here.path().join("outside");
        assert_eq!(
            (files(&outside).len(), files(&outside.join("a")).len()),
            (1, 0),
            "{one}: {:?}",
            files(&outside)
        );
    }
}

#[test]
fn a_watched_run_removes_and_replaces_nothing_elsewhere() {
    let here = Workplace::new(&[
        ("s.rhai", "save(\"kept\", 1);"),
        ("outside/kept.json", "mine"),
        ("outside/run.json", "mine"),
    ]);
    let mut child = here
        .command(&["run", "--watch", "s.rhai", "--out", "out"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut wait = || while !said.next().is_some_and(|line| line.starts_with("waiting for ")) {};
    wait();
    fs::rename(here.path().join("out"), here.path().join("moved")).unwrap();
    symlink("outside", here.path().join("out")).unwrap();
    // What it saved before is no longer saved: it would be removed.
    here.write("s.rhai", b"save(\"new\", 2);");
    wait();
    child.kill().unwrap();
    child.wait().unwrap();
    let outside = |name: &str| fs::read_to_string(here.path().join("outside").join(name)).unwrap();
    assert_eq!((outside("kept.json"), outside("run.json")), ("mine".into(), "mine".into()));
    assert_eq!(fs::read_dir(here.path().join("outside")).unwrap().count(), 2);
}

#[test]
fn a_directory_may_be_a_link_itself_and_links_within_it_may_stay_in_it() {
    let here = place(
        "[load_tensors(\"d/x.npy\").numel, load_tensors(\"in.npy\").numel, load_tensors(\"other.npy\").numel]",
    );
    symlink("d/deep/x.npy", here.path().join("work/in.npy")).unwrap();
    // Into a directory that may be read as well.
    symlink("../outside/x.npy", here.path().join("work/other.npy")).unwrap();
    symlink("work", here.path().join("alias")).unwrap();
    for script in ["work/s.rhai", "alias/s.rhai", "./alias/../work/s.rhai"] {
        let ran = here.run(&["run", script, "--read", "outside"]);
        assert_eq!(ran.stdout, "[1, 1, 2]\n", "{script} {}", ran.stderr);
        let ran = here.run(&["run", script]);
        assert!(
            ran.stderr.contains("\"other.npy\" is outside what this script may read"),
            "{script} {}",
            ran.stderr
        );
    }
}

#[test]
fn a_lock_file_is_read_in_its_own_directory() {
    let here = Workplace::new(&[
        ("outside/precompute.lock", "layout = 1\n"),
        ("work/kept.lock", "layout = 1\n"),
    ]);
    let lock = here.path().join("work/precompute.lock");
    let list = || {
        let mut list = here.command(&["recipe", "list"]);
        let ran: Ran = list.current_dir(here.path().join("work")).output().unwrap().into();
        ran
    };
    symlink("kept.lock", &lock).unwrap();
    assert_eq!(list().code, Some(0), "{}", list().stderr);
    fs::remove_file(&lock).unwrap();
    symlink("../outside/precompute.lock", &lock).unwrap();
    let ran = list();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("precompute.lock is a link that leads out"), "{}", ran.stderr);
}
