//! The environment variables of Python's client of the Hub, read as huggingface_hub 2 reads them.
//!
//! An empty variable counts as not set. What is true is written `1`, `on`, `yes` or `true`, in any
//! case. In a path, `~`, `~user`, `$VARIABLE` and `${VARIABLE}` are expanded; a variable that is not
//! set stays as it is written.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::system::file;
use crate::system::file::FileKind;
use crate::{Result, error};

/// The variables that are read, and what each is for.
pub const VARIABLES: [(&str, &str); 18] = [
    ("HF_HUB_CACHE", "where models are kept"),
    ("HUGGINGFACE_HUB_CACHE", "its older name"),
    ("HF_HOME", "the directory of `hub`, the cache, and of `token`"),
    ("XDG_CACHE_HOME", "the directory of `huggingface`, if there is no HF_HOME; else `~/.cache`"),
    ("HF_TOKEN", "the access token"),
    ("HUGGING_FACE_HUB_TOKEN", "its older name"),
    ("HF_TOKEN_PATH", "the file with the token, if neither names one"),
    ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "true: send no token"),
    ("HF_ENDPOINT", "another address of the Hub"),
    ("HUGGINGFACE_CO_STAGING", "true: the Hub that its makers try things on"),
    ("HF_HUB_OFFLINE", "true: fetch nothing"),
    ("TRANSFORMERS_OFFLINE", "its older name"),
    ("HF_HUB_DOWNLOAD_TIMEOUT", "after how many seconds of silence a download fails"),
    ("HF_HUB_ETAG_TIMEOUT", "the same of questions about a file"),
    ("HF_HUB_DISABLE_PROGRESS_BARS", "true: show no progress of downloads"),
    ("HF_HUB_DISABLE_SYMLINKS", "true: copy files in the cache instead of linking to them"),
    ("HF_HUB_USER_AGENT_ORIGIN", "who asks, for the Hub's statistics"),
    ("HOME", "what `~` is"),
];

/// The Hub's URL if no variable names another.
const ENDPOINT: &str = "https://huggingface.co";

/// The Hub of `HUGGINGFACE_CO_STAGING`.
const STAGING_ENDPOINT: &str = "https://hub-ci.huggingface.co";

/// How many seconds a server may be silent if no variable says so.
const TIMEOUT: u64 = 60;

/// The longest time in seconds that may be asked for: a day.
const MAX_TIMEOUT: u64 = 86_400;

/// Environment variables.
pub struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Environment<'static> {
    /// The process's.
    pub fn process() -> Self {
        Self { get: &|name| std::env::var_os(name) }
    }
}

