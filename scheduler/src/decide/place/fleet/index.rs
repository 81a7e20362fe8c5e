//! Free cpu and memory of open agents by slot, in blocks and groups of blocks that know the most any of theirs has free: a
//! walk in slot order passes over whole blocks of those that have too little. Also the slots of each attribute class.
//! Slot order is what packing wants: of agents equally good the first is taken, so that the last ones stay empty.
//! Not here: whether something fits for sure.

use dawn_proto::Dimension::{Cpu, Memory};

use super::super::amounts::Amounts;
use super::super::numbers::{ClassId, Number, SlotId, Table};
use super::Slot;

/// Slots in a block: its free cpus fill a cache line.
const BLOCK: usize = 16;
/// Blocks in a group.
const GROUP: usize = 16;

/// Lists of classes are walked when they hold less than one agent in so many.
const LISTS: usize = 12;

/// Free cpu in thousandths and memory in MiB, rounded down and cut off: enough to pass over who has too little.
pub type Rough = [i32; 2];
/// The most of a block or group: cpu, memory, and both together on one agent.
type Most = [i32; 3];
/// MiB that count as much as a thousandth of a cpu, when both are looked at together.
const TOGETHER: i32 = 4;

/// What an agent has that is not open, or runs as many tasks as it takes: less than any demand.
const CLOSED: Rough = [-2; 2];
/// The class of a slot that is in no list.
const NO_CLASS: ClassId = ClassId(u32::MAX);

const NOBODY: Most = [CLOSED[0], CLOSED[1], CLOSED[1]];

/// What there is of both, in MiB.
#[inline]
fn together(cpu: i32, memory: i32) -> i32 {
    cpu.saturating_mul(TOGETHER).max(-1).min(memory)
}

fn rough(amounts: &Amounts) -> Rough {
    [amounts[Cpu], amounts[Memory] >> 20].map(|amount| amount.clamp(-1, i32::MAX.into()) as i32)
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    need: Rough,
    together: i32,
}

impl Sought {
    pub fn of(need: &Amounts) -> Sought {
        let mut least = rough(need);
        for (least, need) in least.iter_mut().zip([need[Cpu], need[Memory]]) {
            // What is not asked for may be overdrawn.
            *least = if need == 0 { -1 } else { *least };
        }
        Sought { need: least, together: together(least[0], least[1]) }
    }

    #[inline]
    fn within(&self, free: &Rough) -> bool {
        (free[0] >= self.need[0]) & (free[1] >= self.need[1])
    }

    #[inline]
    fn within_most(&self, most: &Most) -> bool {
        (most[0] >= self.need[0]) & (most[1] >= self.need[1]) & (most[2] >= self.together)
    }
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Block {
    cpu: [i32; BLOCK],
    memory: [i32; BLOCK],
    class: [ClassId; BLOCK],
}

impl Block {
    const EMPTY: Block = Block { cpu: [CLOSED[0]; BLOCK], memory: [CLOSED[1]; BLOCK], class: [NO_CLASS; BLOCK] };

    /// Bit by bit who has enough. Without branches, so that many are compared at once.
    #[inline]
    fn holding(&self, sought: &Sought) -> u32 {
        let enough = |at: usize| (self.cpu[at] >= sought.need[0]) & (self.memory[at] >= sought.need[1]);
        (0..BLOCK).fold(0, |bits, at| bits | u32::from(enough(at)) << at)
    }

    /// The parts of a maximum, by slot.
    fn parts(&self, of: usize) -> [i32; BLOCK] {
        match of {
            0 => self.cpu,
            1 => self.memory,
            _ => std::array::from_fn(|at| together(self.cpu[at], self.memory[at])),
        }
    }

