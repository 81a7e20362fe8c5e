//! One question to a port of the task, without ever blocking: TCP connect, HTTP GET or POST, or gRPC health. Not here: shell
//! checks, which are processes, and what the answers mean for the task.

mod grpc;
mod http;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::model::Probe;
use http::Expectation;

const CHUNK_BYTES: usize = 8 << 10;

/// Healthy, or in words why not.
pub type Verdict = Result<(), String>;

/// A question under way.
#[derive(Debug)]
pub struct Exchange {
    stream: TcpStream,
    is_connected: bool,
    /// What is still to be sent.
    request: Vec<u8>,
    answer: Vec<u8>,
    expectation: Expectation,
    /// For messages: "GET /health on port 31000".
    subject: String,
    pub deadline_ms: i64,
}

impl Exchange {
    /// Asks the probe's question; None for a shell probe, which is not asked over a socket.
    ///
    /// # Errors
    /// The verdict, if it is known at once.
    pub fn probe(probe: &Probe, deadline_ms: i64) -> Result<Option<Self>, String> {
        match probe {
            Probe::Shell(_) => Ok(None),
            Probe::Tcp { port } => {
                let subject = format!("connect to port {port}");
                Exchange::start(*port, Vec::new(), Expectation::Connection, subject, deadline_ms).map(Some)
            }
            Probe::Grpc { port, service } => {
                let subject = format!("gRPC health check on port {port}");
                Exchange::start(*port, grpc::request(service, *port), Expectation::Serving, subject, deadline_ms)
                    .map(Some)
            }
            Probe::Http { port, path, expected_status, expected_body } => {
                let path = http::absolute(path);
                let subject = format!("GET {path} on port {port}");
                let expectation = Expectation::Answer { status: *expected_status, body: expected_body.clone() };
                Exchange::start(*port, http::request("GET", &path, *port), expectation, subject, deadline_ms).map(Some)
            }
        }
    }

    /// POSTs nothing to a path; any answer ends it.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn post(port: u16, path: &str, deadline_ms: i64) -> Result<Self, String> {
        let path = http::absolute(path);
        let subject = format!("POST {path} on port {port}");
        let expectation = Expectation::Answer { status: None, body: String::new() };
        Exchange::start(port, http::request("POST", &path, port), expectation, subject, deadline_ms)
    }

    fn start(
        port: u16,
        request: Vec<u8>,
        expectation: Expectation,
        subject: String,
        deadline_ms: i64,
    ) -> Result<Self, String> {
        let failed = |errno: rustix::io::Errno| format!("{subject}: {}", words(errno.raw_os_error()));
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(failed)?;
        match connect(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let stream = TcpStream::from(fd);
        Ok(Exchange { stream, is_connected: false, request, answer: Vec::new(), expectation, subject, deadline_ms })
    }

    /// What to poll for.
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let sending = !self.is_connected || !self.request.is_empty();
        (self.stream.as_fd(), if sending { PollFlags::POLLOUT } else { PollFlags::POLLIN })
    }

    /// Goes on as far as possible; None: not decided yet.
    pub fn go_on(&mut self, now_ms: i64) -> Option<Verdict> {
        let verdict = match self.work() {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            Err(error) => Some(Err(words(error.raw_os_error().unwrap_or(0)).to_string())),
            Ok(verdict) => Some(verdict),
        };
        let verdict = verdict.or_else(|| (now_ms >= self.deadline_ms).then(|| Err("timed out".to_string())));
        verdict.map(|verdict| verdict.map_err(|why| format!("{}: {why}", self.subject)))
    }

    fn work(&mut self) -> io::Result<Verdict> {
        if !self.is_connected {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Err(error) if error.raw_os_error() == Some(Errno::ENOTCONN as i32) => {
                    return Err(ErrorKind::WouldBlock.into());
                }
                other => other?,
            };
            self.is_connected = true;
        }
        if self.expectation == Expectation::Connection {
            return Ok(Ok(()));
        }
        while !self.request.is_empty() {
            let sent = self.stream.write(&self.request)?;
            self.request.drain(..sent);
        }
        let mut chunk = [0u8; CHUNK_BYTES];
        loop {
            let received = self.stream.read(&mut chunk)?;
            self.answer.extend_from_slice(&chunk[..received]);
            let verdict = match self.expectation {
                Expectation::Serving => grpc::judge(&self.answer, received == 0),
                _ => http::judge(&self.expectation, &self.answer, received == 0),
            };
            if let Some(verdict) = verdict {
                return Ok(verdict);
            }
        }
    }
}

/// The kernel's words for an error number.
fn words(errno: i32) -> &'static str {
    Errno::from_raw(errno).desc()
}
