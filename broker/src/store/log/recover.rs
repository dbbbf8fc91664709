//! Finds out what is good of the files that are there.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{FRAME, Found, Frame, HEADER, Header, VERSION, name, number, read_frame, size};
use super::{
    CorruptPayload, Cut, Defect, Log, LogOptions, MAX_SEGMENT_BYTES, OpenError, Place, Segment, Survey, Tail,
    Visit, WriteError,
};
use crate::store::files::{File, Files};

/// Bytes that are searched at a time for frames behind a broken one.
const WINDOW: usize = 1 << 16;

/// A file of the log.
struct Candidate {
    number: u32,
    file: Box<dyn File>,
    len: u64,
    /// None if it is broken.
    header: Option<Header>,
    /// Behind its last good frame.
    end: u64,
    /// Frames of it that were visited, rather than those that took their place.
    visited: usize,
}

impl Candidate {
    fn defect(&self, offset: u64, what: impl Into<String>) -> Defect {
        Defect { file: name(self.number), offset, what: what.into() }
    }

    fn failed(&self, source: io::Error) -> OpenError {
        failed(name(self.number), "read", source)
    }
}

/// What is known so far.
pub(super) struct Recovery {
    files: Arc<dyn Files>,
    candidates: Vec<Candidate>,
    /// Good frames that were not visited: a later segment may hold them too, and then counts.
    pending: VecDeque<Place>,
    /// The number of the first of them.
    first_pending: u64,
    /// What was wrong last.
    defect: Option<Defect>,
    cuts: Vec<Cut>,
    /// What is lost, if all of it is to be found; otherwise the first such thing is an error.
    lost: Option<Vec<Defect>>,
    /// A payload.
    buffer: Vec<u8>,
}

impl Recovery {
    pub(super) fn run(
        files: Arc<dyn Files>,
        options: LogOptions,
        visit: &mut Visit<'_>,
    ) -> Result<(Log, Vec<Cut>), OpenError> {
        let mut recovery = Self::new(files, None)?;
        recovery.walk(visit)?;
        recovery.finish(options, visit)
    }

    fn new(files: Arc<dyn Files>, lost: Option<Vec<Defect>>) -> Result<Self, OpenError> {
        Ok(Self {
            candidates: candidates(&*files)?,
            files,
            pending: VecDeque::new(),
            first_pending: 1,
            defect: None,
            cuts: Vec::new(),
            lost,
            buffer: Vec::new(),
        })
    }

    /// Looks at everything, and changes nothing.
    pub(super) fn survey(files: Arc<dyn Files>, visit: &mut Visit<'_>) -> Result<Survey, OpenError> {
        let mut recovery = Self::new(files, Some(Vec::new()))?;
        let mut frames = 0;
        let mut count = |place: Place, payload: &[u8]| {
            frames += 1;
            visit(place, payload)
        };
        recovery.walk(&mut count)?;
        recovery.settle(u64::MAX, None, &mut count)?;
        Ok(Survey {
            segments: recovery.candidates.iter().map(|candidate| (candidate.number, candidate.len)).collect(),
            frames,
            cuts: recovery.cuts,
            lost: recovery.lost.unwrap_or_default(),
        })
    }

    /// Something is lost.
    fn lose(&mut self, defect: Defect) -> Result<(), OpenError> {
        match &mut self.lost {
            Some(lost) => {
                lost.push(defect);
                Ok(())
            }
            None => Err(OpenError::Corrupt(defect)),
        }
    }

    /// Goes on with a frame behind some that are lost.
    fn skip_to(&mut self, number: u64, visit: &mut Visit<'_>) -> Result<(), OpenError> {
        self.settle(u64::MAX, None, visit)?;
        self.first_pending = number;
        Ok(())
    }

    /// Walks through all segments, and visits all frames of which it is known that they are on stable storage.
    fn walk(&mut self, visit: &mut Visit<'_>) -> Result<(), OpenError> {
        let last = self.candidates.iter().rposition(|candidate| candidate.header.is_some());
        let mut is_first = true;
        for index in 0..self.candidates.len() {
            let Some(candidate) = self.candidates.get(index) else { return Ok(()) };
            let later = self.candidates.iter().skip(index + 1).find_map(|candidate| candidate.header);
            match candidate.header {
                None if candidate.len <= u64::from(HEADER) => {
                    let defect = candidate.defect(0, "the segment had not begun");
                    self.cuts.push(Cut { defect, bytes: candidate.len });
                }
                // Its header was there before anything else.
                None => {
                    let what = "this is not the header of a segment, and nobody knows which frames follow";
                    let defect = candidate.defect(0, what);
                    self.lose(defect)?;
                }
                // Nothing was ever written to it, as its beginning failed; it may be much older than the next.
                Some(_) if candidate.len == u64::from(HEADER) && Some(index) != last => {}
                Some(header) => {
                    if is_first {
                        self.first_pending = header.first;
                        is_first = false;
                    }
                    self.walk_segment(index, header, later, visit)?;
                }
            }
        }
        Ok(())
    }

