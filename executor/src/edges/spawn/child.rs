//! From clone to exec. The child shares the executor's memory until exec (as vfork does), while the executor waits:
//! it may make system calls and nothing else, no allocation, no lock, no panic.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use nix::libc;

const STACK_BYTES: usize = 64 << 10;
const LAST_SIGNAL: c_int = 64;

/// Everything the child needs, laid out beforehand.
pub struct Layout<'a> {
    pub path: CString,
    pub argv: Pointers<'a>,
    pub env: Pointers<'a>,
    /// Open `cgroup.procs` files.
    pub joins: Vec<c_int>,
    pub stdio: [c_int; 3],
    pub sandbox: CString,
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

/// Where the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Fork,
    Join,
    Stdio,
    Chdir,
    User,
    Exec,
}

struct Shared<'a> {
    layout: &'a Layout<'a>,
    failed: Option<(Step, c_int)>,
}

/// Starts the child and returns once it has exec'ed.
///
/// # Errors
/// The step that failed and its errno; the child is gone and reaped then.
pub fn start(layout: &Layout<'_>) -> Result<i32, (Step, c_int)> {
    let mut shared = Shared { layout, failed: None };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is mapped, large enough for the calls below, and unmapped only after CLONE_VFORK has let us
    // go on, when the child has left it. `shared` outlives the child's use of it for the same reason.
    let pid = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let stack = libc::mmap(ptr::null_mut(), STACK_BYTES, protection, kind, -1, 0);
        if stack == libc::MAP_FAILED {
            return Err((Step::Fork, errno()));
        }
        let pid = libc::clone(run, stack.byte_add(STACK_BYTES), flags, (&raw mut shared).cast::<c_void>());
        let error = errno();
        libc::munmap(stack, STACK_BYTES);
        if pid < 0 {
            return Err((Step::Fork, error));
        }
        pid
    };
    // SAFETY: `shared` is ours again; the child wrote it behind the compiler's back.
    match unsafe { ptr::read_volatile(&raw const shared.failed) } {
        None => Ok(pid),
        Some(failed) => {
            // SAFETY: waits for our own child, which is exiting.
            while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } < 0 && errno() == libc::EINTR {}
            Err(failed)
        }
    }
}

fn errno() -> c_int {
    nix::errno::Errno::last_raw()
}

extern "C" fn run(shared: *mut c_void) -> c_int {
    let shared = shared.cast::<Shared<'_>>();
    // SAFETY: `start` passes a valid pointer and waits; only system calls are made.
    unsafe {
        let step = prepare((*shared).layout);
        ptr::write_volatile(&raw mut (*shared).failed, Some((step, errno())));
        libc::_exit(127)
    }
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
        for (target, source) in (0..).zip(layout.stdio) {
            if libc::dup2(source, target) < 0 {
                return Step::Stdio;
            }
        }
        if libc::chdir(layout.sandbox.as_ptr()) != 0 {
            return Step::Chdir;
        }
        if let Some((uid, gid, groups)) = &layout.user
            && !become_user(*uid, *gid, groups)
        {
            return Step::User;
        }
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        // A net under CLOEXEC, for descriptors inherited from the agent.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
        libc::execve(layout.path.as_ptr(), layout.argv.pointers.as_ptr(), layout.env.pointers.as_ptr());
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
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
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
