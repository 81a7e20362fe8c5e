//! The rule that no TCP port but these can be bound, as a Landlock ruleset (ABI 4, Linux 6.7). Not here: taking it on,
//! which the child does.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

// linux/landlock.h
const ACCESS_NET_BIND_TCP: u64 = 1;
const RULE_NET_PORT: i32 = 2;

#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
    handled_access_net: u64,
}

#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

/// The ruleset that allows these ports, and those the kernel picks for who asks for none.
///
/// # Errors
/// Where the kernel has no Landlock, or one that knows no ports.
pub fn ruleset(ports: &[u16]) -> io::Result<OwnedFd> {
    let rules = Ruleset { handled_access_fs: 0, handled_access_net: ACCESS_NET_BIND_TCP };
    // SAFETY: the kernel reads so many bytes of a live value, and answers a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size_of::<Ruleset>(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    for port in ports.iter().chain([&0]) {
        let rule = NetPort { allowed_access: ACCESS_NET_BIND_TCP, port: u64::from(*port) };
        // SAFETY: as above.
        let added =
            unsafe { libc::syscall(libc::SYS_landlock_add_rule, fd.as_raw_fd(), RULE_NET_PORT, &raw const rule, 0) };
        if added != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(fd)
}
