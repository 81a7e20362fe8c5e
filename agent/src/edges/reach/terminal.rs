//! The agent's side of a terminal: opened, sized, read and written without blocking a thread.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use dawn_proto::v1::TerminalSize;
use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, libc::winsize);

/// The master of a terminal.
pub struct Terminal(OwnedFd);

impl Terminal {
    /// A new terminal of this size, and its slave.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open(size: TerminalSize) -> io::Result<(Terminal, OwnedFd)> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname_r(&master)?;
        let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name)?;
        let terminal = Terminal(master.as_fd().try_clone_to_owned()?);
        terminal.resize(size)?;
        Ok((terminal, slave.into()))
    }

    /// Tells its foreground processes too (SIGWINCH).
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let cut = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let size = libc::winsize { ws_row: cut(size.rows), ws_col: cut(size.columns), ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: an open terminal and a valid structure.
        unsafe { set_size(self.0.as_raw_fd(), &raw const size)? };
        Ok(())
    }

    pub fn reader(&self) -> io::Result<End> {
        // SAFETY: an open descriptor, owned by what is made of it and closed with it.
        let registered = unsafe { AsyncFd::register(self.0.try_clone()?)? };
        Ok(End(Arc::new(registered)))
    }

    pub fn writer(&self) -> io::Result<End> {
        self.reader()
    }
}

/// A way to read from or write to it.
pub struct End(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let read = guard.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), buffer.initialize_unfilled())?));
            if let Ok(read) = read {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(written) = guard.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
