//! What is written is found again, or it is said that it is not.

use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::store::files::Directory;
use crate::store::files::simulated::{Disk, Failure, SyncKind};

type Visited = Vec<(Place, Vec<u8>)>;

/// Opens a log, and gives what it visited.
fn open(disk: &Disk, segment_bytes: u32) -> Result<(Log, Vec<Cut>, Visited), OpenError> {
    let mut visited = Vec::new();
    let (log, cuts) =
        Log::open(Arc::new(disk.clone()), LogOptions { segment_bytes }, &mut |place, payload| {
            visited.push((place, payload.to_vec()));
            Ok(())
        })?;
    Ok((log, cuts, visited))
}

fn payloads(visited: Visited) -> Vec<Vec<u8>> {
    visited.into_iter().map(|(_, payload)| payload).collect()
}

/// A disk with frames `0`, `1`, … of 100 bytes, `per_sync` at a time.
fn written(frames: u8, per_sync: usize, segment_bytes: u32) -> (Disk, Vec<Vec<u8>>) {
    let disk = Disk::new(0);
    let (mut log, ..) = open(&disk, segment_bytes).unwrap();
    let payloads: Vec<_> = (0..frames).map(|frame| vec![frame; 100]).collect();
    for payloads in payloads.chunks(per_sync) {
        payloads.iter().for_each(|payload| _ = log.append(payload).unwrap());
        log.sync().unwrap();
    }
    (disk, payloads)
}

/// The message of the error that opening it gives.
fn refusal(disk: &Disk) -> String {
    open(disk, 1000).err().unwrap().to_string()
}

const FIRST: &str = "0000000001.log";
const FRAME_BYTES: usize = FRAME as usize + 100;
const HEADER_BYTES: usize = HEADER as usize;

#[test]
fn what_was_written_is_read_again() {
    let disk = Disk::new(0);
    let (mut log, cuts, visited) = open(&disk, 1000).unwrap();
    assert!(cuts.is_empty() && visited.is_empty() && log.oldest().is_none());
    assert_eq!((log.next_frame(), log.first_unsynced(), log.total_bytes()), (1, 1, 0));
    let place = log.append(b"one").unwrap();
    assert_eq!(place, Place { segment: 1, offset: HEADER, length: 3 });
    assert_eq!((log.next_frame(), log.first_unsynced()), (2, 1));
    log.sync().unwrap();
    assert_eq!((log.next_frame(), log.first_unsynced()), (2, 2));
    assert_eq!(log.read(place).unwrap(), b"one");
    let empty = log.append(b"").unwrap();
    assert_eq!(log.read(empty).unwrap(), b"");
    assert!(log.read(Place { length: 2, ..place }).is_err());
    assert!(log.read(Place { offset: place.offset + 1, ..place }).is_err());
    assert!(log.read(Place { segment: 2, ..place }).is_err());
    assert_eq!(log.frames_of(1, 0).unwrap().unwrap(), (place, b"one".to_vec(), empty.offset));
    assert_eq!(log.frames_of(1, empty.offset).unwrap().unwrap(), (empty, Vec::new(), empty.end()));
    assert!(log.frames_of(1, empty.end()).unwrap().is_none());
    assert_eq!(log.segments().collect::<Vec<_>>(), [(1, u64::from(empty.end()))]);
    let (log, cuts, visited) = open(&disk, 1000).unwrap();
    assert!(cuts.is_empty());
    assert_eq!(log.next_frame(), 3);
    for (place, payload) in &visited {
        assert_eq!(&log.read(*place).unwrap(), payload);
    }
    assert_eq!(payloads(visited), [b"one".to_vec(), Vec::new()]);
}

#[test]
fn only_the_oldest_segment_is_removed() {
    let (disk, payloads_) = written(10, 1, 300);
    let (mut log, ..) = open(&disk, 300).unwrap();
    let segments: Vec<_> = log.segments().collect();
    assert!(segments.len() > 3);
    assert_eq!(log.oldest(), Some(1));
    log.remove_oldest().unwrap();
    assert_eq!(log.oldest(), Some(2));
    assert_eq!(log.total_bytes(), segments[1..].iter().map(|(_, bytes)| bytes).sum::<u64>());
    drop(log);
    let (mut log, _, visited) = open(&disk.after_power_cut(1), 300).unwrap();
    assert_eq!(payloads(visited), payloads_[3..]);
    while log.oldest().is_some() {
        log.remove_oldest().unwrap();
    }
    log.remove_oldest().unwrap();
    assert_eq!(log.segments().count(), 1);
}

