//! Updates, drains and cron as stories: files of commands with the output expected, in the spirit of raft's testdata.
//!
//! A block is commands, `----`, and what they print. Each story is told once as it is written, and then once for every
//! step that decides something, with another leader at that step, who has lost the step's batch, or what it wanted done: what `end`
//! prints must be the same every time. `DAWN_REWRITE=1` writes the files anew; look at the difference before you keep it.

use std::path::{Path, PathBuf};

use dawn_proto::v1::{self, MaintenanceMode, UpdateAction, UpdateStrategy};
use dawn_proto::{JobKey, v1::JobKind};

use super::stage::{Loss, Stage, agent_id, service};
use super::told::standing;
use crate::model::{Answer, Command, Refusal, Scale, UpdateCommand, UpkeepCommand, answers};
use crate::wire;
use crate::wire::sample;

fn key(name: &str) -> JobKey {
    JobKey::new("ann", "test", name).unwrap()
}

/// Seconds as "2.5s".
fn ms(text: &str) -> u64 {
    (text.strip_suffix('s').unwrap().parse::<f64>().unwrap() * 1000.0) as u64
}

struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.get(name).map(|text| text.parse().unwrap())
    }

    fn has(&self, flag: &str) -> bool {
        self.words.contains(&flag)
    }

    fn ranges(&self) -> Vec<(u32, u32)> {
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            (first.parse().unwrap(), last.parse().unwrap())
        };
        self.get("only").map(|text| text.split(',').map(range).collect()).unwrap_or_default()
    }

    fn policy(&self) -> v1::UpdatePolicy {
        let strategy = match self.get("strategy") {
            Some("batch") => UpdateStrategy::Batches,
            Some("canary") => UpdateStrategy::Canary,
            Some("blue_green") => UpdateStrategy::BlueGreen,
            _ => UpdateStrategy::RollingQueue,
        };
        let sizes = self.get("sizes").map(|text| text.split('+').map(|size| size.parse().unwrap()).collect());
        v1::UpdatePolicy {
            strategy: strategy.into(),
            group_sizes: sizes.unwrap_or_default(),
            canaries: self.number("canaries").unwrap_or(0),
            manual_promotion: self.has("manual"),
            pause_between: self.has("pause"),
            watch_ms: Some(self.get("watch").map_or(2_000, ms)),
            max_instance_failures: self.number("instance_failures").unwrap_or(0),
            max_failed_instances: self.number("failures").unwrap_or(0),
            no_rollback: self.has("no_rollback"),
            progress_deadline_ms: self.get("deadline").map_or(0, ms),
            pulse_interval_ms: self.get("pulse").map_or(0, ms),
            sla_aware: self.has("sla_aware"),
            surge: self.number("surge").unwrap_or(0),
            sticky: self.has("sticky"),
        }
    }

    fn spec(&self, name: &str) -> v1::JobSpec {
        let (instances, v) = (self.number("instances").unwrap_or(1), self.number("v").unwrap_or(0));
        match self.get("kind") {
            Some("cron") => {
                let mut spec = sample::wire_spec(name, JobKind::Cron, instances);
                spec.priority = v;
                spec
            }
            Some("batch") => sample::wire_spec(name, JobKind::Batch, instances),
            Some("daemon") => {
                let mut spec = service(name, 1, v, self.policy());
                spec.kind = JobKind::Daemon.into();
                let host = |host: &str| v1::Constraint {
                    attribute: "host".into(),
                    rule: Some(v1::constraint::Rule::NoneOf(v1::ValueSet { values: vec![host.into()] })),
                };
                spec.constraints = self.get("not").map(host).into_iter().collect();
                spec
            }
            _ => {
                let mut spec = service(name, instances, v, self.policy());
                spec.sla = self.sla();
                if let Some(cpu) = self.number("cpu") {
                    spec.task.as_mut().unwrap().resources.as_mut().unwrap().cpu_milli = cpu.into();
                }
                spec
            }
        }
    }

    fn sla(&self) -> Option<v1::SlaPolicy> {
        use v1::sla_policy::Policy;
        let coordinator = |url: &str| Policy::Coordinator(v1::Coordinator { url: url.into(), status_key: "".into() });
        let count = self.number("count").map(Policy::Count).or(self.number("percentage").map(Policy::Percentage));
        let policy = count.or(self.get("coordinator").map(coordinator))?;
        Some(v1::SlaPolicy { policy: Some(policy), duration_ms: self.get("up_for").map_or(0, ms) })
    }
}

