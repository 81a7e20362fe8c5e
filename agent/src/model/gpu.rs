//! The machine's gpus, and what a task is told of those it was given. Not here: who gets which, which the leader says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dawn_proto::Resources;

/// Thousandths in one gpu.
pub const GPU_MILLI: u64 = 1_000;

/// What a task takes of each gpu it was given.
pub fn of_each_gpu(demand: &Resources) -> u64 {
    demand.gpu_milli.min(GPU_MILLI)
}

/// What the operator says of the gpus beyond how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// Thousandths that are offered.
    pub offered_milli: u64,
    /// Device files by the gpu's number; empty: not known, and nobody is kept from any.
    pub files: Vec<Vec<PathBuf>>,
    /// Device files that every task with a gpu needs.
    pub common_files: Vec<PathBuf>,
    /// Tasks can open the files of their own gpus alone.
    pub are_kept_apart: bool,
}

impl Gpus {
    /// The device files of a task with these gpus.
    pub fn files_of(&self, given: &[u16]) -> Vec<PathBuf> {
        let own = given.iter().filter_map(|number| self.files.get(usize::from(*number))).flatten();
        let common = self.common_files.iter().filter(|_| !given.is_empty());
        own.chain(common).cloned().collect()
    }

    /// Variables that libraries of gpus go by; the task's own come on top. A task without a gpu on a machine that has
    /// some is to see none.
    ///
    /// A library counts the gpus that it can open: where others are kept from it, from 0 on.
    pub fn variables(&self, given: &[u16], demand_milli: u64) -> BTreeMap<String, String> {
        let is_told = !given.is_empty() || demand_milli == 0;
        if self.offered_milli == 0 || !is_told {
            return BTreeMap::new();
        }
        let count = u16::try_from(given.len()).unwrap_or(u16::MAX);
        let numbers = if self.are_kept_apart { (0..count).collect() } else { given.to_vec() };
        let list = numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        // By their place on the bus, as device files are numbered, and not the fastest first.
        let order = ("CUDA_DEVICE_ORDER".to_string(), "PCI_BUS_ID".to_string());
        BTreeMap::from([("CUDA_VISIBLE_DEVICES".to_string(), list), order])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(are_kept_apart: bool) -> Gpus {
        let files = (0..3).map(|number| vec![format!("/dev/gpu{number}").into()]).collect();
        Gpus { offered_milli: 3_000, files, common_files: vec!["/dev/gpuctl".into()], are_kept_apart }
    }

    fn visible(gpus: &Gpus, given: &[u16], demand_milli: u64) -> Option<String> {
        gpus.variables(given, demand_milli).remove("CUDA_VISIBLE_DEVICES")
    }

    #[test]
    fn a_task_is_told_of_its_own_gpus_as_its_libraries_count_them() {
        assert_eq!(visible(&gpus(false), &[0, 2], 2_000).as_deref(), Some("0,2"));
        assert_eq!(visible(&gpus(true), &[0, 2], 2_000).as_deref(), Some("0,1"));
        assert_eq!(visible(&gpus(false), &[], 0).as_deref(), Some(""), "it sees none");
        assert_eq!(visible(&gpus(false), &[], 1_000), None, "an older leader does not say which");
        assert_eq!(visible(&Gpus::default(), &[], 0), None, "a machine without gpus says nothing");
    }

    #[test]
    fn files_are_those_of_its_gpus_and_the_common_ones() {
        let paths = |given: &[u16]| gpus(true).files_of(given);
        assert_eq!(paths(&[2]), ["/dev/gpu2", "/dev/gpuctl"].map(PathBuf::from));
        assert_eq!(paths(&[]), Vec::<PathBuf>::new());
    }
}
