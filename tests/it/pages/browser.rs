//! Chromium without a window, driven by the DevTools protocol over a pipe.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// How long anything may take before the test fails: longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The names that the browser goes by.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    events: VecDeque<Json>,
    /// What went wrong in the page: exceptions, errors and warnings of its console.
    problems: Vec<String>,
    session: Option<String>,
    last: u64,
    _home: tempfile::TempDir,
}

/// The browser on this machine.
fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&paths).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    all.into_iter().find(|path| path.is_file())
}

impl Browser {
    /// A browser with an empty page; nothing, and a sentence, where there is none to start.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            println!("skipped: this machine has no Chromium, which draws the pages of this test");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let (reads, to) = std::io::pipe().unwrap();
        let (from, writes) = std::io::pipe().unwrap();
        let (reads, writes) = (OwnedFd::from(reads), OwnedFd::from(writes));
        let (input, output) = (reads.as_raw_fd(), writes.as_raw_fd());
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-extensions", "--disable-background-networking", "--hide-scrollbars"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: between fork and exec it calls only fcntl and dup2, which may be called there. The
        // copies above 10 keep one from being overwritten by the other.
        unsafe {
            command.pre_exec(move || {
                let input = libc::fcntl(input, libc::F_DUPFD, 10);
                let output = libc::fcntl(output, libc::F_DUPFD, 10);
                // The protocol's descriptors: 3 is read, 4 is written.
                match libc::dup2(input, 3) >= 0 && libc::dup2(output, 4) >= 0 {
                    true => Ok(()),
                    false => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().expect("the browser");
        drop((reads, writes));
        let (to, from) = (File::from(OwnedFd::from(to)), File::from(OwnedFd::from(from)));
        let mut browser = Self {
            child,
            to,
            from: BufReader::new(from),
            events: VecDeque::new(),
            problems: vec![],
            session: None,
            last: 0,
            _home: home,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, parameters: Json) -> Json {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let message = self.receive();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Json {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).expect("the browser ended");
        assert_eq!(bytes.pop(), Some(0), "the browser ended");
        let message: Json = serde_json::from_slice(&bytes).unwrap();
        let given = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.problems.push(given.to_string()),
            Some("Log.entryAdded") if given["entry"]["level"] != "verbose" => {
                self.problems.push(given.to_string());
            }
            Some("Runtime.consoleAPICalled") if given["type"] != "log" => {
                self.problems.push(given.to_string());
            }
            Some("Network.requestWillBeSent") => self.events.push_back(given.clone()),
            _ => {}
        }
        message
    }

    /// What went wrong since the last call.
    pub fn problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// The addresses that the page has asked for since the last call.
    pub fn requests(&mut self) -> Vec<String> {
        let address = |event: Json| event["request"]["url"].as_str().unwrap().to_owned();
        self.events.drain(..).map(address).collect()
    }

    /// Opens an address, and waits until its script has run.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
        self.wait("document.documentElement.dataset.ready === 'yes'");
    }

    /// The value of an expression in the page; promises are waited for.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Json {
        let result = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        // A page that is being replaced has no document for a moment.
        let asked = format!(
            "Boolean((() => {{ try {{ return {expression}; }} catch {{ return false; }} }})())"
        );
        while self.value(&asked) != true {
            let seen = self.problems.join("\n");
            assert!(began.elapsed() < PATIENCE, "{expression} never came to be; {seen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The width and height of the window, and the light in the room.
    pub fn look(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Moves the mouse to a place within an element, in parts of its size.
    #[track_caller]
    pub fn point(&mut self, selector: &str, (across, down): (f64, f64)) -> (f64, f64) {
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}}); \
             const b = e.getBoundingClientRect(); return [b.left + b.width * {across}, b.top + b.height * {down}]; }})()"
        ));
        let (x, y) = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
        self.mouse("mouseMoved", x, y, 0);
        (x, y)
    }

    /// Sends one event of the mouse.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64, clicks: u32) {
        let buttons = u32::from(kind != "mouseReleased" && clicks > 0);
        let event = json!({"type": kind, "x": x, "y": y, "button": if clicks > 0 { "left" } else { "none" },
            "buttons": buttons, "clickCount": clicks});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Clicks in the middle of an element.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.point(selector, (0.5, 0.5));
        self.mouse("mousePressed", x, y, 1);
        self.mouse("mouseReleased", x, y, 1);
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key, "code": key}));
        }
    }

    /// The text of the first element.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.value(&format!("document.querySelector({selector:?})?.textContent"));
        found.as_str().unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
