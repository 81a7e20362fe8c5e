//! Asks the leader for what it alone knows: the alarms that stand, and since when nodes are silent. Others answer where none leads.

use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::Failure;

/// What whoever is asked first says of itself.
pub async fn info(context: &mut Context) -> Result<v1::ServerInfo, Failure> {
    let call = async |client: &mut Client, request| client.admin().get_server_info(request).await;
    context.scheduler.call(v1::GetServerInfoRequest {}, Repeat::Harmless, call).await
}

/// All that is wrong with the cluster, a sentence each. From now on the leader is asked first, if it answers.
pub async fn troubles(context: &mut Context) -> Result<Vec<String>, Failure> {
    let said = info(context).await?;
    troubles_beside(said, context).await
}

/// The same, where a scheduler has said already what it knows itself.
pub async fn troubles_beside(said: v1::ServerInfo, context: &mut Context) -> Result<Vec<String>, Failure> {
    if said.leader || said.leader_address.is_empty() {
        return Ok(said.troubles);
    }
    let call = async |client: &mut Client, request| client.admin().get_server_info(request).await;
    let mut leader = context.scheduler.only(&said.leader_address);
    match leader.call(v1::GetServerInfoRequest {}, Repeat::Harmless, call).await {
        Ok(info) if info.leader && info.cluster_id == said.cluster_id => {
            context.scheduler = context.scheduler.first(&said.leader_address);
            Ok(info.troubles)
        }
        _ => Ok(said.troubles),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{self, Fake, Script};

    fn info_of(leader: bool, leader_address: &str, trouble: &str) -> v1::ServerInfo {
        let troubles = if trouble.is_empty() { Vec::new() } else { vec![trouble.to_string()] };
        v1::ServerInfo { leader, leader_address: leader_address.into(), troubles, ..Default::default() }
    }

    async fn says(info: v1::ServerInfo) -> Fake {
        let script = Script { info: fake::answers([Ok(info)]), ..Default::default() };
        Fake::start(script).await
    }

    #[tokio::test]
    async fn the_leader_says_what_is_wrong_whoever_is_asked() {
        let leader = says(info_of(true, "", "two machines claim to be one")).await;
        let follower = says(info_of(false, &leader.address.to_string(), "")).await;
        let (mut context, _) = fake::context(&[follower.address.to_string()], false);
        assert_eq!(troubles(&mut context).await.unwrap(), ["two machines claim to be one"]);
        assert_eq!(context.scheduler.addresses(), [leader.address.to_string(), follower.address.to_string()]);
    }

    #[tokio::test]
    async fn others_answer_where_the_leader_does_not() {
        for gone in ["", "127.0.0.1:1", "nonsense"] {
            let follower = says(info_of(false, gone, "waits for etcd")).await;
            let (mut context, _) = fake::context(&[follower.address.to_string()], false);
            assert_eq!(troubles(&mut context).await.unwrap(), ["waits for etcd"]);
            assert_eq!(context.scheduler.addresses(), [follower.address.to_string()]);
        }
    }
}