#[test]
fn opening_it_again_and_again_leaves_no_files_behind() {
    for (disk, _) in [(Disk::new(0), Vec::new()), written(10, 1, 300)] {
        let count = open(&disk, 300).unwrap().0.segments().count();
        for _ in 0..5 {
            let (log, _, visited) = open(&disk, 300).unwrap();
            assert_eq!(log.next_frame(), visited.len() as u64 + 1);
            assert_eq!((log.segments().count(), disk.list().unwrap().len()), (count, count));
        }
    }
}

#[test]
fn a_segment_without_frames_keeps_the_number_of_the_next() {
    let (disk, _) = written(2, 1, 100);
    let (mut log, ..) = open(&disk, 100).unwrap();
    disk.fail(Failure::Full, disk.operations() + 4, u64::MAX);
    log.append(&[2; 100]).unwrap_err();
    disk.heal();
    while log.oldest().is_some() {
        log.remove_oldest().unwrap();
    }
    for _ in 0..3 {
        assert_eq!(open(&disk, 100).unwrap().0.next_frame(), 3);
    }
    let (mut log, ..) = open(&disk, 100).unwrap();
    log.append(b"third").unwrap();
    log.sync().unwrap();
    assert_eq!(open(&disk, 100).unwrap().0.next_frame(), 4);
}

#[test]
fn a_torn_last_frame_is_cut_wherever_it_is_torn() {
    let (disk, payloads_) = written(3, 1, 1000);
    let bytes = disk.bytes(FIRST).unwrap();
    let end_of_second = bytes.len() - FRAME_BYTES;
    let zeros = |bytes: &mut [u8]| bytes.fill(0);
    let garbage = |bytes: &mut [u8]| Rng::with_seed(7).fill(bytes);
    for len in end_of_second..bytes.len() {
        for (fill, spoil) in [(false, zeros as fn(&mut [u8])), (true, zeros), (true, garbage)] {
            let mut torn = bytes.clone();
            spoil(&mut torn[len..]);
            torn.truncate(if fill { torn.len() } else { len });
            let disk = Disk::new(0);
            disk.put(FIRST, torn.clone());
            let (mut log, cuts, visited) = open(&disk, 1000).unwrap();
            assert_eq!(payloads(visited), payloads_[..2], "{len}");
            let cut: Vec<_> = cuts.iter().map(|cut| (cut.defect.offset, cut.bytes)).collect();
            let expected = (end_of_second as u64, (torn.len() - end_of_second) as u64);
            // Nothing but zeros is room.
            let is_torn = torn[end_of_second..].iter().any(|byte| *byte != 0);
            assert_eq!(cut, if is_torn { vec![expected] } else { vec![] }, "{len}");
            assert_eq!(disk.bytes(FIRST).unwrap().len(), end_of_second);
            log.append(b"another").unwrap();
            log.sync().unwrap();
            let (_, cuts, visited) = open(&disk.after_power_cut(len as u64), 1000).unwrap();
            assert_eq!(visited.last().unwrap().1, b"another");
            assert_eq!((cuts.len(), visited.len()), (0, 3));
        }
    }
}

#[test]
fn a_segment_that_had_hardly_begun_is_removed() {
    let (disk, payloads_) = written(2, 1, 1000);
    for len in 0..HEADER_BYTES {
        let disk = disk.after_kill();
        disk.put("0000000002.log", disk.bytes(FIRST).unwrap()[..len].to_vec());
        let (log, cuts, visited) = open(&disk, 1000).unwrap();
        assert_eq!(payloads(visited), payloads_);
        assert_eq!(cuts.len(), 1);
        assert!(log.segments().all(|(number, _)| number != 2));
        assert_eq!(disk.bytes("0000000002.log"), None);
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (disk, payloads_) = written(7, 1, 300);
    for name in disk.list().unwrap() {
        let bytes = disk.bytes(&name).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let disk = disk.after_kill();
            disk.put(&name, flipped);
            match open(&disk, 300) {
                Err(OpenError::Corrupt(defect)) => assert_eq!(defect.file, name, "{bit}"),
                Err(error) => panic!("{name}, bit {bit}: {error}"),
                // In the very last frame it cannot be told from one that was being written.
                Ok((_, cuts, visited)) => {
                    assert!(payloads(visited) == payloads_[..6], "{name}, bit {bit}");
                    assert_eq!(cuts[0].defect.file, name);
                }
            }
        }
    }
}

