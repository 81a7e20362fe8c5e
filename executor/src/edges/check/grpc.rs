//! As much of HTTP/2 and gRPC as one call of `grpc.health.v1.Health/Check` needs: its bytes, and the judgement of the
//! answer's frames. Answered headers are not decoded: what is not in a message is told without its words.

use super::Verdict;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A longer answer is none to a health check.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const FRAME_HEAD_BYTES: usize = 9;
const STREAM: u32 = 1;
/// Whether compressed, and the length.
const MESSAGE_HEAD_BYTES: usize = 5;

// RFC 9113.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The bytes of the whole call.
pub fn request(service: &str, port: u16) -> Vec<u8> {
    // RFC 7541: indexed names of the static table, plain texts that are not to be remembered.
    let mut head = vec![0x83, 0x86];
    let mut field = |name: &[u8], value: &str| {
        head.extend_from_slice(name);
        head.extend(length(value));
        head.extend_from_slice(value.as_bytes());
    };
    field(&[0x04], "/grpc.health.v1.Health/Check");
    field(&[0x01], &format!("127.0.0.1:{port}"));
    field(&[0x0f, 0x10], "application/grpc");
    field(b"\x00\x02te", "trailers");
    let mut body = Vec::new();
    if !service.is_empty() {
        body.push(0x0a);
        body.extend(varint(service.len()));
        body.extend_from_slice(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
    message.extend(body);
    let parts = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, STREAM, &head),
        frame(DATA, END_STREAM, STREAM, &message),
    ];
    [PREFACE.to_vec(), parts.concat()].concat()
}

/// A text's length below 128 is its own code in HPACK.
fn length(text: &str) -> Option<u8> {
    u8::try_from(text.len()).ok().filter(|length| *length < 127)
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Judges what has come so far; None: more is needed. `ended`: nothing more will come.
pub fn judge(answer: &[u8], ended: bool) -> Option<Verdict> {
    let refuse = |why: &str| Some(Err(why.to_string()));
    let mut rest = answer;
    let mut message = Vec::new();
    let mut is_first = true;
    while rest.len() >= FRAME_HEAD_BYTES {
        let size = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let (kind, flags) = (rest[3], rest[4]);
        let stream = u32::from_be_bytes([rest[5] & 0x7f, rest[6], rest[7], rest[8]]);
        if is_first && kind != SETTINGS {
            return refuse("no HTTP/2 answer");
        }
        is_first = false;
        let Some(payload) = rest.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + size) else { break };
        rest = &rest[FRAME_HEAD_BYTES + size..];
        match (kind, stream) {
            (GOAWAY, _) | (RST_STREAM, STREAM) => return refuse("the server refused the call"),
            (DATA, STREAM) => message.extend_from_slice(unpadded(payload, flags)),
            _ => {}
        }
        if let Some(verdict) = status(&message) {
            return Some(verdict);
        }
        if stream == STREAM && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return refuse("the server has no health service, or does not know the service asked for");
        }
    }
    let hopeless = ended || answer.len() > MAX_ANSWER_BYTES;
    if hopeless { refuse("no gRPC answer") } else { None }
}

fn unpadded(payload: &[u8], flags: u8) -> &[u8] {
    match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => {
            rest.get(..rest.len().saturating_sub(usize::from(*padding))).unwrap_or_default()
        }
        _ => payload,
    }
}

/// The verdict of a whole HealthCheckResponse, whose only field is the status.
fn status(message: &[u8]) -> Option<Verdict> {
    let head = message.get(..MESSAGE_HEAD_BYTES)?;
    let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let body = message.get(MESSAGE_HEAD_BYTES..MESSAGE_HEAD_BYTES.saturating_add(size))?;
    Some(match body {
        [0x08, 1, ..] => Ok(()),
        [] | [0x08, 0, ..] => Err("status UNKNOWN".to_string()),
        [0x08, 2, ..] => Err("status NOT_SERVING".to_string()),
        [0x08, 3, ..] => Err("status SERVICE_UNKNOWN".to_string()),
        _ => Err("an answer that is no health status".to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &[u8]) -> Vec<u8> {
        let message = [&[0, 0, 0, 0, body.len() as u8], body].concat();
        [frame(SETTINGS, 0, 0, &[0; 6]), frame(HEADERS, END_HEADERS, 1, &[0x88]), frame(DATA, 0, 1, &message)].concat()
    }

    #[test]
    fn the_status_decides_once_it_is_whole() {
        let serving = answer(&[0x08, 1]);
        for cut in 0..serving.len() {
            assert_eq!(judge(&serving[..cut], false), None, "cut at {cut}");
        }
        assert_eq!(judge(&serving, false), Some(Ok(())));
        for (body, word) in [(&[][..], "UNKNOWN"), (&[0x08, 2], "NOT_SERVING"), (&[0x08, 3], "SERVICE_UNKNOWN")] {
            assert_eq!(judge(&answer(body), false), Some(Err(format!("status {word}"))));
        }
        assert!(matches!(judge(&answer(&[0x12, 1]), false), Some(Err(_))));
    }

    #[test]
    fn a_padded_message_is_read_and_what_is_none_is_refused() {
        let padded = frame(DATA, PADDED, 1, &[2, 0, 0, 0, 0, 2, 0x08, 1, 9, 9]);
        assert_eq!(judge(&[frame(SETTINGS, 0, 0, &[]), padded].concat(), false), Some(Ok(())));
        let alone = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88])].concat();
        assert!(matches!(judge(&alone, false), Some(Err(why)) if why.contains("no health service")));
        for (garbage, ended) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false), (b"", true), (b"\0\0", true)] {
            assert!(matches!(judge(garbage, ended), Some(Err(_))), "{garbage:?}");
        }
        let reset = [frame(SETTINGS, 0, 0, &[]), frame(RST_STREAM, 0, 1, &[0; 4])].concat();
        assert_eq!(judge(&reset, false), Some(Err("the server refused the call".to_string())));
        let endless = [frame(SETTINGS, 0, 0, &[]), frame(9, 0, 1, &[0; MAX_ANSWER_BYTES])].concat();
        assert!(matches!(judge(&endless, false), Some(Err(_))));
    }

    #[test]
    fn the_request_names_service_and_port() {
        let bytes = request("a.B", 31_000);
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(has(b"127.0.0.1:31000") && has(b"\x00\x00\x00\x00\x05\x0a\x03a.B"), "{bytes:?}");
        assert!(request("", 1).ends_with(&[0, 0, 5, DATA, END_STREAM, 0, 0, 0, 1, 0, 0, 0, 0, 0]));
    }
}
