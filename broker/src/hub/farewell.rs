//! The server's DISCONNECT.

/// Where clients of 5.0 are sent when the broker stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Other servers: a Server Reference, in the form that §4.11 suggests.
    pub reference: String,
    /// For good, or only for this time.
    pub is_permanent: bool,
}