#[test]
fn a_broken_frame_that_had_been_stored_is_no_torn_one() {
    for (per_sync, is_refused) in [(1, true), (4, false)] {
        let (disk, payloads_) = written(4, per_sync, 1000);
        let mut bytes = disk.bytes(FIRST).unwrap();
        // In the second frame.
        bytes[HEADER_BYTES + FRAME_BYTES + 50] ^= 1;
        disk.put(FIRST, bytes);
        if is_refused {
            let error = refusal(&disk);
            assert!(error.starts_with("0000000001.log, from byte 156 on: "), "{error}");
            assert!(
                error.contains("frame 2 is lost: it had been stored, as frame 3 says at byte 280"),
                "{error}"
            );
            assert!(error.contains("sol store repair DIR"), "{error}");
        } else {
            let (_, cuts, visited) = open(&disk, 1000).unwrap();
            assert_eq!(payloads(visited), payloads_[..1]);
            assert_eq!(cuts[0].bytes as usize, 3 * FRAME_BYTES);
        }
    }
}

#[test]
fn later_frames_are_found_far_behind_a_broken_one() {
    let disk = Disk::new(0);
    let (mut log, ..) = open(&disk, 1 << 20).unwrap();
    for size in [100, 200_000, 10] {
        log.append(&vec![1; size]).unwrap();
        log.sync().unwrap();
    }
    for at in [HEADER_BYTES, HEADER_BYTES + FRAME_BYTES + 1, HEADER_BYTES + FRAME_BYTES + 199_999] {
        let disk = disk.after_kill();
        let mut bytes = disk.bytes(FIRST).unwrap();
        bytes[at] ^= 1;
        disk.put(FIRST, bytes);
        assert!(refusal(&disk).contains("is lost"));
    }
}

#[test]
fn a_missing_segment_is_missed() {
    let (disk, _) = written(10, 1, 300);
    disk.remove("0000000002.log").unwrap();
    let error = refusal(&disk);
    assert!(
        error.contains("0000000001.log, from byte 404 on: the file ends here, 0000000003.log begins with frame 7, and frames 4 to 6 are missing"),
        "{error}"
    );
    let (disk, _) = written(10, 1, 300);
    let second = disk.bytes("0000000002.log").unwrap();
    disk.put("0000000009.log", second);
    assert!(refusal(&disk).contains("this is not the header of a segment"));
}

#[test]
fn a_newer_format_is_refused() {
    let disk = Disk::new(0);
    let header = Header { version: VERSION + 1, segment: 1, first: 1, salt: 0 };
    disk.put(FIRST, header.encode());
    let error = refusal(&disk);
    assert!(error.contains("has version 2 of the format, and this broker knows those up to 1"), "{error}");
}

#[test]
fn a_payload_without_sense_is_told_with_its_place() {
    let (disk, _) = written(3, 1, 1000);
    let refuse = &mut |place: Place, _: &[u8]| match place.offset {
        32 => Ok(()),
        _ => Err(CorruptPayload("record of kind 99".to_owned())),
    };
    let error = Log::open(Arc::new(disk), LogOptions::default(), refuse).err().unwrap().to_string();
    assert!(error.contains("from byte 156 on") && error.contains("record of kind 99"), "{error}");
}

#[test]
fn other_files_are_left_alone() {
    let (disk, payloads_) = written(3, 1, 300);
    for name in ["lock", "1.log", "0000000001.log.old", "x.log", "99999999999.log"] {
        disk.put(name, b"mine".to_vec());
    }
    assert_eq!(payloads(open(&disk, 300).unwrap().2), payloads_);
    assert_eq!(disk.bytes("1.log").unwrap(), b"mine");
}

