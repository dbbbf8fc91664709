//! Frames in files, one behind the other: the bytes of the store.
//!
//! Frames are numbered without gaps over the life of the store. They stand in segments, files that grow up to a size;
//! only the oldest one is ever removed. What is true at every moment, whatever fails:
//!
//! - A frame is on stable storage if [`Log::sync`] returned well after it was appended. Its segment's header and name
//!   were there before its first frame was written.
//! - When an append or a sync failed, it is not known what of that file's end is on the disk, nor does the system tell
//!   later: what it still shows may be in memory only. So nothing is ever added there. The log goes on in a new segment,
//!   which repeats the numbers that were not synced, and whose frames take the place of those before.
//! - Behind the last frame of the segment that is written there may be zeros, which are room for the next ones. What
//!   they do not go over at the end is no frame that was torn.
//! - A segment begins only when all frames before its first are on stable storage, and each frame says up to which number
//!   that was so when it was written. So a broken frame at the end, which is cut, is told from a broken one that had been
//!   stored, which is an error.

mod error;
mod format;
mod recover;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::{File, Files};
pub use error::{CorruptPayload, Cut, Defect, OpenError, ReadError, WriteError};
use format::{FRAME, Found, Frame, HEADER, Header, VERSION, name, read_frame};
use recover::Recovery;

/// The longest payload of a frame.
pub const MAX_PAYLOAD_BYTES: u32 = 1 << 30;

/// The largest that a segment may be before its last frame, so that both together have 32-bit offsets.
const MAX_SEGMENT_BYTES: u32 = 1 << 31;

/// The first room that is made in a segment; each further one is twice as large, up to the largest.
const MIN_ROOM_BYTES: u32 = 128 << 10;
const MAX_ROOM_BYTES: u32 = 4 << 20;

/// Files that are kept open for reading.
const MAX_OPEN: usize = 8;

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// The frame's first byte in it.
    pub offset: u32,
    /// Bytes of its payload.
    pub length: u32,
}

impl Place {
    /// The offset behind it.
    fn end(self) -> u32 {
        self.offset.saturating_add(FRAME).saturating_add(self.length)
    }
}

/// Is called with the place and the payload of a frame.
pub type Visit<'a> = dyn FnMut(Place, &[u8]) -> Result<(), CorruptPayload> + 'a;

/// How a log is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// A new segment begins when one is at least so long; at most 2 GiB.
    pub segment_bytes: u32,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 32 << 20 }
    }
}

/// Frames in segments. Whatever is appended after an error must begin with the frame [`Log::next_frame`].
pub struct Log {
    files: Arc<dyn Files>,
    segment_bytes: u32,
    /// By number; the last is the one that is written.
    segments: VecDeque<Segment>,
    tail: Tail,
    /// The number of the next frame.
    next: u64,
    /// All frames up to this number are on stable storage.
    synced: u64,
    next_segment: u32,
    /// Frames that were to be written again when it was opened.
    unwritten: Vec<(Place, Vec<u8>)>,
    /// A segment was removed, and may come back.
    has_unsynced_removal: bool,
    open: Mutex<VecDeque<(u32, Arc<dyn File>)>>,
}

/// All that is in the files of a log.
#[derive(Debug, Default)]
pub struct Survey {
    /// Numbers of segments, and their bytes.
    pub segments: Vec<(u32, u64)>,
    /// Good frames.
    pub frames: u64,
    /// What would be cut off when the log is opened.
    pub cuts: Vec<Cut>,
    /// What had been stored and is lost. The log does not open unless there is none.
    pub lost: Vec<Defect>,
}

/// A file of frames.
struct Segment {
    number: u32,
    salt: u32,
    /// The offset behind its last good frame.
    end: u32,
    /// As long its file is.
    bytes: u64,
    /// How much room is made next in it; none if there is no more to be made.
    next_room: u32,
}

