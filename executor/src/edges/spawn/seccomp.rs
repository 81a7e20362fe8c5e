//! The default filter: system calls that no ordinary program makes, and that reach deep into the kernel or out of the
//! task, are refused; all others pass. After the list of what Docker's default profile refuses.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

const DENIED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[i64] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_kexec_file_load,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[i64] = &[];

/// Namespaces are not made inside a task: they open much of the kernel to whoever has none of its rights outside.
const CLONE_NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Requests of `ioctl` by which a file's owner changes the project that it counts for, whose quota holds the task:
/// `FS_IOC_FSSETXATTR` and `FS_IOC_SETFLAGS`, this also as 32-bit programs make it.
const DENIED_REQUESTS: [u32; 3] = [0x401c_5820, 0x4008_6602, 0x4004_6602];
/// `file_setattr` of Linux 6.17, which does the same; one number on all machines.
const FILE_SETATTR: i64 = 469;

// linux/filter.h
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
/// Numbers of the x32 calls of an x86-64 kernel, under which every refused call could be made again.
const X32: u32 = 0x4000_0000;
const ANSWER_ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The program to install; empty, with a word on standard error, where there can be none.
pub fn program() -> BpfProgram {
    // SAFETY: asks for the present mode, and changes nothing.
    let is_there = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) } >= 0;
    let program = if is_there { default_filter() } else { None };
    if program.is_none() {
        note!("no filter of system calls: this kernel, or this kind of machine, has none");
    }
    program.unwrap_or_default()
}

fn default_filter() -> Option<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().chain(DENIED_HERE).chain(&[FILE_SETATTR]).map(|number| (*number, Vec::new())).collect();
    let flag = |flag: i32| {
        // The flag's own bit is all that is looked at.
        let bit = flag as u32 as u64;
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit).ok()?;
        SeccompRule::new(vec![condition]).ok()
    };
    rules.insert(libc::SYS_clone, CLONE_NAMESPACES.iter().map(|one| flag(*one)).collect::<Option<_>>()?);
    let request = |request: u32| {
        let wanted = u64::from(request);
        let condition = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, wanted).ok()?;
        SeccompRule::new(vec![condition]).ok()
    };
    rules.insert(libc::SYS_ioctl, DENIED_REQUESTS.iter().map(|one| request(*one)).collect::<Option<_>>()?);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).ok()?;
    let rest = BpfProgram::try_from(filter).ok()?;
    Some(first().into_iter().chain(rest).collect())
}

/// clone3 takes its flags where no filter can look: the C library goes back to clone when it is not there. The number
/// is the first word a filter is given.
fn first() -> [sock_filter; 5] {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_EQUAL, 1, 0, libc::SYS_clone3 as u32),
        step(JUMP_GREATER_OR_EQUAL, 0, 1, X32),
        step(RETURN, 0, 0, ANSWER_ENOSYS),
        // Whatever was loaded is loaded anew by what follows.
        step(LOAD_WORD, 0, 0, 0),
    ]
}
