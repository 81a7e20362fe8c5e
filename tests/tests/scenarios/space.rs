//! A small disk that fills: what ended tasks have left goes first, and new tasks go on.

use std::fs;
use std::path::{Path, PathBuf};

use dawn_proto::v1::{self, Reason, TaskState};
use dawn_tests::cluster::{Cluster, Patience, Plan, Spec, batch, service, skip, usage};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const MIB: u64 = 1 << 20;

/// A file system of its own where the agent works; gone when dropped.
struct Small(PathBuf);

impl Small {
    /// None, with a loud word, without the right to mount.
    fn mount(place: &Path, mib: u64) -> Option<Small> {
        fs::create_dir(place).unwrap();
        let options = format!("size={mib}m,mode=755");
        match mount(Some("small"), place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
            Ok(()) => Some(Small(place.into())),
            Err(errno) => {
                skip(&format!("no mounts can be made: {errno}"));
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

/// One agent that works on a disk of 200 MiB and offers so much of it.
fn small(offered_mib: u64) -> Option<(Cluster, Small)> {
    let mut plan = Plan::of(1);
    plan.agents[0].disk = format!("{offered_mib}MiB");
    let cluster = Cluster::start_scheduler(plan)?;
    let disk = Small::mount(&cluster.folder().join("node0"), 200)?;
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    Some((cluster, disk))
}

fn of_disk(spec: Spec, mib: u64) -> Spec {
    spec.memory_mib(512).with(|job| {
        job.task.get_or_insert_default().resources.get_or_insert_default().disk_bytes = mib * MIB;
    })
}

fn end(cluster: Cluster, disk: Small) {
    let folder = cluster.folder().to_path_buf();
    cluster.end_with_files();
    drop(disk);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn task_after_task_that_leaves_its_disk_full_finds_room() {
    let Some((cluster, disk)) = small(150) else { return };
    for number in 0..6 {
        let spec = batch(&format!("leaves{number}")).shell("head -c 62914560 /dev/zero > rest");
        let job = cluster.submit(of_disk(spec, 100));
        cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP);
    }
    assert!(usage(&disk.0) > 60 * MIB, "the last one's files are still there to be read");
    end(cluster, disk);
}

#[test]
fn what_a_living_task_needs_is_taken_from_what_ended_ones_have_left() {
    // More is offered than there is: what is free counts, not what was promised.
    let Some((cluster, disk)) = small(2_000) else { return };
    let over = "for i in 1 2 3; do head -c 31457280 /dev/zero > rest$i; done; exec sleep 100000";
    let job = cluster.submit(of_disk(batch("over").shell(over), 40));
    let task = cluster.tasks_in(&job, TaskState::Failed, 1, Patience::STEP).remove(0);
    let last = task.history.last().expect("a history");
    assert_eq!(last.reason(), Reason::DiskLimit, "{last:?}");
    let before = usage(&disk.0);
    assert!(before > 50 * MIB, "{before} bytes are left");
    let grows = "i=0; while [ $i -lt 150 ]; do i=$((i+1)); head -c 1048576 /dev/zero > f$i || exit 1; \
                 while [ $(df -m --output=avail . | tail -n 1) -lt 4 ]; do sleep 0.1; done; done; echo all; exec sleep 100000";
    let job = cluster.submit(of_disk(service("grows").shell(grows), 190));
    let task: v1::Task = cluster.running(&job, 1).remove(0);
    cluster.eventually("it has all it wants", Patience::STEP, || match cluster.log(&task, "main", false) {
        log if log == "all\n" => Ok(()),
        log => Err(format!("{log:?}, {} bytes used", usage(&disk.0))),
    });
    end(cluster, disk);
}
