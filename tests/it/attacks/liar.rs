//! A Hub on loopback that answers truly, but for what a test has it lie about: down to the bytes of
//! its headers.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What `main` stands for.
pub const MAIN: &str = "cccccccccccccccccccccccccccccccccccccccc";

/// One request, as it came.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// The Authorization header.
    pub token: Option<String>,
    pub range: Option<(usize, usize)>,
}

impl Asked {
    /// Whether it is about the file `name`, or the address that large files are sent on to.
    pub fn is_for(&self, name: &str) -> bool {
        (self.path.contains("/resolve/") || self.path.starts_with("/large/"))
            && self.path.ends_with(&format!("/{name}"))
    }

    pub fn is_listing(&self) -> bool {
        self.path.starts_with("/api/models/") && self.path.contains("/revision/")
    }

    pub fn is(&self, method: &str) -> bool {
        self.method == method
    }
}

/// An answer, which a lie changes.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// By name, in lower case. Without `content-length` the body has the length that it has.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// In place of status and headers.
    pub raw: Option<Vec<u8>>,
    /// After the body, these bytes again and again, with a pause before each.
    pub endless: Option<(Vec<u8>, Duration)>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), raw: None, endless: None }
    }

    /// With a header, in place of one of its name.
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub fn raw(self, head: &[u8]) -> Self {
        Self { raw: Some(head.to_vec()), body: Vec::new(), ..self }
    }

    pub fn endless(self, piece: &[u8], pause: Duration) -> Self {
        Self { endless: Some((piece.to_vec(), pause)), ..self }
    }
}

pub struct Liar {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Liar {
    /// A repository of these files, whatever its name; `lie` has the last word on each answer.
    pub fn start(
        files: &[(&str, &[u8])],
        lie: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let files: Vec<_> =
            files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let shared = Arc::new((files, lie));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, log) = (shared.clone(), log.clone());
                std::thread::spawn(move || {
                    let Some(asked) = read(&stream) else { return };
                    log.lock().unwrap().push(asked.clone());
                    let answer = shared.1(&asked, honest(&asked, &shared.0));
                    // A client that has had enough is no concern of the server's.
                    let _ = write(stream, &asked, answer);
                });
            }
        });
        Self { address, asked }
    }

    /// One that serves nothing, and tells who came.
    pub fn stranger() -> Self {
        Self::start(&[], |_, answer| answer)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.address
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, which are then forgotten.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

/// What git calls the contents.
pub fn git(bytes: &[u8]) -> String {
    digits(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn digits(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked { method: words.next()?, path: words.next()?, ..Asked::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { return Some(asked) };
        match name.to_lowercase().as_str() {
            "authorization" => asked.token = Some(value.to_owned()),
            "range" => {
                let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                asked.range = Some((first.parse().ok()?, last.parse().ok()?));
            }
            _ => {}
        }
    }
}

fn honest(asked: &Asked, files: &[(String, Vec<u8>)]) -> Answer {
    if asked.is_listing() {
        let siblings: Vec<_> =
            files.iter().map(|(name, _)| serde_json::json!({"rfilename": name})).collect();
        return Answer::new(
            200,
            serde_json::json!({"sha": MAIN, "siblings": siblings}).to_string(),
        );
    }
    if asked.path.contains("/paths-info/") {
        let entries =
            files.iter().map(|(name, bytes)| serde_json::json!({"path": name, "oid": git(bytes)}));
        return Answer::new(200, serde_json::Value::from(entries.collect::<Vec<_>>()).to_string());
    }
    let sent_on = asked.path.starts_with("/large/");
    let Some((name, bytes)) =
        files.iter().find(|(name, _)| asked.path.ends_with(&format!("/{name}")))
    else {
        return Answer::new(404, "").with("x-repo-commit", MAIN);
    };
    let is_large = name.ends_with(".safetensors");
    if is_large && !sent_on {
        return Answer::new(302, "Found")
            .with("location", format!("/large/{name}"))
            .with("x-repo-commit", MAIN)
            .with("x-linked-etag", format!("\"{}\"", sha256(bytes)))
            .with("x-linked-size", bytes.len().to_string());
    }
    let answer = match asked.range {
        Some((first, last)) => Answer::new(206, &bytes[first..=last])
            .with("content-range", format!("bytes {first}-{last}/{}", bytes.len())),
        None => Answer::new(200, bytes.clone()),
    };
    match is_large {
        true => answer.with("etag", "\"of another kind\""),
        false => answer.with("x-repo-commit", MAIN).with("etag", format!("\"{}\"", git(bytes))),
    }
}

fn write(mut stream: TcpStream, asked: &Asked, answer: Answer) -> std::io::Result<()> {
    let is_raw = answer.raw.is_some();
    let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", answer.status).into_bytes();
    let mut headers = answer.headers;
    if answer.endless.is_none() && !headers.iter().any(|(name, _)| name == "content-length") {
        headers.push(("content-length".into(), answer.body.len().to_string().into_bytes()));
    }
    for (name, value) in headers {
        head.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    stream.write_all(&answer.raw.unwrap_or(head))?;
    if asked.method == "HEAD" && !is_raw {
        return Ok(());
    }
    stream.write_all(&answer.body)?;
    if let Some((piece, pause)) = answer.endless {
        loop {
            std::thread::sleep(pause);
            stream.write_all(&piece)?;
        }
    }
    Ok(())
}
