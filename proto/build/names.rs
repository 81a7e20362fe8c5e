//! Writes the plain names of enum values. In the contract each has the enum's name before it (`TASK_STATE_RUNNING`), as
//! languages need it whose enum values share one namespace; to people it is `RUNNING`.

use std::fmt::Write;

use prost_reflect::{DescriptorError, DescriptorPool};

use crate::tables::module;

pub fn write(descriptors: &[u8]) -> Result<String, DescriptorError> {
    let pool = DescriptorPool::decode(descriptors)?;
    let mut text = String::new();
    for each in pool.all_enums().filter(|each| each.package_name() == "dawn.v1") {
        let (name, prefix) = (each.name(), module(each.name()).to_uppercase() + "_");
        _ = writeln!(text, "plain_names!({name}, {prefix:?});");
    }
    Ok(text)
}
