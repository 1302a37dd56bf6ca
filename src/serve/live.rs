//! A script that runs as it is edited, as a page: the state that the page follows, and what it asks
//! for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::server::Server;
use super::{files, shell};
use crate::Result;
use crate::system::interrupt;

/// What the page shows besides the last good run, which it fetches.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Shown {
    /// The number of good runs: the page fetches the last one when it changes.
    pub run: u64,
    /// Whether a run is going on.
    pub running: bool,
    /// How the last run failed, if it did.
    pub error: Option<String>,
    /// How the last run's results differ from those before, and how long it took.
    pub said: Vec<String>,
    /// The script's parameters.
    pub parameters: Vec<Parameter>,
    /// How far the run has come: label, done, of.
    pub progress: Option<(String, u64, u64)>,
}

/// A parameter as the page shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its default, if that is written in the script.
    pub default: Json,
    /// The text that `--set` or the page gives, if one does.
    pub given: Option<String>,
    /// What it is for.
    pub help: Option<String>,
}

/// What the page has asked for.
#[derive(Debug, Default)]
struct Asked {
    /// New values of parameters.
    set: Option<BTreeMap<String, String>>,
    stop: bool,
    again: bool,
}

/// What the script's thread and the server share. A clone is the same.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    shown: watch::Sender<Shown>,
    asked: Mutex<Asked>,
    /// Where the last good run's files are.
    directory: Mutex<PathBuf>,
}

impl Live {
    /// Starts a server for the script called `name`. Also returns the address of the page.
    ///
    /// # Errors
    /// As for [`Server::bind`].
    pub fn serve(name: &str, port: Option<u16>) -> Result<(Self, String)> {
        let live = Self(Arc::new(Inner {
            shown: watch::Sender::new(Shown::default()),
            asked: Mutex::default(),
            directory: Mutex::default(),
        }));
        let server = Server::bind(port)?;
        let (path, address) = (server.path(), server.address());
        let title = format!("{name} · Precompute live");
        let routes = Router::new()
            .route(
                &format!("{path}/"),
                get(move || async move { shell::shell("live", &title, &json!({ "version": 1 })) }),
            )
            .route(&format!("{path}/events"), get(events))
            .route(&format!("{path}/page"), get(page))
            .route(&format!("{path}/parameters"), post(parameters))
            .route(&format!("{path}/stop"), post(stop))
            .route(&format!("{path}/again"), post(again))
            .route(&format!("{path}/{{*file}}"), get(download))
            .with_state(live.clone());
        server.serve(routes)?;
        Ok((live, address))
    }

    /// Changes what the page shows.
    pub fn show(&self, change: impl FnOnce(&mut Shown)) {
        self.0.shown.send_modify(change);
    }

    /// Shows the run whose files are in `directory`.
    pub fn show_run(&self, directory: PathBuf, said: Vec<String>) {
        *lock(&self.0.directory) = directory;
        self.show(|shown| {
            *shown = Shown {
                run: shown.run + 1,
                said,
                parameters: std::mem::take(&mut shown.parameters),
                ..Shown::default()
            };
        });
    }

    /// The values of parameters that the page has given since the last call.
    pub fn take_parameters(&self) -> Option<BTreeMap<String, String>> {
        lock(&self.0.asked).set.take()
    }

    /// Whether the page has asked to end the run, since the last call.
    pub fn take_stop(&self) -> bool {
        std::mem::take(&mut lock(&self.0.asked).stop)
    }

    /// Whether the page has asked for a run, since the last call. New parameters ask for one.
    pub fn take_request(&self) -> bool {
        std::mem::take(&mut lock(&self.0.asked).again)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn events(State(live): State<Live>) -> Response {
    let mut shown = live.0.shown.subscribe();
    shown.mark_changed();
    let next = |mut shown: watch::Receiver<Shown>| async move {
        shown.changed().await.ok()?;
        let json = serde_json::to_string(&*shown.borrow_and_update()).unwrap_or_default();
        Some((Ok::<_, Infallible>(Event::default().data(json)), shown))
    };
    Sse::new(stream::unfold(shown, next)).keep_alive(KeepAlive::default()).into_response()
}

async fn page(State(live): State<Live>) -> Response {
    files::page(&lock(&live.0.directory).clone())
}

async fn download(State(live): State<Live>, Path(file): Path<String>) -> Response {
    files::download(&lock(&live.0.directory).clone(), &file)
}

async fn parameters(State(live): State<Live>, body: Bytes) -> Response {
    let Ok(set) = serde_json::from_slice::<BTreeMap<String, String>>(&body) else {
        return (StatusCode::BAD_REQUEST, "parameters are a map from name to text\n")
            .into_response();
    };
    let mut asked = lock(&live.0.asked);
    (asked.set, asked.again) = (Some(set), true);
    drop(asked);
    // The run in progress has other parameters.
    interrupt::supersede();
    StatusCode::NO_CONTENT.into_response()
}

async fn stop(State(live): State<Live>) -> StatusCode {
    lock(&live.0.asked).stop = true;
    interrupt::supersede();
    StatusCode::NO_CONTENT
}

async fn again(State(live): State<Live>) -> StatusCode {
    lock(&live.0.asked).again = true;
    StatusCode::NO_CONTENT
}
