//! How the lines of the log are.

/// How the lines of the log are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLines {
    /// Their form.
    pub format: LogFormat,
    /// Whether each begins with its time.
    pub has_time: bool,
    /// How that is written, in the words of strftime, as local time; none is as the form has it.
    pub time_format: Option<String>,
    /// Whether clients that come and go are told of at INFO; none is as the form has it.
    pub connections: Option<bool>,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object of JSON.
    Json,
    /// As mosquitto writes it.
    Mosquitto,
}

impl Default for LogLines {
    fn default() -> Self {
        Self { format: LogFormat::default(), has_time: true, time_format: None, connections: None }
    }
}

impl LogLines {
    /// Whether INFO tells of clients that come and go.
    pub fn tells_of_connections(&self) -> bool {
        self.connections.unwrap_or(self.format == LogFormat::Mosquitto)
    }
}

impl LogFormat {
    /// As a file has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Mosquitto => "mosquitto",
        }
    }
}
