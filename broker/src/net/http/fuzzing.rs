//! See [`crate::fuzzing`].

use hyper::Uri;

use super::query::Query;
use super::route::Resource;

/// What a request asks for: the path and what stands behind it. The rest of a request is read by hyper.
pub fn http(bytes: &[u8]) {
    let Ok(uri) = Uri::try_from(bytes) else { return };
    if let Ok(Some(resource)) = Resource::at(uri.path()) {
        assert!(!resource.methods().is_empty());
    }
    let known = ["limit", "after", "match", "sort", "state", "filter", "client", "topic"];
    if let Ok(query) = Query::parse(uri.query(), &known) {
        assert!(known.iter().map(|name| query.all(name).count()).sum::<usize>() <= bytes.len());
        _ = query.value::<usize>("limit", "a number");
    }
}
