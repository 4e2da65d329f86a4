//! Sections: frame, checksum, compression and limits.

use std::io::{self, Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::{Serialize, de::DeserializeOwned};

use super::ReadError;

/// Largest content of a section, before compression. A head with 20,000 stacks has about 25 MB.
const MAX_SECTION: u64 = 64 << 20;

/// Largest content of all sections together: it is all held in memory.
const MAX_TOTAL: u64 = 1 << 30;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Head,
    Slice,
    End,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Head, Self::Slice, Self::End];

    const fn tag(self) -> [u8; 4] {
        match self {
            Self::Head => *b"HEAD",
            Self::Slice => *b"SLIC",
            Self::End => *b"END ",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Slice => "slice",
            Self::End => "end",
        }
    }
}

/// Bytes of content seen so far.
#[derive(Default)]
pub(super) struct Budget {
    used: u64,
}

impl Budget {
    fn spend(&mut self, kind: Kind, bytes: u64) -> Result<(), String> {
        self.used += bytes;
        if bytes > MAX_SECTION {
            Err(format!("its {} has more than {} MiB", kind.name(), MAX_SECTION >> 20))
        } else if self.used > MAX_TOTAL {
            Err(format!("it has more than {} MiB", MAX_TOTAL >> 20))
        } else {
            Ok(())
        }
    }
}

/// A section that has been read, its checksum verified.
pub(super) struct Section {
    pub(super) kind: Kind,
    json: Vec<u8>,
}

impl Section {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        serde_json::from_slice(&self.json)
            .map_err(|e| ReadError::damaged(format!("its {} makes no sense: {e}", self.kind.name())))
    }
}

pub(super) fn write<T: Serialize>(out: &mut impl Write, kind: Kind, value: &T, budget: &mut Budget) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    budget
        .spend(kind, json.len() as u64)
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, format!("recording too large: {why}")))?;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&json)?;
    let content = zlib.finish()?;
    out.write_all(&kind.tag())?;
    out.write_all(&(content.len() as u32).to_le_bytes())?;
    out.write_all(&checksum(kind, &content).to_le_bytes())?;
    out.write_all(&content)
}

/// The next section; `None` at the end of the input.
pub(super) fn read(input: &mut impl Read, budget: &mut Budget) -> Result<Option<Section>, ReadError> {
    let mut tag = Vec::new();
    input.take(4).read_to_end(&mut tag)?;
    if tag.len() < 4 {
        return Ok(None);
    }
    let length = read_u32(input)?;
    let expected = read_u32(input)?;
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.tag()[..] == tag[..])
        .ok_or_else(|| ReadError::damaged("it has a section of an unknown kind"))?;
    if u64::from(length) > MAX_SECTION {
        return Err(ReadError::TooLarge(format!("its {} claims {length} bytes", kind.name())));
    }
    // Grows with what is there, not with what the length claims.
    let mut content = Vec::new();
    input.take(u64::from(length)).read_to_end(&mut content)?;
    if content.len() < length as usize {
        return Err(ReadError::Truncated);
    }
    if checksum(kind, &content) != expected {
        return Err(ReadError::damaged(format!("the checksum of its {} is wrong", kind.name())));
    }
    let mut json = Vec::new();
    ZlibDecoder::new(content.as_slice())
        .take(MAX_SECTION + 1)
        .read_to_end(&mut json)
        .map_err(|e| ReadError::damaged(format!("its {} does not inflate: {e}", kind.name())))?;
    budget.spend(kind, json.len() as u64).map_err(ReadError::TooLarge)?;
    Ok(Some(Section { kind, json }))
}

fn read_u32(input: &mut impl Read) -> Result<u32, ReadError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(ReadError::from_read)?;
    Ok(u32::from_le_bytes(bytes))
}

fn checksum(kind: Kind, content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&kind.tag());
    crc.update(content);
    crc.finalize()
}
