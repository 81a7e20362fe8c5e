//! Where a group for one command is made.

use std::path::Path;

use dawn_proto::TaskId;

use super::super::{Tree, v1};

#[test]
fn a_group_for_one_command_lies_where_nothing_is_limited() {
    let above = |roots: &[(&'static str, &'static str)], v2: Option<&str>| {
        let roots = roots.iter().map(|(name, root)| (*name, Path::new(*root))).collect();
        let v1 = Some(v1::Parents::new(roots, Path::new("dawn")));
        let (extra, gpus, disk) = Default::default();
        Tree { v1, v2: v2.map(Into::into), extra, gpus, disk, depth: 1 }.above_commands(TaskId(1))
    };
    let all = [("cpu", "/cpu"), ("cpuacct", "/cpuacct"), ("freezer", "/freezer"), ("memory", "/memory")];
    assert_eq!(above(&all, None).unwrap(), Path::new("/freezer/dawn/t1"));
    assert_eq!(above(&all[..2], None).unwrap(), Path::new("/cpuacct/dawn/t1"));
    assert_eq!(above(&all, Some("/unified/dawn")).unwrap(), Path::new("/unified/dawn/t1"));
    assert_eq!(above(&all[..1], None), None);
}