fn said(answer: Result<Answer, Refusal>) -> String {
    match answer {
        Ok(Answer::Submitted(answers::Submitted { version, outcome, .. })) => {
            format!("{} as version {version}", outcome.plain_name())
        }
        Ok(Answer::UpdateBegun(answers::UpdateBegun { number: None, version })) => {
            format!("nothing differs from version {version}")
        }
        Ok(Answer::UpdateBegun(answers::UpdateBegun { number: Some(number), version })) => {
            format!("update {number} to version {version}")
        }
        Ok(other) => format!("{other:?}"),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

fn update_command(words: &Words, name: &str, action: &str) -> Command {
    let (author, message) = ("ann".to_string(), String::new());
    let control = |action| UpdateCommand::Control { key: key(name), action, author: "ann".into(), message: "".into() };
    Command::Update(match action {
        "start" => UpdateCommand::Start {
            spec: Box::new(wire::parse_job_spec(words.spec(name)).unwrap()),
            instances: words.ranges(),
            author,
            message,
        },
        "restart" => {
            UpdateCommand::Restart { key: key(name), instances: words.ranges(), policy: None, author, message }
        }
        "scale" => {
            UpdateCommand::Scale { key: key(name), to: Scale::To(words.number("instances").unwrap()), author, message }
        }
        "pause" => control(UpdateAction::Pause),
        "resume" => control(UpdateAction::Resume),
        "abort" => control(UpdateAction::Abort),
        "rollback" => control(UpdateAction::Rollback),
        "pulse" => control(UpdateAction::Pulse),
        "promote" => control(UpdateAction::Promote),
        other => panic!("unknown command {other}"),
    })
}

fn upkeep(words: &Words, name: &str, mode: MaintenanceMode) -> Command {
    Command::Upkeep(UpkeepCommand {
        agents: vec![agent_id(name)],
        mode,
        heed_ms: words.get("deadline").map_or(60_000, ms),
        start_in_ms: words.get("start").map_or(0, ms),
        author: "ann".into(),
        message: String::new(),
    })
}

/// Does one line; what it prints goes to `printed`.
fn perform(stage: &mut Stage, line: &str, printed: &mut Vec<String>) {
    let words = Words { words: line.split_whitespace().collect() };
    let (command, name) = (words.words[0], words.words.get(1).copied().unwrap_or_default());
    match command {
        "agent" => stage.agent(name, words.number("cpu").unwrap_or(4_000).into()),
        "cut" => stage.cut(name, true),
        "mend" => stage.cut(name, false),
        "bad" => stage.bad.push((name.into(), words.number("v").unwrap(), words.number("instance"))),
        "good" => stage.bad.clear(),
        "short" => stage.short.push(name.into()),
        "coordinator" => {
            let answer = match words.words[2] {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err("connection refused".into()),
            };
            stage.coordinators.insert(name.into(), answer);
        }
        "pass" => {
            stage.pass_ms(ms(name));
            printed.append(&mut stage.log);
        }
        // The same, for those who ask only how it ends.
        "quietly" => {
            stage.pass_ms(ms(name));
            stage.log.clear();
        }
        "submit" => {
            let spec = Box::new(wire::parse_job_spec(words.spec(name)).unwrap());
            let command = Command::Submit { spec, author: "ann".into(), message: String::new() };
            printed.push(said(stage.command(command)));
        }
        // Of the role, in thousandths of a cpu.
        "quota" => {
            let bounds = |cpu: u32| crate::model::Bounds::only([(dawn_proto::Dimension::Cpu, cpu.into())]);
            let limit = Some(words.number("cpu").map(bounds).unwrap_or_default());
            let (role, guarantee, weight, author) = (name.to_string(), None, None, String::new());
            printed.push(said(stage.command(Command::SetQuota { role, guarantee, limit, weight, author })));
        }
        "kill" => {
            let (key, instances) = (key(name), words.ranges());
            let command = Command::Kill { key, instances, author: "ann".into(), message: "enough".into() };
            printed.push(said(stage.command(command)));
        }
        "cordon" => printed.push(said(stage.command(upkeep(&words, name, MaintenanceMode::Cordoned)))),
        "drain" => printed.push(said(stage.command(upkeep(&words, name, MaintenanceMode::Draining)))),
        "schedule" => printed.push(said(stage.command(upkeep(&words, name, MaintenanceMode::Scheduled)))),
        "uncordon" => printed.push(said(stage.command(upkeep(&words, name, MaintenanceMode::None)))),
        "end" => {
            let job = stage.state().job(&key(name)).unwrap();
            printed.extend(standing(stage.state(), job));
            let planned = stage.state().indexes().upkept.iter().filter_map(|no| stage.state().agents.get(no));
            let planned = planned.filter_map(|agent| Some((agent, agent.upkeep.as_ref()?)));
            printed.extend(planned.map(|(agent, upkeep)| format!("{} {}", agent.id, upkeep.mode.plain_name())));
        }
        action => printed.push(said(stage.command(update_command(&words, name, action)))),
    }
}

struct Told {
    /// The story with what it printed.
    text: String,
    /// What `end` printed, in order.
    ends: Vec<String>,
    /// Steps that decided something.
    deciding: Vec<u64>,
}

fn tell(story: &str, fault: Option<(u64, Loss)>) -> Told {
    let mut stage = Stage::new();
    stage.fault = fault;
    let (mut text, mut ends) = (String::new(), Vec::new());
    let mut expected = false;
    let mut printed = Vec::new();
    for line in story.lines() {
        if line == "----" {
            expected = true;
            text.push_str("----\n");
            printed.drain(..).for_each(|line: String| text.push_str(&format!("{line}\n")));
        } else if line.is_empty() {
            expected = false;
            text.push('\n');
        } else if !expected {
            text.push_str(&format!("{line}\n"));
            if !line.starts_with('#') {
                let before = printed.len();
                perform(&mut stage, line, &mut printed);
                if line.starts_with("end ") {
                    ends.extend_from_slice(&printed[before..]);
                }
            }
        }
    }
    Told { text, ends, deciding: stage.deciding }
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/drive/pulse/tests/stories");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|one| one == "txt")).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    files
}

#[test]
fn stories_go_as_they_are_written() {
    let mut differing = Vec::new();
    for path in files() {
        let story = std::fs::read_to_string(&path).unwrap();
        let told = tell(&story, None).text;
        if told != story {
            match std::env::var_os("DAWN_REWRITE") {
                Some(_) => std::fs::write(&path, &told).unwrap(),
                None => differing.push(format!("{}:\n{told}", path.display())),
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn stories_end_alike_with_another_leader_at_any_step() {
    for path in files() {
        let story = std::fs::read_to_string(&path).unwrap();
        let told = tell(&story, None);
        assert!(!told.ends.is_empty(), "{} has no end", path.display());
        for at in told.deciding.into_iter().filter(|at| *at > 1) {
            for loss in [Loss::Batch, Loss::Effects] {
                let ends = tell(&story, Some((at, loss))).ends;
                assert_eq!(ends, told.ends, "{} with another leader at step {at}, {loss:?} lost", path.display());
            }
        }
    }
}
