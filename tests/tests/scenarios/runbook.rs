//! The runbook's commands, each given at least once as an operator would, on three schedulers over etcd, while nodes are lost,
//! the leader leaves and the journal is restored. Those of systemd are given in `tests/under-systemd`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dawn_proto::JobKey;
use dawn_tests::cluster::{Patience, Several, SeveralPlan, cron, path, service};
use dawn_tests::runbook::{commands, is_for_a_unit};

use super::agents::get;

const DONE: Option<i32> = Some(0);
const REFUSED: Option<i32> = Some(4);

const MEMBER_ADDED: &str = "etcdctl member add MEMBER --peer-urls=URL";

/// Those that need something to have happened first, in the order of the story below.
const STORY: [&str; 10] = [
    "dawn node down -y NODE",
    "dawn node forget NODE",
    "dawn admin brake release -y --for 30m",
    "dawn node forgive NODE",
    "dawn admin epoch raise",
    MEMBER_ADDED,
    "dawn scheduler leave",
    "dawn admin backup FILE",
    "dawn admin restore FILE --etcd URL --replace",
    "dawn admin restore FILE --data-dir DIR --replace",
];

fn text_of(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Gives the page's commands, and remembers which.
struct Operator<'a> {
    several: &'a Several,
    page: BTreeSet<String>,
    given: RefCell<BTreeSet<String>>,
    web: JobKey,
    tick: JobKey,
}

impl Operator<'_> {
    /// Its exit code and all that it printed, with `node` where the page says NODE.
    fn gives(&self, command: &str, node: &str) -> (Option<i32>, String) {
        assert!(self.page.contains(command), "{command:?} is not on the page: {:#?}", self.page);
        self.given.borrow_mut().insert(command.to_string());
        let (folder, url) = (self.several.folder().display().to_string(), self.several.endpoints()[0].clone());
        let job = if command.starts_with("dawn cron ") { &self.tick } else { &self.web };
        let words = command.split(' ').map(|word| match word {
            "NODE" => node.to_string(),
            "JOB" => job.to_string(),
            "TASK" => format!("{job}/0"),
            "FILE" => format!("{folder}/backup"),
            "DIR" => format!("{folder}/dir"),
            "HOST:7070" => self.several.addresses()[1].clone(),
            "MEMBER" => "newcomer".to_string(),
            "REVISION" => self.revision(),
            "--peer-urls=URL" => "--peer-urls=http://127.0.0.1:9".to_string(),
            "URL" => url.clone(),
            "ETCDCTL_ENDPOINTS=URL" => format!("ETCDCTL_ENDPOINTS={url}"),
            "URL/metrics" => format!("{url}/metrics"),
            other => other.to_string(),
        });
        let line = words.collect::<Vec<_>>().join(" ");
        let programs = format!("{}:{}", folder, std::env::var("PATH").unwrap_or_default());
        let run = Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {line}")])
            .env("PATH", programs)
            .env("NO_COLOR", "1")
            .env("DAWN_SCHEDULER", self.several.addresses().join(","))
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.several.endpoints().join(","))
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        (run.status.code(), said)
    }

    /// The present one of etcd, as `endpoint status -w json` names it.
    fn revision(&self) -> String {
        let said = self.done("etcdctl endpoint status -w json", "");
        let after = said.split("\"revision\":").nth(1).unwrap_or_else(|| panic!("{said}"));
        after.chars().take_while(char::is_ascii_digit).collect()
    }

    fn done(&self, command: &str, node: &str) -> String {
        let (code, said) = self.gives(command, node);
        assert_eq!(code, DONE, "{command:?}: {said}\n{}", self.several.last_words());
        said
    }

    fn refused(&self, command: &str, node: &str, words: &str) {
        let (code, said) = self.gives(command, node);
        assert_eq!(code, REFUSED, "{command:?}: {said}");
        assert!(said.contains(words), "{command:?}: {said}");
    }

    fn eventually_says(&self, command: &str, node: &str, words: &str) {
        self.several.eventually(&format!("{command:?} says {words:?}"), Patience::minutes(4), || {
            let (code, said) = self.gives(command, node);
            if code == DONE && said.contains(words) { Ok(()) } else { Err(said) }
        });
    }
}

#[test]
fn every_command_of_the_runbook_does_what_it_says() {
    let Some(several) = Several::start(&SeveralPlan::of(3)) else { return };
    std::os::unix::fs::symlink(path(), several.folder().join("dawn")).expect("a link");
    std::fs::create_dir(several.folder().join("dir")).expect("a directory");
    let (web, tick) = (several.submit(service("web").instances(3)), several.submit(cron("tick", "0 0 1 1 *")));
    several.running(&web, 3);
    let page: BTreeSet<String> = commands(&text_of("docs/runbook.md")).into_iter().collect();
    let page = page.into_iter().filter(|line| !is_for_a_unit(line) && !line.starts_with("export ")).collect();
    let operator = Operator { several: &several, page, given: RefCell::default(), web: web.clone(), tick };
    // On a cluster that is well.
    for command in operator.page.iter().filter(|line| !STORY.contains(&line.as_str())) {
        operator.done(command, "node0");
    }
    what_alerts_ask_of_etcd_is_there(&several);
    a_member_is_added_to_etcd(&operator);
    operator.refused("dawn admin brake release -y --for 30m", "", "the brake is not on");
    operator.refused("dawn admin epoch raise", "", "nothing to raise it above");
    operator.refused("dawn node down -y NODE", "node2", "`dawn node drain ");
    operator.done("dawn node forgive NODE", "node0");

    // A machine is gone for good. Whichever scheduler is asked, the leader says since when it is silent.
    several.agents[2].kill_9();
    operator.eventually_says("dawn node status NODE", "node2", "down, heard ");
    let list = operator.done("dawn node list", "");
    let line = list.lines().find(|line| line.contains("node2")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.contains(" ago"), "{list}");
    operator.done("dawn node down -y NODE", "node2");
    several.running(&web, 3);
    operator.done("dawn node forget NODE", "node2");
    assert!(!operator.done("dawn node list", "").contains("node2"), "it was forgotten");
    several.agents[2].start();
    several.agents_are_up();

    backups_are_made_and_pruned(&several);
    the_leader_leaves(&operator);
    the_journal_is_restored(&operator);
    assert_eq!(*operator.given.borrow(), operator.page, "the page names others");
    several.verified();
    several.end();
}