/// The end of the segment that is written.
enum Tail {
    /// There is none, or it is left alone.
    Closed,
    /// More can be added.
    Good(Box<dyn File>),
    /// Adding something failed; what was there before may still be synced.
    Torn(Box<dyn File>),
}

impl Log {
    /// Opens what is there, or begins, and calls `visit` for each good frame, in order. What was not stored as a whole at
    /// the end is cut off. Frames at the end of which it is not known that they are on stable storage are written again,
    /// for the system may show what it failed to store; if the disk is full, that is left to whoever opens it: see
    /// [`Log::take_unwritten`].
    ///
    /// # Errors
    ///
    /// The system's, and if anything is missing that had been stored, or `visit` does not understand it.
    pub fn open(
        files: Arc<dyn Files>,
        options: LogOptions,
        visit: &mut Visit<'_>,
    ) -> Result<(Self, Vec<Cut>), OpenError> {
        Recovery::run(files, options, visit)
    }

    /// The frames from [`Log::first_unsynced`] on, if the disk was too full to write them again, and where they stand: from
    /// [`Log::next_frame`] on they are to be appended, before any others.
    pub fn take_unwritten(&mut self) -> Vec<(Place, Vec<u8>)> {
        mem::take(&mut self.unwritten)
    }

    /// Looks at all that is there, beyond what is lost too, and calls `visit` for each good frame, in order. Nothing is
    /// changed.
    ///
    /// # Errors
    ///
    /// The system's, and if a later version wrote it.
    pub fn survey(files: Arc<dyn Files>, visit: &mut Visit<'_>) -> Result<Survey, OpenError> {
        Recovery::survey(files, visit)
    }