impl Environment<'_> {
    /// The cache directory.
    pub fn cache(&self) -> PathBuf {
        self.path("HF_HUB_CACHE")
            .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| self.hf_home().join("hub"))
    }

    /// The access token: that of the variables, else that in the file.
    pub fn token(&self) -> Option<String> {
        if self.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let variable = self.text("HF_TOKEN").or_else(|| self.text("HUGGING_FACE_HUB_TOKEN"));
        let file = match self.is_true("HUGGINGFACE_CO_STAGING") {
            true => self.home().join(".cache/huggingface_staging/token"),
            false => self.path("HF_TOKEN_PATH").unwrap_or_else(|| self.hf_home().join("token")),
        };
        variable
            .and_then(|token| clean(&token))
            .or_else(|| clean(&file::read_text(&file, FileKind::Config).ok()?))
    }

    /// The Hub's URL, unchecked. It may contain a user name and a password.
    pub fn endpoint(&self) -> String {
        match self.is_true("HUGGINGFACE_CO_STAGING") {
            true => STAGING_ENDPOINT.into(),
            false => self.text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()),
        }
    }

    /// Whether requests are forbidden.
    pub fn offline(&self) -> bool {
        is_true(self.text("HF_HUB_OFFLINE").or_else(|| self.text("TRANSFORMERS_OFFLINE")))
    }

    /// How long a server may be silent before a download fails.
    ///
    /// # Errors
    /// The variable is no number of seconds.
    pub fn download_timeout(&self) -> Result<Duration> {
        Ok(self.seconds("HF_HUB_DOWNLOAD_TIMEOUT")?.unwrap_or(Duration::from_secs(TIMEOUT)))
    }

    /// How long it may be silent before a question about a file fails.
    ///
    /// # Errors
    /// As [`download_timeout`](Self::download_timeout).
    pub fn question_timeout(&self) -> Result<Duration> {
        Ok(self.seconds("HF_HUB_ETAG_TIMEOUT")?.unwrap_or(self.download_timeout()?))
    }

    /// Whether the progress of downloads is shown.
    pub fn shows_progress(&self) -> bool {
        !self.is_true("HF_HUB_DISABLE_PROGRESS_BARS")
    }

    /// Whether files in the cache are links.
    pub fn links(&self) -> bool {
        !self.is_true("HF_HUB_DISABLE_SYMLINKS")
    }

    /// Who asks, if it can stand in a header.
    pub fn origin(&self) -> Option<String> {
        self.text("HF_HUB_USER_AGENT_ORIGIN")
            .filter(|who| who.chars().all(|c| c.is_ascii_graphic() || c == ' '))
    }

    /// The directory that Python's client shares with this program.
    fn hf_home(&self) -> PathBuf {
        self.path("HF_HOME").unwrap_or_else(|| {
            self.path("XDG_CACHE_HOME")
                .unwrap_or_else(|| self.home().join(".cache"))
                .join("huggingface")
        })
    }

    fn home(&self) -> PathBuf {
        let known = (self.get)("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        known.or_else(dirs::home_dir).unwrap_or_else(|| PathBuf::from("."))
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name)?.into_string().ok().filter(|value| !value.is_empty())
    }

    fn is_true(&self, name: &str) -> bool {
        is_true(self.text(name))
    }

    /// A path, expanded. One that is not UTF-8 is as it is.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = (self.get)(name).filter(|value| !value.is_empty())?;
        Some(match value.to_str() {
            Some(text) => self.with_variables(&self.with_home(text)).into(),
            None => value.into(),
        })
    }

    /// A path with the home directory in the place of `~` or `~user`, as `os.path.expanduser`
    /// gives it.
    fn with_home(&self, path: &str) -> String {
        let Some(rest) = path.strip_prefix('~') else { return path.to_owned() };
        let (user, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let home = match user {
            "" => Some(self.home().to_string_lossy().into_owned()),
            user => home_of(user),
        };
        match home {
            Some(home) => {
                let path = format!("{}{rest}", home.trim_end_matches('/'));
                if path.is_empty() { "/".into() } else { path }
            }
            None => path.to_owned(),
        }
    }

    /// A path with the values of variables, as `os.path.expandvars` gives it.
    fn with_variables(&self, path: &str) -> String {
        let mut expanded = String::new();
        let mut rest = path;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            let (name, length) = match rest[1..].strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(end) => (&inner[..end], end + 3),
                    None => ("", 1),
                },
                None => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let end = rest[1..].find(|c| !is_name(c)).unwrap_or(rest.len() - 1);
                    (&rest[1..=end], end + 1)
                }
            };
            match (self.get)(name).filter(|_| !name.is_empty() && !name.contains(['=', '\0'])) {
                Some(value) => expanded.push_str(&value.to_string_lossy()),
                None => expanded.push_str(&rest[..length]),
            }
            rest = &rest[length..];
        }
        expanded + rest
    }

    /// A whole number of seconds; nothing if it is 0.
    fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.trim().parse::<u64>() {
            Ok(0) => Ok(None),
            Ok(seconds) if seconds <= MAX_TIMEOUT => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(error!("{name} must be a number of seconds, not {text:?}")
                .help(format!("a whole number up to {MAX_TIMEOUT}; without it, {TIMEOUT}"))),
        }
    }
}

fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

/// A token without the line ends and spaces that files and pasting leave in it.
fn clean(token: &str) -> Option<String> {
    let token = token.replace(['\r', '\n'], "").trim().to_owned();
    (!token.is_empty()).then_some(token)
}

