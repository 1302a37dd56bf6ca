//! Runs as pages: a list, several beside each other, and what is noted about them.

use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::server::Server;
use super::{files, runs, shell};
use crate::{Error, Result};

/// What the server looks at.
struct View {
    roots: Vec<PathBuf>,
    /// The run whose deletion was asked for once.
    condemned: Mutex<Option<String>>,
}

type Shared = State<Arc<View>>;

/// Starts a server of the runs below `roots`. Returns the address of the list.
///
/// # Errors
/// As for [`Server::bind`].
pub fn serve(roots: Vec<PathBuf>, port: Option<u16>) -> Result<String> {
    let server = Server::bind(port)?;
    let (path, address) = (server.path(), server.address());
    let page = || async { shell::shell("view", "Runs · Precompute", &json!({ "version": 1 })) };
    let router = Router::new()
        .route(&format!("{path}/"), get(page))
        .route(&format!("{path}/runs"), get(list))
        .route(&format!("{path}/run/{{id}}/page"), get(run_page))
        .route(&format!("{path}/run/{{id}}/note"), post(note))
        .route(&format!("{path}/run/{{id}}/delete"), post(delete))
        .route(&format!("{path}/run/{{id}}/file/{{*file}}"), get(download))
        .with_state(Arc::new(View { roots, condemned: Mutex::default() }));
    server.serve(router)?;
    Ok(address)
}

impl View {
    /// The directory of a run, as the files are now: an id is no path.
    fn directory(&self, id: &str) -> Option<PathBuf> {
        runs::directories(&self.roots).into_iter().find(|directory| runs::id(directory) == id)
    }
}

fn answer(json: &serde_json::Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], json.to_string()).into_response()
}

fn refused(error: &Error) -> Response {
    (StatusCode::CONFLICT, format!("{error}\n")).into_response()
}

async fn list(State(view): Shared) -> Response {
    answer(&json!({ "runs": runs::list(&view.roots) }))
}

/// Answers with what `respond` makes of a run's directory.
fn of_run(view: &View, id: &str, respond: impl FnOnce(&FilePath) -> Response) -> Response {
    match view.directory(id) {
        Some(directory) => respond(&directory),
        None => (StatusCode::NOT_FOUND, "there is no such run any more\n").into_response(),
    }
}

async fn run_page(State(view): Shared, Path(id): Path<String>) -> Response {
    of_run(&view, &id, files::page)
}

async fn download(State(view): Shared, Path((id, file)): Path<(String, String)>) -> Response {
    of_run(&view, &id, |directory| files::download(directory, &file))
}

async fn note(State(view): Shared, Path(id): Path<String>, body: Bytes) -> Response {
    let Ok(text) = std::str::from_utf8(&body) else {
        return (StatusCode::BAD_REQUEST, "a note is text\n").into_response();
    };
    of_run(&view, &id, |directory| match runs::write_note(directory, text) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    })
}

/// Deletes a run that was named in the request before this one too.
async fn delete(State(view): Shared, Path(id): Path<String>) -> Response {
    let mut condemned = view.condemned.lock().unwrap_or_else(PoisonError::into_inner);
    if condemned.take().as_ref() != Some(&id) {
        *condemned = Some(id);
        return answer(&json!({ "deleted": false }));
    }
    of_run(&view, &id, |directory| match runs::delete(directory) {
        Ok(left) => answer(&json!({ "deleted": true, "left": left })),
        Err(error) => refused(&error),
    })
}
