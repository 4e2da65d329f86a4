//! Why a file could not be read, and what to do about it.

use std::{error::Error, fmt, io};

use super::FORMAT_VERSION;

/// Why a recording could not be read. Its text says the remedy too; the caller adds the file name.
#[derive(Debug)]
pub enum ReadError {
    /// Reading failed.
    Io(io::Error),
    /// Nothing in it.
    Empty,
    /// Something else than a recording.
    NotARecording,
    /// Written by a newer program.
    Newer {
        /// Its format version.
        version: u32,
    },
    /// The end is missing.
    Truncated,
    /// Not what was written.
    Damaged(String),
    /// A part is larger than any recording has.
    TooLarge(String),
    /// Intact, but it contradicts itself.
    Contradiction(String),
}

impl ReadError {
    pub(super) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(why.into())
    }

    /// An input that ends too early is a cut recording; other errors are those of reading.
    pub(super) fn from_read(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::Empty => {
                f.write_str("is empty: the trace that should have written it did not get that far; trace again")
            }
            Self::NotARecording => {
                f.write_str("is not a recording of nfslat; recordings are what `nfslat trace -o FILE` writes")
            }
            Self::Newer { version } => write!(
                f,
                "has recording format {version}, and this nfslat reads up to {FORMAT_VERSION}: use \
                 the nfslat that wrote it, or a newer one"
            ),
            Self::Truncated => f.write_str(
                "ends before the recording does: copy it again, or, if the disk was full or the \
                 tracer was killed, trace again",
            ),
            Self::Damaged(why) => write!(f, "is damaged: {why}; copy it again (in binary mode), or trace again"),
            Self::TooLarge(why) => write!(
                f,
                "is larger than nfslat reads: {why}; it is damaged, or was traced for too long: \
                 trace for a shorter time"
            ),
            Self::Contradiction(why) => {
                write!(f, "contradicts itself: {why}; it was changed after it was written, trace again")
            }
        }
    }
}

impl Error for ReadError {}
