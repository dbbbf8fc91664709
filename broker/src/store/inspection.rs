//! What a store says, for people, and a way out when it is broken.

use std::sync::Arc;

use super::coding::RecordError;
use super::files::Files;
use super::log::{CorruptPayload, Log, LogOptions, OpenError, Survey, WriteError};
use super::record::Record;

/// Calls `line` with each record of a frame, in words; of a message its length rather than its payload.
///
/// # Errors
///
/// The frame is whole, but something in it is no record.
pub fn describe(mut frame: &[u8], line: &mut dyn FnMut(&str)) -> Result<(), RecordError> {
    while !frame.is_empty() {
        let mut ids = Vec::new();
        let mut record = Record::decode(&mut frame, &mut ids)?;
        let message = match &mut record {
            Record::Body { message, .. } => Some(message),
            Record::Session(session) => session.will.as_mut().map(|will| &mut will.message),
            _ => None,
        };
        match message.map(|message| std::mem::take(&mut message.payload).len()) {
            Some(bytes) => line(&format!("{record:?}, payload of {bytes} bytes")),
            None => line(&format!("{record:?}")),
        }
    }
    Ok(())
}

/// Copies all good frames of a broken store into an empty one, which then opens, and tells what was found.
///
/// # Errors
///
/// The system's, and if a later version wrote it.
pub fn repair(from: Arc<dyn Files>, to: Arc<dyn Files>) -> Result<Survey, OpenError> {
    let (mut log, _) = Log::open(to, LogOptions::default(), &mut |_, _| Ok(()))?;
    let mut failed = None;
    let survey = Log::survey(from, &mut |_, frame| {
        // What makes no sense would keep the new one from opening too.
        describe(frame, &mut |_| ()).map_err(|error| CorruptPayload(error.to_string()))?;
        if failed.is_none() {
            failed = log.append(frame).err();
        }
        Ok(())
    })?;
    match failed.map_or_else(|| log.sync(), Err) {
        Ok(()) => Ok(survey),
        Err(WriteError::Io { file, action, source }) => Err(OpenError::Io { file, action, source }),
        Err(error @ WriteError::TooLong { .. }) => {
            let source = std::io::Error::other(error);
            Err(OpenError::Io { file: "the repaired store".to_owned(), action: "written", source })
        }
    }
}
