//! As much of HTTP/1.1 as a health check needs: a request, and the judgement of an answer as it comes in.

use super::Verdict;

/// A longer head is no answer.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Of the body, this much is looked at.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Room for the frame of many small chunks around a body of that size.
const MAX_ANSWER_BYTES: usize = MAX_HEAD_BYTES + 4 * MAX_BODY_BYTES;

/// What makes an answer a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// That somebody listens.
    Connection,
    /// Of gRPC's health service.
    Serving,
    Answer {
        /// None: any 2xx or 3xx.
        status: Option<u16>,
        /// Must occur in the body; empty: any.
        body: String,
    },
}

/// The path with its leading slash, and without what could end the request line.
pub fn absolute(path: &str) -> String {
    let plain: String = path.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    if plain.starts_with('/') { plain } else { format!("/{plain}") }
}

/// The bytes of a request without a body.
pub fn request(method: &str, path: &str, port: u16) -> Vec<u8> {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: dawn\r\nAccept: */*\r\n{length}Connection: close\r\n\r\n"
    )
    .into_bytes()
}

/// Judges what has come so far; None: more is needed. `ended`: nothing more will come.
pub fn judge(expectation: &Expectation, answer: &[u8], ended: bool) -> Option<Verdict> {
    let Expectation::Answer { status, body: wanted } = expectation else { return Some(Ok(())) };
    let Some(head_end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        let hopeless = ended || answer.len() > MAX_HEAD_BYTES;
        return hopeless.then(|| Err("no HTTP answer".to_string()));
    };
    let head = String::from_utf8_lossy(&answer[..head_end]);
    let Some(found) = status_of(&head) else { return Some(Err("no HTTP answer".to_string())) };
    match *status {
        Some(status) if status != found => return Some(Err(format!("status {found}, expected {status}"))),
        None if !(200..400).contains(&found) => return Some(Err(format!("status {found}, expected 2xx or 3xx"))),
        _ if wanted.is_empty() => return Some(Ok(())),
        _ => {}
    }
    let raw = &answer[head_end + 4..];
    let (body, complete) = match header(&head, "transfer-encoding") {
        Some(coding) if coding.to_ascii_lowercase().contains("chunked") => dechunk(raw),
        _ => {
            let length = header(&head, "content-length").and_then(|text| text.parse::<usize>().ok());
            (raw.to_vec(), length.is_some_and(|length| raw.len() >= length))
        }
    };
    let looked_at = &body[..body.len().min(MAX_BODY_BYTES)];
    if looked_at.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
        return Some(Ok(()));
    }
    let all = ended || complete || body.len() >= MAX_BODY_BYTES || answer.len() >= MAX_ANSWER_BYTES;
    all.then(|| Err(format!("the body (of which 64 KiB count) lacks {wanted:?}")))
}

fn status_of(head: &str) -> Option<u16> {
    let mut words = head.lines().next()?.split(' ');
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    words.next()?.parse().ok()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The body without its chunk frame, and whether the last chunk was there.
fn dechunk(raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    let mut rest = raw;
    while let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") {
        let digits = rest[..line_end].split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let data = &rest[line_end + 2..];
        match size {
            // A bad frame ends the body as the last chunk does.
            None | Some(0) => return (body, true),
            Some(size) => {
                let here = size.min(data.len());
                body.extend_from_slice(&data[..here]);
                if data.len() < size.saturating_add(2) {
                    break;
                }
                rest = &data[size + 2..];
            }
        }
    }
    (body, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(status: Option<u16>, body: &str) -> Expectation {
        Expectation::Answer { status, body: body.to_string() }
    }

    #[test]
    fn the_status_decides_as_soon_as_the_head_is_there() {
        let answer = b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n";
        for cut in 0..answer.len() {
            assert_eq!(judge(&want(None, ""), &answer[..cut], false), None, "cut at {cut}");
        }
        assert_eq!(judge(&want(None, ""), answer, false), Some(Ok(())));
        assert_eq!(judge(&want(Some(204), ""), answer, false), Some(Ok(())));
        let refusal = judge(&want(Some(200), ""), answer, false);
        assert_eq!(refusal, Some(Err("status 204, expected 200".to_string())));
        let refusal = judge(&want(None, ""), b"HTTP/1.1 500 No\r\n\r\n", false);
        assert_eq!(refusal, Some(Err("status 500, expected 2xx or 3xx".to_string())));
    }

    #[test]
    fn a_body_is_found_across_chunks_and_missed_only_at_its_end() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n5;x=y\r\n well\r\n0\r\n\r\n";
        assert_eq!(judge(&want(None, "all well"), answer, false), Some(Ok(())));
        assert!(matches!(judge(&want(None, "ill"), answer, false), Some(Err(_))));
        assert_eq!(judge(&want(None, "ill"), &answer[..answer.len() - 5], false), None);
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno";
        assert!(matches!(judge(&want(None, "ok"), plain, false), Some(Err(_))));
    }

    #[test]
    fn garbage_and_endless_heads_are_no_answer() {
        assert!(matches!(judge(&want(None, ""), b"SSH-2.0-OpenSSH\r\n\r\n", false), Some(Err(_))));
        assert!(matches!(judge(&want(None, ""), b"", true), Some(Err(_))));
        assert!(matches!(judge(&want(None, ""), &vec![b'a'; MAX_HEAD_BYTES + 1], false), Some(Err(_))));
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'a'; MAX_BODY_BYTES]].concat();
        assert!(matches!(judge(&want(None, "ok"), &endless, false), Some(Err(_))));
        let absurd = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc";
        assert_eq!(judge(&want(None, "ok"), absurd, false), None);
    }

    #[test]
    fn a_path_cannot_smuggle_a_header() {
        assert_eq!(absolute("health\r\nX: y"), "/healthX:y");
    }
}
