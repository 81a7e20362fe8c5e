//! The event loop: waits for descriptors and deadlines, and turns what happened into inputs.

use std::os::fd::AsFd;

use dawn_proto::v1::Reason;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Failure;
use super::begin::Executor;
use super::hands::{Adopted, Sweeping};
use crate::drive::{Now, Progress};
use crate::edges::{os, pidfd};
use crate::model::{ExitKind, Input};
use crate::wire::{self, Request};

/// Until the event log is tried again.
const STUCK_RETRY_MS: i64 = 1_000;
/// Longest sleep of an executor with a lease: time suspended counts for leases, but not for a sleep.
const LEASED_WAIT_MS: i64 = 1_000;

/// What a descriptor in the poll set stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Connection(usize),
    Pipe(usize),
    Adopted(usize),
    Exchange,
    Post,
}

/// Runs until the terminal event is durable.
pub fn pump(mut executor: Executor) -> Result<(), Failure> {
    executor.settle();
    while !executor.world.is_leaving || executor.world.events.is_unsettled() {
        let ready = executor.wait()?;
        executor.handle(&ready);
        executor.settle();
    }
    executor.leave();
    Ok(())
}

impl Executor {
    fn wait(&self) -> Result<Vec<Source>, Failure> {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        watch(Source::Signals, self.signals.as_fd(), PollFlags::POLLIN);
        watch(Source::Listener, self.socket.listener(), PollFlags::POLLIN);
        for (i, (fd, has_more)) in self.socket.connections(self.world.events.settled()).enumerate() {
            let out = if has_more { PollFlags::POLLOUT } else { PollFlags::empty() };
            watch(Source::Connection(i), fd, PollFlags::POLLIN | out);
        }
        for (i, fd) in self.world.logs.pipes().enumerate() {
            watch(Source::Pipe(i), fd, PollFlags::POLLIN);
        }
        for (i, adopted) in self.world.adopted.iter().enumerate() {
            watch(Source::Adopted(i), adopted.pidfd.as_fd(), PollFlags::POLLIN);
        }
        for (source, exchange) in [(Source::Exchange, &self.world.exchange), (Source::Post, &self.world.post)] {
            if let Some(exchange) = exchange {
                let (fd, flags) = exchange.interest();
                watch(source, fd, flags);
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(format!("poll: {}", errno.desc()).into()),
        }
        let fired = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        Ok(sources.into_iter().zip(&fds).filter(|(_, fd)| fired(fd)).map(|(source, _)| source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let now_ms = self.world.clock.steady_ms();
        let exchanges = self.world.exchange.iter().chain(&self.world.post).map(|exchange| exchange.deadline_ms);
        let shell = self.world.shell_probe.map(|probe| probe.deadline_ms);
        let raised = self.world.raised_until_ms;
        let sweep = self.world.sweeping.as_ref().map(Sweeping::due_ms);
        let decision = match self.progress {
            Progress::Going => self.drive.deadline_ms(),
            Progress::Stuck(_) => Some(now_ms + STUCK_RETRY_MS),
        };
        let sync = self.world.events.is_unsettled().then_some(now_ms + STUCK_RETRY_MS);
        let disk = [self.world.disk.due_ms()];
        match exchanges.chain(shell).chain(raised).chain(sweep).chain(decision).chain(sync).chain(disk).min() {
            None => PollTimeout::NONE,
            Some(at_ms) => {
                let longest_ms = if self.world.plan.lease_until_ms.is_some() { LEASED_WAIT_MS } else { 60_000 };
                let wait_ms = at_ms.saturating_sub(now_ms).clamp(0, longest_ms);
                PollTimeout::from(u16::try_from(wait_ms).unwrap_or(u16::MAX))
            }
        }
    }

    fn handle(&mut self, ready: &[Source]) {
        let pipes: Vec<usize> =
            ready.iter().filter_map(|source| if let Source::Pipe(i) = source { Some(*i) } else { None }).collect();
        if !pipes.is_empty() {
            self.world.logs.turn(&pipes, os::wall_ms());
        }
        if ready.contains(&Source::Signals) {
            self.take_signals();
        }
        self.take_adopted(ready);
        self.take_answers();
        for source in ready {
            if let Source::Connection(i) = source {
                self.take_requests(*i);
            }
        }
        self.tick();
        if ready.contains(&Source::Listener) {
            self.socket.accept();
        }
    }

    /// Makes the turn's events durable, then sends them.
    fn settle(&mut self) {
        match self.world.events.sync() {
            Ok(()) => self.is_noted = false,
            Err(error) if !self.is_noted => {
                self.is_noted = true;
                note!("the event log can't be synced: {error}; trying again every {STUCK_RETRY_MS}ms");
            }
            Err(_) => {}
        }
        let events = &self.world.events;
        self.socket.pump(|buffer, offset| events.read_at(buffer, offset));
    }

    fn now(&self) -> Now {
        Now { steady_ms: self.world.clock.steady_ms(), wall_ms: os::wall_ms() }
    }

    fn feed(&mut self, input: Input) {
        let was_stuck = matches!(self.progress, Progress::Stuck(_));
        self.progress = self.drive.feed(input, self.now(), &mut self.world);
        if let (Progress::Stuck(error), false) = (&self.progress, was_stuck) {
            note!("the event log takes nothing: {error}; trying again every {STUCK_RETRY_MS}ms");
        }
    }

    fn tick(&mut self) {
        let now_ms = self.world.clock.steady_ms();
        if self.world.sweeping.as_ref().is_some_and(|sweeping| sweeping.due_ms() <= now_ms)
            && let Some(emptied) = self.world.sweep()
        {
            self.feed(emptied);
        }
        if self.world.raised_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            self.world.lower();
        }
        let is_look_due = self.world.disk.due_ms() <= now_ms;
        if let Some(measured) = self.world.measure() {
            self.feed(measured);
        }
        if is_look_due {
            let told = [self.world.killed_for_memory(), self.world.forks_refused()];
            told.into_iter().flatten().for_each(|input| self.feed(input));
        }
        if let Progress::Stuck(_) = self.progress {
            self.progress = self.drive.retry(self.now(), &mut self.world);
        } else if self.drive.deadline_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            self.feed(Input::Tick);
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if i32::try_from(info.ssi_signo) == Ok(Signal::SIGTERM as i32) {
                // Nobody asks an executor to stop but the machine on its way down, or an operator.
                self.feed(Input::Kill { reason: Reason::NodeDrain, grace_period_ms: None });
            }
        }
        loop {
            let (pid, kind) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ExitKind::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitKind::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            if let Some(input) = self.world.buried(pid.as_raw(), kind) {
                self.feed(input);
            }
        }
    }

    fn take_adopted(&mut self, ready: &[Source]) {
        // From the back, so that places stay valid.
        for source in ready.iter().rev() {
            if let Source::Adopted(i) = source {
                let Adopted { pidfd, pid, process, run } = self.world.adopted.remove(*i);
                let input = match pidfd::exit_of(&pidfd, pid) {
                    Some(kind) => Input::Exited { process, run, exit: self.world.exit(process, kind, 0) },
                    None => Input::Vanished { process },
                };
                self.world.one_less();
                self.feed(input);
            }
        }
    }

    fn take_answers(&mut self) {
        let now_ms = self.world.clock.steady_ms();
        if let Some(verdict) = self.world.exchange.as_mut().and_then(|exchange| exchange.go_on(now_ms)) {
            self.world.exchange = None;
            let input = self.world.probed(verdict);
            self.feed(input);
        }
        if let Some(verdict) = self.world.post.as_mut().and_then(|post| post.go_on(now_ms)) {
            self.world.post = None;
            if let Err(why) = verdict {
                note!("{why}");
                self.feed(Input::PostFailed { why });
            }
        }
        if self.world.shell_probe.is_some_and(|probe| probe.deadline_ms <= now_ms) {
            self.world.kill_probe();
        }
    }

    fn take_requests(&mut self, connection: usize) {
        for body in self.socket.receive(connection) {
            match wire::decode_request(&body) {
                Some(Request::SubscribeFrom(sequence)) => match self.world.events.offset_of(sequence) {
                    Ok(offset) => self.socket.subscribe(connection, offset),
                    Err(_) => self.socket.refuse(connection),
                },
                Some(Request::Kill { reason, grace_period_ms }) => self.feed(Input::Kill { reason, grace_period_ms }),
                Some(Request::Renew { until_ms }) => {
                    let until_ms = self.world.clock.steady_at(until_ms);
                    self.feed(Input::Renewed { until_ms });
                }
                Some(Request::LookAtDisk { tasks }) => {
                    let now_ms = self.world.clock.steady_ms();
                    self.world.disk.suspect(now_ms, tasks);
                }
                None => self.socket.refuse(connection),
            }
        }
    }

    /// The last output, and no socket that nobody listens on.
    fn leave(mut self) {
        self.world.logs.drain(os::wall_ms());
        // Left over, it would only refuse connections.
        let _ = std::fs::remove_file(self.world.setting.meta.join("socket"));
    }
}
