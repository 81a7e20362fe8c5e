//! Generated wire types to the agent's own and back. Nothing else of the agent names the generated messages.

mod inspect;
mod link;
mod plan;

pub use link::{
    decode_scheduler, encode_chunk, encode_message, encode_reach, encode_tunnel_error, encode_tunnel_first,
};
pub use plan::{
    KeptPlan, decode_event, decode_plan, decode_report, encode_kill, encode_look_at_disk, encode_plan, encode_renewal,
    encode_report, encode_subscribe,
};
