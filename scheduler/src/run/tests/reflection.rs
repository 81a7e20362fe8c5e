//! A tool that knows nothing of Dawn asks a whole scheduler what it offers, by gRPC reflection.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorProto;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::Cluster;

async fn ask(client: &mut ServerReflectionClient<Channel>, request: MessageRequest) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await.expect("it is served").into_inner();
    Ok(answers.message().await?.expect("an answer").message_response.expect("with content"))
}

#[tokio::test]
async fn every_service_is_listed_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let endpoint = Channel::from_shared(format!("http://{}", cluster.address)).unwrap();
    let mut client = ServerReflectionClient::new(endpoint.connect().await.unwrap());

    let listed = ask(&mut client, MessageRequest::ListServices(String::new())).await.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let listed: BTreeSet<String> = listed.service.into_iter().map(|service| service.name).collect();
    let descriptors = prost_types::FileDescriptorSet::decode(dawn_proto::DESCRIPTORS).unwrap();
    let own = descriptors.file.iter().filter(|file| file.package() == "dawn.v1").flat_map(|file| &file.service);
    let mut wanted: BTreeSet<String> = own.map(|service| format!("dawn.v1.{}", service.name())).collect();
    wanted.insert("grpc.health.v1.Health".into());
    assert_eq!(listed.intersection(&wanted).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());

    for symbol in wanted {
        let described = ask(&mut client, MessageRequest::FileContainingSymbol(symbol.clone())).await.unwrap();
        let MessageResponse::FileDescriptorResponse(described) = described else { panic!("{symbol}: {described:?}") };
        let files: Vec<_> = described
            .file_descriptor_proto
            .iter()
            .map(|file| FileDescriptorProto::decode(file.as_slice()).unwrap())
            .collect();
        let name = symbol.rsplit('.').next().unwrap();
        assert!(files.iter().any(|file| file.service.iter().any(|service| service.name() == name)), "{symbol}");
    }

    let unknown = ask(&mut client, MessageRequest::FileContainingSymbol("dawn.v1.Nothing".into())).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    cluster.stop().await;
}
