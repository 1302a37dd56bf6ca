//! A terminal with a person at it: keys go in, and what the screen shows comes out.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const ROWS: u16 = 60;
const COLUMNS: u16 = 120;
/// How long a person waits before giving up.
const PATIENCE: Duration = Duration::from_secs(60);

pub const TAB: &str = "\t";
pub const UP: &str = "\x1b[A";
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
/// Clears the screen.
const CTRL_L: &str = "\x0c";
pub const CTRL_R: &str = "\x12";
/// Empties the line.
pub const CTRL_U: &str = "\x15";

/// What has reached the screen, and whether anyone still writes to it.
struct Shown {
    parser: vt100::Parser,
    ended: bool,
}

pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    /// Kept open while the child runs.
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// The binary, started in `directory`, with nothing of the caller's surroundings that could
    /// reach a network or a cache.
    pub fn start(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_precompute"));
        command.args(arguments);
        command.cwd(directory);
        command.env("TERM", "xterm-256color");
        command.env("HF_HUB_OFFLINE", "1");
        command.env("HF_HOME", directory.join("hf"));
        command.env("PRECOMPUTE_HOME", directory.join("home"));
        command.env_remove("NO_COLOR");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let size = |n| NonZeroU16::new(n).unwrap();
        let parser = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
        let shown = Arc::new((Mutex::new(Shown { parser, ended: false }), Condvar::new()));
        let (mut reader, theirs) = (pair.master.try_clone_reader().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            loop {
                // A terminal that nobody writes to any more is an error to read from.
                let read = reader.read(&mut part).unwrap_or(0);
                let mut shown = theirs.0.lock().unwrap();
                shown.parser.process(&part[..read]);
                shown.ended |= read == 0;
                theirs.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self { child, keys: pair.master.take_writer().unwrap(), shown, _master: pair.master }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen is as `wanted` says.
    #[track_caller]
    fn until_shown(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let (lock, news) = &*self.shown;
        let begun = Instant::now();
        let mut shown = lock.lock().unwrap();
        while !wanted(shown.parser.screen()) {
            assert!(
                !shown.ended,
                "it ended before there was {what}:\n{}",
                shown.parser.screen().contents()
            );
            assert!(
                begun.elapsed() < PATIENCE,
                "there is no {what}:\n{}",
                shown.parser.screen().contents()
            );
            shown = news.wait_timeout(shown, Duration::from_millis(200)).unwrap().0;
        }
    }

    /// Waits for a text on the screen.
    #[track_caller]
    pub fn until(&self, text: &str) {
        self.until_shown(text, |screen| screen.contents().contains(text));
    }

    /// Waits for an empty prompt.
    #[track_caller]
    pub fn prompt(&self) {
        self.until_shown("prompt", |screen| cursor_line(screen) == ">");
    }

    /// Clears the screen, so that what is waited for next is new.
    #[track_caller]
    pub fn clear(&mut self) {
        self.prompt();
        self.press(CTRL_L);
        self.until_shown("clear screen", |screen| screen.contents().trim() == ">");
    }

    /// Types a line that goes on, or an input, without Enter.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        self.press(text);
        let end = text.trim_end();
        self.until_shown(end, |screen| cursor_line(screen).ends_with(end));
    }

    /// Types an input, and waits until it has been dealt with: what stands between it and the next
    /// prompt.
    #[track_caller]
    pub fn enter(&mut self, text: &str) -> String {
        self.prompt();
        self.type_in(text);
        self.press("\r");
        self.prompt();
        let screen = self.screen();
        let lines: Vec<&str> = screen.trim_end().lines().collect();
        let typed = lines.iter().rposition(|line| line.starts_with(&format!("> {text}"))).unwrap();
        lines[typed + 1..lines.len() - 1].join("\n").trim().to_owned()
    }

    /// What the screen shows.
    pub fn screen(&self) -> String {
        self.shown.0.lock().unwrap().parser.screen().contents()
    }

    /// The colour of the last place on the screen where `text` stands, and whether it is bold
    /// there.
    pub fn colour(&self, text: &str) -> (vt100::Color, bool) {
        let shown = self.shown.0.lock().unwrap();
        let screen = shown.parser.screen();
        let rows: Vec<String> = screen.rows(0, COLUMNS).collect();
        let found =
            rows.iter().enumerate().rev().find_map(|(row, line)| Some((row, line.rfind(text)?)));
        let (row, column) =
            found.unwrap_or_else(|| panic!("{text} is not shown:\n{}", screen.contents()));
        let column = rows[row][..column].chars().count();
        let cell = screen.cell(row.try_into().unwrap(), column.try_into().unwrap()).unwrap();
        (cell.fgcolor(), cell.bold())
    }

    /// Waits for the end: the exit code, and the last screen.
    #[track_caller]
    pub fn ends(mut self) -> (u32, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.screen()),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        (status.exit_code(), self.screen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
        }
    }
}

fn cursor_line(screen: &vt100::Screen) -> String {
    let (row, _) = screen.cursor_position();
    screen.rows(0, COLUMNS).nth(row.into()).unwrap_or_default().trim_end().to_owned()
}
