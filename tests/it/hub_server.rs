//! A Hub on loopback: it serves the fixtures as the Hugging Face Hub serves models, and fails where
//! it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::fixture::directory;

/// What `main` and `v1` stand for, and the commit of no name.
pub const MAIN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const V1: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// The token that private and gated repositories want.
pub const TOKEN: &str = "secret";

/// The token that the Hub gives for the store of large files.
const STORE_TOKEN: &str = "store";

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub token: Option<String>,
    pub range: Option<(usize, usize)>,
    body: Vec<u8>,
    /// It came to the host that large files are redirected to.
    pub cdn: bool,
}

impl Request {
    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// A file that a commit names by its SHA-256 and size, as one that is stored apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    pub sha256: String,
    pub size: u64,
}

impl Pointer {
    pub fn to(bytes: &[u8]) -> Self {
        Self { sha256: etag(".bin", bytes), size: bytes.len() as u64 }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// An HTTP status, and the Hub's `X-Error-Code`.
    Status(u16, &'static str),
    /// The connection ends after this many bytes of the body.
    Drop(usize),
    /// A body of this many bytes, that says it is whole.
    Truncate(usize),
    /// A body in pieces of 1 KiB, ten a second.
    Trickle,
    /// No answer.
    Silence,
    /// A web page.
    Page,
}

struct Planned {
    method: &'static str,
    path: &'static str,
    fault: Fault,
    times: usize,
}

#[derive(Clone, Default)]
struct Repository {
    /// By commit, then by name.
    files: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// What branches and tags stand for, by their names as they come in a path.
    branches: BTreeMap<String, String>,
    /// None may see it without the token.
    private: bool,
    /// All may see it; its files want the token.
    gated: bool,
    /// The files of commits that are stored apart, by name.
    pointers: BTreeMap<String, Pointer>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    /// Where this Hub is.
    address: String,
    /// What was put into the store of large files, by its SHA-256.
    stored: BTreeMap<String, Vec<u8>>,
    /// The files in it of which the Hub was told.
    verified: BTreeSet<String>,
    requests: Vec<Request>,
    faults: Vec<Planned>,
}

pub struct HubServer {
    address: String,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// `tiny/CASE` for every fixture named, with files beside them that no model needs.
    pub fn start(cases: &[&str]) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", hub.local_addr().unwrap());
        let large = format!("http://{}", cdn.local_addr().unwrap());
        let repositories =
            cases.iter().map(|case| (format!("tiny/{case}"), Repository::of(case))).collect();
        let state = Arc::new(Mutex::new(State {
            repositories,
            address: address.clone(),
            ..State::default()
        }));
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let (state, large) = (state.clone(), large.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (state, large) = (state.clone(), large.clone());
                    // A client that has gone is no concern of the server's.
                    std::thread::spawn(move || {
                        serve(stream, &state, &large, is_cdn).unwrap_or_default()
                    });
                }
            });
        }
        Self { address, state }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next `times` requests of this method whose path contains `path` go wrong.
    pub fn fail(&self, method: &'static str, path: &'static str, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.push(Planned { method, path, fault, times });
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    pub fn restrict(&self, id: &str, private: bool, gated: bool) {
        let mut state = self.state.lock().unwrap();
        let repository = state.repositories.get_mut(id).unwrap();
        (repository.private, repository.gated) = (private, gated);
    }

    pub fn edit(&self, id: &str, edit: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
        edit(
            self.state
                .lock()
                .unwrap()
                .repositories
                .get_mut(id)
                .unwrap()
                .files
                .get_mut(MAIN)
                .unwrap(),
        );
    }

    /// Puts files into the repository `id`, which is made if it is not there, as the commit that
    /// `revision` stands for from now on.
    pub fn put<T: AsRef<[u8]>>(&self, id: &str, revision: &str, commit: &str, files: &[(&str, T)]) {
        let mut state = self.state.lock().unwrap();
        let repository = state.repositories.entry(id.into()).or_default();
        repository.branches.insert(revision.into(), commit.into());
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_ref().to_vec()));
        repository.files.insert(commit.into(), files.collect());
    }

    /// From now on `revision` stands for `commit`.
    pub fn repoint(&self, id: &str, revision: &str, commit: &str) {
        let mut state = self.state.lock().unwrap();
        state.repositories.get_mut(id).unwrap().branches.insert(revision.into(), commit.into());
    }

    /// The text files that `main` of the repository has.
    pub fn texts(&self, id: &str) -> BTreeMap<String, String> {
        let state = self.state.lock().unwrap();
        let repository = &state.repositories[id];
        let files = &repository.files[&repository.branches["main"]];
        files
            .iter()
            .map(|(name, bytes)| (name.clone(), String::from_utf8(bytes.clone()).unwrap()))
            .collect()
    }

    /// The files of the repository that were committed as stored apart, and what the store has.
    pub fn stored_apart(&self, id: &str) -> (BTreeMap<String, Pointer>, Vec<Vec<u8>>) {
        let state = self.state.lock().unwrap();
        (state.repositories[id].pointers.clone(), state.stored.values().cloned().collect())
    }

    /// Every request so far, which are then forgotten.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// The files fetched since the last call, in order of name, each once.
    pub fn fetched(&self) -> Vec<String> {
        let names =
            self.requests().into_iter().filter(|request| request.method == "GET" && !request.cdn);
        let mut names: Vec<String> = names
            .filter_map(|request| {
                Some(request.path.split_once("/resolve/")?.1.split_once('/')?.1.into())
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Repository {
    fn of(case: &str) -> Self {
        let mut files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(directory(case))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                )
            })
            .filter(|(name, _)| !name.starts_with("golden") && !name.starts_with("shifted"))
            .collect();
        for extra in [
            "README.md",
            ".gitattributes",
            "flax_model.msgpack",
            "onnx/model.onnx",
            "model-v2.safetensors",
        ] {
            files.insert(extra.into(), b"not for us".into());
        }
        let mut first = files.clone();
        let mut config: serde_json::Value = serde_json::from_slice(&first["config.json"]).unwrap();
        config["_name_or_path"] = "v1".into();
        first.insert("config.json".into(), config.to_string().into_bytes());
        let branches = [("main", MAIN), ("refs%2Fpr%2F1", MAIN), ("v1", V1)];
        let branches = branches.map(|(name, commit)| (name.to_owned(), commit.to_owned())).into();
        Self {
            files: [(MAIN.into(), files), (V1.into(), first)].into(),
            branches,
            ..Self::default()
        }
    }
}

