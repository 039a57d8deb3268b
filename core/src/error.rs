//! The engine's error type.

use std::fmt;
use std::sync::Arc;

pub use retainit_plugin_api::sdk::ErrorKind;

/// What the engine's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with its class, the operation that failed and what it was about.
///
/// One pointer wide, and cheap to clone. The message follows the house style: lower case, values in backticks, what was
/// expected, what was found, a hint; it never holds a secret.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    refused: bool,
    context: Vec<(&'static str, String)>,
}

impl Error {
    /// An error of `kind` that happened in `operation` (`"load plugin"`, `"get"`).
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Arc::new(Inner { kind, operation, message, refused: false, context: Vec::new() }))
    }

    /// Options or files of the user are wrong.
    pub fn configuration(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, operation, message)
    }

    /// Adds what it was about, such as `("backend", "default")`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).context.push((name, value.into()));
        self
    }

    /// The call was not made, because the backend's circuit is open.
    #[must_use]
    pub(crate) fn refusal(mut self) -> Self {
        Arc::make_mut(&mut self.0).refused = true;
        self
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The message without operation and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the user's options or files are to be mended.
    pub fn is_configuration(&self) -> bool {
        self.0.kind == ErrorKind::Configuration
    }

    /// Whether the call was not made at all, because the backend has failed before and its circuit is
    /// open. No news: that it opened was said when it did.
    pub fn is_refusal(&self) -> bool {
        self.0.refused
    }

    /// Whether trying again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Busy | ErrorKind::Retryable | ErrorKind::Timeout)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            f.write_str(" (")?;
            for (index, (name, value)) in self.0.context.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{name} `{value}`")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}: {self}", self.0.kind, self.0.operation)
    }
}

impl std::error::Error for Error {}
