//! A disk in memory that fails and forgets, for tests.
//!
//! It keeps apart what programs see and what is on stable storage. [`Disk::after_power_cut`] gives a disk as it may be found
//! afterwards: whatever was not synced is there, or in part, or there is something else, as a seed decides; so one state
//! can be looked at under many seeds. Files hold what they want beyond what was synced, in blocks that came through or did
//! not; names that were made or removed since the last sync did so or did not, each by itself. After a sync that failed
//! the bytes it was for look fine and may be lost for good, and later syncs say nothing of it, as on Linux.
//!
//! ```
//! use sol::store::files::{Files, simulated::Disk};
//!
//! let disk = Disk::new(1);
//! let file = disk.create("a").unwrap();
//! file.append(b"safe").unwrap();
//! file.sync().unwrap();
//! disk.sync().unwrap();
//! file.append(b"not").unwrap();
//! let then = disk.after_power_cut(2);
//! let mut bytes = [0; 4];
//! then.open("a").unwrap().read_exact_at(0, &mut bytes).unwrap();
//! assert_eq!(&bytes, b"safe");
//! ```

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;

use super::{File, Files};

/// A disk; its clones are the same one.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

/// What may be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing can be added; what there is can be removed and synced.
    Full,
    /// Nothing can be changed.
    ReadOnly,
    /// Nothing can be changed or synced, and what is synced meanwhile is lost.
    Broken,
}

/// A sync by its purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncKind {
    /// The first of a file.
    Header,
    /// Any other of a file.
    Data,
    /// Of names that were made.
    Created,
    /// Of names that were removed.
    Removed,
}

#[derive(Clone)]
struct State {
    random: Rng,
    /// All that ever were.
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    stable_names: BTreeMap<String, usize>,
    unsynced: Vec<Change>,
    /// Changes and syncs asked for so far.
    operations: u64,
    failing: Option<(Failure, Range<u64>)>,
    ignored: Vec<SyncKind>,
}

/// A change of the names.
#[derive(Clone)]
enum Change {
    Create(String, usize),
    Remove(String),
}

impl Change {
    fn kind(&self) -> SyncKind {
        match self {
            Self::Create(..) => SyncKind::Created,
            Self::Remove(_) => SyncKind::Removed,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => _ = names.insert(name.clone(), *inode),
            Self::Remove(name) => _ = names.remove(name),
        }
    }
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    /// So many of them were appended. Behind are zeros, which are the room for more.
    end: usize,
    /// So many of these are on stable storage.
    synced: usize,
    /// The file is so long on stable storage; if it was cut since, it may be.
    stable_len: usize,
    is_cut: bool,
    /// Those on stable storage behind them that were cut off since.
    cut: Vec<u8>,
    /// What a sync failed for.
    lost: Vec<Range<usize>>,
    was_synced: bool,
}

impl Inode {
    /// As it may be found after a power cut.
    fn surviving(&self, random: &mut Rng) -> Self {
        let mut bytes = self.bytes.get(..self.end).unwrap_or_default().to_vec();
        let unsynced = bytes.len() - self.synced;
        if !self.cut.is_empty() && (unsynced == 0 || random.bool()) {
            bytes.truncate(self.synced);
            bytes.extend(self.cut.get(..random.usize(..=self.cut.len())).unwrap_or_default());
        } else {
            let len = match random.u8(..3) {
                0 => self.synced,
                1 => bytes.len(),
                _ => self.synced + random.usize(..=unsynced),
            };
            bytes.truncate(len);
            spoil(bytes.get_mut(self.synced..).unwrap_or_default(), random);
        }
        for lost in &self.lost {
            let end = lost.end.min(bytes.len());
            spoil(bytes.get_mut(lost.start..end).unwrap_or_default(), random);
        }
        if self.cut.is_empty() && !(self.is_cut && random.bool()) {
            bytes.resize(bytes.len().max(self.stable_len), 0);
        }
        Self::stable(bytes)
    }