impl Repository {
    /// Whether `.gitattributes` on `main` says that files of this name are stored apart from git.
    fn stores_apart(&self, name: &str) -> bool {
        let files = &self.files[&self.branches["main"]];
        let attributes = files.get(".gitattributes").map(Vec::as_slice).unwrap_or_default();
        let lines = String::from_utf8_lossy(attributes);
        let mut patterns = lines.lines().filter_map(|line| {
            line.split_once(" filter=lfs").and_then(|(pattern, _)| pattern.strip_prefix('*'))
        });
        is_large(name) || patterns.any(|ending| name.ends_with(ending))
    }
}

/// What the Hub names a file's contents: SHA-256 of large files, and git's hash of small ones.
pub fn etag(name: &str, bytes: &[u8]) -> String {
    let digits = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if is_large(name) {
        return digits(&Sha256::digest(bytes));
    }
    digits(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, format!("{{\"error\": \"{code}\"}}")).with("X-Error-Code", code)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, large: &str, cdn: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(request) = read(&mut reader, cdn)? else { return Ok(()) };
    let (answer, fault) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let planned = state.faults.iter_mut().find(|planned| {
            planned.times > 0
                && planned.method == request.method
                && request.path.contains(planned.path)
        });
        let fault = planned.map(|planned| {
            planned.times -= 1;
            planned.fault
        });
        let answer = match request.method.as_str() {
            "PUT" => store(&request, &mut state),
            "POST" if !request.path.contains("/paths-info/") => accept(&request, &mut state, large),
            _ => answer(&request, &state, large),
        };
        (answer, fault)
    };
    write(stream, &request, answer, fault)
}

fn read(reader: &mut impl BufRead, cdn: bool) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request { method, path, token: None, range: None, body: Vec::new(), cdn };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "content-length" => length = value.parse().unwrap(),
            "range" => {
                let (first, last) = value.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                request.range = Some((first.parse().unwrap(), last.parse().unwrap()));
            }
            _ => {}
        }
    }
    reader.take(length).read_to_end(&mut request.body)?;
    Ok(Some(request))
}

