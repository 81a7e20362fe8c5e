//! The fleet alone, against the twin: tasks take room and give it back, room is kept, and
//! what is free is counted anew each time.

use std::sync::Arc;

use dawn_proto::{SpecId, TaskId};
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::decide::place::catalogue::Catalogue;
use crate::decide::place::fit::View;
use crate::decide::place::fleet::{CONNECTED, Fleet, Held};
use crate::decide::place::numbers::{RoleId, SlotId, WorkId};
use crate::model::{Agent, JobId, Place, PortDemand, Spec, State};

use super::twin::{self, Free};
use super::world::{World, job, resources};

/// Who has room where, as a plain list.
struct Listed {
    slot: SlotId,
    task: TaskId,
    work: WorkId,
    /// None: it is only kept.
    place: Option<Place>,
}

struct Bench {
    world: World,
    fleet: Fleet,
    catalogue: Catalogue,
    works: Vec<WorkId>,
    listed: Vec<Listed>,
    next: u64,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let mut world = World::new(seed);
        (0..6).for_each(|_| world.random_agent());
        let (mut fleet, mut catalogue) = (Fleet::default(), Catalogue::default());
        for agent in world.state.agents.values() {
            let offer = catalogue.put(agent);
            fleet.put(agent, offer);
            fleet.change_bits(SlotId::of_agent(agent.no), CONNECTED, 0);
        }
        fleet.reclass(&catalogue.classify(fleet.len()));
        let works = (0..8).map(|number| make_work(&mut world, &mut catalogue, number)).collect();
        Bench { world, fleet, catalogue, works, listed: Vec::new(), next: 1 }
    }

    fn agent(&self, slot: SlotId) -> &Agent {
        &self.world.state.agents[&slot.agent()]
    }

    /// What is free, counted by hand.
    fn free(&self, slot: SlotId) -> Free {
        let mut free = Free::of(self.agent(slot));
        let here = || self.listed.iter().filter(|listed| listed.slot == slot);
        let spec = |listed: &Listed| self.catalogue.work(listed.work).spec.clone();
        for listed in here() {
            if let Some(place) = &listed.place {
                free.hold(&spec(listed).job, place);
            }
        }
        here().filter(|listed| listed.place.is_none()).for_each(|listed| free.keep(&spec(listed).job));
        free
    }

    /// A task comes where the fleet says that it fits, or room is kept for it.
    fn come(&mut self) {
        let work = *self.works.choose(&mut self.world.random).unwrap();
        let slots: Vec<SlotId> = self.fleet.with_agents().collect();
        let slot = *slots.choose(&mut self.world.random).unwrap();
        self.catalogue.prepare(self.catalogue.work(work).shape, self.fleet.index());
        let view = View { fleet: &self.fleet, catalogue: &self.catalogue };
        let missed = view.misses(slot, work);
        let of = self.catalogue.work(work);
        let (spec, agent) = (&of.spec.job, self.agent(slot));
        let mut by_hand = twin::misses_attributes(spec, agent);
        by_hand.extend(twin::misses_room(spec, &self.free(slot), agent));
        assert_eq!(missed.is_none(), by_hand.is_empty(), "{missed:?} {by_hand:?}");
        if missed.is_some() {
            return;
        }
        let (task, shape) = (TaskId(self.next), self.catalogue.shape(of.shape));
        self.next += 1;
        let place = match self.world.random.random_bool(0.7) {
            true => Some(self.fleet.hold(slot, Held::new(task, work, 0, false), of, shape, None)),
            false => {
                self.fleet.keep(slot, task, (of.shape, shape), true);
                None
            }
        };
        self.listed.push(Listed { slot, task, work, place });
    }

    fn go(&mut self) {
        if self.listed.is_empty() {
            return;
        }
        let at = self.world.random.random_range(0..self.listed.len());
        let Listed { slot, task, work, place } = self.listed.swap_remove(at);
        let (of, shape) = (self.catalogue.work(work), self.catalogue.shape_of(work));
        match place {
            Some(place) => {
                if self.world.random.random_bool(0.5) {
                    self.fleet.set_dying(slot, task, of, shape);
                }
                let held = self.fleet.unlist(slot, task).unwrap();
                self.fleet.release(slot, held, of, shape, &place);
            }
            None => self.fleet.keep(slot, task, (of.shape, shape), false),
        }
        assert!(self.fleet.unlist(slot, task).is_none(), "it holds nothing any more");
    }

    fn is_as_counted(&self) {
        for slot in self.fleet.with_agents() {
            let (row, free) = (self.fleet.slot(slot), self.free(slot));
            assert_eq!(row.free, free.amounts);
            assert_eq!((i64::from(row.ports_free), i64::from(row.tasks_free)), (free.ports, free.tasks[0]));
            let held = self.listed.iter().filter(|listed| listed.slot == slot && listed.place.is_some());
            assert_eq!(self.fleet.held(slot).len(), held.count());
        }
    }
}

fn make_work(world: &mut World, catalogue: &mut Catalogue, number: u64) -> WorkId {
    let random = &mut world.random;
    let mut demand = resources(random.random_range(0..4) * 500, random.random_range(0..4));
    demand.gpu_milli = [0, 0, 300, 1000][random.random_range(0..4)];
    let mut spec = job(&format!("www/prod/job{number}"), 1, demand);
    let ports = (0..random.random_range(0..3)).map(|at| PortDemand { name: format!("p{at}"), fixed: None });
    spec.ports = ports.collect();
    let spec = Arc::new(Spec::new(SpecId(number + 1), 1, spec));
    catalogue.make_work(&State::default(), JobId(number as u32), &spec, RoleId(0), random.random_range(0..3))
}

#[test]
fn the_fleet_has_free_what_is_counted_by_hand() {
    for seed in 0..60 {
        let mut bench = Bench::new(seed);
        for _ in 0..120 {
            if bench.world.random.random_bool(0.6) {
                bench.come()
            } else {
                bench.go()
            }
            bench.is_as_counted();
        }
    }
}
