//! Reading a file through a memory map.

use std::{fs::File, io, os::fd::AsRawFd, ptr};

/// The file's first byte, by a page fault.
pub fn first_byte(file: &File) -> io::Result<u8> {
    const LENGTH: usize = 4096;
    // SAFETY: a new mapping, of which nothing else knows; it is read where the file has bytes, and unmapped after that.
    unsafe {
        let start = libc::mmap(ptr::null_mut(), LENGTH, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let byte = start.cast::<u8>().read_volatile();
        libc::munmap(start, LENGTH);
        Ok(byte)
    }
}
