//! Where schedulers are: HOST:PORT, from `--scheduler` or the environment.

use crate::exit::{Exit, Failure};

/// Of a scheduler on this machine.
const DEFAULT: &str = "127.0.0.1:7070";
const VARIABLE: &str = "DAWN_SCHEDULER";

/// Where this machine listens.
pub fn parse_own_address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| "write ADDRESS:PORT, as in 127.0.0.1:7070 or 0.0.0.0:7070".to_string())
}

/// HOST:PORT; a `http://` before it is understood.
pub fn parse_address(text: &str) -> Result<String, String> {
    let write = "write HOST:PORT, as in 127.0.0.1:7070";
    let plain = match text.split_once("://") {
        Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some((scheme, _)) => return Err(format!("no scheduler is reached by {scheme}://; {write}")),
        None => text,
    };
    let named =
        |host: &str| !host.is_empty() && !host.contains(['/', '@', '?', '#']) && !host.contains(char::is_whitespace);
    let port = plain.rsplit_once(':').filter(|(host, _)| named(host)).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(port)) if port > 0 => Ok(plain.to_string()),
        _ => Err(write.to_string()),
    }
}

/// Those of the command line, else those of the environment, else this machine's.
///
/// # Errors
/// When the environment names none that could be one.
pub fn parse_addresses(given: Vec<String>) -> Result<Vec<String>, Failure> {
    match given.is_empty() {
        true => of_environment(&std::env::var(VARIABLE).unwrap_or_default()),
        false => Ok(given),
    }
}

/// An empty variable is as if it were not set.
fn of_environment(text: &str) -> Result<Vec<String>, Failure> {
    if text.trim().is_empty() {
        return Ok(vec![DEFAULT.to_string()]);
    }
    let read: Result<Vec<String>, String> = text.split(',').map(|one| parse_address(one.trim())).collect();
    read.map_err(|why| {
        let message = format!("{VARIABLE} of the environment is `{}`: {why}", crate::render::safe(text));
        Failure::new(Exit::Usage, message).hint("several are separated by commas; unset it to ask 127.0.0.1:7070")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen_is_an_address_and_what_is_none_gets_one_to_write() {
        assert_eq!(parse_own_address("127.0.0.1:0").unwrap().port(), 0);
        for text in ["foo", "7070", "localhost:7070", ""] {
            assert!(parse_own_address(text).unwrap_err().starts_with("write ADDRESS:PORT"), "{text}");
        }
    }

    #[test]
    fn addresses_need_a_host_and_a_port() {
        assert!(parse_address("node-1:7070").is_ok() && parse_address("[::1]:7070").is_ok());
        for text in ["", "7070", ":7070", "host", "host:0", "host:port", "host:70700", "a/b:1", "u@h:1", "a b:1"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_of_http_is_understood_and_others_say_what_to_write() {
        assert_eq!(parse_address("http://node-1:7070/"), Ok("node-1:7070".to_string()));
        assert_eq!(parse_address("http://node-1:7070"), Ok("node-1:7070".to_string()));
        for text in ["https://node-1:7070", "http://node-1", "http://node-1:7070/x", "grpc://node-1:7070"] {
            assert!(parse_address(text).unwrap_err().ends_with("write HOST:PORT, as in 127.0.0.1:7070"), "{text}");
        }
    }

    #[test]
    fn an_empty_variable_is_as_if_it_were_not_set() {
        for text in ["", "  "] {
            assert_eq!(of_environment(text).unwrap(), ["127.0.0.1:7070"]);
        }
        assert_eq!(of_environment("a:1, http://b:2").unwrap(), ["a:1", "b:2"]);
        let refused = of_environment("node-1").unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.to_string().contains("DAWN_SCHEDULER of the environment is `node-1`: write HOST:PORT"));
    }
}