    /// The number behind that of the last frame.
    fn next(&self) -> u64 {
        self.first_pending + self.pending.len() as u64
    }

    /// A segment, and the header of the one behind it.
    fn walk_segment(
        &mut self,
        index: usize,
        header: Header,
        later: Option<Header>,
        visit: &mut Visit<'_>,
    ) -> Result<(), OpenError> {
        if header.first > self.next() {
            self.lose(self.gap(index, header.first))?;
            self.skip_to(header.first, visit)?;
        }
        // What was broken before is not missing.
        self.defect = None;
        let mut offset = u64::from(HEADER);
        let mut number = header.first;
        loop {
            let Some(candidate) = self.candidates.get_mut(index) else { return Ok(()) };
            candidate.end = offset;
            let range = (offset, candidate.len);
            let found = read_frame(&*candidate.file, range, header.salt, &mut self.buffer)
                .map_err(|error| candidate.failed(error))?;
            let what = match found {
                Found::End => return Ok(()),
                Found::Frame(frame) if frame.number != number => "a frame with another number than the next",
                Found::Frame(frame) => {
                    let place = place(candidate.number, offset, frame.length).ok_or_else(|| {
                        OpenError::Corrupt(candidate.defect(offset, "the file is too long"))
                    })?;
                    self.add(number, place);
                    // What a later segment may repeat waits for it.
                    let settled = later.map_or(frame.synced, |later| later.first - 1);
                    self.settle(settled, Some(place), visit)?;
                    offset += u64::from(FRAME) + u64::from(frame.length);
                    number += 1;
                    continue;
                }
                Found::Broken(what) => what,
            };
            if is_room(candidate).map_err(|error| candidate.failed(error))? {
                return Ok(());
            }
            let defect = candidate.defect(offset, what);
            let is_missing = later.is_some_and(|later| number < later.first);
            // Otherwise the next segment has what is missing, or tells that it is.
            if later.is_none() || is_missing && self.lost.is_some() {
                let found = find_later(candidate, number, header.salt, is_missing, &mut self.buffer)
                    .map_err(|error| candidate.failed(error))?;
                if let Some((at, found)) = found {
                    let what = format!(
                        "{what}, so frame {number} is lost: it had been stored, as frame {found} says at byte {at}"
                    );
                    self.lose(Defect { what, ..defect })?;
                    self.skip_to(found, visit)?;
                    (offset, number) = (at, found);
                    continue;
                }
            }
            if later.is_none() {
                let bytes = candidate.len - offset;
                self.cuts.push(Cut { defect: defect.clone(), bytes });
            }
            self.defect = Some(defect);
            return Ok(());
        }
    }

    /// A good frame. A later segment's takes the place of an earlier one's: after a sync that failed the system may show
    /// what it did not store.
    fn add(&mut self, number: u64, place: Place) {
        let Some(index) = number.checked_sub(self.first_pending) else { return };
        match usize::try_from(index).ok().and_then(|index| self.pending.get_mut(index)) {
            Some(pending) => *pending = place,
            None => self.pending.push_back(place),
        }
    }

    /// Visits all frames up to this number; one of them may be in the buffer.
    fn settle(
        &mut self,
        number: u64,
        buffered: Option<Place>,
        visit: &mut Visit<'_>,
    ) -> Result<(), OpenError> {
        while self.first_pending <= number {
            let Some(place) = self.pending.pop_front() else { return Ok(()) };
            let mut buffer = Vec::new();
            let payload = if buffered == Some(place) {
                &self.buffer
            } else {
                self.read(place, &mut buffer)?;
                &buffer
            };
            if let Err(error) = visit(place, payload) {
                self.lose(not_understood(place, &error))?;
            }
            self.first_pending += 1;
            let index = self.candidates.binary_search_by_key(&place.segment, |candidate| candidate.number);
            if let Some(candidate) = index.ok().and_then(|index| self.candidates.get_mut(index)) {
                candidate.visited += 1;
            }
        }
        Ok(())
    }

