//! The recording as a file, `.nfslat`.
//!
//! ```text
//! magic "\x89nfslat\n"   format version u32
//! section:  kind [4 bytes]   length u32   CRC-32 u32 of kind and content   content
//! ```
//!
//! Numbers are little-endian; the content of a section is JSON, deflated (zlib). `HEAD` holds
//! everything but the slices, each `SLIC` holds one slice, in order, and `END ` closes the file and
//! says how many sections there were. So a cut file, a damaged one, a newer one and a foreign one
//! are each told apart, a slice can be read without the rest, and the text in it compresses well.
//! The magic's first byte and its line feed catch transfers that are not binary, as PNG's do.

mod error;
mod section;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

pub use error::ReadError;
use section::{Budget, Kind};

use super::Recording;

const MAGIC: [u8; 8] = *b"\x89nfslat\n";

/// Version of the format this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Content of the `END ` section.
#[derive(Serialize, Deserialize)]
struct End {
    /// Sections before this one.
    sections: u64,
}

impl Recording {
    /// Writes the recording.
    ///
    /// # Errors
    /// If writing fails, or if a part of the recording is larger than [`Self::read_from`] reads
    /// back ([`io::ErrorKind::InvalidData`]).
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&FORMAT_VERSION.to_le_bytes())?;
        let mut budget = Budget::default();
        section::write(&mut out, Kind::Head, self, &mut budget)?;
        for slice in &self.slices {
            section::write(&mut out, Kind::Slice, slice, &mut budget)?;
        }
        section::write(&mut out, Kind::End, &End { sections: 1 + self.slices.len() as u64 }, &mut budget)?;
        out.flush()
    }

    /// Reads a recording and checks it, so that what it returns can be analysed without surprises.
    /// Memory stays bounded for any input.
    ///
    /// # Errors
    /// If the input is no recording, is newer, cut, damaged or contradicts itself, or if reading
    /// fails.
    pub fn read_from(mut input: impl Read) -> Result<Self, ReadError> {
        read_header(&mut input)?;
        let mut budget = Budget::default();
        let mut head: Option<Self> = None;
        let mut slices = Vec::new();
        for sections in 0.. {
            let Some(section) = section::read(&mut input, &mut budget)? else {
                return Err(ReadError::Truncated);
            };
            match section.kind {
                Kind::Head if head.is_some() => return Err(ReadError::damaged("it has two heads")),
                Kind::Head => head = Some(section.parse()?),
                Kind::Slice => slices.push(section.parse()?),
                Kind::End => {
                    if section.parse::<End>()?.sections != sections {
                        return Err(ReadError::damaged("sections are missing or doubled"));
                    }
                    break;
                }
            }
        }
        if input.read(&mut [0])? != 0 {
            return Err(ReadError::damaged("it goes on after its end"));
        }
        let mut recording = head.ok_or_else(|| ReadError::damaged("its head is missing"))?;
        recording.slices = slices;
        recording.validate().map_err(ReadError::Contradiction)?;
        Ok(recording)
    }
}

fn read_header(input: &mut impl Read) -> Result<(), ReadError> {
    let mut magic = Vec::new();
    input.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic.is_empty() {
        return Err(ReadError::Empty);
    }
    if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
        return Err(ReadError::Truncated);
    }
    if magic != MAGIC {
        return Err(ReadError::NotARecording);
    }
    let mut version = [0; 4];
    input.read_exact(&mut version).map_err(ReadError::from_read)?;
    match u32::from_le_bytes(version) {
        FORMAT_VERSION => Ok(()),
        0 => Err(ReadError::damaged("format version 0 does not exist")),
        version => Err(ReadError::Newer { version }),
    }
}
