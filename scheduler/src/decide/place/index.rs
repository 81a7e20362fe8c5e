//! Agents by free cpu and memory in logarithmic steps, once over all and once per attribute class. Walked along diagonals
//! from the smallest room that can hold a demand upwards, so the tightest fits come first.

use super::agents::{Amounts, CPU, MEMORY, Slot};

/// Steps per dimension: four to an octave.
const SIDE: usize = 64;
/// 32 thousandths of a cpu: the first steps. The last begin beyond 3,600 cpus.
const CPU_SHIFT: u32 = 5;
/// 8 MiB. The last steps begin at 900 GiB.
const MEMORY_SHIFT: u32 = 23;
/// Classes are many: one step to an octave there.
const CLASS_SHIFT: u32 = 2;

fn step(amount: i64, shift: u32) -> usize {
    let units = (amount.max(0) >> shift) as u64;
    if units < 4 {
        return units as usize;
    }
    let top = 63 - units.leading_zeros();
    let quarter = (units >> (top - 2)) & 3;
    (((top - 1) * 4 + quarter as u32) as usize).min(SIDE - 1)
}

/// Where an amount of free room, or a demand, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub cpu: u8,
    pub memory: u8,
}

impl Level {
    #[inline]
    pub fn of(amounts: &Amounts) -> Level {
        Level { cpu: step(amounts[CPU], CPU_SHIFT) as u8, memory: step(amounts[MEMORY], MEMORY_SHIFT) as u8 }
    }

    fn cell(self) -> u16 {
        u16::from(self.cpu) * SIDE as u16 + u16::from(self.memory)
    }

    fn from_cell(cell: u16) -> Level {
        Level { cpu: (cell / SIDE as u16) as u8, memory: (cell % SIDE as u16) as u8 }
    }
}

/// Free cpu in thousandths and memory in MiB, rounded down and cut off: enough to pass over who has too little.
type Rough = [i32; 2];

fn rough(amounts: &Amounts) -> Rough {
    [amounts[CPU], amounts[MEMORY] >> 20].map(|amount| amount.clamp(-1, i32::MAX.into()) as i32)
}

/// An agent in a list, with what most of those that can't be taken fail by: in a full cluster they are many, and a look
/// at each of them is a look into memory that is not near.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    class: u32,
    free: Rough,
}

/// What is looked for: where it lies in a grid, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sought {
    pub level: Level,
    need: Rough,
}

impl Sought {
    pub fn of(need: &Amounts) -> Sought {
        let mut least = rough(need);
        for (least, need) in least.iter_mut().zip([need[CPU], need[MEMORY]]) {
            // What is not asked for may be overdrawn.
            *least = if need == 0 { -1 } else { *least };
        }
        Sought { level: Level::of(need), need: least }
    }
}

/// One grid of lists.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    shift: u32,
    lists: Vec<Vec<Entry>>,
    /// By diagonal (cpu step + memory step): which cpu steps have anybody.
    diagonals: Vec<u64>,
    len: usize,
}

impl Cells {
    fn new(shift: u32) -> Cells {
        let side = SIDE >> shift;
        Cells { shift, lists: vec![Vec::new(); side * side], diagonals: vec![0; 2 * side - 1], len: 0 }
    }

    fn place(&self, level: Level) -> (usize, usize) {
        (usize::from(level.cpu) >> self.shift, usize::from(level.memory) >> self.shift)
    }

    fn list(&mut self, (cpu, memory): (usize, usize)) -> &mut Vec<Entry> {
        &mut self.lists[cpu * (SIDE >> self.shift) + memory]
    }

    fn insert(&mut self, level: Level, entry: Entry) -> u32 {
        let place = self.place(level);
        let list = self.list(place);
        list.push(entry);
        let at = list.len() as u32 - 1;
        if at == 0 {
            self.diagonals[place.0 + place.1] |= 1 << place.0;
        }
        self.len += 1;
        at
    }

    fn refresh(&mut self, level: Level, at: u32, free: Rough) {
        let place = self.place(level);
        self.list(place)[at as usize].free = free;
    }

