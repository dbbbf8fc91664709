//! Which path is what, and how it may be asked.

use std::net::SocketAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use log::debug;

use super::answer::{Answer, Refusal};
use super::query::decode;
use super::state::State;
use super::{api, body, health, metrics, page, stream};

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Page,
    Alive,
    Ready,
    Metrics,
    Status,
    Clients,
    Client(String),
    Trace(String),
    Subscriptions,
    Retained,
    Publish,
    Reload,
    Messages,
    Events,
}

impl Resource {
    pub(super) fn at(path: &str) -> Result<Option<Self>, Refusal> {
        let mut parts = path.split('/');
        // Before the first slash.
        parts.next();
        let parts: Vec<_> = parts.map(decode).collect::<Result<_, _>>()?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        Ok(Some(match *parts.as_slice() {
            [""] => Self::Page,
            ["healthz"] => Self::Alive,
            ["readyz"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            ["api", "v1", "status"] => Self::Status,
            ["api", "v1", "clients"] => Self::Clients,
            ["api", "v1", "clients", id] => Self::Client(id.to_owned()),
            ["api", "v1", "clients", id, "trace"] => Self::Trace(id.to_owned()),
            ["api", "v1", "subscriptions"] => Self::Subscriptions,
            ["api", "v1", "retained"] => Self::Retained,
            ["api", "v1", "publish"] => Self::Publish,
            ["api", "v1", "reload"] => Self::Reload,
            ["api", "v1", "messages"] => Self::Messages,
            ["api", "v1", "events"] => Self::Events,
            _ => return Ok(None),
        }))
    }

    /// How it may be asked.
    pub(super) fn methods(&self) -> &'static [Method] {
        match self {
            Self::Client(_) | Self::Retained => &[Method::GET, Method::HEAD, Method::DELETE],
            Self::Trace(_) => &[Method::PUT, Method::DELETE],
            Self::Publish | Self::Reload => &[Method::POST],
            // They do not end.
            Self::Messages | Self::Events => &[Method::GET],
            _ => &[Method::GET, Method::HEAD],
        }
    }

    /// Everybody may ask: it is for supervisors, or asks who they are itself, and tells nothing of the clients.
    fn is_public(&self) -> bool {
        matches!(self, Self::Page | Self::Alive | Self::Ready)
    }
}

/// Answers a request.
pub(super) async fn answer(request: Request<Incoming>, from: SocketAddr, state: &Rc<State>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = try_answer(request, from, state).await.unwrap_or_else(Answer::from);
    debug!("HTTP from {from}: {method} {path:?}: {}", answer.status().as_u16());
    answer
}

async fn try_answer(
    request: Request<Incoming>,
    from: SocketAddr,
    state: &Rc<State>,
) -> Result<Answer, Refusal> {
    let method = request.method();
    let doorkeeper = state.doorkeeper();
    doorkeeper.check_source(method, request.headers())?;
    let resource = Resource::at(request.uri().path())?;
    if !resource.as_ref().is_some_and(Resource::is_public) {
        doorkeeper.check_credentials(request.headers()).await?;
    }
    let resource = resource.ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this path: HTTP.md lists those that there are",
        )
    })?;
    if !resource.methods().contains(method) {
        return Err(Refusal::method(resource.methods()));
    }
    let query = request.uri().query();
    match resource {
        Resource::Page => Ok(page::answer()),
        Resource::Alive => Ok(health::alive()),
        Resource::Ready => health::ready(state),
        Resource::Metrics => Ok(metrics::answer(state, request.headers())),
        Resource::Status => api::status(state),
        Resource::Clients => api::clients(state, query),
        Resource::Client(id) if *method == Method::DELETE => api::dismiss(state, &id, query),
        Resource::Client(id) => api::client(state, &id),
        Resource::Trace(id) if *method == Method::DELETE => api::end_trace(state, &id),
        Resource::Trace(id) => api::trace(state, &id),
        Resource::Subscriptions => api::subscriptions(state, query),
        Resource::Retained if *method == Method::DELETE => api::unretain(state, query),
        Resource::Retained => api::retained(state, query),
        Resource::Publish => api::publish(state, &body::read(request.into_body()).await?),
        Resource::Reload => api::reload(state).await,
        Resource::Messages => stream::messages(state, query, from),
        Resource::Events => stream::figures(state, query),
    }
}
