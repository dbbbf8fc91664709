//! What came out of it.

use std::fmt;

use crate::broker::Kind;
use crate::ledger::Tally;

/// What became of the messages that a broker was entrusted with.
pub(crate) struct Fate {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) tally: Tally,
    /// In words; the first few.
    pub(crate) problems: Vec<String>,
}

impl Fate {
    pub(crate) fn must_be_spotless(&self) {
        let tally = &self.tally;
        let is_spotless = [
            tally.lost,
            tally.doubled,
            tally.out_of_order,
            tally.sessions_lost,
            tally.retained_lost,
            tally.wrong_states,
            tally.refused,
        ] == [0; 7];
        let (seed, problems) = (self.seed, self.problems.join("\n"));
        assert!(is_spotless, "SOL_CRASH={},{seed}: {tally:?}\n{problems}", tally.rounds);
    }
}

const HEADS: [&str; 11] = [
    "rounds",
    "kills",
    "acked QoS 1",
    "acked QoS 2",
    "owed",
    "lost",
    "QoS 2 twice",
    "disordered",
    "sessions lost",
    "retained lost",
    "wrong states",
];

/// A row for each broker. A message is owed to each of its receivers, and may be lost to each.
#[derive(Default)]
pub(crate) struct Table(Vec<(String, [u32; HEADS.len()])>);

impl Table {
    pub(crate) fn add(&mut self, fate: &Fate) {
        let tally = &fate.tally;
        let [_, qos_1, qos_2] = tally.acknowledged;
        let row = [
            tally.rounds,
            tally.kills,
            qos_1,
            qos_2,
            tally.owed,
            tally.lost,
            tally.doubled,
            tally.out_of_order,
            tally.sessions_lost,
            tally.retained_lost,
            tally.wrong_states,
        ];
        self.0.push((fate.kind.name(), row));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34}", "")?;
        for head in HEADS {
            write!(f, "  {head:>7}")?;
        }
        for (name, row) in &self.0 {
            write!(f, "\n{name:<34}")?;
            for (head, value) in HEADS.iter().zip(row) {
                write!(f, "  {value:>width$}", width = head.len().max(7))?;
            }
        }
        Ok(())
    }
}