/// The home directory of another user, of the system's list.
fn home_of(user: &str) -> Option<String> {
    let users = file::read_text("/etc/passwd".as_ref(), FileKind::Config).ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(4).map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Asks an environment of these variables, besides a home directory.
    fn ask<R>(variables: &[(&str, &str)], question: impl Fn(&Environment) -> R) -> R {
        let all: BTreeMap<&str, &str> =
            [("HOME", "/home/me")].iter().chain(variables).copied().collect();
        question(&Environment { get: &|name| all.get(name).map(OsString::from) })
    }

    #[test]
    fn each_variable_says_what_it_says_in_python() {
        let cache = |variables: &[(&str, &str)], expected: &str| {
            let path = ask(variables, |e| e.cache());
            assert_eq!(path, PathBuf::from(expected), "{variables:?}");
        };
        cache(&[], "/home/me/.cache/huggingface/hub");
        cache(&[("HF_HUB_CACHE", "/a"), ("HUGGINGFACE_HUB_CACHE", "/b"), ("HF_HOME", "/c")], "/a");
        cache(&[("HUGGINGFACE_HUB_CACHE", "/b"), ("HF_HOME", "/c")], "/b");
        cache(&[("HF_HOME", "/c"), ("XDG_CACHE_HOME", "/d")], "/c/hub");
        cache(&[("XDG_CACHE_HOME", "/d")], "/d/huggingface/hub");
        cache(&[("HF_HUB_CACHE", ""), ("HF_HOME", "")], "/home/me/.cache/huggingface/hub");
        cache(&[("HF_HUB_CACHE", "~/models")], "/home/me/models");
        cache(&[("HF_HUB_CACHE", "~")], "/home/me");
        cache(&[("HF_HUB_CACHE", "~nobody-of-that-name/x")], "~nobody-of-that-name/x");
        cache(&[("HF_HUB_CACHE", "/~/x")], "/~/x");
        cache(&[("HUGGINGFACE_HUB_CACHE", "~/models")], "/home/me/models");
        cache(&[("XDG_CACHE_HOME", "~/d")], "/home/me/d/huggingface/hub");
        cache(
            &[("HF_HOME", "$DISK/${WHO}_$NOT_SET${NOR_THIS}$"), ("DISK", "/disk"), ("WHO", "me")],
            "/disk/me_$NOT_SET${NOR_THIS}$/hub",
        );
        // What a variable stands for is not expanded again.
        cache(&[("HF_HOME", "/$A"), ("A", "$B"), ("B", "c")], "/$B/hub");
        cache(&[("HF_HOME", "/${A"), ("A", "b")], "/${A/hub");

        let token = |variables: &[(&str, &str)], expected: Option<&str>| {
            assert_eq!(ask(variables, |e| e.token()).as_deref(), expected, "{variables:?}");
        };
        token(&[], None);
        token(&[("HF_TOKEN", "a"), ("HUGGING_FACE_HUB_TOKEN", "b")], Some("a"));
        token(&[("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "b")], Some("b"));
        token(&[("HF_TOKEN", " a\r\n")], Some("a"));
        for (value, sent) in [("1", false), ("YES", false), ("on", false), ("True", false)]
            .into_iter()
            .chain([("0", true), ("no", true), ("false", true), ("2", true), ("", true)])
        {
            let disabled = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", value);
            token(&[("HF_TOKEN", "a"), disabled], sent.then_some("a"));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("token"), "of the home\n").unwrap();
        std::fs::write(path("mine"), "of a file\n").unwrap();
        let (home, mine) = (path(""), path("mine"));
        token(&[("HF_HOME", &home)], Some("of the home"));
        token(&[("HF_HOME", &home), ("HF_TOKEN_PATH", &mine)], Some("of a file"));
        token(&[("HOME", &home), ("HF_TOKEN_PATH", "~/mine")], Some("of a file"));
        token(&[("HF_TOKEN", "  "), ("HF_HOME", &home)], Some("of the home"));
        token(&[("HUGGING_FACE_HUB_TOKEN", "b"), ("HF_HOME", &home)], Some("b"));

        let endpoint = |variables: &[(&str, &str)], expected: &str| {
            assert_eq!(ask(variables, |e| e.endpoint()), expected, "{variables:?}");
        };
        endpoint(&[], ENDPOINT);
        endpoint(&[("HF_ENDPOINT", "https://hub.example/")], "https://hub.example/");
        endpoint(&[("HF_ENDPOINT", "")], ENDPOINT);
        endpoint(&[("HUGGINGFACE_CO_STAGING", "on"), ("HF_ENDPOINT", "x")], STAGING_ENDPOINT);

        let offline = |variables: &[(&str, &str)], expected: bool| {
            assert_eq!(ask(variables, |e| e.offline()), expected, "{variables:?}");
        };
        offline(&[], false);
        offline(&[("HF_HUB_OFFLINE", "TRUE")], true);
        offline(&[("HF_HUB_OFFLINE", "off")], false);
        offline(&[("TRANSFORMERS_OFFLINE", "yes")], true);
        offline(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], false);

        let seconds = |value: &str| {
            let variables = [("HF_HUB_DOWNLOAD_TIMEOUT", value), ("HF_HUB_ETAG_TIMEOUT", value)];
            let download = ask(&variables, |e| e.download_timeout());
            let question = ask(&variables, |e| e.question_timeout());
            assert_eq!(download.is_ok(), question.is_ok());
            assert_eq!(download.as_ref().ok(), question.as_ref().ok());
            download.map(|time| time.as_secs()).map_err(|error| error.to_string())
        };
        assert_eq!(
            [seconds("7"), seconds(" 7 "), seconds("0"), seconds("")],
            [Ok(7), Ok(7), Ok(60), Ok(60)]
        );
        for wrong in ["soon", "-1", "1.5", "86401"] {
            assert!(seconds(wrong).unwrap_err().contains("HF_HUB_DOWNLOAD_TIMEOUT must be"));
        }
        let question = |variables: &[(&str, &str)]| {
            ask(variables, |e| e.question_timeout()).unwrap().as_secs()
        };
        assert_eq!(question(&[("HF_HUB_ETAG_TIMEOUT", "3"), ("HF_HUB_DOWNLOAD_TIMEOUT", "9")]), 3);
        assert_eq!(question(&[("HF_HUB_DOWNLOAD_TIMEOUT", "9")]), 9);

        assert!(ask(&[], |e| e.shows_progress()) && ask(&[], |e| e.links()));
        assert!(!ask(&[("HF_HUB_DISABLE_PROGRESS_BARS", "1")], |e| e.shows_progress()));
        assert!(!ask(&[("HF_HUB_DISABLE_SYMLINKS", "1")], |e| e.links()));
        assert_eq!(ask(&[("HF_HUB_USER_AGENT_ORIGIN", "lab")], |e| e.origin()).unwrap(), "lab");
        assert_eq!(ask(&[], |e| e.origin()), None);
    }
}
