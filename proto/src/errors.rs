//! Refusals as gRPC statuses with typed details, as `error.proto` documents them: written by servers, read by clients.
//! Not here: which reason a refusal has, and hints for people, which are each client's own.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1::ErrorReason;
use crate::validate::FieldError;

/// The `domain` of `google.rpc.ErrorInfo` in Dawn's details.
pub const DOMAIN: &str = "dawn";
/// Bytes of all wrong fields in the details of one status. Statuses travel in HTTP/2 headers, of which some clients take no
/// more than 8 KiB, and the message is there twice: in the header for it and, as libraries expect, in the details.
const FIELD_BYTES: usize = 1_000;
/// Bytes of one wrong field beside its path and message, as it is encoded.
const FIELD_OVERHEAD_BYTES: usize = 8;
/// Bytes of the message about wrong fields.
const LINES_BYTES: usize = 1_500;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 2_000;
/// Bytes of one value of the metadata.
const VALUE_BYTES: usize = 512;

/// A refusal that is being put together.
#[derive(Clone, Debug)]
pub struct RefusedRequest {
    reason: ErrorReason,
    code: Code,
    message: String,
    metadata: HashMap<String, String>,
    fields: Vec<FieldError>,
}

impl RefusedRequest {
    /// A refusal for a reason, with its message for people.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> RefusedRequest {
        RefusedRequest {
            reason,
            code: code(reason),
            message: message.into(),
            metadata: HashMap::new(),
            fields: Vec::new(),
        }
    }

    /// Names what the refusal is about; which names a reason has stands in `error.proto`.
    pub fn with(mut self, name: &str, value: impl ToString) -> RefusedRequest {
        self.metadata.insert(name.to_string(), cut(&value.to_string(), VALUE_BYTES));
        self
    }

    /// The same with a code that somebody else has chosen.
    pub fn with_code(self, code: Code) -> RefusedRequest {
        RefusedRequest { code, ..self }
    }

    /// The same in other words.
    pub fn with_message(self, message: impl Into<String>) -> RefusedRequest {
        RefusedRequest { message: message.into(), ..self }
    }

    pub fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// What the reason names, by name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As it is sent.
    pub fn into_status(self) -> Status {
        let RefusedRequest { reason, code, message, mut metadata, fields } = self;
        let mut details = ErrorDetails::new();
        let (mut room, mut left_out) = (FIELD_BYTES, 0_usize);
        for FieldError { path, message } in &fields {
            let bytes = path.len() + message.len() + FIELD_OVERHEAD_BYTES;
            match room.checked_sub(bytes).filter(|_| left_out == 0) {
                Some(left) => room = left,
                None => {
                    left_out += 1;
                    continue;
                }
            }
            details.add_bad_request_violation(path, message);
        }
        if left_out > 0 {
            metadata.insert("left_out".to_string(), left_out.to_string());
        }
        details.set_error_info(reason.plain_name(), DOMAIN, metadata);
        Status::with_error_details(code, cut(&message, MESSAGE_BYTES), details)
    }
}

impl From<RefusedRequest> for Status {
    fn from(refused: RefusedRequest) -> Status {
        refused.into_status()
    }
}

