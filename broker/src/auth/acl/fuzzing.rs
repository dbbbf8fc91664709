//! See [`crate::fuzzing`].

use std::path::Path;
use std::sync::Arc;

use super::{Rights, Table};
use crate::topic::{Filter, Name};

/// A user name, a client identifier, a topic and an ACL file, with a zero behind each: who may read the topic may subscribe
/// to it.
pub fn acl(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |byte| *byte == 0);
    let mut text = || parts.next().and_then(|part| str::from_utf8(part).ok());
    let (Some(user), Some(client_id), Some(topic)) = (text(), text(), text()) else { return };
    let path: Arc<Path> = Path::new("acl").into();
    let Ok(table) = Table::parse(&path, parts.next().unwrap_or_default()) else { return };
    let rights = Rights::new(&Arc::new(table), (!user.is_empty()).then_some(user), client_id);
    if let Ok(name) = Name::new(topic)
        && let Ok(filter) = Filter::new(topic)
    {
        _ = rights.may_write(name);
        assert!(!rights.may_read(name) || rights.may_subscribe(filter));
    }
}
