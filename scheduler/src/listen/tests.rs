//! How many connections a process holds. What becomes of them is tested on a whole scheduler (`run/tests/clients.rs`).

use super::*;

#[test]
fn agents_get_what_clients_and_newcomers_cannot_take() {
    for open_files in [0, 100, 200, 1_024, 20_000, 100_000, usize::MAX] {
        let bounds = Bounds::of(open_files);
        let all = bounds.clients + bounds.newcomers + bounds.agents;
        assert!(all + OTHER_DESCRIPTORS <= open_files.max(OTHER_DESCRIPTORS + 8), "{bounds:?} of {open_files}");
        assert!(bounds.agents >= 2 && bounds.clients >= 2 && bounds.newcomers >= 2, "{bounds:?} of {open_files}");
    }
    assert_eq!(
        Bounds::of(100_000),
        Bounds {
            newcomers: 1_024,
            clients: 10_000,
            agents: 88_910,
            requests: MOST_REQUESTS,
            greet_within: GREET_WITHIN
        }
    );
}
