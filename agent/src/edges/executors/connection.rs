//! One connection to an executor's socket.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use dawn_proto::FrameError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::start_ticks;
use crate::model::{ExecutorEvent, ProcessIdentity, TaskDir};
use crate::wire;

/// An executor that does not read for this long is given up; its log goes on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects and asks for every event from `sequence` on.
    pub async fn open(dir: &TaskDir, sequence: u64) -> io::Result<Self> {
        // A socket's address holds 107 bytes at most; the task's directory may be longer, its descriptor is not.
        let handle = File::open(dir.path())?;
        let path = format!("/proc/self/fd/{}/{}", handle.as_raw_fd(), TaskDir::socket_name());
        let stream = UnixStream::connect(path).await?;
        let mut connection = Connection { stream, buffer: Vec::new() };
        connection.send(&wire::encode_subscribe(sequence)).await?;
        Ok(connection)
    }

    /// The process that listens there.
    pub fn peer(&self) -> io::Result<ProcessIdentity> {
        let pid = self.stream.peer_cred()?.pid().ok_or(io::ErrorKind::NotFound)?;
        let start_ticks = start_ticks(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(ProcessIdentity { pid, start_ticks })
    }

    pub async fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(body.len() + 8);
        dawn_proto::write_frame(&mut bytes, body)?;
        match tokio::time::timeout(WRITE_TIMEOUT, self.stream.write_all(&bytes)).await {
            Ok(written) => written,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The next event. May be dropped and called again without losing one.
    pub async fn next(&mut self) -> io::Result<ExecutorEvent> {
        loop {
            let mut rest = &self.buffer[..];
            match dawn_proto::read_frame(&mut rest) {
                Ok(body) => {
                    let used = self.buffer.len() - rest.len();
                    self.buffer.drain(..used);
                    return wire::decode_event(&body)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Err(FrameError::End | FrameError::Torn) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
