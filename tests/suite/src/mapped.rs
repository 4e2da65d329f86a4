//! Reading a file through a memory map.

use std::{fs::File, io, os::fd::AsRawFd, ptr};

use libc::c_void;

/// The first page of a file, mapped.
#[derive(Debug)]
pub struct FirstPage(*mut c_void);

impl FirstPage {
    const LENGTH: usize = 4096;

    /// Maps it. The file must have a byte.
    pub fn of(file: &File) -> io::Result<Self> {
        // SAFETY: a new mapping, of which nothing else knows.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), Self::LENGTH, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(start)) }
    }

    /// Its first byte. The first look at it is a page fault.
    #[must_use]
    pub fn byte(&self) -> u8 {
        // SAFETY: mapped for as long as this lives, and the file has a byte there.
        unsafe { self.0.cast::<u8>().read_volatile() }
    }
}

impl Drop for FirstPage {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and nothing refers to it any more.
        unsafe { libc::munmap(self.0, Self::LENGTH) };
    }
}
