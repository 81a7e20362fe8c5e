//! The task's socket: connections that read the event log's bytes as they grow, and send requests.
//! Each connection keeps only a place in the log, so a slow reader costs nothing and loses nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use dawn_proto::read_frame;

/// More are refused: the agent needs one.
const MAX_CONNECTIONS: usize = 16;
/// No request comes near it; a connection that sends more is dropped.
const MAX_REQUEST_BYTES: usize = 64 << 10;
const CHUNK_BYTES: usize = 8 << 10;
const HEAD_BYTES: usize = 8;

/// The listening socket and its connections.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    /// The next byte of the log to send; None: not subscribed.
    cursor: Option<u64>,
    broken: bool,
}

impl Socket {
    /// Listens at `dir/name`, whatever the length of the path, replacing a dead executor's socket.
    ///
    /// # Errors
    /// What the directory or the socket answers.
    pub fn bind(dir: &Path, name: &str) -> io::Result<Self> {
        let opened = std::fs::File::open(dir)?;
        // sun_path holds 108 bytes: go through the open directory.
        let short = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(name);
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&short)?;
        std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Socket { listener, connections: Vec::new() })
    }

    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Every connection's descriptor, and whether it has something to send of a log of this length.
    pub fn connections(&self, log_length: u64) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let wants = move |cursor: Option<u64>| cursor.is_some_and(|cursor| cursor < log_length);
        self.connections.iter().map(move |connection| (connection.stream.as_fd(), wants(connection.cursor)))
    }

    /// Takes new connections, as long as there is room.
    pub fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.connections.len() < MAX_CONNECTIONS && stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection { stream, received: Vec::new(), cursor: None, broken: false });
            }
        }
    }

    /// Reads what came on connection `index`; answers the bodies of whole frames.
    pub fn receive(&mut self, index: usize) -> Vec<Vec<u8>> {
        let Some(connection) = self.connections.get_mut(index) else { return Vec::new() };
        let mut chunk = [0u8; CHUNK_BYTES];
        while !connection.broken && connection.received.len() <= MAX_REQUEST_BYTES {
            match connection.stream.read(&mut chunk) {
                Ok(0) => connection.broken = true,
                Ok(n) => connection.received.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => connection.broken = true,
            }
        }
        connection.take_frames()
    }

    /// Connection `index` gets the log from this byte on.
    pub fn subscribe(&mut self, index: usize, offset: u64) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.cursor = Some(offset);
        }
    }

    /// Drops connection `index` at the next [`Socket::pump`].
    pub fn refuse(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.broken = true;
        }
    }

    /// Sends every subscriber what it takes without blocking, and forgets broken connections.
    pub fn pump(&mut self, read_log: impl Fn(&mut [u8], u64) -> io::Result<usize>) {
        for connection in &mut self.connections {
            connection.send(&read_log);
        }
        self.connections.retain(|connection| !connection.broken);
    }
}

impl Connection {
    fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        while let Some(head) = self.received.first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize;
            if length > MAX_REQUEST_BYTES {
                self.broken = true;
                break;
            }
            if self.received.len() < HEAD_BYTES + length {
                break;
            }
            match read_frame(&mut &self.received[..HEAD_BYTES + length]) {
                Ok(body) => bodies.push(body),
                Err(_) => self.broken = true,
            }
            self.received.drain(..HEAD_BYTES + length);
        }
        bodies
    }

    fn send(&mut self, read_log: &impl Fn(&mut [u8], u64) -> io::Result<usize>) {
        let mut chunk = [0u8; CHUNK_BYTES];
        while let (Some(cursor), false) = (self.cursor, self.broken) {
            let sent = match read_log(&mut chunk, cursor) {
                Ok(0) => return,
                Ok(n) => self.stream.write(&chunk[..n]),
                Err(error) => Err(error),
            };
            match sent {
                Ok(n) => self.cursor = Some(cursor + n as u64),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.broken = true,
            }
        }
    }
}
