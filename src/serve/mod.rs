//! Pages that this program serves to a browser on this machine: a script that runs as it is edited,
//! and runs beside each other.
//!
//! A page of another origin must reach none of this. A [`Server`](server::Server) listens on
//! 127.0.0.1, under an address that holds a secret, and [`guard`] refuses requests that came under
//! another host's name (a name whose address was changed to 127.0.0.1) or from another site's page.

pub mod files;
pub mod guard;
pub mod live;
pub mod runs;
pub mod server;
mod shell;
pub mod view;
