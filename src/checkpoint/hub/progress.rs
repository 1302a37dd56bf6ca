//! The progress bar of a transfer.

use indicatif::{ProgressBar, ProgressStyle};

use super::environment::Environment;

/// A progress bar in bytes, on standard error if that is a terminal and the environment allows it.
pub fn progress_bar(label: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = match Environment::process().shows_progress() {
        true => ProgressBar::no_length().with_message(label.to_owned()),
        false => ProgressBar::hidden(),
    };
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
