//! Writing the "newc" archives that a kernel unpacks as its first root file system.
//!
//! Written here because the archive may then hold device nodes and root's files without this process being root.

use std::io::{self, Write};

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const END: &str = "TRAILER!!!";

/// An archive being written.
#[derive(Debug)]
pub(crate) struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// Starts an archive that goes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a folder; its parents have to be there already.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a file with the permission bits `mode`.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | mode, content)
    }

    /// Ends the archive and returns what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry(END, 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let number =
            |length: usize| u32::try_from(length).map_err(|_| io::Error::other(format!("{path} is over 4 GiB")));
        let (size, name_size) = (number(content.len())?, number(path.len() + 1)?);
        // inode, mode, uid, gid, links, mtime, size, device, device node, name size, checksum: eight hex digits each.
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.inode += 1;
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + path.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Names and contents both end on a multiple of four.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_the_layout_the_kernel_reads() {
        let mut archive = Archive::new(Vec::new());
        archive.folder("bin").unwrap();
        archive.file("init", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();

        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.starts_with("07070100000000000041ed"), "{text}");
        let init = text.find("init\0").unwrap();
        assert_eq!(init % 4, 110 % 4, "each header starts on a multiple of four and is 110 bytes long");
        assert!(text[init - 110..].starts_with("07070100000001000081ed"));
        assert_eq!(&text[init - 110 + 54..init - 110 + 62], "00000005");
        // 110 + 5 bytes of header and name need one byte to the next multiple of four, five bytes of content three.
        assert_eq!(&text[init..init + 14], "init\0\0hello\0\0\0");
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"));
    }
}
