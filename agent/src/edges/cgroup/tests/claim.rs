//! Two agents of one machine with the same parent of control groups.

use super::real_tree;

#[test]
fn a_parent_has_one_agent() {
    let Some(tree) = real_tree("claim") else { return };
    let claim = tree.claim().unwrap();
    let refused = real_tree("claim").unwrap().claim().unwrap_err();
    assert!(refused.to_string().contains("--cgroup-parent"), "{refused}");
    // An agent that begins again, after one that ended in whatever way.
    drop(claim);
    drop(tree.claim().unwrap());
    tree.remove_parents();
}
