//! HTTP requests to the Hub and to hosts that it redirects to. Responses are bounded in size and
//! time, and the token is sent to the Hub's own origin only.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use super::environment::Environment;
use super::settings::Hub;
use super::{response, settings};
use crate::system::interrupt;
use crate::{Error, Result, error};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 8;

/// The largest response in bytes that is no file: a listing of some 200,000 files.
const MAX_SMALL_BYTES: usize = 16 << 20;

/// The slowest transfer in bytes per second. A slower one counts as stalled.
const MIN_BYTES_PER_SECOND: u64 = 4 << 10;

/// How often a wait checks whether the run was interrupted.
const TICK: Duration = Duration::from_millis(50);

/// Why a request failed.
pub enum Failure {
    /// There was no connection, or it was lost.
    Broken(String),
    /// The server was silent for too long, or sent too little.
    Stalled(String),
    /// The server answered with an error status.
    Refused(Refusal),
    /// A response that breaks the protocol, or the run was interrupted. Trying again does not help.
    Final(Error),
}

/// A response with an error status.
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The Hub's `X-Error-Code`; empty if there is none.
    pub code: String,
    /// Another host answered, which the Hub had redirected to.
    pub elsewhere: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// A client of one Hub. It must be made and used on a thread without another asynchronous runtime;
/// see [`on_own_thread`].
pub struct Client {
    http: reqwest::Client,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    endpoint: Url,
    token: Option<HeaderValue>,
    /// How long a server may be silent.
    timeout: Duration,
    /// The same, if the headers alone were asked for.
    question_timeout: Duration,
}

impl Drop for Client {
    fn drop(&mut self) {
        // An ordinary drop would wait for a name look-up that is still running.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// A client of this Hub.
    ///
    /// # Errors
    /// The URL or the token is malformed.
    pub fn new(hub: &Hub) -> Result<Self> {
        let cannot =
            |e: &dyn std::fmt::Display| error!("the Hub's address or settings can't be used: {e}");
        let endpoint = response::parse_endpoint(&hub.endpoint_url())?;
        let token = hub.access_token().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                error!("the token has characters that no token has").help("check HF_TOKEN")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let environment = Environment::process();
        let origin = environment.origin().map_or_else(String::new, |who| format!("; origin/{who}"));
        // Fails if an embedding program has installed its own provider, which is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(format!("precompute/{}{origin}", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .build()
            .map_err(|e| cannot(&root_cause(&e)))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| cannot(&e))?;
        Ok(Self {
            http,
            runtime: Some(runtime),
            endpoint,
            token: token.transpose()?,
            timeout: environment.download_timeout()?,
            question_timeout: environment.question_timeout()?,
        })
    }

    /// The URL of a path at the Hub. Each item of `path` is one segment, and is escaped.
    pub fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        // `path_segments_mut` fails only for URLs without a host, which `parse_endpoint` refuses.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }

    /// The headers about a file, and whether they are those of a redirect.
    ///
    /// # Errors
    /// There was no response, or one with an error status.
    pub fn head(&self, url: Url) -> Result<(HeaderMap, bool), Failure> {
        let response = self.request(
            &RequestSpec { method: Method::HEAD, url, headers: HeaderMap::new(), body: None },
            response::has_file_metadata,
        )?;
        let redirects = response.status().is_redirection();
        Ok((response.headers().clone(), redirects))
    }

