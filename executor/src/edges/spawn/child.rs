//! From clone to exec. The child is a copy of the executor, which waits until it has exec'ed; it makes system calls
//! and nothing else, no allocation, no lock, no panic.

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use nix::libc;
use seccompiler::sock_filter;

const LAST_SIGNAL: c_int = 64;
/// linux/sched.h; the C library's crate has it cut to 32 bits.
const CLONE_INTO_CGROUP: u64 = 1 << 33;
/// linux/capability.h; newer kernels have more, and a bit above the last is no error.
const CAPABILITIES: u64 = 64;
/// What a root user keeps: chown, dac_override, fowner, fsetid, kill, setgid, setuid, net_bind_service, sys_chroot.
const KEPT: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18;

/// Everything the child needs, laid out beforehand.
pub struct Layout<'a> {
    /// Tried in turn until one can be executed.
    pub paths: Pointers<'a>,
    pub argv: Pointers<'a>,
    pub env: Pointers<'a>,
    /// Open files of groups, to which the child writes itself.
    pub joins: Vec<c_int>,
    /// Open directory of the v2 group the child is born in.
    pub born_in: Option<c_int>,
    pub stdio: [c_int; 3],
    pub sandbox: CString,
    /// Namespaces to enter: a descriptor of who holds them, and which.
    pub enter: Option<(c_int, c_int)>,
    /// Soft and hard alike.
    pub limits: Vec<(libc::__rlimit_resource_t, u64)>,
    /// Give up the capabilities no ordinary program needs.
    pub drop_capabilities: bool,
    /// A Landlock ruleset.
    pub ports: Option<c_int>,
    /// Of system calls; empty: none.
    pub filter: &'a [sock_filter],
    /// uid, gid, groups to become; None: stay.
    pub user: Option<(u32, u32, Vec<u32>)>,
    pub reset_oom_score: bool,
}

/// A null-ended array of strings, as exec wants it.
pub struct Pointers<'a> {
    pointers: Vec<*const c_char>,
    strings: std::marker::PhantomData<&'a CString>,
}

/// The array for these strings.
pub fn pointers(strings: &[CString]) -> Pointers<'_> {
    let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
    Pointers { pointers, strings: std::marker::PhantomData }
}

impl Pointers<'_> {
    fn each(&self) -> impl Iterator<Item = *const c_char> + '_ {
        self.pointers.iter().copied().take_while(|pointer| !pointer.is_null())
    }
}

/// Where the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Fork,
    /// Killed before it could do anything.
    Birth,
    Join,
    Namespaces,
    Stdio,
    Chdir,
    /// Which of the layout's.
    Limit(usize),
    Capabilities,
    User,
    Ports,
    Filter,
    Exec,
}

/// What the child leaves behind in a page it shares with the executor: nothing, if it became the program.
#[derive(Clone, Copy)]
struct Failed {
    step: Option<Step>,
    errno: c_int,
}

/// Starts the child and returns once it has exec'ed.
///
/// # Errors
/// The step that failed and its errno; the child is gone and reaped then.
pub fn start(layout: &Layout<'_>) -> Result<i32, (Step, c_int)> {
    let length = size_of::<Failed>();
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, used below as what it is made for; all zeroes are a valid integer, and the step is
    // written before anything reads it.
    let shared = unsafe { libc::mmap(ptr::null_mut(), length, protection, kind, -1, 0) };
    if shared == libc::MAP_FAILED {
        return Err((Step::Fork, errno()));
    }
    let failed = shared.cast::<Failed>();
    // SAFETY: `failed` points into the mapping, which ends only after the last use of it. The child leaves `clone` on
    // a copy of this stack and never returns from here.
    let (pid, outcome) = unsafe {
        failed.write(Failed { step: Some(Step::Birth), errno: libc::ESRCH });
        let pid = clone(libc::CLONE_VFORK as u64, layout.born_in);
        if pid == 0 {
            failed.write_volatile(Failed { step: None, errno: 0 });
            let step = prepare(layout);
            failed.write_volatile(Failed { step: Some(step), errno: errno() });
            libc::_exit(127);
        }
        let outcome = if pid < 0 { Failed { step: Some(Step::Fork), errno: errno() } } else { failed.read_volatile() };
        libc::munmap(shared, length);
        (pid, outcome)
    };
    match outcome.step {
        None => Ok(pid),
        Some(step) => {
            // SAFETY: waits for our own child, which is exiting.
            while pid > 0 && unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } < 0 && errno() == libc::EINTR {}
            Err((step, outcome.errno))
        }
    }
}

/// As fork; with CLONE_VFORK the parent waits for the exec. The child is born in the group: joining one later would
/// take the kernel's lock over all groups, which costs up to tens of milliseconds.
///
/// # Safety
/// As fork: unless the parent has one thread only, the child may make system calls and nothing else.
pub(super) unsafe fn clone(flags: u64, born_in: Option<c_int>) -> i32 {
    // SAFETY: plain integers, all zeroes are valid; no stack is given, so the child goes on on a copy of this one.
    unsafe {
        let mut args: libc::clone_args = std::mem::zeroed();
        args.flags = flags;
        args.exit_signal = libc::SIGCHLD as u64;
        if let Some(dir) = born_in {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = dir as u64;
        }
        match libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) {
            // A kernel, or a filter, without clone3.
            -1 if errno() == libc::ENOSYS && born_in.is_none() => {
                libc::syscall(libc::SYS_clone, flags as i64 | i64::from(libc::SIGCHLD), 0, 0, 0, 0) as i32
            }
            pid => pid as i32,
        }
    }
}

