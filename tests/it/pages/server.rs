//! A server of this program as a test talks to it: by hand, so that it can send what a browser would
//! not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::binary::Workplace;

/// `precompute live` or `view`, and the address that it printed.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    pub fn start(here: &Workplace, arguments: &[&str]) -> Self {
        let mut child = here
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(address.starts_with("http://127.0.0.1:"), "{address:?}");
        Self { child, address }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.address["http://".len()..].split('/').next().unwrap()
    }

    /// `/SECRET/`.
    pub fn path(&self) -> &str {
        &self.address["http://".len() + self.host().len()..]
    }

    /// The status of the answer to a request with these headers, and the whole answer.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {answer}")), answer)
    }

    /// As a page of this server asks.
    pub fn own(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let origin = format!("http://{}", self.host());
        let headers =
            [("Host", self.host()), ("Origin", &origin), ("Sec-Fetch-Site", "same-origin")];
        self.ask(method, &format!("{}{path}", self.path()), &headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
