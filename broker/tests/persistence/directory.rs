//! Where it is stored, and who may.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use super::common::eventually;
use super::common::peers::may;
use super::common::process::{output, said};
use super::*;
use rustix::process::geteuid;

#[test]
fn a_directory_is_of_one_broker() {
    let mut broker = Durable::start();
    let (code, _, stderr) = said(output(&["-c", &broker.place.config()]));
    assert_eq!(code, Some(1), "{stderr}");
    let pid = broker.sol.as_ref().unwrap().id();
    assert!(stderr.contains(&format!("is in use by process {pid}: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    // Whatever became of the one that had it.
    broker.restart(End::Killed);
    let mode = fs::metadata(broker.place.path("store")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
}

#[test]
fn a_directory_that_cannot_be_had_is_said_in_one_line() {
    let place = Place::new("ip_port 0\npersistence true\npersistence_location /dev/null/store\n");
    let (code, _, stderr) = said(output(&["-c", &place.config()]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot store sessions and messages in /dev/null/store: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    place.configure("ip_port 0\npersistence true\npersistence_location /dev/null\n");
    let (code, _, stderr) = said(output(&["-t", "-c", &place.config()]));
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains(":3: `persistence_location`: /dev/null is no directory: name one"), "{stderr}");
}

#[test]
fn without_persistence_nothing_is_written_and_it_says_so() {
    let mut broker = Durable::start();
    broker.sol.as_mut().unwrap().line("durable: ");
    drop(new(broker.address(), "client"));
    broker.end(End::Stopped);
    let before = files(&broker);
    let config = broker.place.read("sol.conf").replace("persistence true", "persistence false");
    broker.place.configure(&config);
    broker.start_again();
    broker.sol.as_mut().unwrap().line("in memory: nothing survives a restart");
    drop(new(broker.address(), "client"));
    broker.end(End::Stopped);
    assert_eq!(files(&broker), before);
}

#[test]
fn the_directory_becomes_that_of_the_user() {
    const NOBODY: u32 = 65_534;
    if !may("become another user", geteuid().is_root()) {
        return;
    }
    let place = Place::new("ip_port 0\nuser nobody\npersistence true\npersistence_location $D/store\n");
    chown(place.directory(), Some(NOBODY), None).unwrap();
    let sol = Some(place.start());
    let mut broker = Durable { place, sol };
    for life in 0..3 {
        // More than a file of the store has room for.
        let payload = "x".repeat(500_000);
        for n in 0..30 {
            retain(&mut guest(broker.address()), &format!("{life}/{n}"), &payload, &[]);
        }
        broker.restart(End::Killed);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(broker.place.path("store")).unwrap().map(|entry| entry.unwrap()) {
        assert_eq!(entry.metadata().unwrap().uid(), NOBODY, "{entry:?}");
        names.push(entry.file_name());
    }
    assert!(names.len() > 2, "{names:?}");
}

fn files(broker: &Durable) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = fs::read_dir(broker.place.path("store")).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn the_other_ways_to_sync_survive_a_kill() {
    for sync in ["interval 1h", "os"] {
        let mut broker = Durable::with(&format!("persistence_sync {sync}\n"));
        let mut client = new(broker.address(), "client");
        subscribe(&mut client, 0, "t", QoS::AtLeastOnce);
        drop(client);
        publish(&mut guest(broker.address()), "t", "kept", QoS::AtLeastOnce);
        broker.restart(End::Killed);
        assert_eq!(take(&mut back(broker.address(), "client")).payload, "kept", "{sync}");
    }
}

#[test]
fn the_statistics_tell_of_it() {
    let mut broker = Durable::start();
    let config = broker.place.read("sol.conf");
    broker.end(End::Stopped);
    broker.place.configure(&config.replace("stats_publish_interval 0", "stats_publish_interval 1"));
    broker.start_again();
    retain(&mut guest(broker.address()), "t", "x", &[]);
    let mut found = BTreeMap::new();
    let mut client = opened(broker.address(), connect("reader"), &[]).0;
    subscribe(&mut client, 0, "$SYS/broker/store/#", QoS::AtMostOnce);
    eventually("something was synced", || {
        let got = receive(&mut client);
        found.insert(got.topic, got.payload);
        let number =
            |name: &str| found.get(&format!("$SYS/broker/store/{name}")).map(|n| n.parse::<f64>().unwrap());
        let positive = |name| number(name).is_some_and(|number| number > 0.0);
        ["bytes", "bytes/written", "segments", "syncs", "syncs/mean", "syncs/maximum"]
            .into_iter()
            .all(positive)
            && ["failing", "errors/write", "errors/read"].into_iter().all(|name| number(name) == Some(0.0))
    });
}
