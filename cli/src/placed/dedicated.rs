//! Machines kept for some jobs: Dawn's `dedicated`, Aurora's constraint of that name.

use super::{aurora_job, decide, decide_aurora, read, refused};

const MACHINES: &[&str] = &["n1 --attribute dedicated=r/db,*/gpu", "n2 --attribute dedicated=s/db", "n3"];

#[test]
fn a_dedicated_machine_takes_those_alone_that_ask_for_it() {
    let cases = [
        ("dedicated: r/db\ninstances: 2", "n1 n1"),
        ("dedicated: '*/gpu'", "n1"),
        ("instances: 2", "n3 n3"),
        ("dedicated: r/web", "none of 3 nodes fits: 3 nodes are not dedicated to \"r/web\""),
        (
            "constraints: [{attribute: host, in: [n1, n2]}]",
            "none of 3 nodes fits: 2 nodes are dedicated to other jobs; 1 node does not match the constraint host in [n1, n2]",
        ),
        (
            "dedicated: r/db\nconstraints: [{attribute: dedicated, not_in: ['*/gpu']}]",
            "none of 3 nodes fits: 2 nodes are not dedicated to \"r/db\"; 1 node does not match the constraint dedicated not in [*/gpu]",
        ),
    ];
    decide(MACHINES, &cases);
}

#[test]
fn a_constraint_that_only_a_dedicated_machine_satisfies_is_refused_with_the_right_field() {
    for rule in ["in: r/db", "exists: true", "regex: 'r/.*'"] {
        let said = refused(&format!("constraints: [{{attribute: dedicated, {rule}}}]"));
        assert!(said.contains("constraints[0]: contradiction: ") && said.contains("`dedicated: VALUE`"), "{said}");
    }
}

#[test]
fn auroras_constraint_asks_for_it() {
    let cases = [
        ("instances = 2, constraints = {'dedicated': 'r/db'}", "n1 n1"),
        ("constraints = {'dedicated': '*/gpu', 'host': 'limit:1'}", "n1"),
        ("constraints = {'rack': '!a'}", "n3"),
    ];
    decide_aurora(MACHINES, &cases);
    for (value, expected) in [
        ("s/db", "only role 's' may use machines dedicated to it"),
        ("r/a,r/b", "a job is dedicated to one value"),
        ("!r/db", "a job is dedicated to one value"),
        ("limit:2", "a job is dedicated to one value"),
    ] {
        let text = aurora_job(&format!("constraints = {{'dedicated': '{value}'}}"));
        let said = read("job.aurora", &text).expect_err("should be refused");
        assert!(said.contains("constraints[dedicated]: ") && said.contains(expected), "{said}");
    }
}
