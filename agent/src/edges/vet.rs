//! What only the kernel and the user database know before a launch: whether its user exists and its ports can be bound.

mod ports;

use std::ffi::CString;

use nix::unistd::{Uid, User, getegid, geteuid, getgrouplist, getgroups};

use crate::model::{Identity, Port, Refusal};

/// How users are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Vetting {
    /// Every task runs as the agent's own user.
    pub run_as_self: bool,
}

impl Vetting {
    /// Resolves a user and tries the ports.
    ///
    /// # Errors
    /// `UnknownUser`, or `PortBusy` for the first port that somebody else has.
    pub fn vet(self, user: &str, ports: &[Port]) -> Result<Identity, Refusal> {
        let identity = if self.run_as_self { own_identity() } else { resolve(user, geteuid())? };
        for port in ports {
            ports::try_to_bind(port)?;
        }
        Ok(identity)
    }
}

fn own_identity() -> Identity {
    let groups = getgroups().unwrap_or_default();
    Identity {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        groups: groups.iter().map(|gid| gid.as_raw()).collect(),
    }
}

fn resolve(name: &str, own: Uid) -> Result<Identity, Refusal> {
    let unknown = |message: String| Refusal::UnknownUser { message };
    let user = match User::from_name(name) {
        Ok(Some(user)) => user,
        Ok(None) => return Err(unknown(format!("user {name} does not exist on this node"))),
        Err(error) => return Err(unknown(format!("user {name} can't be looked up on this node: {error}"))),
    };
    if user.uid == own {
        return Ok(own_identity());
    }
    if !own.is_root() {
        return Err(unknown(format!(
            "the agent is not root and can't run a task as user {name}; run it as root, or with --run-as-self"
        )));
    }
    let groups = CString::new(name).ok().and_then(|name| getgrouplist(&name, user.gid).ok()).unwrap_or_default();
    Ok(Identity {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.iter().map(|gid| gid.as_raw()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY_ELSE: Vetting = Vetting { run_as_self: false };

    #[test]
    fn a_user_that_is_not_there_is_named() {
        let refusal = NOBODY_ELSE.vet("no-such-user", &[]).unwrap_err();
        let message = "user no-such-user does not exist on this node".to_string();
        assert_eq!(refusal, Refusal::UnknownUser { message });
        assert_eq!(Vetting { run_as_self: true }.vet("no-such-user", &[]).unwrap().uid, geteuid().as_raw());
    }

    #[test]
    fn an_agent_that_is_not_root_runs_nobody_else() {
        let Err(Refusal::UnknownUser { message }) = resolve("root", Uid::from_raw(12_345)) else { panic!("resolved") };
        assert!(message.contains("not root") && message.contains("--run-as-self"), "{message}");
        assert_eq!(resolve("root", Uid::from_raw(0)).unwrap().uid, 0);
    }
}