    /// The slot that took the removed one's position, if any.
    fn remove(&mut self, level: Level, at: u32) -> Option<u32> {
        let place = self.place(level);
        let list = self.list(place);
        list.swap_remove(at as usize);
        let moved = list.get(at as usize).map(|entry| entry.slot);
        if list.is_empty() {
            self.diagonals[place.0 + place.1] &= !(1 << place.0);
        }
        self.len -= 1;
        moved
    }

    /// The first diagonal that may hold a demand of this level, and the one after the last.
    fn diagonals(&self, level: Level) -> std::ops::Range<usize> {
        let (cpu, memory) = self.place(level);
        cpu + memory..self.diagonals.len()
    }

    /// Shows every slot of one diagonal that may hold what is sought and is of a wanted class, until `visit` says stop.
    #[inline]
    fn walk_diagonal(
        &self,
        diagonal: usize,
        sought: &Sought,
        wanted: &[bool],
        visit: &mut impl FnMut(u32) -> bool,
    ) -> bool {
        let (cpu, memory) = self.place(sought.level);
        let side = SIDE >> self.shift;
        let last = (diagonal - memory).min(side - 1);
        let mut rows = self.diagonals[diagonal] & (!0 << cpu) & (!0 >> (63 - last));
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            rows &= rows - 1;
            for entry in &self.lists[row * side + (diagonal - row)] {
                let enough = (entry.free[0] >= sought.need[0]) & (entry.free[1] >= sought.need[1]);
                if enough && wanted.get(entry.class as usize).copied().unwrap_or(false) && !visit(entry.slot) {
                    return false;
                }
            }
        }
        true
    }

    /// Shows every slot of a wanted class that may hold what is sought, tightest first, until `visit` says stop.
    pub fn walk(&self, sought: &Sought, wanted: &[bool], visit: &mut impl FnMut(u32) -> bool) -> bool {
        self.diagonals(sought.level).all(|diagonal| self.walk_diagonal(diagonal, sought, wanted, visit))
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn bytes(&self) -> usize {
        self.lists.iter().map(|list| list.capacity() * size_of::<Entry>() + size_of::<Vec<Entry>>()).sum::<usize>()
            + self.diagonals.len() * 8
    }
}

/// Walks several grids of one size as one: diagonal by diagonal.
pub(super) fn walk_all(
    grids: &[&Cells],
    sought: &Sought,
    wanted: &[bool],
    visit: &mut impl FnMut(u32) -> bool,
) -> bool {
    let Some(first) = grids.first() else { return true };
    let mut diagonals = first.diagonals(sought.level);
    diagonals.all(|diagonal| grids.iter().all(|cells| cells.walk_diagonal(diagonal, sought, wanted, visit)))
}

#[derive(Clone, Debug)]
pub(super) struct Index {
    pub all: Cells,
    pub by_class: Vec<Cells>,
}

impl Default for Index {
    fn default() -> Self {
        Index { all: Cells::new(0), by_class: Vec::new() }
    }
}

impl Index {
    /// Brings a slot to where its free room belongs; out of the index when it is not open.
    #[inline]
    pub fn settle(&mut self, slots: &mut [Slot], slot: usize) {
        let cell = if slots[slot].is_open() { Level::of(&slots[slot].free).cell() } else { Slot::NOWHERE };
        let before = slots[slot].cell;
        let free = rough(&slots[slot].free);
        if cell == before && cell == Slot::NOWHERE {
            return;
        }
        if cell == Slot::NOWHERE || before == Slot::NOWHERE {
            self.leave(slots, slot);
            self.enter(slots, slot, cell);
            return;
        }
        let Slot { class, at, .. } = slots[slot];
        let (from, to) = (Level::from_cell(before), Level::from_cell(cell));
        let entry = Entry { slot: slot as u32, class, free };
        if cell == before {
            self.all.refresh(to, at[0], free);
        } else {
            Self::take(&mut self.all, slots, from, at[0], 0);
            slots[slot].at[0] = self.all.insert(to, entry);
        }
        // The steps of a class are wider: most moves are within one.
        let grid = &mut self.by_class[class as usize];
        if grid.place(from) == grid.place(to) {
            grid.refresh(to, at[1], free);
        } else {
            Self::take(grid, slots, from, at[1], 1);
            slots[slot].at[1] = grid.insert(to, entry);
        }
        slots[slot].cell = cell;
    }

