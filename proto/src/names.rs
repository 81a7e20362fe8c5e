//! The names of enum values without the enum's own name, as people read them: `RUNNING` for `TASK_STATE_RUNNING`.

use crate::v1::*;

/// The prefix of the names of an enum's values: `TASK_STATE_` for `TaskState`.
pub fn prefix(enum_name: &str) -> String {
    let mut prefix = String::new();
    for c in enum_name.chars() {
        if c.is_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix + "_"
}

/// A value's name without the prefix of its enum.
pub fn plain<'name>(enum_name: &str, value_name: &'name str) -> &'name str {
    value_name.strip_prefix(&prefix(enum_name)).unwrap_or(value_name)
}

macro_rules! plain_names {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// The prefix that the contract gives to the name of each value.
            pub const NAME_PREFIX: &str = $prefix;

            /// The value's name without the prefix, in capitals.
            pub fn plain_name(&self) -> &'static str {
                let name = self.as_str_name();
                name.strip_prefix(Self::NAME_PREFIX).unwrap_or(name)
            }

            /// The value of this plain name.
            pub fn from_plain_name(name: &str) -> Option<$name> {
                Self::from_str_name(&format!("{}{name}", Self::NAME_PREFIX))
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/names.rs"));

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn a_value_has_its_plain_name_and_is_found_by_it() {
        assert_eq!(TaskState::Running.plain_name(), "RUNNING");
        assert_eq!(TaskState::from_plain_name("RUNNING"), Some(TaskState::Running));
        assert_eq!(TaskState::from_plain_name("TASK_STATE_RUNNING"), None);
    }

    /// C++, Go and Python have the values of all enums of a package in one namespace.
    #[test]
    fn each_value_of_the_contract_begins_with_the_name_of_its_enum() {
        let pool = DescriptorPool::decode(crate::DESCRIPTORS).unwrap();
        for each in pool.all_enums().filter(|each| each.package_name() == "dawn.v1") {
            let prefix = prefix(each.name());
            for value in each.values() {
                assert!(value.name().starts_with(&prefix), "{} of {}", value.name(), each.full_name());
            }
        }
    }
}
