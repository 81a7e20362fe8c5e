//! This side's terminal: put into raw mode or onto another screen, and always put back.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};

use dawn_proto::v1::TerminalSize;
use nix::libc;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr};

nix::ioctl_read_bad!(get_size, libc::TIOCGWINSZ, libc::winsize);

/// Whether a person sits at both ends.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Of standard output; 24 by 80 when it can't be told.
pub fn size() -> TerminalSize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: a valid structure to be filled.
    let told = unsafe { get_size(io::stdout().as_fd().as_raw_fd(), &raw mut size) };
    match told {
        Ok(_) if size.ws_row > 0 && size.ws_col > 0 => {
            TerminalSize { rows: size.ws_row.into(), columns: size.ws_col.into() }
        }
        _ => TerminalSize { rows: 24, columns: 80 },
    }
}

/// Raw mode until dropped.
pub struct Raw(Termios);

impl Raw {
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> nix::Result<Raw> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// The other screen, without cursor and without what is typed, until dropped.
pub struct Screen(Option<Termios>);

impl Screen {
    pub fn enter() -> Screen {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(mut quiet) = before.clone() {
            // Ctrl-C still is a signal.
            quiet.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            quiet.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
            let _ = tcsetattr(&stdin, SetArg::TCSADRAIN, &quiet);
        }
        say("\u{1b}[?1049h\u{1b}[?25l");
        Screen(before)
    }

    /// Replaces what is shown.
    pub fn show(&self, text: &str) {
        let rows = size().rows.max(2) as usize - 1;
        let lines: Vec<&str> = text.lines().take(rows).collect();
        say(&format!("\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\r\n")));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        say("\u{1b}[?25h\u{1b}[?1049l");
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