    /// The response with a file, or with its bytes from the first to the last of `range`.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub fn get(&self, url: Url, range: Option<(u64, u64)>) -> Result<Response, Failure> {
        let range = range.map(|(first, last)| format!("bytes={first}-{last}"));
        // Digits and such are always a header's value.
        let range = range.and_then(|range| HeaderValue::from_str(&range).ok());
        let headers = range.map(|range| (RANGE, range)).into_iter().collect();
        self.request(&RequestSpec { method: Method::GET, url, headers, body: None }, |_| false)
    }

    /// The body of a response that is not a file.
    ///
    /// # Errors
    /// As [`head`](Self::head), and if the body is too large.
    pub fn get_small(&self, url: Url) -> Result<Vec<u8>, Failure> {
        self.read_body(self.get(url, None)?, MAX_SMALL_BYTES)
    }

    /// The body of the response to a POST of `body`, which has the content type `kind`.
    ///
    /// # Errors
    /// As [`get_small`](Self::get_small).
    pub fn post(&self, url: Url, kind: &'static str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        self.send(Method::POST, url, headers, body)
    }

    /// The body of the response to a request with `headers` and a `body`. The time allowed for it
    /// grows with the body's size.
    ///
    /// # Errors
    /// As [`get_small`](Self::get_small).
    pub fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let spec = RequestSpec { method, url, headers, body: Some(body) };
        self.read_body(self.request(&spec, |_| false)?, MAX_SMALL_BYTES)
    }

    /// Reads a whole body of at most `max_bytes`, within the time that a server may be silent.
    ///
    /// # Errors
    /// It is larger, takes longer, or the connection is lost.
    pub fn read_body(&self, mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Failure> {
        let (begun, mut bytes) = (Instant::now(), Vec::new());
        loop {
            let left = self.timeout.saturating_sub(begun.elapsed());
            let chunk = match self.wait(left, response.chunk()) {
                Err(Failure::Stalled(_)) if !bytes.is_empty() => {
                    let why = format!(
                        "the Hub's answer has not come to its end within {:?}",
                        self.timeout
                    );
                    return Err(Failure::Stalled(why));
                }
                came => came?.map_err(|e| Failure::Broken(root_cause(&e)))?,
            };
            let Some(chunk) = chunk else { return Ok(bytes) };
            if bytes.len() + chunk.len() > max_bytes {
                return Err(error!(
                    "the Hub's answer does not end: it has more than {max_bytes} bytes"
                )
                .into());
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// The next chunk of a body; nothing at its end.
    ///
    /// # Errors
    /// The connection is lost, or the server is silent for too long.
    pub fn next_chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        self.wait(self.timeout, response.chunk())?.map_err(|e| Failure::Broken(root_cause(&e)))
    }

    /// A check of a transfer's speed.
    pub fn transfer_rate(&self) -> TransferRate {
        TransferRate { since: Instant::now(), bytes: 0, interval: self.timeout }
    }

    /// Sends a request and follows redirects, up to the first response whose headers are `enough`.
    fn request(
        &self,
        spec: &RequestSpec,
        enough: impl Fn(&HeaderMap) -> bool,
    ) -> Result<Response, Failure> {
        let (mut url, mut at_endpoint) = (spec.url.clone(), true);
        for _ in 0..=MAX_REDIRECTS {
            // A redirect back to the Hub comes from another host, so it gets no token either.
            at_endpoint &= url.origin() == self.endpoint.origin();
            let response = self.send_once(spec, &url, at_endpoint)?;
            let status = response.status();
            let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
            if let Some(location) = location.filter(|_| !enough(response.headers())) {
                url = response::redirect_target(&url, location)?;
                let kept = matches!(
                    status,
                    StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
                );
                if spec.body.is_some() && !(kept && url.origin() == self.endpoint.origin()) {
                    let to = settings::without_credentials(url.as_str());
                    return Err(error!("the Hub sends on to {to}, where nothing is sent").into());
                }
                continue;
            }
            if status.is_success() || location.is_some() {
                return Ok(response);
            }
            let code = response
                .headers()
                .get("x-error-code")
                .and_then(|code| code.to_str().ok())
                .unwrap_or_default();
            return Err(Failure::Refused(Refusal {
                status,
                code: code.into(),
                elsewhere: !at_endpoint,
            }));
        }
        Err(error!("the Hub sends on without end").help("check HF_ENDPOINT").into())
    }

    /// Sends one request. The token goes with it if the URL is `at_endpoint`.
    fn send_once(
        &self,
        spec: &RequestSpec,
        url: &Url,
        at_endpoint: bool,
    ) -> Result<Response, Failure> {
        let mut headers = spec.headers.clone();
        // Sizes and hashes are of the uncompressed bytes.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = self.token.as_ref().filter(|_| at_endpoint) {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let mut request = self.http.request(spec.method.clone(), url.clone()).headers(headers);
        let mut limit = match spec.method {
            Method::HEAD => self.question_timeout,
            _ => self.timeout,
        };
        if let Some(body) = &spec.body {
            limit += Duration::from_secs(body.len() as u64 / MIN_BYTES_PER_SECOND);
            request = request.body(body.clone());
        }
        self.wait(limit, request.send())?.map_err(|e| Failure::Broken(root_cause(&e)))
    }

    /// Waits for `work`, at most for `limit`, and checks for interrupts meanwhile.
    fn wait<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime else {
            return Err(error!("the client has been dropped").into());
        };
        let begun = Instant::now();
        runtime.block_on(async {
            let mut work = pin!(work);
            loop {
                match tokio::time::timeout(TICK, &mut work).await {
                    Ok(done) => return Ok(done),
                    Err(_) => interrupt::check()?,
                }
                if begun.elapsed() >= limit {
                    let seconds = Duration::from_secs(limit.as_secs_f64().ceil() as u64);
                    return Err(Failure::Stalled(format!(
                        "the Hub has been silent for {seconds:?}"
                    )));
                }
            }
        })
    }
}

/// A request, before redirects.
struct RequestSpec {
    method: Method,
    url: Url,
    /// Headers beside those that every request has.
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// Checks a transfer's speed: each interval must bring a minimum of bytes, which bounds the time of
/// the whole by its size.
pub struct TransferRate {
    since: Instant,
    bytes: u64,
    interval: Duration,
}

impl TransferRate {
    /// Counts received bytes.
    ///
    /// # Errors
    /// The last interval brought too few.
    pub fn add(&mut self, count: usize) -> Result<(), Failure> {
        self.bytes += count as u64;
        if self.since.elapsed() < self.interval {
            return Ok(());
        }
        if self.bytes < MIN_BYTES_PER_SECOND * self.interval.as_secs() {
            return Err(Failure::Stalled(format!(
                "in {:?} the Hub sent {} bytes, and less than {MIN_BYTES_PER_SECOND} a second is no download",
                self.interval, self.bytes
            )));
        }
        (self.since, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}

/// Runs `work` on a new thread: the client's runtime can't be used on a thread that an embedding
/// program's runtime already uses. A panic in `work` continues here.
pub fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The innermost cause: "connection refused" rather than "error sending request".
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
