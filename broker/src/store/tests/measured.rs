//! How long it takes, for whoever works on it: `cargo test -p sol --release --lib store::tests::measured -- --ignored
//! --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::player::{Player, options};
use crate::codec::QoS;
use crate::store::files::simulated::Disk;
use crate::store::{MannerRecord, MessageRecord, Options, Record};

const MESSAGES: u64 = 1_000_000;

#[test]
#[ignore = "measures"]
fn live_messages() {
    for size in [1, 10, 100, 1000] {
        let mut player = Player::new(Disk::new(0), Options { segment_bytes: 32 << 20, ..options(32 << 20) });
        let session = player.begin(0);
        player.commit();
        let journal = Arc::clone(&player.journal);
        let message = MessageRecord {
            topic: "sensors/kitchen/temperature",
            payload: &[1; 64],
            qos: QoS::AtLeastOnce,
            properties: &[],
            expiry: None,
        };
        let manner = MannerRecord {
            qos: QoS::AtLeastOnce,
            retain: false,
            replayed: false,
            subscription_ids: &[],
            share: None,
        };
        let (mut recording, mut writing) = (Duration::ZERO, Duration::ZERO);
        let mut position = 0;
        while position < MESSAGES {
            let began = Instant::now();
            for _ in 0..size {
                let packet_id = std::num::NonZeroU16::new(1 + (position % 60_000) as u16);
                let enqueue = |body| Record::Enqueue { session, position, body, manner, packet_id };
                journal.record_message(message, enqueue);
                if let Some(position) = position.checked_sub(size) {
                    journal.record(&Record::Dequeue { session, position });
                }
                position += 1;
            }
            let recorded = Instant::now();
            player.commit_unchecked();
            recording += recorded - began;
            writing += recorded.elapsed();
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6 / MESSAGES as f64;
        println!(
            "groups of {size}: {:.3} µs/message to record, {:.3} to write and apply",
            us(recording),
            us(writing)
        );
    }
}