    /// Writes one frame, which is not yet synced. It may first sync those before, to begin a new segment.
    ///
    /// # Errors
    ///
    /// The system's. The next frame must then be the one that [`Log::next_frame`] names: mostly this one again, but if
    /// earlier ones turned out to be lost, the first of those.
    pub fn append(&mut self, payload: &[u8]) -> Result<Place, WriteError> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= MAX_PAYLOAD_BYTES);
        let length = length.ok_or(WriteError::TooLong { bytes: payload.len() })?;
        let segment_bytes = self.segment_bytes;
        let is_full = |segment: &Segment| segment.end >= segment_bytes;
        if !matches!(self.tail, Tail::Good(_)) || self.segments.back().is_none_or(is_full) {
            self.begin_segment()?;
        }
        let (Tail::Good(file), Some(segment)) = (&self.tail, self.segments.back_mut()) else {
            // A segment that has begun is both.
            return Err(WriteError::Io {
                file: String::new(),
                action: "written",
                source: io::Error::other("no segment"),
            });
        };
        let place = Place { segment: segment.number, offset: segment.end, length };
        let frame = Frame::new(segment.salt, self.next, self.synced, length, payload);
        match file.append(&frame.encode()).and_then(|()| file.append(payload)) {
            Ok(()) => {
                segment.end = place.end();
                segment.bytes = segment.bytes.max(u64::from(segment.end));
                self.next += 1;
                Ok(place)
            }
            Err(source) => {
                segment.bytes = file.bytes().unwrap_or(u64::from(segment.end));
                if let Tail::Good(file) = mem::replace(&mut self.tail, Tail::Closed) {
                    self.tail = Tail::Torn(file);
                }
                Err(WriteError::Io { file: name(place.segment), action: "written", source })
            }
        }
    }

    /// Waits until all frames so far are on stable storage.
    ///
    /// # Errors
    ///
    /// The system's. All frames that were not synced must then be appended again, from the one that [`Log::next_frame`]
    /// now names.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        if self.synced + 1 == self.next {
            return Ok(());
        }
        let synced = match &self.tail {
            Tail::Good(file) | Tail::Torn(file) => file.sync(),
            // Frames that are not synced stand in an open segment.
            Tail::Closed => Err(io::Error::other("no segment")),
        };
        match synced {
            Ok(()) => {
                self.synced = self.next - 1;
                Ok(())
            }
            Err(source) => {
                self.tail = Tail::Closed;
                self.next = self.synced + 1;
                let file = self.segments.back().map_or_else(String::new, |segment| name(segment.number));
                Err(WriteError::Io { file, action: "synced", source })
            }
        }
    }

    /// Makes room for the next frames where there is little left, so that they are sooner synced. To be called when
    /// nobody waits for a sync and all are; it does no harm if it fails.
    pub fn make_room(&mut self) {
        let (Tail::Good(file), Some(segment)) = (&self.tail, self.segments.back_mut()) else { return };
        let left = segment.bytes.saturating_sub(u64::from(segment.end));
        // What is behind the segment's size may never be used.
        let room = segment.next_room.min(self.segment_bytes.saturating_sub(segment.end));
        if self.synced + 1 != self.next || left >= u64::from(room / 2) {
            return;
        }
        match file.make_room(room) {
            Ok(()) => {
                segment.bytes = segment.bytes.max(u64::from(segment.end) + u64::from(room));
                segment.next_room = room.saturating_mul(2).min(MAX_ROOM_BYTES);
            }
            Err(error) => {
                segment.bytes = file.bytes().unwrap_or(segment.bytes);
                segment.next_room = 0;
                // What becomes of a full file's end is known.
                if error.kind() != io::ErrorKind::StorageFull {
                    self.tail = Tail::Closed;
                }
            }
        }
    }

    /// Gives back what room is left.
    pub fn give_room_back(&mut self) {
        if let (Tail::Good(file), Some(segment)) = (&self.tail, self.segments.back_mut())
            && segment.bytes > u64::from(segment.end)
            && file.truncate(u64::from(segment.end)).is_ok()
        {
            segment.bytes = u64::from(segment.end);
        }
    }

    /// The number that the next frame will have, from 1 on. After an error it may be less than before: the frames from it on are
    /// to be appended again.
    pub fn next_frame(&self) -> u64 {
        self.next
    }

    /// The number of the first frame that may not be on stable storage: [`Log::next_frame`] if all are.
    pub fn first_unsynced(&self) -> u64 {
        self.synced + 1
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    ///
    /// The system's, and if it is not the frame that was written there.
    pub fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        let mut payload = Vec::new();
        let found = self.read_at(place.segment, place.offset, place.end(), &mut payload)?;
        if found == place {
            Ok(payload)
        } else {
            Err(corrupt(place.segment, place.offset, "the frame there has another length"))
        }
    }

    /// Bytes of all segments.
    pub fn total_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The segments with their bytes, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = (u32, u64)> {
        self.segments.iter().map(|segment| (segment.number, segment.bytes))
    }

    /// The oldest segment; none if that is the one being written.
    pub fn oldest(&self) -> Option<u32> {
        self.segments.front().filter(|_| self.segments.len() > 1).map(|segment| segment.number)
    }

    /// The frame at `from` of a segment, 0 for its first, and the offset behind it; none at the end. A frame that a later
    /// segment repeats comes too.
    ///
    /// # Errors
    ///
    /// As [`Log::read`].
    pub fn frames_of(&self, segment: u32, from: u32) -> Result<Option<(Place, Vec<u8>, u32)>, ReadError> {
        let offset = from.max(HEADER);
        match self.segment(segment) {
            Some(found) if offset < found.end => {
                let mut payload = Vec::new();
                let place = self.read_at(segment, offset, found.end, &mut payload)?;
                Ok(Some((place, payload, place.end())))
            }
            _ => Ok(None),
        }
    }

    /// Removes the oldest segment, if it is not the one being written, for good; before that it syncs what was appended,
    /// which may be copied from there.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`], or the system's. It may be gone then or not: [`Log::oldest`] tells what is to be removed next.
    pub fn remove_oldest(&mut self) -> Result<(), WriteError> {
        self.sync()?;
        self.sync_removals()?;
        let Some(segment) = self.oldest() else {
            return Ok(());
        };
        self.open.get_mut().retain(|(number, _)| *number != segment);
        let file = name(segment);
        match self.files.remove(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(WriteError::Io { file, action: "removed", source }),
        }
        self.segments.pop_front();
        self.has_unsynced_removal = true;
        self.sync_removals()
    }

    /// Before the next one is removed: if one came back without those behind it, there would be a gap.
    fn sync_removals(&mut self) -> Result<(), WriteError> {
        if self.has_unsynced_removal {
            self.files.sync().map_err(|source| directory_error("synced", source))?;
            self.has_unsynced_removal = false;
        }
        Ok(())
    }

    /// Goes on in a new file.
    fn begin_segment(&mut self) -> Result<(), WriteError> {
        // Its header says that all before it is on stable storage.
        self.sync()?;
        self.give_room_back();
        self.tail = Tail::Closed;
        let number = self.next_segment;
        let exhausted = || directory_error("written", io::Error::other("it has had 4294967295 files"));
        // Not the same again after an error: it is not known what became of that file.
        self.next_segment = number.checked_add(1).ok_or_else(exhausted)?;
        let salt = getrandom::u32()
            .map_err(|error| directory_error("written", io::Error::other(error.to_string())))?;
        let header = Header { version: VERSION, segment: number, first: self.next, salt };
        match create(&*self.files, &header) {
            Ok(file) => {
                self.has_unsynced_removal = false;
                let (bytes, next_room) = (u64::from(HEADER), MIN_ROOM_BYTES);
                self.segments.push_back(Segment { number, salt, end: HEADER, bytes, next_room });
                self.tail = Tail::Good(file);
                Ok(())
            }
            Err(source) => {
                // So that a full disk is not filled with beginnings. If that fails, opening the log removes it.
                _ = self.files.remove(&name(number));
                Err(WriteError::Io { file: name(number), action: "begun", source })
            }
        }
    }

    fn segment(&self, number: u32) -> Option<&Segment> {
        let index = self.segments.binary_search_by_key(&number, |segment| segment.number).ok()?;
        self.segments.get(index)
    }

    /// Reads the frame at `offset`, which ends at `end` or before.
    fn read_at(&self, number: u32, offset: u32, end: u32, payload: &mut Vec<u8>) -> Result<Place, ReadError> {
        let failed = |source| ReadError::Io { file: name(number), action: "read", source };
        let segment = self.segment(number).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let file = self.file(number).map_err(failed)?;
        let range = (u64::from(offset), u64::from(end));
        match read_frame(&*file, range, segment.salt, payload).map_err(failed)? {
            Found::Frame(Frame { length, .. }) => Ok(Place { segment: number, offset, length }),
            Found::Broken(what) => Err(corrupt(number, offset, what)),
            Found::End => Err(corrupt(number, offset, "there is no frame")),
        }
    }

    /// A segment's file, for reading.
    fn file(&self, number: u32) -> io::Result<Arc<dyn File>> {
        let mut open = self.open.lock();
        if let Some((_, file)) = open.iter().find(|(segment, _)| *segment == number) {
            return Ok(Arc::clone(file));
        }
        let file: Arc<dyn File> = self.files.open(&name(number))?.into();
        if open.len() == MAX_OPEN {
            open.pop_front();
        }
        open.push_back((number, Arc::clone(&file)));
        Ok(file)
    }
}

/// Makes a segment's file: when it is there, it is so for good.
fn create(files: &dyn Files, header: &Header) -> io::Result<Box<dyn File>> {
    let file = files.create(&name(header.segment))?;
    file.append(&header.encode())?;
    file.sync()?;
    files.sync()?;
    Ok(file)
}

fn directory_error(action: &'static str, source: io::Error) -> WriteError {
    WriteError::Io { file: "the directory".to_owned(), action, source }
}

fn corrupt(segment: u32, offset: u32, what: &str) -> ReadError {
    ReadError::Corrupt(Defect { file: name(segment), offset: u64::from(offset), what: what.to_owned() })
}

#[cfg(test)]
mod tests;
