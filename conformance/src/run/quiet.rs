//! Who must not run beside whom in this process.
//!
//! A scenario that subscribes to everybody's topics hears what the others publish. Where one of those publishes tens of
//! thousands of messages, a broker may rightly drop QoS 0.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::frame::Kind;
use crate::scenario::{Action, Expression, Piece, Scenario, Send, Step, Times};

/// The loud ones share it, the listeners each have it alone.
static QUIET: RwLock<()> = RwLock::new(());

/// How many packets of a scenario are many.
const LOUD_PACKETS: u64 = 10_000;

/// The right to run, for as long as it is kept.
#[expect(dead_code, reason = "kept, not looked at")]
pub(super) enum Turn {
    Loud(RwLockReadGuard<'static, ()>),
    Listening(RwLockWriteGuard<'static, ()>),
    Any,
}

/// Waits until this scenario may run.
pub(super) fn turn(scenario: &Scenario) -> Turn {
    if scenario.steps.iter().flat_map(Step::with_inner).any(listens) {
        Turn::Listening(QUIET.write().unwrap_or_else(PoisonError::into_inner))
    } else if scenario.steps.iter().map(packets).sum::<u64>() > LOUD_PACKETS {
        Turn::Loud(QUIET.read().unwrap_or_else(PoisonError::into_inner))
    } else {
        Turn::Any
    }
}

/// Whether the step subscribes to a filter without the token.
fn listens(step: &Step) -> bool {
    let Action::Send { what: Send::Packet(packet), .. } = &step.action else { return false };
    let own = |piece: &Piece| match piece {
        Piece::Own(text) => !text.is_empty(),
        Piece::Exact(text) => text.windows(3).any(|window| window == b"{u}"),
        Piece::Hex(_) | Piece::Pattern(_) | Piece::PatternOf(..) | Piece::Variable(_) => false,
        // No topic.
        Piece::Scram(..) => true,
    };
    let others = |value: &Expression| match value {
        Expression::Bytes(pieces) => !pieces.iter().any(own),
        _ => false,
    };
    let topics = packet.fields.iter().filter(|field| field.field.name == "topic");
    packet.kind == Kind::Subscribe && topics.flat_map(|field| &field.values).any(others)
}

fn packets(step: &Step) -> u64 {
    match &step.action {
        Action::Send { .. } => 1,
        Action::AtOnce(steps) => steps.iter().map(packets).sum(),
        Action::Repeat(times, steps) => {
            let times = if let Times::Fixed(times) = times { *times } else { 1 };
            times * steps.iter().map(packets).sum::<u64>()
        }
        Action::Expect(_) | Action::AnyOrder(_) | Action::Restart => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;

    fn of(steps: &str) -> Turn {
        let text = format!("proves 3.1.1 [MQTT-1.5.3-1]\nraw a\n{steps}\na < close\n");
        turn(&parse("test", "test", &text).expect("a good scenario"))
    }

    #[test]
    fn only_wide_filters_and_many_packets_are_kept_apart() {
        assert!(matches!(of("a > SUBSCRIBE topic=\"#\" topic='{u}/+'"), Turn::Any));
        assert!(matches!(of("repeat 100 {\nrepeat 100 {\na > PINGREQ\n}\n}"), Turn::Any));
        assert!(matches!(of("repeat 101 {\nrepeat 100 {\na > PINGREQ\n}\n}"), Turn::Loud(_)));
        assert!(matches!(of("a > SUBSCRIBE topic=\"a\" topic='+/+'"), Turn::Listening(_)));
    }
}
