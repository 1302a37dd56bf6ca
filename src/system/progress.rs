//! How far a run's work has come, for whoever listens beside the terminal.

use std::sync::{Mutex, PoisonError};

/// Called with a label, how much is done, and how much there is.
type Listener = Box<dyn Fn(&str, u64, u64) + Send>;

static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// From now on calls `listener`, on the thread that works, in place of an earlier one.
pub fn listen(listener: impl Fn(&str, u64, u64) + Send + 'static) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
}

/// Says how far some work has come.
pub fn tell(label: &str, done: u64, of: u64) {
    if let Some(listener) = &*LISTENER.lock().unwrap_or_else(PoisonError::into_inner) {
        listener(label, done, of);
    }
}
