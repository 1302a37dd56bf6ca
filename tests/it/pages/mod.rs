//! Pages: the report of a run in files and in a real browser, a script that is edited under its page,
//! and runs beside each other.

mod browser;
mod drawn;
mod live;
mod report;
mod server;
mod view;
