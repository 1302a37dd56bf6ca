//! What a stranger may forge: pickles, archives, headers, pipes; and running the binary on them
//! without waiting for ever.

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// After this a run that should have ended by itself is killed, and its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of the binary left.
pub struct Ended {
    /// Nothing where it had to be killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The most memory that it held, in bytes.
    pub peak: u64,
}

/// Runs a command that reads `input`, and kills it where it does not end.
pub fn ended(mut command: Command, input: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that ends without reading is no fault of the input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let (began, memory) = (Instant::now(), format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    let code = loop {
        // The most that it held so far: what it takes within the last few milliseconds is not seen.
        let held = std::fs::read_to_string(&memory).unwrap_or_default();
        let held = held.lines().find_map(|line| {
            line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        peak = peak.max(held.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), peak }
}

/// A pipe that nobody writes to.
pub fn pipe(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A file of PyTorch's: a zip of a pickle and of storages, not compressed.
pub fn archive(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut entry = |name: String, bytes: &[u8]| {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("archive/data.pkl".into(), pickle);
    for (key, bytes) in storages {
        entry(format!("archive/data/{key}"), bytes);
    }
    zip.finish().unwrap().into_inner()
}

/// A pickled text.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", u32::try_from(text.len()).unwrap().to_le_bytes().as_slice(), text.as_bytes()].concat()
}

pub fn int(n: i64) -> Vec<u8> {
    [b"\x8a\x08".as_slice(), &n.to_le_bytes()].concat()
}

pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".as_slice(), &items.concat(), b"t"].concat()
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// What a tensor is rebuilt from.
pub fn arguments(
    class: &str,
    key: &str,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Vec<Vec<u8>> {
    let storage = tuple(&[text("storage"), global("torch", class), text(key), text("cpu"), int(1)]);
    let sizes = |sizes: &[i64]| tuple(&sizes.iter().map(|&n| int(n)).collect::<Vec<_>>());
    vec![
        [storage, b"Q".to_vec()].concat(),
        int(offset),
        sizes(shape),
        sizes(strides),
        b"\x89".to_vec(),
        b"}".to_vec(),
    ]
}

/// A tensor, made by a function of PyTorch's.
pub fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [global(module, name), tuple(arguments), b"R".to_vec()].concat()
}

pub fn tensor(class: &str, key: &str, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    call("torch._utils", "_rebuild_tensor_v2", &arguments(class, key, offset, shape, strides))
}

/// A pickled map.
pub fn state_dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> =
        entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    [b"\x80\x02}(".as_slice(), &items, b"u."].concat()
}

pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}
