//! `dawn quota …`: what roles may have, and what they have of it.

use clap::{Args, Subcommand};
use dawn_proto::{Dimension, Unit, v1};
use serde_json::json;

use super::author;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json};
use crate::spec::{milli, size};

#[derive(Subcommand)]
pub enum Quota {
    /// Show what a role may have, holds and asks for
    Get {
        /// A role of jobs, or * for roles without a quota of their own
        role: String,
    },
    /// Set a role's quota; what is not named stays as it is
    Set(Set),
    /// List the quotas of all roles
    List,
}

#[derive(Args)]
pub struct Set {
    /// A role of jobs, or * for roles without a quota of their own
    role: String,
    /// Bounds of its production tasks, such as cpu=8,memory=16GiB; `none` bounds nothing
    #[arg(long, value_name = "BOUNDS", value_parser = bounds)]
    guarantee: Option<v1::QuotaBounds>,
    /// Bounds of all its tasks together; dimensions are cpu, memory, disk, gpu
    #[arg(long, value_name = "BOUNDS", value_parser = bounds)]
    limit: Option<v1::QuotaBounds>,
    /// Its due share of a full cluster beside other roles'
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    weight: Option<u32>,
}

/// "cpu=8,memory=16GiB"; "none" bounds nothing.
fn bounds(text: &str) -> Result<v1::QuotaBounds, String> {
    let mut bounds = v1::QuotaBounds::default();
    if text == "none" {
        return Ok(bounds);
    }
    for part in text.split(',') {
        let wrong = || format!("{part:?}: write cpu=8,memory=16GiB,disk=1TiB,gpu=2, or none");
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        let dimension = Dimension::named(name.trim()).ok_or_else(wrong)?;
        let amount = match dimension.unit() {
            Unit::Milli => milli(value),
            Unit::Bytes => size_with_unit(value),
        };
        let amount = amount.map_err(|error| format!("{name} {error}"))?;
        if bounds.amount_mut(dimension).replace(amount).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(bounds)
}

/// A size that says its unit: a bare number is bytes in job files, and a bound of ten bytes is nothing that anybody means.
fn size_with_unit(value: &str) -> Result<u64, String> {
    match value.trim() {
        number if number != "0" && number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() => {
            Err(format!("`{number}` has no unit; write {number}GiB or {number}MiB"))
        }
        _ => size(value),
    }
}

pub async fn run(quota: Quota, context: &mut Context) -> Result<Exit, Failure> {
    match quota {
        Quota::Get { role } => {
            let call = async |client: &mut Client, request| client.quotas().get_quota(request).await;
            let status = context.scheduler.call(v1::GetQuotaRequest { role }, Repeat::Harmless, call).await?;
            show(&status, context);
        }
        Quota::Set(set) => {
            let Set { role, guarantee, limit, weight } = set;
            if guarantee.is_none() && limit.is_none() && weight.is_none() {
                return Err(Failure::new(Exit::Usage, "nothing to set: give --guarantee, --limit or --weight"));
            }
            let weight = weight.unwrap_or(0);
            let request = v1::SetQuotaRequest { role, guarantee, limit, weight, author: author() };
            let call = async |client: &mut Client, request| client.quotas().set_quota(request).await;
            let status = context.scheduler.call(request, Repeat::Harmless, call).await?;
            show(&status, context);
        }
        Quota::List => list(context).await?,
    }
    Ok(Exit::Done)
}

async fn list(context: &mut Context) -> Result<(), Failure> {
    let call = async |client: &mut Client, request| client.quotas().list_quota(request).await;
    let mut answer = context.scheduler.call(v1::ListQuotaRequest {}, Repeat::Harmless, call).await?;
    answer.quotas.retain(has_something);
    if context.out.json {
        let quotas: Vec<_> = answer.quotas.iter().map(value).collect();
        context.out.value(&json::object(json!({ "quotas": quotas, "index": answer.index })));
        return Ok(());
    }
    let mut table = empty_table();
    for status in &answer.quotas {
        rows(status, &mut table);
    }
    match answer.quotas.is_empty() {
        true => context.out.line("no quotas, and no roles with jobs"),
        false => context.out.table(&table),
    }
    Ok(())
}

/// A role whose last job is long gone is not listed: neither bounds of its own nor anything that it holds or asks for.
fn has_something(status: &v1::QuotaStatus) -> bool {
    let none = v1::Resources::default();
    let amounts = [&status.used, &status.used_production, &status.asked, &status.asked_production];
    status.own || amounts.iter().any(|amounts| amounts.as_ref().is_some_and(|amounts| *amounts != none))
}

fn show(status: &v1::QuotaStatus, context: &mut Context) {
    for warning in &status.warnings {
        eprintln!("dawn: warning: {}", render::safe(warning));
    }
    if context.out.json {
        let mut fields = value(status);
        fields["index"] = status.index.into();
        context.out.value(&json::object(fields));
        return;
    }
    let mut table = empty_table();
    rows(status, &mut table);
    context.out.table(&table);
}

fn empty_table() -> Table {
    let dimensions = Dimension::ALL.map(|dimension| format!(">{}", dimension.name().to_uppercase()));
    let names = ["ROLE", ">WEIGHT", "BOUND"].into_iter().chain(dimensions.iter().map(String::as_str));
    Table::new(&names.collect::<Vec<_>>())
}

/// Two rows: production of the guarantee, and all of the limit. "6/8": held of the bound.
fn rows(status: &v1::QuotaStatus, table: &mut Table) {
    let (quota, none) = (status.quota.clone().unwrap_or_default(), v1::Resources::default());
    let origin = if status.own { "" } else { " (default)" };
    let bounds = [
        ("guarantee", quota.guarantee.unwrap_or_default(), status.used_production.as_ref().unwrap_or(&none)),
        ("limit", quota.limit.unwrap_or_default(), status.used.as_ref().unwrap_or(&none)),
    ];
    for (at, (name, bound, used)) in bounds.into_iter().enumerate() {
        let share = |used: u64, bound: Option<u64>, show: fn(u64) -> String| {
            format!("{}/{}", show(used), bound.map_or_else(|| "-".to_string(), show))
        };
        let (role, weight) = (format!("{}{origin}", render::safe(&quota.role)), quota.weight.to_string());
        let first = |cell| if at == 0 { cell } else { String::new() };
        let mut row = vec![first(role), first(weight), name.to_string()];
        row.extend(Dimension::ALL.map(|at| share(used.amount(at), bound.amount(at), render::in_unit(at.unit()))));
        table.row(row);
    }
}

fn value(status: &v1::QuotaStatus) -> serde_json::Value {
    let bounds = |bounds: Option<&v1::QuotaBounds>| {
        let none = v1::QuotaBounds::default();
        let bounds = bounds.unwrap_or(&none);
        json::by_dimension(&bounds.amounts())
    };
    let amounts = |amounts: Option<&v1::Resources>| {
        let none = v1::Resources::default();
        let amounts = amounts.unwrap_or(&none);
        json::by_dimension(&amounts.amounts())
    };
    let quota = status.quota.clone().unwrap_or_default();
    json!({
        "role": quota.role, "own": status.own, "weight": quota.weight,
        "guarantee": bounds(quota.guarantee.as_ref()), "limit": bounds(quota.limit.as_ref()),
        "used_production": amounts(status.used_production.as_ref()), "used": amounts(status.used.as_ref()),
        "asked_production": amounts(status.asked_production.as_ref()), "asked": amounts(status.asked.as_ref()),
        "warnings": status.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_read_by_name_and_what_is_none_is_named() {
        let read = bounds("cpu=8,memory=16GiB").unwrap();
        assert_eq!((read.cpu_milli, read.memory_bytes, read.disk_bytes), (Some(8_000), Some(16 << 30), None));
        assert_eq!(bounds("none"), Ok(v1::QuotaBounds::default()));
        assert_eq!(bounds("cpu=0").unwrap().cpu_milli, Some(0), "zero is a bound, not the lack of one");
        assert_eq!(bounds("memory=0").unwrap().memory_bytes, Some(0), "nothing needs no unit");
        for (text, part) in [
            ("", "write cpu=8"),
            ("cpu", "write cpu=8"),
            ("cpus=8", "\"cpus=8\": write"),
            ("cpu=-1", "cpu is no number"),
            ("memory=lots", "memory is no size"),
            ("cpu=1,cpu=2", "cpu is there twice"),
            ("memory=10", "memory `10` has no unit; write 10GiB or 10MiB"),
            ("disk=1024", "disk `1024` has no unit; write 1024GiB"),
        ] {
            assert!(bounds(text).unwrap_err().contains(part), "{text}: {:?}", bounds(text));
        }
    }

    #[test]
    fn roles_that_have_nothing_are_not_listed() {
        let nothing = v1::QuotaStatus { used: Some(v1::Resources::default()), ..Default::default() };
        assert!(!has_something(&nothing));
        assert!(has_something(&v1::QuotaStatus { own: true, ..nothing.clone() }));
        let asked = Some(v1::Resources { cpu_milli: 1, ..Default::default() });
        assert!(has_something(&v1::QuotaStatus { asked, ..nothing }));
    }

    #[test]
    fn a_quota_shows_what_is_held_of_each_bound() {
        let guarantee = bounds("cpu=8").unwrap();
        let status = v1::QuotaStatus {
            quota: Some(v1::Quota { role: "www".into(), guarantee: Some(guarantee), limit: None, weight: 2 }),
            own: true,
            used_production: Some(v1::Resources { cpu_milli: 6_500, ..Default::default() }),
            used: Some(v1::Resources { cpu_milli: 7_000, memory_bytes: 1 << 30, ..Default::default() }),
            ..Default::default()
        };
        let mut all = empty_table();
        rows(&status, &mut all);
        let text = all.text();
        assert!(text.contains("www        2  guarantee  6.5/8"), "{text}");
        assert!(text.contains("limit        7/-  1 GiB/-"), "{text}");
        assert_eq!(value(&status)["limit"]["cpu_milli"], serde_json::Value::Null);
    }
}
