//! Mistakes that can be built in on purpose, so that the promises can be seen to find them.

/// Mistakes that others have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Effects and replies go out when decided, not when durable.
    AckBeforeDurable,
    /// A retried append writes its batch a second time.
    AppendTwice,
    /// Appends are not guarded by the leader key and the head.
    AppendUnguarded,
    /// A crash takes the last durable batch with it.
    DurableLost,
    /// Launch records are written after the launch.
    CronRecordedLate,
    /// A run that was missed and is to follow the one before it is skipped for that one.
    CronLateSkipped,
    /// An agent obeys whoever speaks, and forgets whom it has obeyed.
    StaleObeyed,
    /// A starting agent starts its tasks again without looking whether they run.
    ExecutorTwice,
    /// A starting agent kills what it finds.
    StopOnAbsence,
    /// Agents are promised a longer lease than the scheduler waits for.
    ReplacedTooEarly,
    /// A machine's disk forgets which ends were acknowledged.
    ReleaseForgotten,
}
