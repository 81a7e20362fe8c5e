//! Where everything lies in etcd, under one prefix so that several clusters share a server.
//!
//! `P/meta` who owns the prefix · `P/leader/…` election keys · `P/candidate/<lease>` written by who shows that it can write ·
//! `P/trial` never there: a transaction of the largest size names it · `P/head` index of the last batch ·
//! `P/journal/<first index>` packed segments · `P/manifest` the current snapshot · `P/snapshot/<index>/<chunk>` its chunks

/// The keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// `prefix` with any number of slashes at its ends: "dawn", "/dawn/eu/".
    pub fn new(prefix: &str) -> Self {
        Keys { prefix: format!("/{}", prefix.trim_matches('/')) }
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn meta(&self) -> String {
        format!("{}/meta", self.prefix)
    }

    /// Name of the election; a candidate's key is this, a slash and its lease.
    pub fn election(&self) -> String {
        format!("{}/leader", self.prefix)
    }

    pub fn candidates(&self) -> String {
        format!("{}/candidate/", self.prefix)
    }

    pub fn candidate(&self, lease: i64) -> String {
        format!("{}{lease:x}", self.candidates())
    }

    pub fn trial(&self) -> String {
        format!("{}/trial", self.prefix)
    }

    pub fn head(&self) -> String {
        format!("{}/head", self.prefix)
    }

    pub fn segments(&self) -> String {
        format!("{}/journal/", self.prefix)
    }

    pub fn segment(&self, first_index: u64) -> String {
        format!("{}{first_index:020}", self.segments())
    }

    /// First index of the segment with this key; None for a foreign key.
    pub fn segment_index(&self, key: &[u8]) -> Option<u64> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.segments())?.parse().ok()
    }

    pub fn manifest(&self) -> String {
        format!("{}/manifest", self.prefix)
    }

    pub fn snapshots(&self) -> String {
        format!("{}/snapshot/", self.prefix)
    }

    /// `writer` keeps two schedulers that write a snapshot of one index apart.
    pub fn snapshot(&self, index: u64, writer: u64) -> String {
        format!("{}{index:020}-{writer:016x}/", self.snapshots())
    }

    pub fn chunk(&self, index: u64, writer: u64, chunk: usize) -> String {
        format!("{}{chunk:06}", self.snapshot(index, writer))
    }
}

/// The first key after every key that starts with `prefix`.
pub fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_sort_by_index_and_read_back() {
        let keys = Keys::new("dawn/eu/");
        assert_eq!(keys.segment(42), "/dawn/eu/journal/00000000000000000042");
        assert!(keys.segment(9) < keys.segment(10));
        assert_eq!(keys.segment_index(keys.segment(42).as_bytes()), Some(42));
        assert_eq!(keys.segment_index(b"/dawn/eu/journal/x"), None);
        assert_eq!(keys.segment_index(b"/other/journal/1"), None);
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_its_keys() {
        assert_eq!(end_of("/a/"), b"/a0");
        assert!(end_of("/a/journal/") > b"/a/journal/99999999999999999999".to_vec());
    }
}