    /// Takes an entry out of a grid; whoever takes its position is told.
    fn take(grid: &mut Cells, slots: &mut [Slot], level: Level, at: u32, which: usize) {
        if let Some(moved) = grid.remove(level, at) {
            slots[moved as usize].at[which] = at;
        }
    }

    pub fn leave(&mut self, slots: &mut [Slot], slot: usize) {
        let Slot { cell, class, at, .. } = slots[slot];
        if cell == Slot::NOWHERE {
            return;
        }
        let level = Level::from_cell(cell);
        Self::take(&mut self.all, slots, level, at[0], 0);
        Self::take(&mut self.by_class[class as usize], slots, level, at[1], 1);
        slots[slot].cell = Slot::NOWHERE;
    }

    fn enter(&mut self, slots: &mut [Slot], slot: usize, cell: u16) {
        if cell == Slot::NOWHERE {
            return;
        }
        let class = slots[slot].class;
        while self.by_class.len() <= class as usize {
            self.by_class.push(Cells::new(CLASS_SHIFT));
        }
        let level = Level::from_cell(cell);
        let grid = &mut self.by_class[class as usize];
        let entry = Entry { slot: slot as u32, class, free: rough(&slots[slot].free) };
        let at = [self.all.insert(level, entry), grid.insert(level, entry)];
        (slots[slot].cell, slots[slot].at) = (cell, at);
    }

    /// Makes it anew, for other classes.
    pub fn rebuild(&mut self, slots: &mut [Slot]) {
        *self = Index::default();
        for slot in 0..slots.len() {
            slots[slot].cell = Slot::NOWHERE;
            self.settle(slots, slot);
        }
    }

    pub fn bytes(&self) -> usize {
        self.all.bytes() + self.by_class.iter().map(Cells::bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_never_fall_and_split_an_octave_in_four() {
        let mut last = 0;
        for amount in 0..200_000 {
            let step = step(amount, CPU_SHIFT);
            assert!(step == last || step == last + 1, "{amount}: {last} -> {step}");
            last = step;
        }
        assert_eq!((step(-5, CPU_SHIFT), step(i64::MAX, CPU_SHIFT)), (0, SIDE - 1));
        assert_eq!(step(8 << 30, MEMORY_SHIFT) - step(4 << 30, MEMORY_SHIFT), 4);
    }

    #[test]
    fn a_walk_shows_all_that_may_fit_and_tighter_diagonals_first() {
        let mut index = Index::default();
        let mut slots: Vec<Slot> = (0..500i64)
            .map(|n| {
                let free = [n * 37 % 64_000, (n * 7919 % 4096) << 20, 0, 0];
                Slot { free, bits: super::super::agents::UP | super::super::agents::CONNECTED, ..Slot::empty() }
            })
            .collect();
        index.rebuild(&mut slots);
        let need = [3000, 700 << 20, 0, 0];
        for cells in [&index.all, &index.by_class[0]] {
            let mut seen = Vec::new();
            assert!(cells.walk(&Sought::of(&need), &[true], &mut |slot| {
                seen.push(slot as usize);
                true
            }));
            let fit = |slot: usize| super::super::agents::covers(&slots[slot].free, &need);
            assert!((0..slots.len()).filter(|slot| fit(*slot)).all(|slot| seen.contains(&slot)));
            let diagonals: Vec<usize> = seen
                .iter()
                .map(|slot| cells.place(Level::of(&slots[*slot].free)))
                .map(|(cpu, memory)| cpu + memory)
                .collect();
            assert!(diagonals.is_sorted());
        }
    }
}
