//! Which device files a task can open: those it asked for, and where a machine's gpus are kept apart, of them its own alone.

use std::path::PathBuf;

use super::CgroupError;
use super::extra::{self, Device};
use crate::model::{FurtherLimits, Gpus};

/// What becomes of device files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeviceRule {
    /// These can be opened, no others.
    Only(Vec<Device>),
    /// All can be opened that file permissions allow, but for these.
    AllBut(Vec<Device>),
}

/// The devices of gpus, by the gpu's number, and those that all need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GpuDevices {
    own: Vec<Vec<Device>>,
    common: Vec<Device>,
}

impl GpuDevices {
    /// # Errors
    /// Names the file that is none of a device.
    pub fn find(gpus: &Gpus) -> Result<GpuDevices, CgroupError> {
        let devices = |files: &Vec<PathBuf>| files.iter().map(|file| extra::device(file)).collect();
        Ok(GpuDevices {
            own: gpus.files.iter().map(devices).collect::<Result<_, _>>()?,
            common: devices(&gpus.common_files)?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// What a task of these limits can open. A foreign gpu is kept from it though it asks for the file.
    ///
    /// # Errors
    /// Names the file it asks for that is none of a device.
    pub fn rule(&self, limits: &FurtherLimits) -> Result<DeviceRule, CgroupError> {
        let given = limits.gpus.iter().filter_map(|number| self.own.get(usize::from(*number))).flatten();
        let common = self.common.iter().filter(|_| !limits.gpus.is_empty());
        let granted: Vec<Device> = given.chain(common).copied().collect();
        let foreign: Vec<Device> =
            self.own.iter().flatten().chain(&self.common).filter(|one| !granted.contains(one)).copied().collect();
        if limits.devices.is_empty() {
            return Ok(DeviceRule::AllBut(foreign));
        }
        let mut devices = extra::devices(&limits.devices)?;
        devices.retain(|one| !foreign.contains(one));
        devices.extend(granted);
        Ok(DeviceRule::Only(devices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gpus for whose files stand those of other devices: 0 is /dev/zero, 1 is /dev/full, in common is /dev/tty.
    fn machine() -> GpuDevices {
        let files = vec![vec!["/dev/zero".into()], vec!["/dev/full".into()]];
        let common_files = vec!["/dev/tty".into()];
        GpuDevices::find(&Gpus { offered_milli: 2_000, files, common_files, are_kept_apart: true }).unwrap()
    }

    fn limits(gpus: &[u16], devices: &[&str]) -> FurtherLimits {
        let devices = devices.iter().map(|path| path.to_string()).collect();
        FurtherLimits { gpus: gpus.to_vec(), devices, ..FurtherLimits::default() }
    }

    fn device(path: &str) -> Device {
        extra::device(path.as_ref()).unwrap()
    }

    #[test]
    fn a_task_is_kept_from_all_gpus_but_its_own() {
        let all_but = |paths: &[&str]| DeviceRule::AllBut(paths.iter().map(|path| device(path)).collect());
        for (given, kept_from) in [
            (&[][..], &["/dev/zero", "/dev/full", "/dev/tty"][..]),
            (&[1], &["/dev/zero"]),
            (&[0, 1], &[]),
            (&[7], &["/dev/zero", "/dev/full"]),
        ] {
            assert_eq!(machine().rule(&limits(given, &[])).unwrap(), all_but(kept_from), "{given:?}");
        }
    }

    #[test]
    fn asking_for_the_file_of_another_gpu_is_in_vain() {
        let DeviceRule::Only(devices) = machine().rule(&limits(&[1], &["/dev/zero", "/dev/kmsg"])).unwrap() else {
            panic!("a task that asks for devices gets no others");
        };
        let [own, asked, foreign] = ["/dev/full", "/dev/kmsg", "/dev/zero"].map(|path| devices.contains(&device(path)));
        assert_eq!((own, asked, foreign), (true, true, false));
    }

    #[test]
    fn a_file_that_is_no_device_is_named() {
        let gpus = Gpus { files: vec![vec!["/dev/no-such-gpu".into()]], ..Gpus::default() };
        assert!(GpuDevices::find(&gpus).unwrap_err().to_string().contains("/dev/no-such-gpu"));
    }
}