    fn stable(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self { bytes, end: len, synced: len, stable_len: len, was_synced: true, ..Self::default() }
    }

    fn append(&mut self, bytes: &[u8]) {
        let (over, behind) = bytes.split_at(bytes.len().min(self.bytes.len() - self.end));
        if let Some(room) = self.bytes.get_mut(self.end..self.end + over.len()) {
            room.copy_from_slice(over);
        }
        self.bytes.extend(behind);
        self.end += bytes.len();
    }
}

/// Puts zeros or anything into some of the blocks; into none of them often enough.
fn spoil(bytes: &mut [u8], random: &mut Rng) {
    if random.bool() {
        return;
    }
    let block = *random.choice(&[1, 16, 512, 4096]).unwrap_or(&1);
    let share = random.f64();
    for block in bytes.chunks_mut(block) {
        if random.f64() < share {
            match random.bool() {
                true => block.fill(0),
                false => random.fill(block),
            }
        }
    }
}

impl Disk {
    /// An empty one. What it leaves of appends that fail depends on the seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Rng::with_seed(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            stable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            operations: 0,
            failing: None,
            ignored: Vec::new(),
        })))
    }

    /// Another disk, as this one may be found if the power failed now. Nothing fails there.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let state = self.0.lock();
        let mut names = state.stable_names.clone();
        let all = random.u8(..3);
        for change in &state.unsynced {
            if all == 0 || all == 1 && random.bool() {
                change.apply(&mut names);
            }
        }
        let inodes = state.inodes.iter().map(|inode| inode.surviving(&mut random)).collect();
        Self(Arc::new(Mutex::new(State {
            random,
            inodes,
            stable_names: names.clone(),
            names,
            unsynced: Vec::new(),
            operations: 0,
            failing: None,
            ignored: state.ignored.clone(),
        })))
    }

    /// Another disk, as a next process finds this one now: nothing is forgotten, and what is not synced is not. What the
    /// process before still does, does not reach it.
    pub fn after_kill(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// Changes and syncs that were asked for so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Makes so many operations fail, from `first` on as [`Disk::operations`] counts.
    pub fn fail(&self, failure: Failure, first: u64, count: u64) {
        self.0.lock().failing = Some((failure, first..first.saturating_add(count)));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.0.lock().failing = None;
    }

    /// Such syncs return well and do nothing from now on.
    pub fn ignore(&self, kind: SyncKind) {
        self.0.lock().ignored.push(kind);
    }

    /// The bytes of a file; none if there is no such file.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.0.lock();
        state.inodes.get(*state.names.get(name)?).map(|inode| inode.bytes.clone())
    }

    /// Puts a file there, on stable storage, instead of what was there.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let inode = state.inodes.len();
        state.inodes.push(Inode::stable(bytes));
        state.names.insert(name.to_owned(), inode);
        state.stable_names.insert(name.to_owned(), inode);
    }
}

impl State {
    /// Counts an operation, and tells whether it fails.
    fn failure(&mut self) -> Option<Failure> {
        let operation = self.operations;
        self.operations += 1;
        self.failing
            .as_ref()
            .filter(|(_, operations)| operations.contains(&operation))
            .map(|(failure, _)| *failure)
    }

    fn fails(&mut self, when: &[Failure]) -> io::Result<()> {
        match self.failure() {
            Some(failure) if when.contains(&failure) => Err(error(failure)),
            _ => Ok(()),
        }
    }

