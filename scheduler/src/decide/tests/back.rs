//! An operator has an update go back: it is said to what, and what is known against that.

use dawn_proto::v1::{SubmitOutcome::Updating, UpdateAction};

use super::specs::{encoded, key, service};
use super::world::World;
use crate::model::*;

fn changed(priority: u16) -> JobSpec {
    encoded(JobSpec { priority, ..service("web", 2) })
}

fn control(world: &mut World, action: UpdateAction, message: &str) {
    let (author, message) = ("ann".to_string(), message.to_string());
    let control = UpdateCommand::Control { key: key("web"), action, author, message };
    world.command(Command::Update(control)).unwrap();
}

fn last_message(world: &World) -> String {
    let update = world.job("web").changes.updates.back().unwrap();
    update.events.back().unwrap().message.to_string()
}

#[test]
fn a_rollback_says_to_which_versions_it_goes_and_which_of_them_never_was_healthy() {
    let mut world = World::new();
    let (link, ..) = world.running(&service("web", 2));
    world.pass_heard_ms(10_000, &[link]);
    assert_eq!(world.submit(&changed(7)), Ok(Updating));
    world.pass_heard_ms(1_000, &[link]);
    control(&mut world, UpdateAction::Abort, "");
    assert_eq!(last_message(&world), "");
    // Instance 0 is to be version 2 from now on.
    assert_eq!(world.submit(&changed(8)), Ok(Updating));
    control(&mut world, UpdateAction::Rollback, "too bold");
    assert_eq!(last_message(&world), "goes back to versions 1, 2; version 2 never was healthy; too bold");
}

#[test]
fn a_rollback_to_what_worked_says_only_to_which_version_it_goes() {
    let mut world = World::new();
    let (link, ..) = world.running(&service("web", 2));
    world.pass_heard_ms(10_000, &[link]);
    assert_eq!(world.submit(&changed(7)), Ok(Updating));
    control(&mut world, UpdateAction::Rollback, "");
    assert_eq!(last_message(&world), "goes back to version 1");
}