#[test]
fn it_is_the_same_in_a_directory_of_the_system() {
    let parent = tempfile::tempdir().unwrap();
    let payloads_: Vec<_> = (0..20).map(|frame: u8| vec![frame; usize::from(frame) * 10]).collect();
    let mut expected = Vec::new();
    for payloads_ in payloads_.chunks(4) {
        let directory = Arc::new(Directory::open(parent.path()).unwrap());
        let mut visited = Vec::new();
        let options = LogOptions { segment_bytes: 500 };
        let (mut log, _) = Log::open(directory, options, &mut |_, payload| {
            visited.push(payload.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(visited, expected);
        for payload in payloads_ {
            log.append(payload).unwrap();
            log.sync().unwrap();
            expected.push(payload.clone());
        }
    }
    let directory = Arc::new(Directory::open(parent.path()).unwrap());
    let (mut log, _) = Log::open(directory, LogOptions { segment_bytes: 500 }, &mut |_, _| Ok(())).unwrap();
    log.remove_oldest().unwrap();
}

#[test]
fn a_survey_finds_all_that_is_lost_and_all_that_is_not() {
    let survey = |disk: &Disk| {
        let mut visited = Vec::new();
        let survey = Log::survey(Arc::new(disk.clone()), &mut |_, payload| {
            visited.push(payload[0]);
            Ok(())
        });
        (survey.unwrap(), visited)
    };
    let break_frame = |disk: &Disk, name: &str, index: usize| {
        let mut bytes = disk.bytes(name).unwrap();
        bytes[HEADER_BYTES + index * FRAME_BYTES + 50] ^= 1;
        disk.put(name, bytes);
    };
    // Frames 0, 1, 2; 3, 4, 5; and so on.
    let (disk, _) = written(15, 1, 300);
    let (found, visited) = survey(&disk);
    assert_eq!(visited, (0..15).collect::<Vec<_>>());
    assert!(found.lost.is_empty() && found.cuts.is_empty());
    assert_eq!((found.frames, found.segments.len()), (15, 5));
    break_frame(&disk, FIRST, 1);
    break_frame(&disk, "0000000002.log", 2);
    disk.remove("0000000003.log").unwrap();
    break_frame(&disk, "0000000005.log", 0);
    break_frame(&disk, "0000000005.log", 2);
    let before: Vec<_> = disk.list().unwrap().iter().map(|name| disk.bytes(name)).collect();
    let (found, visited) = survey(&disk);
    assert_eq!(visited, [0, 2, 3, 4, 9, 10, 11, 13]);
    let lost: Vec<_> = found.lost.iter().map(|defect| (defect.file.as_str(), defect.offset)).collect();
    assert_eq!(lost, [(FIRST, 156), ("0000000002.log", 280), ("0000000005.log", 32)]);
    assert_eq!(found.cuts.len(), 1);
    assert_eq!(before, disk.list().unwrap().iter().map(|name| disk.bytes(name)).collect::<Vec<_>>());
    let (disk, _) = written(6, 1, 300);
    let bytes = disk.bytes("0000000002.log").unwrap();
    disk.put("0000000002.log", [&[0; HEADER_BYTES], &bytes[HEADER_BYTES..]].concat());
    let (found, visited) = survey(&disk);
    assert_eq!((visited, found.lost.len()), (vec![0, 1, 2], 1));
}

/// Who uses a log, and knows what must be found again.
struct User {
    disk: Disk,
    log: Log,
    random: Rng,
    segment_bytes: u32,
    /// What was last appended under a number, and where.
    frames: BTreeMap<u64, (Place, Vec<u8>)>,
    /// All up to this number must survive.
    stored: u64,
    /// From this number on.
    needed: u64,
}

impl User {
    fn new(seed: u64, segment_bytes: u32) -> Self {
        let disk = Disk::new(seed);
        let (log, ..) = open(&disk, segment_bytes).unwrap();
        let random = Rng::with_seed(seed);
        Self { disk, log, random, segment_bytes, frames: BTreeMap::new(), stored: 0, needed: 1 }
    }

    /// Appends a frame, the same again after an error.
    fn append(&mut self) -> Result<(), WriteError> {
        let number = self.log.next_frame();
        let payload = match self.frames.get(&number) {
            Some((_, payload)) => payload.clone(),
            None => (0..self.random.usize(..80)).map(|_| self.random.u8(..)).collect(),
        };
        let appended = self.log.append(&payload);
        self.learn();
        // Some of it may be on the disk in any case, but with another number there is no trace.
        let place = Place { segment: 0, offset: 0, length: 0 };
        if number == self.log.next_frame() || appended.is_ok() {
            self.frames.insert(number, (*appended.as_ref().unwrap_or(&place), payload));
        }
        appended.map(drop)
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        let synced = self.log.sync();
        self.learn();
        synced
    }

    fn remove_oldest(&mut self) -> Result<(), WriteError> {
        let oldest = self.log.oldest();
        let removed = self.log.remove_oldest();
        self.learn();
        let of_it = |(_, (place, _)): &(&u64, &(Place, Vec<u8>))| Some(place.segment) == oldest;
        let last = self.frames.iter().filter(of_it).map(|(number, _)| *number).max();
        self.needed = self.needed.max(last.map_or(0, |last| (last + 1).min(self.stored + 1)));
        removed
    }

    fn learn(&mut self) {
        assert!(self.log.first_unsynced() > self.stored, "what was stored is not any more");
        assert!(self.log.first_unsynced() <= self.log.next_frame());
        self.stored = self.log.first_unsynced() - 1;
    }

    /// Some steps, some of which may fail.
    fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            _ = match self.random.u8(..14) {
                0 => self.remove_oldest(),
                1..5 => self.sync(),
                12 => {
                    self.log.make_room();
                    Ok(())
                }
                13 => {
                    self.log.give_room_back();
                    Ok(())
                }
                _ => self.append(),
            };
            if let Some((place, payload)) = self.frames.get(&self.stored)
                && self.stored >= self.needed
            {
                assert_eq!(&self.log.read(*place).unwrap(), payload);
            }
        }
    }

    /// Opens the log on another disk, and looks whether everything is there.
    fn reopen(&mut self, disk: Disk) -> Result<Vec<Cut>, String> {
        let (log, cuts, visited) = open(&disk, self.segment_bytes).map_err(|error| error.to_string())?;
        let next = log.next_frame();
        let first = next - visited.len() as u64;
        // Whatever is there is safe from now on.
        if log.first_unsynced() != next {
            return Err("what was found is not stored".to_owned());
        }
        if !visited.is_empty() && first > self.needed || next <= self.stored {
            return Err(format!("found {first}..{next} of {}..={}", self.needed, self.stored));
        }
        for (number, (place, payload)) in (first..).zip(&visited) {
            let expected = self.frames.get(&number).map(|(_, payload)| payload);
            if Some(payload) != expected {
                return Err(format!("frame {number} is {payload:?} rather than {expected:?}"));
            }
            if &log.read(*place).map_err(|error| error.to_string())? != payload {
                return Err(format!("frame {number} is not where it was said to be"));
            }
        }
        let on_disk: u64 =
            disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len() as u64).sum();
        if log.total_bytes() != on_disk {
            return Err(format!("{} bytes are {on_disk}", log.total_bytes()));
        }
        self.frames = (first..).zip(visited).collect();
        self.stored = next - 1;
        self.log = log;
        self.disk = disk;
        Ok(cuts)
    }
}

