//! Devices of one agent: whole ones, and shares of one. What a task got is written in its place, because it can't be
//! worked out again: which device has room depends on the order of what came and went. Not here: amounts of gpu in sum.

/// Thousandths in one device.
pub const DEVICE: u64 = 1000;
/// More than any machine has; an agent that reports more is believed for so many.
const MOST_DEVICES: u64 = 256;

/// Free thousandths by device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(Vec<u16>);

impl Devices {
    /// A part of a device that an agent reports is not used.
    pub fn new(total_milli: u64) -> Devices {
        Devices(vec![DEVICE as u16; (total_milli / DEVICE).min(MOST_DEVICES) as usize])
    }

    pub fn free(&self) -> &[u16] {
        &self.0
    }

    pub fn fits(&self, need_milli: u64) -> bool {
        if need_milli == 0 {
            true
        } else if need_milli < DEVICE {
            self.0.iter().any(|free| u64::from(*free) >= need_milli)
        } else {
            need_milli.is_multiple_of(DEVICE) && self.whole() >= need_milli / DEVICE
        }
    }

    /// Wholly free devices.
    pub fn whole(&self) -> u64 {
        self.0.iter().filter(|free| u64::from(**free) == DEVICE).count() as u64
    }

    /// The most that a share could get.
    pub fn largest(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0).into()
    }

    /// Chooses and takes devices: for a share the fullest that has room, for whole ones the first. The caller has seen
    /// that they fit.
    ///
    /// # Panics
    /// When they do not.
    pub fn assign(&mut self, need_milli: u64) -> Vec<u16> {
        assert!(self.fits(need_milli), "{need_milli} thousandths of gpu do not fit {:?}", self.0);
        let chosen: Vec<u16> = if need_milli == 0 {
            Vec::new()
        } else if need_milli < DEVICE {
            let room = self.0.iter().enumerate().filter(|(_, free)| u64::from(**free) >= need_milli);
            room.min_by_key(|(at, free)| (**free, *at)).map(|(at, _)| at as u16).into_iter().collect()
        } else {
            let whole = self.0.iter().enumerate().filter(|(_, free)| u64::from(**free) == DEVICE);
            whole.map(|(at, _)| at as u16).take((need_milli / DEVICE) as usize).collect()
        };
        for device in &chosen {
            self.hold(*device, need_milli);
        }
        chosen
    }

    fn amount(need_milli: u64) -> u16 {
        need_milli.min(DEVICE) as u16
    }

    pub fn hold(&mut self, device: u16, need_milli: u64) {
        if let Some(free) = self.0.get_mut(usize::from(device)) {
            *free = free.saturating_sub(Self::amount(need_milli));
        }
    }

    pub fn release(&mut self, device: u16, need_milli: u64) {
        if let Some(free) = self.0.get_mut(usize::from(device)) {
            *free = (*free + Self::amount(need_milli)).min(DEVICE as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_fullest_device_and_whole_ones_take_empty_ones() {
        let mut devices = Devices::new(3000);
        assert_eq!(devices.assign(400), [0]);
        assert_eq!(devices.assign(600), [0]);
        assert_eq!(devices.assign(300), [1]);
        assert!(!devices.fits(2000) && devices.fits(1000) && !devices.fits(1500));
        assert_eq!(devices.assign(1000), [2]);
        assert_eq!(devices.free(), [0, 700, 0]);
        devices.release(0, 400);
        assert_eq!((devices.whole(), devices.largest()), (0, 700));
    }
}
