//! Brings the parts of a store together.

use std::sync::Arc;

use super::fetching::FetchError;
use super::files::Files;
use super::image::{Changes, Image};
use super::journal::{Clock, Journal};
use super::log::{CorruptPayload, Cut, Log, LogOptions, OpenError};
use super::stored::Recovered;
use super::writer::{Options, Writer};

/// What was found when a store was opened.
#[derive(Debug, Default)]
pub struct Report {
    /// What was cut off at the end: it was never acknowledged.
    pub cuts: Vec<Cut>,
    /// Records that meant nothing, which should not be.
    pub strays: usize,
}

/// Opens the store in `files`, or begins one. The writer is for a thread of its own; numbers of the journal continue
/// behind those in use.
///
/// # Errors
///
/// It cannot be read, something that had been stored is missing, or a later version of the broker wrote it.
pub fn open(
    files: Arc<dyn Files>,
    options: Options,
) -> Result<(Arc<Journal>, Writer, Recovered, Report), OpenError> {
    open_at(Clock::now(), files, options)
}

/// The same by another clock than the system's, for tests in virtual time.
///
/// # Errors
///
/// As for [`open`].
#[doc(hidden)]
pub fn open_at(
    clock: Clock,
    files: Arc<dyn Files>,
    options: Options,
) -> Result<(Arc<Journal>, Writer, Recovered, Report), OpenError> {
    let mut image = Image::recovering();
    let mut changes = Changes::default();
    let log_options = LogOptions { segment_bytes: options.segment_bytes };
    let (log, cuts) = Log::open(files, log_options, &mut |place, payload| {
        changes.read(payload).map_err(|error| CorruptPayload(error.to_string()))?;
        image.apply(place, payload, &changes);
        Ok(())
    })?;
    let (recovered, strays) = image.recovered(&log).map_err(FetchError::into_open_error)?;
    let journal = Arc::new(Journal::at(clock, recovered.numbers, options.max_backlog_bytes));
    let writer = Writer::new(Arc::clone(&journal), log, image, options);
    Ok((journal, writer, recovered, Report { cuts, strays }))
}