/// What writes: a new repository, which files are large, a commit.
fn accept(request: &Request, state: &mut State, large: &str) -> Answer {
    if request.token.as_deref() != Some(TOKEN) {
        return Answer::error(if request.token.is_some() { 403 } else { 401 }, "");
    }
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    if request.path.ends_with(".git/info/lfs/objects/batch") {
        let asked = json(&request.text());
        assert_eq!(
            (&asked["operation"], &asked["hash_algo"]),
            (&"upload".into(), &"sha256".into())
        );
        assert_eq!(asked["transfers"], serde_json::json!(["basic"]));
        let objects = asked["objects"].as_array().unwrap().iter().map(|object| {
            let oid = object["oid"].as_str().unwrap();
            let mut answer = object.clone();
            if !state.verified.contains(oid) {
                answer["actions"] = serde_json::json!({
                    "upload": {
                        "href": format!("{large}/store/{oid}?signed=yes"),
                        "header": {"Authorization": format!("Bearer {STORE_TOKEN}")},
                    },
                    "verify": {"href": format!("{}/verify/{oid}", state.address)},
                });
            }
            answer
        });
        let objects: Vec<_> = objects.collect();
        return Answer::new(200, serde_json::json!({"objects": objects}).to_string());
    }
    if let Some(oid) = request.path.strip_prefix("/verify/") {
        let told = json(&request.text());
        let length = state.stored.get(oid).map(Vec::len);
        if told["oid"] != oid || length.is_none_or(|length| told["size"] != length) {
            return Answer::error(404, "");
        }
        state.verified.insert(oid.to_owned());
        return Answer::new(200, "");
    }
    if request.path == "/api/repos/create" {
        let asked = json(&request.text());
        let id = format!(
            "{}/{}",
            asked["organization"].as_str().unwrap(),
            asked["name"].as_str().unwrap()
        );
        if state.repositories.contains_key(&id) {
            return Answer::error(409, "");
        }
        let private = asked["private"].as_bool().unwrap();
        let repository = Repository {
            files: [(V1.to_owned(), BTreeMap::new())].into(),
            branches: [("main".to_owned(), V1.to_owned())].into(),
            private,
            ..Repository::default()
        };
        state.repositories.insert(id.clone(), repository);
        return Answer::new(
            200,
            serde_json::json!({"url": format!("https://hub/{id}")}).to_string(),
        );
    }
    let parts: Vec<&str> =
        request.path.strip_prefix("/api/models/").unwrap().splitn(4, '/').collect();
    let [owner, name, what, "main"] = parts[..] else { return Answer::new(404, "") };
    let Some(repository) = state.repositories.get_mut(&format!("{owner}/{name}")) else {
        return Answer::error(404, "RepoNotFound");
    };
    match what {
        "preupload" => {
            let asked = json(&request.text());
            let files = asked["files"].as_array().unwrap().iter().map(|file| {
                let large = repository.stores_apart(file["path"].as_str().unwrap());
                let mode = if large { "lfs" } else { "regular" };
                serde_json::json!({"path": file["path"], "uploadMode": mode})
            });
            Answer::new(200, serde_json::json!({"files": files.collect::<Vec<_>>()}).to_string())
        }
        "commit" => {
            let mut files = repository.files[&repository.branches["main"]].clone();
            for line in request.text().lines().map(json) {
                let (key, file) = (line["key"].as_str().unwrap(), &line["value"]);
                let name = file["path"].as_str().unwrap_or_default();
                match key {
                    "file" if repository.stores_apart(name) => return Answer::error(400, ""),
                    "file" => {
                        files.insert(name.into(), decode(file["content"].as_str().unwrap()));
                    }
                    "lfsFile" => {
                        assert_eq!(file["algo"], "sha256");
                        let sha256 = file["oid"].as_str().unwrap().to_owned();
                        if !state.verified.contains(&sha256) {
                            return Answer::error(400, "");
                        }
                        let size = file["size"].as_u64().unwrap();
                        repository.pointers.insert(name.into(), Pointer { sha256, size });
                    }
                    _ => {}
                }
            }
            let digest = etag("", format!("{files:?}").as_bytes());
            repository.files.insert(digest.clone(), files);
            repository.branches.insert("main".into(), digest.clone());
            Answer::new(
                200,
                serde_json::json!({"commitOid": digest, "commitUrl": "https://hub/"}).to_string(),
            )
        }
        _ => Answer::new(404, ""),
    }
}

/// The store of large files, which is at another host than the Hub.
fn store(request: &Request, state: &mut State) -> Answer {
    if !request.cdn || request.token.as_deref() != Some(STORE_TOKEN) {
        return Answer::new(401, "");
    }
    let oid =
        request.path.strip_prefix("/store/").and_then(|path| path.strip_suffix("?signed=yes"));
    match oid {
        Some(oid) if oid == etag(".bin", &request.body) => {
            state.stored.insert(oid.to_owned(), request.body.clone());
            Answer::new(200, "stored")
        }
        _ => Answer::new(400, ""),
    }
}

/// Base64.
fn decode(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = text.bytes().filter_map(|c| digits.iter().position(|digit| *digit == c)).fold(
        (Vec::new(), 0_u32, 0),
        |(mut bytes, mut held, mut count), digit| {
            (held, count) = ((held << 6 | digit as u32) & 0xffff, count + 6);
            if count >= 8 {
                count -= 8;
                bytes.push((held >> count) as u8);
            }
            (bytes, held, count)
        },
    );
    std::mem::take(&mut bits.0)
}

