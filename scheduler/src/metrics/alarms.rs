//! Which alarms stand, by kind. Their words are in `trouble` of the API.

use super::Text;
use crate::model::Alarm;

pub(super) fn write<'a>(stand: impl Iterator<Item = &'a Alarm> + Clone, text: &mut Text) {
    text.about("scheduler_alarms", "gauge", "Alarms that stand, by kind; `trouble` of `dawn version` has their words.");
    for kind in Alarm::KINDS {
        let count = stand.clone().filter(|alarm| alarm.kind() == kind).count();
        text.value("scheduler_alarms", &format!("{{alarm=\"{kind}\"}}"), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AgentNo;

    #[test]
    fn every_kind_has_a_line_and_counts_its_own() {
        let all = [
            Alarm::EpochAhead(AgentNo(1)),
            Alarm::EpochAhead(AgentNo(2)),
            Alarm::StrangerAhead,
            Alarm::JournalBehind,
            Alarm::AgentCopied(AgentNo(1)),
            Alarm::ClockStepped,
            Alarm::DecisionTooLarge,
        ];
        let mut text = Text::default();
        write(all.iter(), &mut text);
        for kind in Alarm::KINDS {
            let count = if kind == "epoch_ahead" { 2 } else { 1 };
            let line = format!("dawn_scheduler_alarms{{alarm=\"{kind}\"}} {count}\n");
            assert!(text.0.contains(&line), "{}", text.0);
        }
    }
}