fn what_alerts_ask_of_etcd_is_there(several: &Several) {
    let port = several.endpoints()[0].rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let figures = get(port, "/metrics").expect("etcd answers");
    let alerts = text_of("deploy/prometheus/alerts.yaml");
    let names = alerts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("etcd_"));
    let missing: Vec<&str> = names.filter(|name| !figures.contains(&format!("\n{name} "))).collect();
    assert!(missing.is_empty(), "etcd serves no {missing:?}");
}

/// And taken away again, since nobody starts it. Members that have just begun count as unhealthy for some seconds.
fn a_member_is_added_to_etcd(operator: &Operator) {
    let mut said = String::new();
    operator.several.eventually("a member is added", Patience::minutes(1), || {
        let (code, answer) = operator.gives(MEMBER_ADDED, "");
        said.clone_from(&answer);
        if code == DONE { Ok(()) } else { Err(answer) }
    });
    let id = said.split_whitespace().nth(1).unwrap_or_else(|| panic!("{said}")).to_string();
    operator.several.eventually("the member is taken away", Patience::minutes(1), || {
        let mut remove = Command::new("etcdctl");
        remove.args(["--endpoints", &operator.several.endpoints().join(","), "member", "remove", &id]);
        let removed = remove.env("ETCDCTL_API", "3").output().expect("etcdctl runs");
        removed.status.success().then_some(()).ok_or(String::from_utf8_lossy(&removed.stderr).into_owned())
    });
}

/// As the timer's unit has the script do it.
fn backups_are_made_and_pruned(several: &Several) {
    let folder = several.folder().join("backups");
    std::fs::create_dir(&folder).expect("a directory");
    // An old one, one that is no backup of the script's, and what a broken one has left.
    let names = ["dawn-20200101T000000Z", "dawn-by-hand", "dawn-20200102T000000Z.partial-7"];
    names.iter().for_each(|name| std::fs::write(folder.join(name), "x").expect("a file"));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/dawn-backup");
    let makes = |keep: &str, scheduler: &str| {
        let programs = format!("{}:{}", several.folder().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(&script);
        command.arg(&folder).env("PATH", programs).env("DAWN_BACKUP_KEEP", keep).env("DAWN_SCHEDULER", scheduler);
        command.env("DAWN_BACKUP_METRICS", folder.join("dawn.prom")).output().expect("the script runs")
    };
    let there = || {
        let entries = std::fs::read_dir(&folder).expect("it is there").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
    };
    let addresses = several.addresses().join(",");
    assert_eq!(makes("0", &addresses).status.code(), Some(2), "none kept is no backup");
    assert!(
        !makes("1", "127.0.0.1:1").status.success() && there().contains(names[0]),
        "one that fails removes nothing"
    );
    // Lowered for want of room: room is made before, whatever becomes of the backup.
    std::fs::write(folder.join("dawn-20200103T000000Z"), "x").expect("a file");
    assert!(!makes("1", "127.0.0.1:1").status.success());
    assert!(!there().contains(names[0]) && there().contains("dawn-20200103T000000Z"), "{:?}", there());
    let made = makes("1", &addresses);
    assert!(made.status.success(), "{made:?}");
    let (left, figures) = (there(), std::fs::read_to_string(folder.join("dawn.prom")).expect("figures"));
    assert!(left.contains(names[1]) && !left.contains(names[0]) && !left.contains(names[2]), "{left:?}");
    assert_eq!(left.iter().filter(|name| name.ends_with('Z')).count(), 1, "{left:?}");
    assert!(
        figures.contains("\ndawn_backup_completed_seconds 1") && figures.contains("\ndawn_backup_kept 1\n"),
        "{figures}"
    );
}

fn the_leader_leaves(operator: &Operator) {
    let (leader, epoch) = operator.several.leading().expect("somebody leads");
    operator.several.schedulers[leader].allow_leaving();
    let said = operator.done("dawn scheduler leave", "");
    assert!(said.contains("handed over"), "{said}");
    operator.several.leader_after(epoch);
    operator.several.schedulers[leader].exit_code(Patience::STEP);
    operator.several.schedulers[leader].start();
}

fn the_journal_is_restored(operator: &Operator) {
    let several = operator.several;
    operator.done("dawn admin backup FILE", "");
    several.schedulers.iter().for_each(|scheduler| scheduler.terminate());
    operator.done("dawn admin restore FILE --etcd URL --replace", "");
    operator.done("dawn admin restore FILE --data-dir DIR --replace", "");
    several.schedulers.iter().for_each(|scheduler| scheduler.start());
    operator.eventually_says("dawn version", "", "the journal was restored or cut");
    several.eventually("its time is over", Patience::minutes(4), || {
        let said = operator.done("dawn version", "");
        if said.contains("trouble") { Err(said) } else { Ok(()) }
    });
    several.processes_of(&operator.web, 3);
}