    fn inode(&mut self, index: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(index).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn error(failure: Failure) -> io::Error {
    match failure {
        Failure::Full => io::ErrorKind::StorageFull.into(),
        Failure::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
        Failure::Broken => io::Error::other("simulated input/output error"),
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock();
        state.fails(&[Failure::Full, Failure::ReadOnly, Failure::Broken])?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        let change = Change::Create(name.to_owned(), inode);
        change.apply(&mut state.names);
        state.unsynced.push(change);
        Ok(Box::new(DiskFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        match self.0.lock().names.get(name) {
            Some(inode) => Ok(Box::new(DiskFile { disk: self.clone(), inode: *inode })),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.fails(&[Failure::ReadOnly, Failure::Broken])?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.fails(&[Failure::Broken])?;
        let State { stable_names, unsynced, ignored, .. } = &mut *state;
        unsynced.retain(|change| {
            let is_ignored = ignored.contains(&change.kind());
            if !is_ignored {
                change.apply(stable_names);
            }
            is_ignored
        });
        Ok(())
    }
}

struct DiskFile {
    disk: Disk,
    inode: usize,
}

impl File for DiskFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inode(self.inode)?.bytes.len() as u64)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let failure = state.failure();
        let written = match failure {
            None => bytes.len(),
            Some(Failure::ReadOnly) => 0,
            Some(Failure::Full | Failure::Broken) => state.random.usize(..=bytes.len()),
        };
        state.inode(self.inode)?.append(bytes.get(..written).unwrap_or_default());
        failure.map_or(Ok(()), |failure| Err(error(failure)))
    }

    fn make_room(&self, bytes: u32) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let failure = state.failure();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let made = match failure {
            None => bytes,
            Some(Failure::ReadOnly) => 0,
            Some(Failure::Full | Failure::Broken) => state.random.usize(..=bytes),
        };
        let is_ignored = state.ignored.contains(&SyncKind::Data);
        let inode = state.inode(self.inode)?;
        let len = inode.bytes.len().max(inode.end + made);
        inode.bytes.resize(len, 0);
        if failure.is_none() && !is_ignored {
            inode.stable_len = len;
        }
        failure.map_or(Ok(()), |failure| Err(error(failure)))
    }

    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let all = &state.inode(self.inode)?.bytes;
        let from = usize::try_from(offset).ok().and_then(|offset| all.get(offset..)?.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.fails(&[Failure::ReadOnly, Failure::Broken])?;
        let inode = state.inode(self.inode)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(inode.bytes.len());
        if len < inode.synced {
            let cut = inode.bytes.get(len..inode.synced).unwrap_or_default();
            inode.cut.splice(..0, cut.iter().copied());
            inode.synced = len;
        }
        inode.bytes.truncate(len);
        inode.end = inode.end.min(len);
        inode.is_cut = true;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let failed = state.fails(&[Failure::Broken]);
        let ignored = state.ignored.clone();
        let inode = state.inode(self.inode)?;
        let kind = if inode.was_synced { SyncKind::Data } else { SyncKind::Header };
        inode.was_synced = true;
        if failed.is_ok() && ignored.contains(&kind) {
            return Ok(());
        }
        if failed.is_err() {
            inode.lost.push(inode.synced..inode.end);
        }
        inode.synced = inode.end;
        inode.stable_len = inode.bytes.len();
        inode.is_cut = false;
        inode.cut.clear();
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file `a` may hold after a power cut, for many seeds; none where it is gone.
    fn survivors(disk: &Disk) -> Vec<Option<Vec<u8>>> {
        (0..200).map(|seed| disk.after_power_cut(seed).bytes("a")).collect()
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may() {
        let disk = Disk::new(0);
        let file = disk.create("a").unwrap();
        assert!(survivors(&disk).contains(&None));
        disk.sync().unwrap();
        file.append(b"synced").unwrap();
        file.sync().unwrap();
        file.append(b"more").unwrap();
        let found = survivors(&disk);
        assert!(found.iter().all(|found| found.as_ref().is_some_and(|bytes| bytes.starts_with(b"synced"))));
        for expected in [b"synced".as_slice(), b"syncedmore", b"syncedmo", b"synced\0\0\0\0"] {
            assert!(found.contains(&Some(expected.to_vec())), "{expected:?}");
        }
        assert_eq!(disk.bytes("a").unwrap(), b"syncedmore");
        assert_eq!(disk.after_kill().bytes("a").unwrap(), b"syncedmore");
    }

    #[test]
    fn what_a_failed_sync_was_for_may_be_lost_whatever_later_ones_say() {
        let disk = Disk::new(0);
        let file = disk.create("a").unwrap();
        disk.sync().unwrap();
        file.append(b"one").unwrap();
        disk.fail(Failure::Broken, disk.operations(), 1);
        file.sync().unwrap_err();
        file.sync().unwrap();
        file.append(b"two").unwrap();
        file.sync().unwrap();
        let found = survivors(&disk);
        assert!(found.iter().all(|found| found.as_ref().is_some_and(|bytes| bytes.ends_with(b"two"))));
        assert!(found.contains(&Some(b"\0\0\0two".to_vec())));
        assert!(found.contains(&Some(b"onetwo".to_vec())));
    }

    #[test]
    fn names_come_and_go_with_the_sync_of_the_directory() {
        let disk = Disk::new(0);
        disk.put("a", b"old".to_vec());
        disk.remove("a").unwrap();
        assert_eq!(disk.bytes("a"), None);
        let found = survivors(&disk);
        assert!(found.contains(&None) && found.contains(&Some(b"old".to_vec())));
        disk.sync().unwrap();
        assert!(survivors(&disk).iter().all(Option::is_none));
    }

    #[test]
    fn a_cut_may_be_undone_until_it_is_synced() {
        let disk = Disk::new(0);
        disk.put("a", b"old".to_vec());
        let file = disk.open("a").unwrap();
        file.truncate(1).unwrap();
        let found = survivors(&disk);
        assert!(found.contains(&Some(b"o".to_vec())) && found.contains(&Some(b"old".to_vec())));
        file.sync().unwrap();
        assert!(survivors(&disk).iter().all(|found| found.as_deref() == Some(b"o")));
    }

    #[test]
    fn room_is_written_over() {
        let disk = Disk::new(0);
        let file = disk.create("a").unwrap();
        disk.sync().unwrap();
        file.append(b"one").unwrap();
        file.sync().unwrap();
        file.make_room(4).unwrap();
        file.append(b"two").unwrap();
        assert_eq!((disk.bytes("a").unwrap().as_slice(), file.bytes().unwrap()), (b"onetwo\0".as_slice(), 7));
        let found = survivors(&disk);
        for expected in [b"one\0\0\0\0", b"onetwo\0", b"onetw\0\0"] {
            assert!(found.contains(&Some(expected.to_vec())), "{expected:?}");
        }
        assert!(found.iter().flatten().all(|bytes| bytes.starts_with(b"one") && bytes.len() == 7));
        file.sync().unwrap();
        file.append(b"three").unwrap();
        assert_eq!(disk.bytes("a").unwrap(), b"onetwothree");
        assert!(survivors(&disk).iter().flatten().all(|bytes| bytes.starts_with(b"onetwo")));
        file.truncate(3).unwrap();
        assert!(survivors(&disk).contains(&Some(b"one".to_vec())));
    }

    #[test]
    fn it_fails_when_it_is_told_to() {
        let disk = Disk::new(0);
        let file = disk.create("a").unwrap();
        for (failure, kind) in [
            (Failure::Full, io::ErrorKind::StorageFull),
            (Failure::ReadOnly, io::ErrorKind::ReadOnlyFilesystem),
            (Failure::Broken, io::ErrorKind::Other),
        ] {
            disk.fail(failure, disk.operations() + 1, u64::MAX);
            file.append(b"x").unwrap();
            assert_eq!(file.append(b"y").unwrap_err().kind(), kind);
            assert_eq!(disk.create("b").err().unwrap().kind(), kind);
            assert_eq!(file.sync().is_err(), failure == Failure::Broken);
            assert!(disk.remove("c").is_err());
            disk.heal();
            file.append(b"z").unwrap();
        }
    }
}