/// The refusal of a request with wrong fields: the message has one "path: message" on each line.
pub fn invalid_fields(errors: Vec<FieldError>) -> RefusedRequest {
    let (mut lines, mut left_out) = (String::new(), 0_usize);
    for error in &errors {
        let line = error.to_string();
        if lines.is_empty() || left_out == 0 && lines.len() + line.len() < LINES_BYTES {
            lines.push_str(if lines.is_empty() { "" } else { "\n" });
            lines.push_str(&line);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        lines.push_str(&format!("\nand {left_out} more wrong fields"));
    }
    RefusedRequest { fields: errors, ..RefusedRequest::new(ErrorReason::InvalidFields, lines) }
}

/// The refusal of a request of which one field is wrong.
pub fn invalid_field(path: impl Into<String>, message: impl Into<String>) -> RefusedRequest {
    invalid_fields(vec![FieldError { path: path.into(), message: message.into() }])
}

/// The code of each reason: `error.proto` says the same in words.
pub fn code(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidFields | R::TooLarge | R::DependencyCircle | R::GuaranteeAboveLimit | R::SurgeAtMostOne => {
            Code::InvalidArgument
        }
        R::NoSuchJob
        | R::NoSuchVersion
        | R::NoSuchUpdate
        | R::NoSuchInstance
        | R::NoSuchTask
        | R::NoSuchNode
        | R::NoSuchSession => Code::NotFound,
        R::JobEnded
        | R::JobDiffers
        | R::JobStillEnding
        | R::JobChanged
        | R::NotCron
        | R::CronRunAlive
        | R::NotTemplate
        | R::DispatchDiffers
        | R::DependencyFailed
        | R::OverQuota
        | R::LimitReached
        | R::UpdateUnderWay
        | R::NoUpdateUnderWay
        | R::WrongUpdateState
        | R::NotUpdatable
        | R::NotScalable
        | R::TaskNotStarted
        | R::WrongMaintenanceMode
        | R::NodeConnected
        | R::NodeMayComeBack
        | R::NodeHoldsTasks
        | R::JournalBehind
        | R::BrakeIsOff
        | R::NoHigherEpoch
        | R::Behind
        | R::NodeRefused
        | R::NodeKnowsMore => Code::FailedPrecondition,
        R::NotLeader | R::NoWrites | R::Stopping | R::NodeOutOfReach => Code::Unavailable,
        R::Left => Code::Aborted,
        R::Busy => Code::ResourceExhausted,
        R::TooSlow => Code::DeadlineExceeded,
        R::JournalDamaged => Code::DataLoss,
        R::Unspecified | R::Internal => Code::Internal,
    }
}

/// The reason that a status names; None: it is not from Dawn, or from a later Dawn with a reason that is not known here.
pub fn reason(status: &Status) -> Option<ErrorReason> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    ErrorReason::from_plain_name(&info.reason)
}

/// Whether a server of Dawn's has answered with the status, rather than a proxy, a library or a broken connection.
pub fn is_of_dawn(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == DOMAIN)
}

/// What a status names, such as the `job` of NO_SUCH_JOB.
pub fn named(status: &Status, name: &str) -> Option<String> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    info.metadata.get(name).cloned()
}

/// The wrong fields that a status names.
pub fn fields(status: &Status) -> Vec<FieldError> {
    let violations = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    let error = |one: tonic_types::FieldViolation| FieldError { path: one.field, message: one.description };
    violations.into_iter().map(error).collect()
}