/// Lives of a log that end in power cuts or kills, while the disk fails now and then.
fn lives(seed: u64, ignored: Option<SyncKind>) -> Result<(), String> {
    let mut random = Rng::with_seed(seed);
    let mut user = User::new(seed, random.u32(32..600));
    if let Some(kind) = ignored {
        user.disk.ignore(kind);
    }
    for _ in 0..4 {
        for _ in 0..3 {
            let failure = *random.choice(&[Failure::Full, Failure::ReadOnly, Failure::Broken]).unwrap();
            if random.bool() {
                user.disk.fail(failure, user.disk.operations() + random.u64(..30), random.u64(1..10));
            }
            user.work(random.usize(..25));
        }
        // Opening fails now and then too, and then is tried again.
        let mut disk = if random.u8(..4) == 0 {
            user.disk.after_kill()
        } else {
            user.disk.after_power_cut(random.u64(..))
        };
        if random.bool() {
            disk.fail(Failure::Broken, disk.operations() + random.u64(..8), random.u64(1..4));
            if let Err(OpenError::Io { .. }) = open(&disk, user.segment_bytes).map(drop) {
                disk = if random.bool() { disk.after_kill() } else { disk.after_power_cut(random.u64(..)) };
            }
        }
        disk.heal();
        user.reopen(disk)?;
    }
    Ok(())
}

/// So many seeds, or as many as `SOL_ROUNDS` says.
fn seeds() -> std::ops::Range<u64> {
    let rounds = std::env::var("SOL_ROUNDS").ok().map_or(2000, |rounds| rounds.parse().unwrap());
    let first = std::env::var("SOL_SEED").ok().map(|seed| seed.parse().unwrap());
    first.map_or(0..rounds, |first| first..first + rounds)
}

#[test]
fn what_was_stored_survives_whatever_happens() {
    for seed in seeds() {
        if let Err(what) = lives(seed, None) {
            panic!("{what} (again: SOL_ROUNDS=1 SOL_SEED={seed})");
        }
    }
}

fn is_needed(kind: SyncKind) {
    let failed = seeds().filter_map(|seed| lives(seed, Some(kind)).err()).next();
    println!("without syncs of {kind:?}: {}", failed.expect("something is lost"));
}

