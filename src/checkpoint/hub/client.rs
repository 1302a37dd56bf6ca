//! Requests to the Hub and to the hosts that it sends on to. What they answer is bounded in size
//! and in time, and the token goes to the Hub's own origin alone.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use hf_hub::HFClient;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use super::settings::Hub;
use super::{response, settings};
use crate::system::interrupt;
use crate::{Error, Result, error};

/// How many redirects are followed.
const REDIRECTS: usize = 8;

/// The largest answer that is no file, in bytes: a listing of some 200,000 files.
const LARGEST_ANSWER: usize = 16 << 20;

/// The fewest bytes a second that a transfer may bring on the whole. What is slower stands still.
const SLOWEST: u64 = 4 << 10;

/// How often the wait for a server looks whether the work is to end.
const TICK: Duration = Duration::from_millis(50);

/// Why nothing came of a request.
pub enum Failure {
    /// There was no connection, or it broke off.
    Broken(String),
    /// Nothing came for too long, or too little.
    Stalled(String),
    /// An HTTP status that is no success.
    Refused(Refusal),
    /// An answer against the rules, or the end of the work.
    Final(Error),
}

pub struct Refusal {
    pub status: StatusCode,
    /// The Hub's own word for it.
    pub code: String,
    /// It is another host that refuses, to which the Hub sent.
    pub elsewhere: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// A client of one Hub. It must be made and used on a thread that has no other asynchronous
/// runtime.
pub struct Client {
    http: reqwest::Client,
    /// Present until it is dropped.
    runtime: Option<Runtime>,
    endpoint: Url,
    token: Option<HeaderValue>,
    patience: Duration,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Without a wait for a name that is still being looked up.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// # Errors
    /// An address or a token that can't be one.
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
        // It fails where an embedding program has chosen its own, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("precompute/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .build()
            .map_err(|e| cannot(&root_cause(&e)))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| cannot(&e))?;
        Ok(Self {
            http,
            runtime: Some(runtime),
            endpoint,
            token: token.transpose()?,
            patience: settings::patience(),
        })
    }

    /// The address at the Hub below which `path` is, part by part; what is no part of a path in one
    /// is escaped.
    pub fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        // Only an address without a host has no path.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }

    /// The headers that tell of a file, and whether they are those of a redirect.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn head(&self, url: Url) -> Result<(HeaderMap, bool), Failure> {
        let response = self.request(
            &RequestSpec { method: Method::HEAD, url, range: None, body: None },
            response::has_file_metadata,
        )?;
        let redirects = response.status().is_redirection();
        Ok((response.headers().clone(), redirects))
    }

    /// A file, or with `range` the bytes of it from the first to the last.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub fn get(&self, url: Url, range: Option<(u64, u64)>) -> Result<Response, Failure> {
        self.request(&RequestSpec { method: Method::GET, url, range, body: None }, |_| false)
    }

    /// A small answer.
    ///
    /// # Errors
    /// As [`head`](Self::head), and an answer that is not small.
    pub fn get_small(&self, url: Url) -> Result<Vec<u8>, Failure> {
        self.read_body(self.get(url, None)?, LARGEST_ANSWER)
    }

    /// The answer to what is asked in a body.
    ///
    /// # Errors
    /// As [`get_small`](Self::get_small).
    pub fn post(&self, url: Url, kind: &'static str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let spec = RequestSpec { method: Method::POST, url, range: None, body: Some((kind, body)) };
        self.read_body(self.request(&spec, |_| false)?, LARGEST_ANSWER)
    }

    /// hf-hub's client of the same Hub, which sends what it has to send through this one's
    /// connections: no redirect is followed, so that the token stays with the Hub.
    ///
    /// # Errors
    /// An address or a token that can't be one.
    pub fn hf_client(&self, hub: &Hub) -> Result<HFClient> {
        let mut builder = HFClient::builder()
            .client(self.http.clone())
            .endpoint(self.endpoint.as_str().trim_end_matches('/'))
            .cache_enabled(false)
            .retry_max_attempts(1);
        if let Some(token) = hub.access_token() {
            builder = builder.token(token);
        }
        builder.build().map_err(|e| {
            error!("the Hub's address or settings can't be used: {e}").help("check HF_ENDPOINT")
        })
    }

    /// Waits for what sends `bytes` in all: as long as the Hub may be silent, and as the slowest
    /// transfer takes.
    ///
    /// # Errors
    /// It takes longer, or the work is to end.
    pub fn send<T>(&self, bytes: u64, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.wait(self.patience + Duration::from_secs(bytes / SLOWEST), work)
    }

    /// All of a body that is to have no more than `most` bytes and to come within the time of one
    /// wait.
    ///
    /// # Errors
    /// It is longer, or does not come.
    pub fn read_body(&self, mut response: Response, most: usize) -> Result<Vec<u8>, Failure> {
        let (begun, mut bytes) = (Instant::now(), Vec::new());
        loop {
            let left = self.patience.saturating_sub(begun.elapsed());
            let chunk = match self.wait(left, response.chunk()) {
                Err(Failure::Stalled(_)) if !bytes.is_empty() => {
                    let why = format!(
                        "the Hub's answer has not come to its end within {:?}",
                        self.patience
                    );
                    return Err(Failure::Stalled(why));
                }
                came => came?.map_err(|e| Failure::Broken(root_cause(&e)))?,
            };
            let Some(chunk) = chunk else { return Ok(bytes) };
            if bytes.len() + chunk.len() > most {
                return Err(
                    error!("the Hub's answer does not end: it has more than {most} bytes").into()
                );
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// The next piece of a body; nothing at its end.
    ///
    /// # Errors
    /// It breaks off, or does not come.
    pub fn next_chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        self.wait(self.patience, response.chunk())?.map_err(|e| Failure::Broken(root_cause(&e)))
    }

    /// Watches over a transfer's speed.
    pub fn transfer_rate(&self) -> TransferRate {
        TransferRate { since: Instant::now(), bytes: 0, span: self.patience }
    }

    /// The answer, after redirects, or the first one with headers that are `enough`.
    fn request(
        &self,
        spec: &RequestSpec,
        enough: impl Fn(&HeaderMap) -> bool,
    ) -> Result<Response, Failure> {
        let (mut url, mut at_endpoint) = (spec.url.clone(), true);
        for _ in 0..=REDIRECTS {
            // Once away from at_endpoint, the way back is one that a stranger has described.
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
                    return Err(error!("the Hub sends on to {url}, where nothing is sent").into());
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

    fn send_once(
        &self,
        spec: &RequestSpec,
        url: &Url,
        at_endpoint: bool,
    ) -> Result<Response, Failure> {
        // Sizes and hashes are those of the bytes as they are.
        let mut request =
            self.http.request(spec.method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token.as_ref().filter(|_| at_endpoint) {
            let mut own = HeaderMap::new();
            own.insert(AUTHORIZATION, token.clone());
            request = request.headers(own);
        }
        if let Some((first, last)) = spec.range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        if let Some((kind, body)) = &spec.body {
            request = request.header(CONTENT_TYPE, *kind).body(body.clone());
        }
        self.wait(self.patience, request.send())?.map_err(|e| Failure::Broken(root_cause(&e)))
    }

    /// Waits for what a server does: not longer than `most`, and not longer than the work is to go
    /// on.
    fn wait<T>(&self, most: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
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
                if begun.elapsed() >= most {
                    return Err(Failure::Stalled(format!(
                        "the Hub has been silent for {:?}",
                        self.patience
                    )));
                }
            }
        })
    }
}

struct RequestSpec {
    method: Method,
    url: Url,
    range: Option<(u64, u64)>,
    body: Option<(&'static str, Vec<u8>)>,
}

/// How fast a transfer is: in every span of time some of it must come, so that the time of the
/// whole is bounded by its size.
pub struct TransferRate {
    since: Instant,
    bytes: u64,
    span: Duration,
}

impl TransferRate {
    /// # Errors
    /// Too little has come.
    pub fn add(&mut self, count: usize) -> Result<(), Failure> {
        self.bytes += count as u64;
        if self.since.elapsed() < self.span {
            return Ok(());
        }
        if self.bytes < SLOWEST * self.span.as_secs() {
            return Err(Failure::Stalled(format!(
                "in {:?} the Hub sent {} bytes, and less than {SLOWEST} a second is no download",
                self.span, self.bytes
            )));
        }
        (self.since, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}

/// Runs `work` on a thread of its own, where no runtime of an embedding program is in the way of
/// the client's.
pub fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The cause at the bottom: "connection refused" rather than "error sending request".
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
