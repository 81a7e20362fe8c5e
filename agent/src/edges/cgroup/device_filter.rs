//! Version 2 restricts device files by a small program in the kernel: it lets the listed ones pass, or all others, whatever
//! is done with them.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;

use super::gpus::DeviceRule;

// linux/bpf.h
const PROG_LOAD: i64 = 5;
const PROG_ATTACH: i64 = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const BLOCK: i32 = 1;
const CHAR: i32 = 2;
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x57;
const JUMP_NOT_EQUAL: u8 = 0x55;
const MOVE: u8 = 0xb7;
const EXIT: u8 = 0x95;

/// Registers: the answer, the context, and what is read from it.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;

/// One instruction: code, registers, offset, value.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log: [u32; 2],
    log_buffer: u64,
    version_and_flags: [u32; 2],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    group: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Lets no devices be opened from within the group but as the rule says. A repeat takes the place of what was there.
///
/// # Errors
/// What the kernel answers: without the right to (CAP_BPF and CAP_NET_ADMIN, or root), or without CGROUP_BPF.
pub(super) fn attach(group: &Path, rule: &DeviceRule) -> io::Result<()> {
    let program = program(rule);
    let load = LoadAttributes {
        kind: TYPE_CGROUP_DEVICE,
        instructions: u32::try_from(program.len()).unwrap_or(u32::MAX),
        program: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: what the attributes point to lives until the call is over.
    let loaded = unsafe { bpf(PROG_LOAD, &load) }?;
    // SAFETY: a descriptor just made, and nobody else's.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded) };
    let dir = File::open(group)?;
    let attach = AttachAttributes {
        group: dir.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: as above. The group keeps the program.
    unsafe { bpf(PROG_ATTACH, &attach) }.map(drop)
}

/// # Safety
/// The attributes are those of the command, and what they point to is alive.
unsafe fn bpf<T>(command: i64, attributes: &T) -> io::Result<i32> {
    // SAFETY: as the caller's.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer as i32),
    }
}

fn program(rule: &DeviceRule) -> Vec<Instruction> {
    let (devices, listed, others) = match rule {
        DeviceRule::Only(devices) => (devices, 1, 0),
        DeviceRule::AllBut(devices) => (devices, 0, 1),
    };
    let step = |code, to: u8, from: u8, offset, value| Instruction { code, registers: to | from << 4, offset, value };
    let answer = |value| [step(MOVE, ANSWER, 0, 0, value), step(EXIT, 0, 0, 0, 0)];
    let mut program = vec![
        // The upper half says what is to be done with the device.
        step(LOAD_WORD, KIND, CONTEXT, 0, 0),
        step(AND, KIND, 0, 0, 0xffff),
        step(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        step(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for device in devices {
        let number = |number: u64| i32::try_from(number).unwrap_or(-1);
        let kind = if device.is_block { BLOCK } else { CHAR };
        let mut tests = vec![(KIND, kind), (MAJOR, number(device.major))];
        tests.extend(device.minor.map(|minor| (MINOR, number(minor))));
        for (i, (register, value)) in tests.iter().enumerate() {
            // Past the tests left and the answer.
            let offset = (tests.len() - i - 1 + answer(listed).len()) as i16;
            program.push(step(JUMP_NOT_EQUAL, *register, 0, offset, *value));
        }
        program.extend(answer(listed));
    }
    program.extend(answer(others));
    program
}