#[test]
fn the_sync_of_data_is_needed() {
    is_needed(SyncKind::Data);
}

#[test]
fn the_sync_of_a_header_is_needed() {
    is_needed(SyncKind::Header);
}

#[test]
fn the_sync_of_names_that_come_is_needed() {
    is_needed(SyncKind::Created);
}

#[test]
fn the_sync_of_names_that_go_is_needed() {
    is_needed(SyncKind::Removed);
}

/// The same steps with a failure at each operation, for different times.
#[test]
fn every_operation_may_fail() {
    let steps = |user: &mut User| {
        for step in 0..30 {
            // As who must store it: again until it is.
            let mut attempts = 0;
            let target = user.log.next_frame();
            while user.stored < target {
                let done = if user.log.next_frame() <= target { user.append() } else { user.sync() };
                attempts += usize::from(done.is_err());
                assert!(attempts < 40, "it does not recover");
            }
            if step % 10 == 9 {
                while user.remove_oldest().is_err() {}
            }
        }
    };
    let mut user = User::new(1, 200);
    let before = user.disk.operations();
    steps(&mut user);
    let all = before..user.disk.operations();
    assert!(all.end - all.start > 100);
    for failure in [Failure::Full, Failure::ReadOnly, Failure::Broken] {
        for operation in all.clone() {
            for count in [1, 2, 3, 7] {
                let mut user = User::new(1, 200);
                user.disk.fail(failure, operation, count);
                steps(&mut user);
                assert_eq!(user.stored, 30);
                let disk = user.disk.after_power_cut(operation);
                user.reopen(disk)
                    .unwrap_or_else(|what| panic!("{failure:?} {count} from {operation} on: {what}"));
            }
        }
    }
}

/// What a sync failed for is written again, and the copy counts: the first one may be in memory only.
#[test]
fn a_frame_whose_sync_failed_is_taken_from_where_it_was_repeated() {
    let (disk, _) = written(2, 1, 1000);
    let (mut log, ..) = open(&disk, 1000).unwrap();
    log.append(b"third").unwrap();
    disk.fail(Failure::Broken, disk.operations(), 1);
    log.sync().unwrap_err();
    assert_eq!(log.next_frame(), 3);
    // The system shows it as if nothing were wrong, and the process ends.
    let disk = disk.after_kill();
    let (log, _, visited) = open(&disk, 1000).unwrap();
    assert_eq!(visited.len(), 3);
    assert_eq!(visited[2].1, b"third");
    assert_eq!(log.first_unsynced(), 4);
    for seed in 0..200 {
        let (_, _, visited) = open(&disk.after_power_cut(seed), 1000).unwrap();
        assert_eq!(visited[2].1, b"third");
    }
}

proptest! {
    #[test]
    fn any_frames_are_found_again(
        payloads_ in vec(vec(any::<u8>(), 0..200), 0..40),
        syncs in vec(any::<bool>(), 40),
        segment_bytes in 1_u32..1000,
    ) {
        let disk = Disk::new(0);
        let (mut log, ..) = open(&disk, segment_bytes).unwrap();
        for (payload, sync) in payloads_.iter().zip(syncs) {
            let place = log.append(payload).unwrap();
            if sync {
                log.sync().unwrap();
            }
            prop_assert_eq!(&log.read(place).unwrap(), payload);
        }
        let mut read = Vec::new();
        for (segment, _) in log.segments() {
            let mut from = 0;
            while let Some((_, payload, next)) = log.frames_of(segment, from).unwrap() {
                read.push(payload);
                from = next;
            }
        }
        prop_assert_eq!(&read, &payloads_);
        let (_, cuts, visited) = open(&disk.after_kill(), segment_bytes).unwrap();
        prop_assert!(cuts.is_empty());
        prop_assert_eq!(payloads(visited), payloads_);
    }

    #[test]
    fn nothing_that_is_in_the_files_makes_it_panic(
        files in vec((1_u32..5, vec(any::<u8>(), 0..300), any::<bool>(), 1_u64..4), 0..4),
    ) {
        let disk = Disk::new(0);
        for (number, rest, has_header, first) in files {
            let header = Header { version: VERSION, segment: number, first, salt: 0 };
            let mut bytes = if has_header { header.encode() } else { Vec::new() };
            bytes.extend(rest);
            disk.put(&name(number), bytes);
        }
        _ = open(&disk, 100);
    }
}
