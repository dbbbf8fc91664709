//! What listeners ask of their clients and speak with them, from the files that the configuration names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use log::warn;

use super::StartError;
use super::listener::Manner;
use super::tls;
use crate::auth::{self, Access, acl};
use crate::config::Listener;

/// What each listener of a configuration asks and speaks, by files that were read.
pub(super) type Prepared = Vec<(Access, Manner)>;

/// Reads the files, each once.
///
/// # Errors
///
/// All that is wrong.
pub(super) fn prepare(listeners: &[Listener]) -> Result<Prepared, Vec<StartError>> {
    let (mut prepared, mut errors) = (Vec::new(), Vec::new());
    let mut files = Files::default();
    for listener in listeners {
        match (files.access(listener), Manner::new(listener)) {
            (Ok(access), Ok(manner)) => prepared.push((access, manner)),
            (access, manner) => errors.extend(access.err().into_iter().chain(manner.err())),
        }
    }
    if errors.is_empty() { Ok(prepared) } else { Err(errors) }
}

/// What was read already: several listeners may share a file.
#[derive(Default)]
struct Files<'l> {
    passwords: HashMap<&'l Path, Arc<auth::Table>>,
    acls: HashMap<&'l Path, Arc<acl::Table>>,
}

impl<'l> Files<'l> {
    /// Whom a listener lets in, and what they may do.
    fn access(&mut self, listener: &'l Listener) -> Result<Access, StartError> {
        let Listener { endpoint, allow_anonymous, password_file, acl_file, user_from_certificate, .. } =
            listener;
        let user_from_certificate = user_from_certificate.is_some();
        if user_from_certificate && !listener.tls.as_ref().is_some_and(|tls| tls.require_certificate) {
            return Err(StartError::NoCertificates(endpoint.clone()));
        }
        if password_file.is_none() && !allow_anonymous && !user_from_certificate {
            return Err(StartError::NobodyAllowed(endpoint.clone()));
        }
        let passwords = once(&mut self.passwords, password_file.as_deref(), auth::Table::load);
        let passwords = passwords.map_err(StartError::Passwords)?;
        let acl = once(&mut self.acls, acl_file.as_deref(), acl::Table::load).map_err(StartError::Acls)?;
        if passwords.is_none() && !user_from_certificate && acl.as_ref().is_some_and(|acl| acl.names_users())
        {
            warn!(
                "{endpoint}: `acl_file` has lines for users, who without `password_file` are whoever says so"
            );
        }
        Ok(Access {
            allow_anonymous: *allow_anonymous,
            passwords,
            acl,
            user_from_certificate,
            user_as_client_id: listener.user_as_client_id,
            client_id_prefixes: listener.client_id_prefixes.clone(),
            identifiers: listener.identifiers.clone(),
            max_connections: listener.max_connections,
            publish_rate: listener.publish_rate,
        })
    }
}

/// What a file holds, if there is one: known already, or read now.
fn once<'l, T, E>(
    known: &mut HashMap<&'l Path, Arc<T>>,
    path: Option<&'l Path>,
    load: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<Option<Arc<T>>, E> {
    let Some(path) = path else { return Ok(None) };
    Ok(Some(Arc::clone(match known.entry(path) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(Arc::new(load(path)?)),
    })))
}

impl Manner {
    fn new(listener: &Listener) -> Result<Self, StartError> {
        let user_from = listener.user_from_certificate;
        let acceptor = |tls| tls::acceptor(&listener.endpoint, tls, user_from);
        Ok(Self {
            tls: listener.tls.as_ref().map(acceptor).transpose()?,
            websocket: listener.websocket.clone().map(Arc::new),
            proxy: listener.proxy.clone(),
        })
    }
}