/// At most so many bytes of a text.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_string();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that are known, as clients of the contract find them.
    fn reasons() -> impl Iterator<Item = ErrorReason> {
        (0..200).filter_map(|number| ErrorReason::try_from(number).ok())
    }

    #[test]
    fn every_reason_travels_with_its_code_and_what_it_names() {
        for sent in reasons() {
            let status = RefusedRequest::new(sent, "words").with("job", "www/prod/web").with("have", 7).into_status();
            let received = Status::from_header_map(status.into_http::<()>().headers()).expect("it is a status");
            assert_eq!((received.code(), received.message()), (code(sent), "words"));
            assert_eq!(reason(&received), Some(sent));
            assert_eq!(named(&received, "job").as_deref(), Some("www/prod/web"));
            assert_eq!(named(&received, "have").as_deref(), Some("7"));
            assert!(is_of_dawn(&received) && fields(&received).is_empty());
        }
    }

    #[test]
    fn the_code_of_each_reason_stands_in_the_contract() {
        let contract = include_str!("../dawn/v1/error.proto");
        for reason in reasons().filter(|reason| *reason != ErrorReason::Unspecified) {
            let place = format!("  {} = {};", reason.as_str_name(), reason as i32);
            let before = contract.split(&place).next().filter(|before| before.len() < contract.len());
            let before = before.unwrap_or_else(|| panic!("{place} is not in the contract"));
            let comment = before.rsplit(";\n").next().unwrap_or_default();
            let said: String = format!("{:?}", code(reason)).chars().fold(String::new(), |mut said, c| {
                if c.is_uppercase() && !said.is_empty() {
                    said.push('_');
                }
                said.push(c.to_ascii_uppercase());
                said
            });
            assert!(comment.contains(&format!("// {said}")), "{reason:?} is {said}, but the contract says: {comment}");
        }
    }

    /// Every contract with a service.
    const CONTRACTS: [&str; 9] = [
        include_str!("../dawn/v1/agent.proto"),
        include_str!("../dawn/v1/jobs.proto"),
        include_str!("../dawn/v1/tasks.proto"),
        include_str!("../dawn/v1/cron.proto"),
        include_str!("../dawn/v1/nodes.proto"),
        include_str!("../dawn/v1/quota.proto"),
        include_str!("../dawn/v1/update.proto"),
        include_str!("../dawn/v1/admin.proto"),
        include_str!("../dawn/v1/reach.proto"),
    ];

    /// What the comments of rpcs, and what all may end with, name.
    fn documented(contract: &str) -> Vec<String> {
        let comment = |line: &&str| line.trim_start().starts_with("//");
        let lines: Vec<&str> = contract.lines().collect();
        let lists = |line: &str| line.contains("// Errors: ") || line.contains("may end with");
        let begins = (0..lines.len()).filter(|at| lists(lines[*at]));
        let text = begins.flat_map(|at| lines[at..].iter().copied().take_while(comment));
        let words = text.flat_map(|line| line.split(|c: char| !c.is_ascii_uppercase() && c != '_'));
        words
            .filter(|word| word.len() > 3 && word.chars().any(|c| c == '_') || *word == "BUSY" || *word == "LEFT")
            .map(str::to_string)
            .collect()
    }

    #[test]
    fn every_rpc_names_reasons_that_there_are_and_every_reason_is_named_by_one() {
        let named: Vec<String> = CONTRACTS.iter().flat_map(|contract| documented(contract)).collect();
        for name in &named {
            assert!(ErrorReason::from_plain_name(name).is_some(), "{name} is no reason");
        }
        // One word each, as other words are.
        let plain = ["UNSPECIFIED", "INTERNAL", "STOPPING", "BEHIND"];
        for reason in reasons().filter(|reason| !plain.contains(&reason.plain_name())) {
            assert!(named.iter().any(|name| name == reason.plain_name()), "no rpc names {reason:?}");
        }
    }

    #[test]
    fn wrong_fields_are_named_as_far_as_headers_have_room() {
        let wrong = |i| FieldError { path: format!("task.ports[{i}].name"), message: "is missing".to_string() };
        let status = invalid_fields((0..3).map(wrong).collect()).into_status();
        assert_eq!(fields(&status), (0..3).map(wrong).collect::<Vec<_>>());
        assert_eq!(status.message().lines().count(), 3);
        assert_eq!(status.message().lines().next(), Some("task.ports[0].name: is missing"));

        let status = invalid_fields((0..10_000).map(wrong).collect()).into_status();
        let (shown, left_out) = (fields(&status).len(), named(&status, "left_out").expect("not all have room"));
        assert_eq!(shown + left_out.parse::<usize>().expect("a number"), 10_000);
        assert!(status.message().ends_with("more wrong fields"), "{}", status.message());
        let answer = status.into_http::<()>();
        let bytes: usize = answer.headers().values().map(|value| value.len()).sum();
        assert!(bytes < 8_000, "{bytes}");
    }

    #[test]
    fn what_others_answer_is_not_taken_for_dawns() {
        let proxy = Status::with_error_details(
            Code::Unavailable,
            "no upstream",
            ErrorDetails::with_error_info("NOT_LEADER", "proxy.example", HashMap::new()),
        );
        for status in [proxy, Status::unavailable("connection refused"), Status::unknown("grpc-status header missing")]
        {
            assert_eq!((reason(&status), is_of_dawn(&status), named(&status, "leader")), (None, false, None));
        }
        let later = Status::with_error_details(
            Code::FailedPrecondition,
            "words",
            ErrorDetails::with_error_info("OF_TOMORROW", DOMAIN, HashMap::new()),
        );
        assert_eq!((reason(&later), is_of_dawn(&later)), (None, true));
    }
}
