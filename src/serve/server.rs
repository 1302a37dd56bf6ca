//! An HTTP server on 127.0.0.1 under a secret address, on a thread of its own.

use std::fmt::Write;
use std::net::{Ipv4Addr, TcpListener};

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::{Router, middleware};
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::guard;
use crate::{Result, error};

/// The largest body of a request: parameters, or a note.
const LARGEST: usize = 1 << 20;

/// A server that has a port, and does not serve yet.
pub struct Server {
    listener: TcpListener,
    port: u16,
    secret: String,
}

impl Server {
    /// A server on `port`, or on a free one.
    ///
    /// # Errors
    /// The port is taken, or the system gives none.
    pub fn bind(port: Option<u16>) -> Result<Self> {
        let port = port.unwrap_or(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|cause| {
            error!("port {port} of 127.0.0.1 can't be listened on: {cause}")
                .help("give another with --port, or none for a free one")
        })?;
        let prepared = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
        let port = prepared.map_err(|cause| error!("no server can be started: {cause}"))?.port();
        let mut random = [0; 16];
        OsRng
            .try_fill_bytes(&mut random)
            .map_err(|cause| error!("the system gives no random numbers: {cause}"))?;
        let mut secret = String::new();
        random.iter().for_each(|byte| {
            let _ = write!(secret, "{byte:02x}");
        });
        Ok(Self { listener, port, secret })
    }

    /// The path that all that is served is below: `/SECRET`.
    pub fn path(&self) -> String {
        format!("/{}", self.secret)
    }

    /// The address of the first page.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.secret)
    }

    /// Serves `router`, whose routes begin with [`path`](Self::path), until the process ends.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn serve(self, router: Router) -> Result<()> {
        let router = router
            .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
            .layer(DefaultBodyLimit::max(LARGEST))
            .layer(middleware::from_fn_with_state(self.port, guard::guard));
        let cannot = |cause: std::io::Error| error!("no server can be started: {cause}");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let work = move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                axum::serve(listener, router).await
            })
        };
        std::thread::Builder::new().name("server".into()).spawn(work).map_err(cannot)?;
        Ok(())
    }
}
