//! Tells the person at the prompt that a watched file has changed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::ExternalPrinter;

use crate::script::{Host, Program, Settings};
use crate::system::escape;

/// Prints above the line that is being typed. Clones print to the same terminal.
#[derive(Clone)]
pub struct ChangeNotifier {
    printer: Arc<Mutex<Box<dyn ExternalPrinter + Send>>>,
    typing: Arc<AtomicBool>,
}

impl ChangeNotifier {
    /// A notifier that prints with rustyline's printer of the terminal.
    pub fn new(printer: impl ExternalPrinter + Send + 'static) -> Self {
        Self { printer: Arc::new(Mutex::new(Box::new(printer))), typing: Arc::default() }
    }

    /// Says whether a line is being typed. At other times the session itself reports a change, and
    /// the notifier prints nothing.
    pub fn set_typing(&self, typing: bool) {
        self.typing.store(typing, Ordering::Relaxed);
    }

    /// Prints that a watched file has changed, and whether it compiles. The session loads it at the
    /// next input.
    pub fn changed(&self, file: &Path) {
        if !self.typing.load(Ordering::Relaxed) {
            return;
        }
        let settings = Settings { silent: true, offline: true, ..Settings::default() };
        let Ok(host) = Host::new(settings) else { return };
        let text = match host.prepare(&Program::File(file.to_owned())) {
            Ok(_) => format!("{} has changed: the next input takes it", file.display()),
            Err(failure) => format!(
                "{failure}\n{} has changed, and what it defined before stands",
                file.display()
            ),
        };
        let printer = &mut *self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        // The terminal may be gone; the session notices that itself.
        let _ = printer.print(format!("{}\n", escape::control_characters(&text)));
    }
}