fn answer(request: &Request, state: &State, large: &str) -> Answer {
    if let Some(path) = request.path.strip_prefix("/lfs/") {
        let parts: Vec<&str> = path.splitn(4, '/').collect();
        let [owner, name, commit, file] = parts[..] else { return Answer::new(404, "") };
        let bytes = &state.repositories[&format!("{owner}/{name}")].files[commit][file];
        return bytes_of(bytes, request.range).with("ETag", "\"of the CDN\"");
    }
    let (api, path) = match request.path.strip_prefix("/api/") {
        Some(path) => (true, path.strip_prefix("models/").unwrap_or(path)),
        None => (false, &request.path[1..]),
    };
    let (kind, path) = match path.strip_prefix("datasets/") {
        Some(path) => ("datasets/", path),
        None => ("", path),
    };
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    let Some((id, repository)) = (parts.len() >= 2)
        .then(|| format!("{kind}{}/{}", parts[0], parts[1]))
        .and_then(|id| state.repositories.get(&id).map(|repository| (id, repository)))
    else {
        // As the Hub answers who may not know what there is.
        return Answer::error(if request.token.is_some() { 404 } else { 401 }, "RepoNotFound");
    };
    let allowed = request.token.as_deref() == Some(TOKEN);
    if repository.private && !allowed {
        return Answer::error(401, "RepoNotFound");
    }
    let revision = parts.get(3).copied().unwrap_or("main");
    let commit = repository.branches.get(revision).map_or(revision, String::as_str);
    let Some((commit, files)) = repository.files.get_key_value(commit) else {
        return Answer::error(404, "RevisionNotFound");
    };
    if api && parts.get(2) == Some(&"paths-info") {
        let entries = files.iter().filter(|(name, _)| request.text().contains(name.as_str()));
        let entries = entries.map(|(name, bytes)| {
            let lfs = is_large(name).then(|| serde_json::json!({"oid": etag(name, bytes), "size": bytes.len()}));
            let oid = etag(".", bytes);
            serde_json::json!({"type": "file", "oid": oid, "path": name, "size": bytes.len(), "lfs": lfs})
        });
        return Answer::new(200, serde_json::Value::from(entries.collect::<Vec<_>>()).to_string());
    }
    if api {
        let siblings: Vec<_> =
            files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"id": id, "sha": commit, "siblings": siblings, "private": repository.private});
        return Answer::new(200, info.to_string());
    }
    if repository.gated && !allowed {
        return Answer::error(if request.token.is_some() { 403 } else { 401 }, "GatedRepo");
    }
    let name = parts.get(4).copied().unwrap_or_default();
    let Some(bytes) = files.get(name) else {
        return Answer::error(404, "EntryNotFound").with("X-Repo-Commit", commit);
    };
    let tag = format!("\"{}\"", etag(name, bytes));
    if is_large(name) {
        return Answer::new(302, "Found")
            .with("Location", format!("{large}/lfs/{id}/{commit}/{name}"))
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Etag", tag)
            .with("X-Linked-Size", bytes.len().to_string());
    }
    bytes_of(bytes, request.range).with("X-Repo-Commit", commit).with("ETag", tag)
}

fn bytes_of(bytes: &[u8], range: Option<(usize, usize)>) -> Answer {
    match range {
        Some((first, last)) => Answer::new(206, &bytes[first..=last.min(bytes.len() - 1)])
            .with("Content-Range", format!("bytes {first}-{last}/{}", bytes.len())),
        None => Answer::new(200, bytes),
    }
    .with("Accept-Ranges", "bytes")
}

fn write(
    mut stream: TcpStream,
    request: &Request,
    answer: Answer,
    fault: Option<Fault>,
) -> std::io::Result<()> {
    let answer = match fault {
        Some(Fault::Status(status, code)) => Answer::error(status, code),
        Some(Fault::Page) => Answer::new(200, "<html>Welcome to the café's network</html>"),
        Some(Fault::Truncate(bytes)) => Answer { body: answer.body[..bytes].to_vec(), ..answer },
        Some(Fault::Silence) => {
            std::thread::sleep(Duration::from_secs(60));
            return Ok(());
        }
        _ => answer,
    };
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", answer.body.len());
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(Fault::Drop(bytes)) => stream.write_all(&answer.body[..bytes.min(answer.body.len())]),
        Some(Fault::Trickle) => answer.body.chunks(1024).try_for_each(|piece| {
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        }),
        _ => stream.write_all(&answer.body),
    }
}