fn errno() -> c_int {
    nix::errno::Errno::last_raw()
}

/// Becomes the program; answers only the step that failed.
///
/// # Safety
/// Only in the child.
unsafe fn prepare(layout: &Layout<'_>) -> Step {
    // SAFETY: every call is a plain system call on data that `Layout` keeps valid.
    unsafe {
        for join in &layout.joins {
            // 0 stands for the writer itself, in v1 and v2.
            if libc::write(*join, c"0".as_ptr().cast(), 1) != 1 {
                return Step::Join;
            }
        }
        libc::setsid();
        reset(layout.reset_oom_score);
        if let Some((holder, flags)) = layout.enter
            && libc::setns(holder, flags) != 0
        {
            return Step::Namespaces;
        }
        for (target, source) in (0..).zip(layout.stdio) {
            if libc::dup2(source, target) < 0 {
                return Step::Stdio;
            }
        }
        if libc::chdir(layout.sandbox.as_ptr()) != 0 {
            return Step::Chdir;
        }
        if let Some(failed) = give_up(layout) {
            return failed;
        }
        // A net under CLOEXEC, for descriptors inherited from the agent.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
        if !layout.filter.is_empty() && !set_filter(layout.filter) {
            return Step::Filter;
        }
        execute(layout)
    }
}

/// Gives up what the task is not to have, the right to give up last.
///
/// # Safety
/// Only in the child.
unsafe fn give_up(layout: &Layout<'_>) -> Option<Step> {
    // SAFETY: plain system calls on data that `Layout` keeps valid.
    unsafe {
        for (index, (resource, limit)) in layout.limits.iter().enumerate() {
            let limit = libc::rlimit { rlim_cur: *limit, rlim_max: *limit };
            if libc::setrlimit(*resource, &raw const limit) != 0 {
                return Some(Step::Limit(index));
            }
        }
        if layout.drop_capabilities && !drop_capabilities() {
            return Some(Step::Capabilities);
        }
        if let Some((uid, gid, groups)) = &layout.user
            && !become_user(*uid, *gid, groups)
        {
            return Some(Step::User);
        }
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let ports = layout.ports.map(|ruleset| libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0));
        ports.is_some_and(|answer| answer != 0).then_some(Step::Ports)
    }
}

/// Out of the bounding set, so that no program has them, whoever runs it.
///
/// # Safety
/// Only in the child.
pub unsafe fn drop_capabilities() -> bool {
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        (0..CAPABILITIES).filter(|capability| KEPT & 1 << capability == 0).all(|capability| {
            // EINVAL: the kernel has no such capability.
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == 0 || errno() == libc::EINVAL
        })
    }
}

/// # Safety
/// Only in the child, after it can gain no privileges any more.
pub unsafe fn set_filter(filter: &[sock_filter]) -> bool {
    // SAFETY: the kernel reads the program, which has the form of its own type, and keeps a copy.
    unsafe {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut().cast() };
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0
    }
}

/// As a shell would: the first of the paths that is a program. A refusal is told rather than an absence.
///
/// # Safety
/// Only in the child.
unsafe fn execute(layout: &Layout<'_>) -> Step {
    // SAFETY: null-ended arrays of texts that `Layout` keeps valid; errno is this thread's.
    unsafe {
        let mut refused = false;
        for path in layout.paths.each() {
            libc::execve(path, layout.argv.pointers.as_ptr(), layout.env.pointers.as_ptr());
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => refused = true,
                _ => return Step::Exec,
            }
        }
        *libc::__errno_location() = if refused { libc::EACCES } else { libc::ENOENT };
        Step::Exec
    }
}

/// Takes back what the executor set, or inherited, for itself.
///
/// # Safety
/// Only in the child.
unsafe fn reset(oom_score: bool) {
    // SAFETY: plain system calls.
    unsafe {
        // The kernel's own form, all zero, is SIG_DFL; the C library would refuse the signals it keeps for itself.
        let default = [0u64; 4];
        for signal in 1..=LAST_SIGNAL {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, size_of::<u64>());
        }
        libc::umask(0o022);
        if oom_score {
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            libc::write(file, c"0".as_ptr().cast(), 1);
            libc::close(file);
        }
    }
}

/// By system calls: the C library's wrappers would tell every thread of the executor.
///
/// # Safety
/// Only in the child.
unsafe fn become_user(uid: u32, gid: u32, groups: &[u32]) -> bool {
    // SAFETY: plain system calls on a valid slice.
    unsafe {
        // Without the right to set groups, staying in the present ones is what is left; setresuid then decides.
        let grouped = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0 || libc::geteuid() != 0;
        grouped
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
    }
}
