//! Reading what is not the script's, and writing elsewhere than below the output directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use super::{refused, run};
use crate::binary::Workplace;

/// Makes a FIFO: whoever opens it to read waits.
fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Everything below a directory, with what files hold.
fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path).unwrap().is_dir() {
            true => found.extend(tree(&path)),
            false => found.push((path.display().to_string(), fs::read(&path).unwrap_or_default())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_name_that_leads_elsewhere_is_no_name_to_save_under() {
    let names = [
        "../x",
        "/tmp/x",
        "a/../../x",
        "a//x",
        "./x",
        "a/./x",
        "a\\\\..\\\\x",
        "C:x",
        "a\\x00b",
        "a\\nb",
        "a\\x1b[2Jb",
        "CON",
        "a/nul.csv",
        "lpt1.tar.json",
        "x /y",
        "a\\u202egnp.exe",
        "run\\u200b",
        "a*",
        "|x",
    ];
    for name in names {
        let here = Workplace::new(&[("deep/s.rhai", &format!("save(\"{name}\", 1)"))]);
        let ran = here.run(&["run", "deep/s.rhai", "--out", "deep/out"]);
        refused(&ran, "is no name to save under", name);
        let left: Vec<String> = tree(here.path()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(left.len(), 2, "{name}: {left:?}");
    }
}

#[test]
fn names_without_end_are_no_names_either() {
    for attack in [
        "let n = \"\"; n.pad(300, 'x'); save(n, 1)",
        "let n = \"\"; n.pad(100_000_000, 'x'); save(n, 1)",
        "let n = \"\"; n.pad(1001, \"a/\"); save(n, 1)",
        "let n = \"\"; n.pad(60, \"a/\"); save(n + \"x\", 1)",
    ] {
        let ran = run(&Workplace::new(&[("s.rhai", attack)]), &[]);
        refused(&ran, "is no name to save under", attack);
        assert!(ran.stderr.len() < 2000, "{attack}");
    }
}

#[test]
fn the_record_of_the_run_is_not_the_scripts_to_write() {
    for name in ["run.json", "run", "RUN.json", "Run"] {
        let ran = run(&Workplace::new(&[("s.rhai", &format!("save(\"{name}\", 1)"))]), &[]);
        let taken = ["Run", "RUN.json", "run", "run.json"].contains(&name);
        assert!(taken);
        refused(&ran, "run.json is the run's own record", name);
    }
}

#[test]
fn a_link_in_the_output_directory_is_not_followed() {
    let here = Workplace::new(&[("outside/kept", "kept"), ("out/x", "")]);
    symlink(here.path().join("outside"), here.path().join("out/folder")).unwrap();
    symlink(here.path().join("outside/kept"), here.path().join("out/file.json")).unwrap();
    symlink(here.path().join("outside/new"), here.path().join("out/dangling.json")).unwrap();
    fifo(&here.path().join("out/pipe.json"));
    fs::create_dir(here.path().join("out/taken.json")).unwrap();
    for name in ["folder/x", "file", "dangling", "pipe", "taken", "x/y"] {
        here.write("s.rhai", format!("save(\"{name}\", 1)").as_bytes());
        refused(&run(&here, &[]), "can't be written", name);
    }
    assert_eq!(tree(&here.path().join("outside")).len(), 1);
    assert_eq!(fs::read(here.path().join("outside/kept")).unwrap(), b"kept");
}

#[test]
fn a_hard_link_in_the_output_directory_is_replaced_not_written_through() {
    let here =
        Workplace::new(&[("s.rhai", "save(\"file\", 1)"), ("outside", "kept"), ("out/x", "")]);
    fs::hard_link(here.path().join("outside"), here.path().join("out/file.json")).unwrap();
    assert_eq!(run(&here, &[]).code, Some(0));
    assert_eq!(fs::read(here.path().join("outside")).unwrap(), b"kept");
    assert_eq!(fs::read(here.path().join("out/file.json")).unwrap(), b"1\n");
}

#[test]
fn an_output_directory_swapped_for_a_link_while_the_script_runs_is_not_followed() {
    let here = Workplace::new(&[("s.rhai", SWAPPED), ("outside/kept", "")]);
    let mut child = here
        .command(&["run", "s.rhai", "--out", "out", "--timeout", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    fs::rename(here.path().join("out/inner"), here.path().join("out/old")).unwrap();
    symlink(here.path().join("outside"), here.path().join("out/inner")).unwrap();
    fs::rename(here.path().join("out"), here.path().join("moved")).unwrap();
    symlink(here.path().join("outside"), here.path().join("out")).unwrap();
    here.write("swapped.npy", &fs::read(npy_file(&here)).unwrap());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(tree(&here.path().join("outside")).len(), 1, "{:?}", tree(here.path()));
    assert!(here.path().join("moved/outer.json").exists());
}

/// Waits for a file that says that the swap is done.
const SWAPPED: &str = r#"
save("inner/one", 1);
print("go");
loop { try { load_tensors("swapped.npy"); break } catch {} }
try { save("inner/two", 2); print("wrote"); } catch {}
save("outer", 3);
"#;

fn npy_file(here: &Workplace) -> std::path::PathBuf {
    here.write("made.npy", &npy("'<f4'", "(1,)", &[0; 4]));
    here.path().join("made.npy")
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), data]
        .concat()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn only_files_beside_the_script_and_below_read_are_read() {
    let here = Workplace::new(&[("outside/x", ""), ("dir/readable/x", "")]);
    let good = npy("'<f4'", "(1,)", &[0; 4]);
    for name in ["outside/secret.npy", "dir/own.npy", "elsewhere/given.npy"] {
        here.write(name, &good);
    }
    let dir = here.path().join("dir");
    symlink("../outside/secret.npy", dir.join("link.npy")).unwrap();
    symlink("../outside", dir.join("folder")).unwrap();
    symlink("/dev/zero", dir.join("zero.npy")).unwrap();
    symlink("loop.npy", dir.join("loop.npy")).unwrap();
    fifo(&dir.join("pipe.npy"));
    fs::create_dir(dir.join("folder.npy")).unwrap();
    let absolute = here.path().join("outside/secret.npy").display().to_string();
    for (path, sentence) in [
        (absolute.as_str(), "is outside what this script may read"),
        ("../outside/secret.npy", "is outside what this script may read"),
        ("readable/../../outside/secret.npy", "is outside what this script may read"),
        ("link.npy", "is outside what this script may read"),
        ("folder/secret.npy", "is outside what this script may read"),
        ("/etc/passwd", "is outside what this script may read"),
        ("/proc/self/environ", "is outside what this script may read"),
        ("../elsewhere/nothing.npy", "there is no file"),
        ("zero.npy", "is outside what this script may read"),
        ("pipe.npy", "is no file"),
        ("folder.npy", "is no file"),
        ("loop.npy", "there is no file"),
        ("own.npy\\x00", "is no path"),
        ("~/own.npy", "there is no file"),
        ("$HOME/own.npy", "there is no file"),
    ] {
        here.write("dir/s.rhai", format!("load_tensors(\"{path}\")").as_bytes());
        refused(&here.run(&["run", "dir/s.rhai"]), sentence, path);
    }
    here.write(
        "dir/s.rhai",
        b"load_tensors(\"own.npy\").numel + load_tensors(\"given.npy\").numel",
    );
    let ran = here.run(&["run", "dir/s.rhai", "--read", "elsewhere"]);
    assert_eq!(ran.stdout, "2\n", "{}", ran.stderr);
}

#[test]
fn a_file_of_tensors_that_lies_about_its_size_is_refused() {
    let entry = |dtype: &str, shape: &str, from: u64, to: u64| {
        format!(
            "{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}}}"
        )
    };
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let attacks: Vec<(&str, Vec<u8>)> = vec![
        ("huge.npy", npy("'<f4'", "(1125899906842624,)", &[0; 8])),
        ("overflow.npy", npy("'<f4'", "(4294967296, 4294967296, 2)", &[0; 8])),
        ("nothing.npy", npy("'<f4'", "(0, 4611686018427387904, 8)", &[])),
        ("negative.npy", npy("'<f4'", "(-1,)", &[0; 8])),
        ("objects.npy", npy("'|O'", "(1,)", b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.")),
        ("structured.npy", npy("[('a', '<f4')]", "(1,)", &[0; 4])),
        ("cut.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec()),
        ("empty.npy", Vec::new()),
        ("binary.npy", b"\x93NUMPY\x01\x00\x04\x00\xff\xfe\xfd\xfc".to_vec()),
        ("petabytes.safetensors", [&(1u64 << 60).to_le_bytes(), b"{}".as_slice()].concat()),
        ("minus.safetensors", [&u64::MAX.to_le_bytes(), b"{}".as_slice()].concat()),
        ("beyond.safetensors", safetensors(&entry("F32", "[1024]", 0, 4096), &[0; 4])),
        (
            "overflow.safetensors",
            safetensors(&entry("F32", "[4294967296,4294967296,2]", 0, 0), &[]),
        ),
        ("nothing.safetensors", safetensors(&entry("F32", "[0,4611686018427387904,8]", 0, 0), &[])),
        ("backwards.safetensors", safetensors(&entry("F32", "[1]", 8, 4), &[0; 8])),
        ("deep.safetensors", safetensors(&deep, &[])),
        ("text.safetensors", safetensors("[1, 2]", &[])),
        ("pickle.safetensors", b"\x80\x02cos\nsystem\n(S'touch pwned'\ntR.".to_vec()),
    ];
    for (name, bytes) in attacks {
        let here = Workplace::new(&[("s.rhai", &format!("load_tensors(\"{name}\")"))]);
        here.write(name, &bytes);
        refused(&run(&here, &[]), name, name);
        assert!(!here.path().join("pwned").exists(), "{name}");
    }
}

#[test]
fn a_file_larger_than_the_memory_allowed_is_not_read() {
    let here = Workplace::new(&[
        ("s.rhai", "load_tensors(\"sparse.npy\")"),
        ("t.rhai", "import \"big\" as b;"),
    ]);
    for name in ["sparse.npy", "big.rhai"] {
        fs::File::create(here.path().join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    refused(&run(&here, &[]), "sparse.npy: a file of 1.0 TiB", "sparse");
    refused(&here.run(&["run", "t.rhai"]), "big.rhai is too large for a script", "big");
}

#[test]
fn an_import_reads_regular_scripts_beside_the_importing_one_only() {
    let here = Workplace::new(&[("dir/x", ""), ("outside.rhai", "export const X = 1;")]);
    let dir = here.path().join("dir");
    fifo(&dir.join("pipe.rhai"));
    fs::create_dir(dir.join("folder.rhai")).unwrap();
    symlink("/dev/zero", dir.join("zero.rhai")).unwrap();
    symlink("/etc/passwd", dir.join("passwd.rhai")).unwrap();
    symlink("../outside.rhai", dir.join("link.rhai")).unwrap();
    let absolute = here.path().join("outside").display().to_string();
    for (name, sentence) in [
        (absolute.as_str(), "leaves the directory of the script"),
        ("../outside", "leaves the directory of the script"),
        ("/etc/passwd", "leaves the directory of the script"),
        ("link", "leaves the directory of the script"),
        ("passwd", "leaves the directory of the script"),
        ("pipe", "there is no pipe.rhai"),
        ("zero", "there is no zero.rhai"),
        ("folder", "there is no folder.rhai"),
        ("a\\x00b", "there is no"),
        ("..\\\\outside", "names no file"),
        ("", "names no file"),
    ] {
        for import in
            [format!("import \"{name}\" as x;"), format!("let n = \"{name}\"; import n as x;")]
        {
            here.write("dir/s.rhai", import.as_bytes());
            refused(&here.run(&["run", "dir/s.rhai"]), sentence, &import);
        }
    }
}