    fn get(&self, at: usize) -> Rough {
        [self.cpu[at], self.memory[at]]
    }
}

/// Without branches, so that many are compared at once.
fn has(part: &[i32; BLOCK], amount: i32) -> bool {
    part.iter().fold(false, |found, free| found | (*free == amount))
}

#[derive(Clone, Debug, Default)]
pub struct Index {
    blocks: Vec<Block>,
    /// By block, and by group of blocks.
    most: Vec<Most>,
    group_most: Vec<Most>,
    /// Slots of agents that have been open, by class, ascending.
    by_class: Table<ClassId, Vec<SlotId>>,
    /// Moves whenever a slot may hold more than before.
    raised: u64,
}

impl Index {
    /// Shows every slot of a wanted class that may hold what is sought, in slot order, until `visit` says stop. Begins with
    /// the block of the slot `from`.
    #[inline]
    pub fn walk(
        &self,
        from: SlotId,
        sought: &Sought,
        wanted: &Table<ClassId, bool>,
        visit: &mut impl FnMut(SlotId) -> bool,
    ) -> bool {
        let first = from.at() / BLOCK;
        let groups = self.group_most.iter().enumerate().skip(first / GROUP);
        for (group, _) in groups.filter(|(_, most)| sought.within_most(most)) {
            let blocks = first.max(group * GROUP)..self.blocks.len().min((group + 1) * GROUP);
            for at in blocks.filter(|at| sought.within_most(&self.most[*at])) {
                let block = &self.blocks[at];
                let mut holding = block.holding(sought);
                while holding != 0 {
                    let within = holding.trailing_zeros() as usize;
                    holding &= holding - 1;
                    let is_wanted = wanted.get(block.class[within]).copied().unwrap_or(false);
                    if is_wanted && !visit(SlotId::of(at * BLOCK + within)) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// As `walk` for some classes: by their lists when those are short. Then group by group, inside a group class by class.
    pub fn walk_classes(
        &self,
        from: SlotId,
        classes: &[ClassId],
        sought: &Sought,
        visit: &mut impl FnMut(SlotId) -> bool,
    ) -> bool {
        let agents: usize = classes.iter().map(|class| self.agents_in(*class)).sum();
        if agents * LISTS >= self.blocks.len() * BLOCK {
            let mut wanted = Table::from(vec![false; self.by_class.len()]);
            let known = classes.iter().filter(|class| self.by_class.has(**class));
            known.for_each(|class| wanted[*class] = true);
            return self.walk(from, sought, &wanted, visit);
        }
        let lists = classes.iter().filter_map(|class| self.by_class.get(*class));
        let mut lists: Vec<&[SlotId]> = lists.filter(|list| !list.is_empty()).map(Vec::as_slice).collect();
        for (group, _) in self.group_most.iter().enumerate().filter(|(_, most)| sought.within_most(most)) {
            let first = SlotId::of(group * GROUP * BLOCK);
            let end = SlotId::of((group + 1) * GROUP * BLOCK);
            for list in &mut lists {
                let passed = list.partition_point(|slot| *slot < first);
                *list = &list[passed..];
                let mut holding =
                    list.iter().take_while(|slot| **slot < end).filter(|slot| self.may_hold(**slot, sought));
                if !holding.all(|slot| visit(*slot)) {
                    return false;
                }
            }
        }
        true
    }

    /// The first slot of a slot's group.
    pub fn group_of(slot: SlotId) -> SlotId {
        SlotId::of(slot.at() - slot.at() % (GROUP * BLOCK))
    }

    /// Whether a slot of the index may hold what is sought.
    #[inline]
    pub fn may_hold(&self, slot: SlotId, sought: &Sought) -> bool {
        sought.within_most(&self.most[slot.at() / BLOCK]) && sought.within(&self.get(slot))
    }

    /// Moves whenever a slot may hold more than before.
    #[inline]
    pub fn raised(&self) -> u64 {
        self.raised
    }

    /// A slot may hold more than before, of what the index does not know.
    pub fn raise(&mut self) {
        self.raised += 1;
    }

    /// Agents of a class.
    pub fn agents_in(&self, class: ClassId) -> usize {
        self.by_class.get(class).map_or(0, Vec::len)
    }

    fn get(&self, slot: SlotId) -> Rough {
        self.blocks[slot.at() / BLOCK].get(slot.at() % BLOCK)
    }

    /// Takes over what is free on a slot, and whether it is open.
    #[inline]
    pub fn settle(&mut self, slots: &Table<SlotId, Slot>, slot: SlotId) {
        let (at, within) = (slot.at() / BLOCK, slot.at() % BLOCK);
        let open = slots[slot].takes_more();
        if at >= self.blocks.len() {
            self.reserve(at + 1);
        }
        if open && self.blocks[at].class[within] != slots[slot].class {
            self.enlist(slot, slots[slot].class);
        }
        self.put(slot, if open { rough(&slots[slot].free) } else { CLOSED });
    }

    fn put(&mut self, slot: SlotId, now: Rough) {
        let (at, within) = (slot.at() / BLOCK, slot.at() % BLOCK);
        let Index { blocks, most, group_most, raised, .. } = self;
        let block = &mut blocks[at];
        let before = block.get(within);
        if before == now {
            return;
        }
        (block.cpu[within], block.memory[within]) = (now[0], now[1]);
        *raised += u64::from(now[0] > before[0] || now[1] > before[1]);
        let group = at / GROUP;
        let [before, now] = [before, now].map(|[cpu, memory]| [cpu, memory, together(cpu, memory)]);
        for of in 0..before.len() {
            let old = most[at][of];
            // Whoever had the most has less now: another may have as much, or the most is found anew.
            if now[of] > old {
                most[at][of] = now[of];
            } else if before[of] == old && now[of] < old {
                let part = block.parts(of);
                if !has(&part, old) {
                    most[at][of] = part.iter().fold(NOBODY[of], |most, free| most.max(*free));
                }
            }
            let new = most[at][of];
            if new > group_most[group][of] {
                group_most[group][of] = new;
            } else if new < old && old == group_most[group][of] {
                let of_group = &most[group * GROUP..most.len().min((group + 1) * GROUP)];
                group_most[group][of] = of_group.iter().fold(NOBODY[of], |most, one| most.max(one[of]));
            }
        }
    }

    fn reserve(&mut self, blocks: usize) {
        self.blocks.resize(blocks, Block::EMPTY);
        self.most.resize(blocks, NOBODY);
        self.group_most.resize(blocks.div_ceil(GROUP), NOBODY);
    }

    fn enlist(&mut self, slot: SlotId, class: ClassId) {
        self.delist(slot);
        self.blocks[slot.at() / BLOCK].class[slot.at() % BLOCK] = class;
        self.by_class.reach(class, Vec::new);
        let list = &mut self.by_class[class];
        if let Err(at) = list.binary_search(&slot) {
            list.insert(at, slot);
        }
    }

    fn delist(&mut self, slot: SlotId) {
        let class = std::mem::replace(&mut self.blocks[slot.at() / BLOCK].class[slot.at() % BLOCK], NO_CLASS);
        if let Some(list) = self.by_class.get_mut(class)
            && let Ok(at) = list.binary_search(&slot)
        {
            list.remove(at);
        }
    }

    /// The slot's agent is gone.
    pub fn leave(&mut self, slot: SlotId) {
        if slot.at() / BLOCK < self.blocks.len() {
            self.delist(slot);
            self.put(slot, CLOSED);
        }
    }

    /// Makes it anew, for other classes.
    pub fn rebuild(&mut self, slots: &Table<SlotId, Slot>) {
        *self = Index { raised: self.raised + 1, ..Index::default() };
        slots.numbers().for_each(|slot| self.settle(slots, slot));
    }

    /// What it holds of a slot, for comparing.
    #[cfg(test)]
    pub fn shown(&self, slot: SlotId) -> Rough {
        if slot.at() / BLOCK < self.blocks.len() { self.get(slot) } else { CLOSED }
    }

    pub fn bytes(&self) -> usize {
        let lists = self.by_class.iter().map(|list| list.capacity() * 4 + size_of::<Vec<SlotId>>()).sum::<usize>();
        self.blocks.capacity() * (size_of::<Block>() + size_of::<Most>()) + lists
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::super::super::amounts::suffices;
    use super::super::{CONNECTED, UP};
    use super::*;

    fn of(cpu: i64, memory: i64) -> Amounts {
        Amounts::only([(Cpu, cpu), (Memory, memory)])
    }

    fn shown(index: &Index, need: &Amounts, class: ClassId) -> [Vec<SlotId>; 2] {
        let (mut seen, mut of_class) = (Vec::new(), Vec::new());
        let wanted = Table::from((0..=class.0).map(|other| other == class.0).collect::<Vec<_>>());
        let sought = Sought::of(need);
        assert!(index.walk(SlotId(0), &sought, &wanted, &mut |slot| {
            seen.push(slot);
            true
        }));
        assert!(index.walk_classes(SlotId(0), &[class], &sought, &mut |slot| {
            of_class.push(slot);
            true
        }));
        [seen, of_class]
    }

    #[test]
    fn a_walk_shows_whoever_is_open_and_may_hold_it_in_slot_order() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(3);
        let mut index = Index::default();
        let mut slots = Table::from(vec![Slot { bits: UP | CONNECTED, tasks_free: 9, ..Slot::empty() }; 1000]);
        index.rebuild(&slots);
        for _ in 0..3000 {
            let slot = SlotId::of(random.random_range(0..slots.len()));
            let row = &mut slots[slot];
            row.free = of(random.random_range(-2..64_000), random.random_range(0..4096) << 20);
            row.bits = if random.random_bool(0.9) { UP | CONNECTED } else { UP };
            row.class = ClassId(slot.0 % 3);
            row.tasks_free = random.random_range(-1..9);
            index.settle(&slots, slot);
            if random.random_bool(0.02) {
                slots[slot] = Slot::empty();
                index.leave(slot);
            }
            let need = of(random.random_range(0..64_000), random.random_range(0..4096) << 20);
            let holds = |slot: &SlotId| {
                let row = &slots[*slot];
                row.takes_more() && row.class == ClassId(1) && suffices(&row.free, &need)
            };
            let expected: Vec<SlotId> = slots.numbers().filter(holds).collect();
            assert_eq!(shown(&index, &need, ClassId(1)), [expected.clone(), expected]);
        }
    }

    #[test]
    fn a_walk_stops_when_told() {
        let mut index = Index::default();
        let row = Slot { free: of(1000, 1 << 30), bits: UP | CONNECTED, tasks_free: 9, ..Slot::empty() };
        index.rebuild(&vec![row; 100].into());
        let mut seen = 0;
        assert!(!index.walk(SlotId(0), &Sought::of(&of(1, 1)), &vec![true].into(), &mut |_| {
            seen += 1;
            seen < 3
        }));
        assert_eq!(seen, 3);
    }
}
