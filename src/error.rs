//! One error type for the whole program.
//!
//! An error says which file, what was expected, what was found and what to do about it. Its [`ErrorKind`] decides the exit
//! code. Broken invariants of the program itself are asserts, not errors.

use std::fmt;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as the exit code is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The run failed: a full disk, a training that diverged (exit code 1).
    Run,
    /// The command line or the configuration is wrong (exit code 2).
    Usage,
    /// Input data is invalid (exit code 3).
    Data,
    /// The device is missing or its memory does not suffice (exit code 4).
    Device,
    /// Ctrl-C; the state was saved (exit code 130).
    Interrupted,
}

impl ErrorKind {
    /// The process exit code for this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Run => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Data => 3,
            ErrorKind::Device => 4,
            ErrorKind::Interrupted => 130,
        }
    }
}

/// An error with its file, its remedy and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    path: Option<PathBuf>,
    message: String,
    remedy: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, path: None, message: message.into(), remedy: None, source: None }
    }

    /// The run failed.
    pub fn run(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Run, message)
    }

    /// The command line or the configuration is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// The file at `path` is not what it should be; `message` says what was expected and what was found.
    pub fn data(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message).at(path)
    }

    /// The device is missing or too small.
    pub fn device(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Device, message)
    }

    /// Reading or writing `path` failed in the operating system. Reading is a matter of the input, writing of the run. The remedy is the
    /// usual one for the cause; [`Error::remedy`] gives a better one.
    pub fn io(kind: ErrorKind, path: impl AsRef<Path>, doing: &str, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Cause;
        let remedy = match source.kind() {
            Cause::NotFound => "check that the path is right",
            Cause::PermissionDenied | Cause::ReadOnlyFilesystem => "check the permissions, or name another place",
            Cause::StorageFull | Cause::QuotaExceeded | Cause::FileTooLarge => "make room on the disk",
            Cause::IsADirectory | Cause::NotADirectory | Cause::AlreadyExists => {
                "a file lies where a folder should, or the other way round: rename one of them"
            }
            Cause::InvalidData => "the file is not text in UTF-8: check that it is the right one",
            _ => "check that the disk is there and can be read and written",
        };
        Self::new(kind, format!("cannot {doing}")).at(path).caused_by(source).remedy(remedy)
    }

    /// Names the file that the error is about.
    pub fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Says what the user can do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Attaches the underlying error.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind, which decides the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file that the error is about, if it is about one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        write!(f, "{}", self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  what to do: {remedy}")?;
        }
        Ok(())
    }
}

// The cause is part of the message already, so `source` stays empty: nobody should print it twice.
impl std::error::Error for Error {}
