//! Files of a run's directory as answers.

use std::path::Path;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::output::name;
use crate::system::directory::HeldDirectory;
use crate::system::file::{self, FileKind};

/// The file `name` of a run's directory, to be downloaded. Links are not followed out of it.
pub fn download(directory: &Path, name: &str) -> Response {
    let read = || {
        name::check(name).ok()?;
        let held = HeldDirectory::open(directory).ok()?;
        let file = held.file(Path::new(name), FileKind::Data).ok()?;
        file::read_open(&file, FileKind::Data).ok()
    };
    match read() {
        // A browser that showed it would let it be a page of this server.
        Some(bytes) => {
            let headers =
                [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_DISPOSITION, "attachment")];
            (headers, bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A run's page as text, which this server's own page takes apart.
pub fn page(directory: &Path) -> Response {
    let read = || {
        let held = HeldDirectory::open(directory).ok()?;
        let file = held.file(Path::new(name::REPORT), FileKind::Data).ok()?;
        file::read_open(&file, FileKind::Data).ok()
    };
    match read() {
        Some(bytes) => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
