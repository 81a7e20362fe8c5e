//! Commands: to the pulse and back, once they are durable.

use std::time::Duration;

use dawn_proto::JobKey;
use dawn_proto::v1;
use dawn_proto::validate::FieldError;
use tonic::Status;

use super::reads;
use super::{ClientService, status};
use crate::drive::Role;
use crate::model::{Answer, Command, JobSpec, Quota, Sla, State, answers};
use crate::shares::Holder;
use crate::wire;

/// How long a caller waits for the journal.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Most bytes of an author's name and of a message; more is cut.
const MAX_TEXT_BYTES: usize = 512;

pub(super) fn key(key: Option<&v1::JobKey>) -> Result<JobKey, Status> {
    let key = key.ok_or_else(|| status::missing("key"))?;
    JobKey::try_from(key).map_err(|error| status::of_key_error("key", &error))
}

pub(super) fn text(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}

impl ClientService {
    /// Refuses what only the leader can do, and says who that is.
    pub(super) fn only_leader(&self) -> Result<(), Status> {
        match &*self.role.borrow() {
            Role::Following { leader } => Err(status::not_leader(leader.as_deref())),
            Role::Leading => Ok(()),
        }
    }

    /// Refuses what only the leader can write; also while the journal takes no writes.
    pub(super) fn only_leading(&self) -> Result<(), Status> {
        self.only_leader()?;
        match self.trouble.borrow().as_str() {
            "" => Ok(()),
            trouble => Err(status::no_writes(trouble)),
        }
    }

    /// Has a command decided, and answers as it is answered, once that is durable, with the index of its batch.
    pub(super) async fn ask<A>(&self, command: Command) -> Result<(A, u64), Status>
    where
        A: TryFrom<Answer, Error = Answer>,
    {
        self.only_leading()?;
        let mut waiting = self.replies.wait();
        self.inbox.command(waiting.reply, command).map_err(status::of_inbox)?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, &mut waiting.answered).await;
        let answered = answered.map_err(|_| status::too_slow(ANSWER_WITHIN))?.map_err(|_| status::stopped())?;
        let answer = answered.answer.map_err(|refusal| status::of_refusal(&refusal))?;
        // Another answer than the command's own can't come: the pulse answers what it was asked.
        let unexpected = |other| status::internal(format!("the command was answered with {other:?}"));
        Ok((A::try_from(answer).map_err(unexpected)?, answered.index))
    }

    /// A spec from outside, held to every rule, this cluster's too.
    pub(super) fn parsed(&self, spec: Option<v1::JobSpec>) -> Result<Box<JobSpec>, Status> {
        let spec = spec.ok_or_else(|| status::missing("spec"))?;
        self.checked(spec).map_err(status::of_field_errors)
    }

    /// The same, with every field that is wrong.
    pub(super) fn checked(&self, spec: v1::JobSpec) -> Result<Box<JobSpec>, Vec<FieldError>> {
        let spec = Box::new(wire::parse_job_spec(spec)?);
        if let Some(Sla::Coordinator { url, .. }) = spec.sla.as_ref().map(|policy| &policy.what) {
            let refused = |message| FieldError { path: "sla.coordinator.url".into(), message };
            let allowed = self.facts.coordinators.check(url).map_err(refused);
            allowed.map_err(|error| vec![error])?;
        }
        Ok(spec)
    }

    pub(super) async fn kill(&self, request: v1::KillJobRequest) -> Result<v1::KillJobResponse, Status> {
        let key = key(request.key.as_ref())?;
        let instances = ranges(&request.instances)?;
        let (author, message) = (text(request.author), text(request.message));
        let (answers::Killed { tasks }, index) = self.ask(Command::Kill { key, instances, author, message }).await?;
        Ok(v1::KillJobResponse { tasks, index })
    }

    pub(super) async fn start(&self, request: v1::StartCronRequest) -> Result<v1::StartCronResponse, Status> {
        let key = key(request.key.as_ref())?;
        let (answers::CronStarted { run_at }, index) =
            self.ask(Command::StartCron { key, author: text(request.author) }).await?;
        Ok(v1::StartCronResponse { run_at_ms: run_at.0, index })
    }

    pub(super) async fn deschedule(
        &self,
        request: v1::DescheduleCronRequest,
    ) -> Result<v1::DescheduleCronResponse, Status> {
        let key = key(request.key.as_ref())?;
        let (answers::CronDescheduled, index) =
            self.ask(Command::DescheduleCron { key, author: text(request.author) }).await?;
        Ok(v1::DescheduleCronResponse { index })
    }

    /// Sets the quota and says what follows for what is in use.
    pub(super) async fn set_quota(
        &self,
        holder: Holder,
        request: v1::SetQuotaRequest,
    ) -> Result<v1::QuotaStatus, Status> {
        let v1::SetQuotaRequest { role, guarantee, limit, weight, author } = request;
        check_role(&role)?;
        if weight > Quota::MAX_WEIGHT {
            return Err(status::wrong("weight", format!("{weight} is not between 1 and {}", Quota::MAX_WEIGHT)));
        }
        let command = Command::SetQuota {
            role: role.clone(),
            guarantee: guarantee.as_ref().map(wire::bounds_from_wire),
            limit: limit.as_ref().map(wire::bounds_from_wire),
            weight: (weight > 0).then_some(weight),
            author: text(author),
        };
        let (answers::QuotaSet, _) = self.ask(command).await?;
        let look = move |state: &State| reads::quota_status(state, &role);
        self.reader.read(Some(holder), reads::tasks_of_all, look).await
    }
}

/// A role that jobs may have, or the one that stands for all.
pub(super) fn check_role(role: &str) -> Result<(), Status> {
    let known = role == Quota::EVERYBODY || JobKey::new(role, "0", "0").is_ok();
    let refused = || format!("{:?} is no role of jobs, nor * for all", role.chars().take(80).collect::<String>());
    known.then_some(()).ok_or_else(|| status::wrong("role", refused()))
}

/// Most ranges in one request, as they are sent.
const MAX_RANGES: usize = 100_000;

/// Ascending, and not touching each other: as few as there can be.
pub(super) fn ranges(wire: &[v1::InstanceRange]) -> Result<Vec<(u32, u32)>, Status> {
    if wire.len() > MAX_RANGES {
        return Err(status::wrong("instances", format!("{} ranges; at most {MAX_RANGES} are allowed", wire.len())));
    }
    let range = |(i, range): (usize, &v1::InstanceRange)| {
        let (first, last) = (range.first, range.last);
        let backwards = || status::wrong(&format!("instances[{i}]"), format!("{first}-{last} runs backwards"));
        (first <= last).then_some((first, last)).ok_or_else(backwards)
    };
    let mut ranges = wire.iter().enumerate().map(range).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let touches = next.0 <= before.1.saturating_add(1);
        if touches {
            before.1 = before.1.max(next.1);
        }
        touches
    });
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_more_than_a_bound_is_refused_with_both_numbers() {
        let range = |(first, last)| v1::InstanceRange { first, last };
        let sent = [(7, 9), (0, 1), (2, 2), (8, 12), (u32::MAX, u32::MAX), (4, 5)].map(range);
        assert_eq!(ranges(&sent).unwrap(), [(0, 2), (4, 5), (7, 12), (u32::MAX, u32::MAX)]);
        let many = vec![range((1, 1)); MAX_RANGES + 1];
        let refused = ranges(&many).unwrap_err();
        assert_eq!(refused.message(), "instances: 100001 ranges; at most 100000 are allowed");
        assert!(ranges(&[range((3, 2))]).unwrap_err().message().contains("runs backwards"));
    }
}
