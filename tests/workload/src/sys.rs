//! The system calls that the standard library does not offer, each behind a safe function.

use std::{
    fs::File,
    io,
    ops::Range,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

/// Size of a memory page on every machine these workloads run on.
pub const PAGE: usize = 4096;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "Linux has had this clock since 2.6");
    let time = Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default());
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// CLOCK_MONOTONIC, the tracer's clock.
#[must_use]
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CPU time of the calling thread, the running slice included.
pub fn thread_cpu_time_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Id of the calling thread.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: the call has no arguments and cannot fail.
    unsafe { libc::gettid() }.unsigned_abs()
}

/// Lets the calling thread's sleeps end when they should, instead of up to 50 us later.
pub fn wake_on_time() -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) }).map(drop)
}

/// Lets the calling thread run on one CPU only.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    // SAFETY: all bits zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: CPU_SET checks that `cpu` lies within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` outlives the call, and its size is the one given.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// The CPUs that the calling thread may run on: at least one.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: all bits zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place for the result, and its size is the one given.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    // SAFETY: CPU_ISSET checks that `cpu` lies within the set.
    let allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    let cpus: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(allowed).collect();
    if cpus.is_empty() { Err(io::Error::other("no CPU is allowed")) } else { Ok(cpus) }
}

/// Asks the kernel to forget its cached pages of a file that has been written back.
pub fn drop_cache(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Waits in poll until `file` can be read.
pub fn poll_readable(file: &impl AsRawFd) -> io::Result<()> {
    let mut entry = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is one valid entry.
    check(unsafe { libc::poll(&raw mut entry, 1, -1) }).map(drop)
}

/// An epoll descriptor that watches one file for input.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Watches `file`.
    pub fn on(file: &impl AsRawFd) -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: both descriptors are open, and `event` outlives the call.
        check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, file.as_raw_fd(), &raw mut event) })?;
        Ok(Self(epoll))
    }

    /// Waits until the file can be read.
    pub fn wait(&self) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `event` is a valid place for one event.
        check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, -1) }).map(drop)
    }
}

/// A child process that sleeps for a while and ends.
#[derive(Debug)]
pub struct Child(libc::pid_t);

impl Child {
    /// Starts it. It is a plain fork: starting a program would wait for its exec as well.
    pub fn sleeping(time: Duration) -> io::Result<Self> {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: the child makes two calls that are safe in the child of a process with threads,
        // and never returns into this program.
        match check(unsafe { libc::fork() })? {
            0 => unsafe {
                // SAFETY: `time` is valid, and no remainder is asked for.
                libc::nanosleep(&raw const time, ptr::null_mut());
                libc::_exit(0)
            },
            pid => Ok(Self(pid)),
        }
    }

    /// Starts one that changes the protection of its copy of `memory` again and again, until it is killed
    /// or its parent ends.
    pub fn changing_protection(memory: &Mapping) -> io::Result<Self> {
        // SAFETY: as above; none of the calls allocates.
        match check(unsafe { libc::fork() })? {
            0 => unsafe {
                // SAFETY: plain calls on a mapping that the child has its own copy of.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    let (start, length) = (memory.start.as_ptr().cast(), memory.length);
                    libc::mprotect(start, length, libc::PROT_READ);
                    libc::mprotect(start, length, libc::PROT_READ | libc::PROT_WRITE);
                }
            },
            pid => Ok(Self(pid)),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> libc::pid_t {
        self.0
    }

    /// Kills it and waits for its end.
    pub fn kill(self) -> io::Result<()> {
        // SAFETY: the process is this one's child, and nobody else waits for it.
        check(unsafe { libc::kill(self.0, libc::SIGKILL) })?;
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(self) -> io::Result<()> {
        // SAFETY: no status is asked for, so no memory is written.
        check(unsafe { libc::waitpid(self.0, ptr::null_mut(), 0) }).map(drop)
    }
}

/// A mapping of memory, unmapped when dropped. Its pages are read and written as bytes.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone, whichever thread holds it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Private zeroed memory, at the start of a page.
    pub fn anonymous(length: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address that the kernel chooses touches no other memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        Self::checked(start, length)
    }

    /// A private mapping of the first `length` bytes of `file`, which is long enough.
    pub fn of_file(file: &File, length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: as above; the mapping keeps the file alive by itself.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        Self::checked(start, length)
    }

    fn checked(start: *mut libc::c_void, length: usize) -> io::Result<Self> {
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at address 0 unasked");
        Ok(Self { start, length })
    }

    /// Gives the kernel advice on the whole mapping.
    pub fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the range is this mapping; losing its contents is what the caller may ask for.
        check(unsafe { libc::madvise(self.start.as_ptr().cast(), self.length, advice) }).map(drop)
    }

    /// Changes what may be done with the whole mapping.
    pub fn protect(&self, protection: libc::c_int) -> io::Result<()> {
        // SAFETY: the range is this mapping; a forbidden access ends the program.
        check(unsafe { libc::mprotect(self.start.as_ptr().cast(), self.length, protection) }).map(drop)
    }

    /// How many of the first page's bytes are in memory: the kernel takes the lock of the memory map to
    /// tell.
    pub fn resident_pages(&self) -> io::Result<u8> {
        let mut resident = 0;
        // SAFETY: the range is one page of this mapping, and `resident` has room for its answer.
        check(unsafe { libc::mincore(self.start.as_ptr().cast(), PAGE, &raw mut resident) })?;
        Ok(resident & 1)
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is readable and writable over `length` bytes and borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Reads one byte, for real: it faults the page in if needed.
    #[must_use]
    pub fn read_at(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        // SAFETY: `offset` lies within the mapping.
        unsafe { self.start.as_ptr().add(offset).read_volatile() }
    }

    /// Writes one byte into each page.
    pub fn touch(&mut self) {
        self.touch_part(0..self.length);
    }

    /// Writes one byte into each page of a part of it.
    pub fn touch_part(&mut self, part: Range<usize>) {
        assert!(part.end <= self.length);
        for offset in part.step_by(PAGE) {
            // SAFETY: `offset` lies within the mapping, which is borrowed mutably.
            unsafe { self.start.as_ptr().add(offset).write_volatile(1) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
