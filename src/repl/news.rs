//! What is said of a file while a person types: that it has changed, or what is wrong with it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::ExternalPrinter;

use crate::script::{Host, Program, Settings};
use crate::system::escape;

/// Says things above a line that is being typed.
#[derive(Clone)]
pub struct News(Arc<Inner>);

struct Inner {
    printer: Mutex<Box<dyn ExternalPrinter + Send>>,
    typing: AtomicBool,
}

impl News {
    pub fn new(printer: impl ExternalPrinter + Send + 'static) -> Self {
        Self(Arc::new(Inner {
            printer: Mutex::new(Box::new(printer)),
            typing: AtomicBool::new(false),
        }))
    }

    /// Whether a line is being typed: else the session itself speaks.
    pub fn set_typing(&self, typing: bool) {
        self.0.typing.store(typing, Ordering::Relaxed);
    }

    /// A watched file has changed. The session takes it when it goes on; whether it can is said
    /// now.
    pub fn changed(&self, file: PathBuf) {
        if !self.0.typing.load(Ordering::Relaxed) {
            return;
        }
        let settings = Settings { silent: true, offline: true, ..Settings::default() };
        let Ok(host) = Host::new(settings) else { return };
        let said = match host.prepare(&Program::File(file.clone())) {
            Ok(_) => format!("{} has changed: the next input takes it", file.display()),
            Err(failure) => format!(
                "{failure}\n{} has changed, and what it defined before stands",
                file.display()
            ),
        };
        let printer = &mut *self.0.printer.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that is gone is no reason to end.
        let _ = printer.print(format!("{}\n", escape::control_characters(&said)));
    }
}
