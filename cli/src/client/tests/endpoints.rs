//! `dawn job endpoints` against a scheduler that answers as told.

use dawn_proto::v1::{Endpoint, ListEndpointsResponse};

use super::*;

fn listed() -> Script {
    let endpoint = |instance: u32, host: &str| Endpoint {
        task_id: 7 + u64::from(instance),
        instance,
        version: 3,
        hostname: host.into(),
        port: 31_000 + instance,
        ports: [("admin".to_string(), 32_000), ("http".to_string(), 31_000 + instance)].into(),
        agent_id: "a".into(),
    };
    let endpoints = vec![endpoint(0, "node-1"), endpoint(1, "::1")];
    Script { endpoints: answers([Ok(ListEndpointsResponse { endpoints, index: 9 })]), ..Default::default() }
}

async fn said(line: &str) -> Result<String, Failure> {
    let fake = Fake::start(listed()).await;
    let (mut context, memory) = fake.context(line.contains("--json"));
    dawn(&mut context, line).await?;
    assert_eq!(fake.asked(), ["endpoints www/prod/web"]);
    Ok(text(&memory))
}

#[tokio::test]
async fn endpoints_are_listed_for_people_and_for_scripts() {
    let table = said("dawn job endpoints www/prod/web").await.unwrap();
    let expected = "\
INSTANCE  ADDRESS       PORTS                   VERSION  TASK
       0  node-1:31000  admin:32000 http:31000        3  t7
       1  [::1]:31001   admin:32000 http:31001        3  t8
";
    assert_eq!(table, expected);
    assert_eq!(said("dawn job endpoints www/prod/web --plain").await.unwrap(), "node-1:31000\n[::1]:31001\n");
    assert_eq!(said("dawn job endpoints www/prod/web/1 --port admin").await.unwrap(), "[::1]:32000\n");
    let json = said("dawn job endpoints www/prod/web --json").await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["endpoints"][1]["ports"]["http"], &value["index"]), (&31_001.into(), &9.into()));
    let refused = said("dawn job endpoints www/prod/web --port htpt").await.unwrap_err();
    assert_eq!(
        (refused.exit, refused.to_string().as_str()),
        (Exit::Usage, "instance 0 has no port \"htpt\"; it has admin, http")
    );
}