    /// Reads a frame that was found good before.
    fn read(&self, place: Place, payload: &mut Vec<u8>) -> Result<(), OpenError> {
        let index = self.candidates.binary_search_by_key(&place.segment, |candidate| candidate.number);
        let candidate = index.ok().and_then(|index| self.candidates.get(index));
        let Some((candidate, header)) = candidate.and_then(|candidate| Some((candidate, candidate.header?)))
        else {
            return Ok(());
        };
        let range = (u64::from(place.offset), candidate.len);
        let found = read_frame(&*candidate.file, range, header.salt, payload);
        match found.map_err(|error| candidate.failed(error))? {
            Found::Frame(_) => Ok(()),
            Found::End | Found::Broken(_) => {
                let what = "the frame there was good, and is broken when read again";
                Err(OpenError::Corrupt(candidate.defect(u64::from(place.offset), what)))
            }
        }
    }

    /// Frames are missing in front of a segment.
    fn gap(&self, index: usize, first: u64) -> Defect {
        let missing = match (self.next(), first - 1) {
            (from, to) if from == to => format!("frame {from} is missing"),
            (from, to) => format!("frames {from} to {to} are missing"),
        };
        let defect = self.defect.clone().or_else(|| {
            let before = self.candidates.get(index.checked_sub(1)?)?;
            Some(before.defect(before.end, "the file ends here"))
        });
        let then = name(self.candidates.get(index).map_or(0, |candidate| candidate.number));
        let mut defect = defect.unwrap_or(Defect { file: then.clone(), offset: 0, what: String::new() });
        defect.what = format!("{}, {then} begins with frame {first}, and {missing}", defect.what);
        defect
    }

    /// Writes the end of the log again, and removes what is of no use any more.
    fn finish(mut self, options: LogOptions, visit: &mut Visit<'_>) -> Result<(Log, Vec<Cut>), OpenError> {
        // The last good one may be cut. It does no harm if this is not on stable storage: then it is found and cut again.
        if let Some(torn) = self.candidates.iter_mut().rfind(|candidate| candidate.header.is_some())
            && torn.end < torn.len
        {
            torn.file.truncate(torn.end).map_err(|error| failed(name(torn.number), "cut", error))?;
            torn.len = torn.end;
        }
        let mut log = Log {
            files: Arc::clone(&self.files),
            segment_bytes: options.segment_bytes.clamp(HEADER, MAX_SEGMENT_BYTES),
            segments: self.candidates.iter().filter_map(segment).collect(),
            tail: Tail::Closed,
            next: self.first_pending,
            synced: self.first_pending - 1,
            next_segment: self.candidates.last().map_or(1, |candidate| candidate.number.saturating_add(1)),
            unwritten: Vec::new(),
            has_unsynced_removal: false,
            open: Mutex::default(),
        };
        self.write_again(&mut log, visit)?;
        // The last of the good ones has the number of the next frame, unless there is a new one.
        let kept = if matches!(log.tail, Tail::Closed) {
            log.segments.back().map(|segment| segment.number)
        } else {
            None
        };
        let useless = |candidate: &&Candidate| candidate.visited == 0 && Some(candidate.number) != kept;
        for candidate in self.candidates.iter().filter(useless) {
            self.files
                .remove(&name(candidate.number))
                .map_err(|source| failed(name(candidate.number), "removed", source))?;
            log.segments.retain(|segment| segment.number != candidate.number);
            log.has_unsynced_removal = true;
        }
        log.sync_removals().map_err(written)?;
        Ok((log, self.cuts))
    }
}

impl Recovery {
    /// Writes the pending frames again, unless the disk is full.
    fn write_again(&mut self, log: &mut Log, visit: &mut Visit<'_>) -> Result<(), OpenError> {
        let mut frames = Vec::new();
        let mut is_full = false;
        for before in mem::take(&mut self.pending) {
            let mut payload = Vec::new();
            self.read(before, &mut payload)?;
            let appended = if is_full { None } else { Some(log.append(&payload)) };
            let place = match appended {
                Some(Ok(place)) => place,
                Some(Err(error)) if !is_no_room(&error) => return Err(written(error)),
                _ => {
                    is_full = true;
                    let is_its = |candidate: &&mut Candidate| candidate.number == before.segment;
                    if let Some(candidate) = self.candidates.iter_mut().find(is_its) {
                        candidate.visited += 1;
                    }
                    before
                }
            };
            visit(place, &payload).map_err(|error| OpenError::Corrupt(not_understood(place, &error)))?;
            frames.push((place, payload));
        }
        if is_full {
            log.unwritten = frames;
            return Ok(());
        }
        log.sync().map_err(written)
    }
}

