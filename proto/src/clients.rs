//! A client of each service of a scheduler, over one connection.

use tonic::transport::Channel;

use crate::v1::admin_client::AdminClient;
use crate::v1::cron_client::CronClient;
use crate::v1::jobs_client::JobsClient;
use crate::v1::nodes_client::NodesClient;
use crate::v1::quotas_client::QuotasClient;
use crate::v1::tasks_client::TasksClient;
use crate::v1::updates_client::UpdatesClient;

/// The services of a scheduler. Answers may be of any size: a job of 100,000 instances comes with the histories of all its
/// tasks.
#[derive(Clone, Debug)]
pub struct Clients {
    channel: Channel,
}

impl Clients {
    pub fn new(channel: Channel) -> Clients {
        Clients { channel }
    }

    /// Another service of the same scheduler is a client over this.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    pub fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    pub fn cron(&self) -> CronClient<Channel> {
        CronClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    pub fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    pub fn quotas(&self) -> QuotasClient<Channel> {
        QuotasClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    /// Changes of services and daemon jobs.
    pub fn updates(&self) -> UpdatesClient<Channel> {
        UpdatesClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    /// What operators ask of a scheduler.
    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }
}