fn is_no_room(error: &WriteError) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, WriteError::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
}

/// The files of the log, by number.
fn candidates(files: &dyn Files) -> Result<Vec<Candidate>, OpenError> {
    let names = files.list().map_err(|source| failed("the directory".to_owned(), "read", source))?;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| candidate(files, number)).collect()
}

fn candidate(files: &dyn Files, number: u32) -> Result<Candidate, OpenError> {
    let failed = |source| failed(name(number), "opened", source);
    let file = files.open(&name(number)).map_err(failed)?;
    let len = file.bytes().map_err(failed)?;
    let mut header = None;
    if len >= u64::from(HEADER) {
        let mut bytes = [0; HEADER as usize];
        file.read_exact_at(0, &mut bytes).map_err(failed)?;
        header = Header::decode(&bytes);
    }
    match header {
        Some(Header { version, .. }) if version > VERSION => {
            Err(OpenError::Newer { file: name(number), version, known: VERSION })
        }
        // Under another name it is not where it belongs.
        Some(header) if header.segment != number || header.first == 0 => {
            Ok(Candidate { number, file, len, header: None, end: 0, visited: 0 })
        }
        header => Ok(Candidate { number, file, len, header, end: u64::from(HEADER), visited: 0 }),
    }
}

fn segment(candidate: &Candidate) -> Option<Segment> {
    let Header { salt, .. } = candidate.header?;
    let end = u32::try_from(candidate.end).ok()?;
    Some(Segment { number: candidate.number, salt, end, bytes: candidate.len, next_room: 0 })
}

fn place(segment: u32, offset: u64, length: u32) -> Option<Place> {
    let offset = u32::try_from(offset).ok()?;
    offset.checked_add(FRAME)?.checked_add(length)?;
    Some(Place { segment, offset, length })
}

/// Whether nothing but zeros stands behind the last good frame: room for more, not one that was torn.
fn is_room(candidate: &Candidate) -> io::Result<bool> {
    let mut window = Vec::new();
    let mut offset = candidate.end;
    while offset < candidate.len {
        window.resize(usize::try_from(candidate.len - offset).map_or(WINDOW, |rest| rest.min(WINDOW)), 0);
        candidate.file.read_exact_at(offset, &mut window)?;
        if window.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += window.len() as u64;
    }
    Ok(true)
}

/// A whole frame behind the broken one with that `number`: its offset and number. It must say that the broken one was on
/// stable storage, unless that is known.
fn find_later(
    candidate: &Candidate,
    number: u64,
    salt: u32,
    is_known: bool,
    payload: &mut Vec<u8>,
) -> io::Result<Option<(u64, u64)>> {
    // So many more fit in at most.
    let highest = number.saturating_add((candidate.len - candidate.end) / u64::from(FRAME));
    let mut window = Vec::new();
    let mut offset = candidate.end + 1;
    while offset + u64::from(FRAME) <= candidate.len {
        let bytes = usize::try_from(candidate.len - offset).map_or(WINDOW, |rest| rest.min(WINDOW));
        window.resize(bytes, 0);
        candidate.file.read_exact_at(offset, &mut window)?;
        let heads = window.windows(size(FRAME));
        let searched = heads.len() as u64;
        for (at, head) in (offset..).zip(heads) {
            let frame = head.try_into().map(Frame::decode);
            let is_later = |frame: &Frame| {
                (number + 1..=highest).contains(&frame.number)
                    && frame.synced < frame.number
                    && (is_known || number <= frame.synced)
            };
            if frame.is_ok_and(|frame| is_later(&frame))
                && let Found::Frame(frame) = read_frame(&*candidate.file, (at, candidate.len), salt, payload)?
            {
                return Ok(Some((at, frame.number)));
            }
        }
        offset += searched;
    }
    Ok(None)
}

fn failed(file: String, action: &'static str, source: io::Error) -> OpenError {
    OpenError::Io { file, action, source }
}

fn written(error: WriteError) -> OpenError {
    match error {
        WriteError::Io { file, action, source } => OpenError::Io { file, action, source },
        WriteError::TooLong { .. } => failed(String::new(), "written", io::Error::other(error)),
    }
}

fn not_understood(place: Place, error: &CorruptPayload) -> Defect {
    let what = format!("the frame is whole, but what it says makes no sense: {error}");
    Defect { file: name(place.segment), offset: u64::from(place.offset), what }
}
