// SPDX-License-Identifier: GPL-2.0 OR MIT
//! System calls with results, and CPU mappings.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! names {
    ($($n:ident)*) => {
        $(#[allow(missing_docs)] pub const $n: Errno = Errno(libc::$n);)*
        fn name(e: i32) -> Option<&'static str> {
            match e { $(libc::$n => Some(stringify!($n)),)* _ => None }
        }
    };
}

names! {
    E2BIG EACCES EAGAIN EBADF EBUSY EEXIST EFAULT EFBIG EINTR EINVAL EIO EMFILE ENODEV ENOENT
    ENOMEM ENOSPC ENOSYS ENOTTY ENXIO EOPNOTSUPP EPERM EPIPE ERANGE ESRCH ETIME ETIMEDOUT
}

impl Errno {
    /// The calling thread's `errno`.
    pub fn last() -> Self {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.0) {
            Some(n) => f.write_str(n),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<std::io::Error> for Errno {
    fn from(e: std::io::Error) -> Self {
        Errno(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// A result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Turns the return value of a system call into a result.
pub fn cvt(r: libc::c_long) -> Result<i64> {
    if r == -1 {
        Err(Errno::last())
    } else {
        Ok(r)
    }
}

/// `ioctl()` with any code and pointer value; not repeated on `EINTR`.
///
/// # Safety
/// `arg` must be what the request expects: the kernel writes there.
pub unsafe fn ioctl_raw(fd: RawFd, code: u64, arg: *mut libc::c_void) -> Result<i64> {
    // SAFETY: by the caller.
    cvt(unsafe { libc::ioctl(fd, code as _, arg) } as libc::c_long)
}

/// A CPU mapping, unmapped when dropped.
#[derive(Debug)]
pub struct Map {
    ptr: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to the process, accesses are volatile or atomic by the users' care.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// `mmap()` at an address of the kernel's choice.
    pub fn new(fd: RawFd, offset: u64, len: u64, prot: i32, flags: i32) -> Result<Map> {
        // SAFETY: no fixed address, so nothing else is replaced.
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len as usize,
                prot,
                flags,
                fd,
                offset as i64,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Map {
            ptr: p.cast(),
            len: len as usize,
        })
    }

    /// `mmap()` at an address that is a multiple of `align`, shared, readable and writable.
    pub fn aligned(fd: RawFd, offset: u64, len: u64, align: u64) -> Result<Map> {
        let room = Map::new(
            -1,
            0,
            len + align,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        )?;
        let at = (room.ptr as u64).next_multiple_of(align);
        // SAFETY: the range lies in the reservation made above.
        let p = unsafe {
            libc::mmap(
                at as *mut _,
                len as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                fd,
                offset as i64,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // Give the two ends of the reservation back, keep the middle.
        let (start, end) = (room.ptr as u64, room.ptr as u64 + room.len as u64);
        std::mem::forget(room);
        // SAFETY: both ranges belong to the reservation and not to the new mapping.
        unsafe {
            if at > start {
                libc::munmap(start as *mut _, (at - start) as usize);
            }
            let tail = (at + len).next_multiple_of(4096);
            if end > tail {
                libc::munmap(tail as *mut _, (end - tail) as usize);
            }
        }
        Ok(Map {
            ptr: p.cast(),
            len: len as usize,
        })
    }

    /// Start of the mapping.
    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a mapping has a length.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads word `i` (8 bytes).
    pub fn get(&self, i: usize) -> u64 {
        assert!(i < self.len / 8, "word {i} outside of the mapping");
        // SAFETY: inside the mapping, aligned.
        unsafe { self.ptr.cast::<u64>().add(i).read_volatile() }
    }

    /// Writes word `i` (8 bytes).
    pub fn set(&self, i: usize, v: u64) {
        assert!(i < self.len / 8, "word {i} outside of the mapping");
        // SAFETY: inside the mapping, aligned.
        unsafe { self.ptr.cast::<u64>().add(i).write_volatile(v) }
    }

    /// Keeps it in memory.
    pub fn lock(&self) -> Result<()> {
        // SAFETY: our own mapping.
        cvt(unsafe { libc::mlock(self.ptr.cast(), self.len) } as libc::c_long)?;
        Ok(())
    }

    /// `madvise()` on all of it.
    pub fn madvise(&self, advice: i32) -> Result<()> {
        // SAFETY: on a mapping of our own; the advices used do not free memory of Rust objects.
        cvt(unsafe { libc::madvise(self.ptr.cast(), self.len, advice) } as libc::c_long)?;
        Ok(())
    }

    /// `mprotect()` on all of it.
    pub fn mprotect(&self, prot: i32) -> Result<()> {
        // SAFETY: on a mapping of our own.
        cvt(unsafe { libc::mprotect(self.ptr.cast(), self.len, prot) } as libc::c_long)?;
        Ok(())
    }

    /// Lets go of the mapping without unmapping it.
    pub fn leak(self) -> *mut u8 {
        let p = self.ptr;
        std::mem::forget(self);
        p
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range is ours.
        unsafe { libc::munmap(self.ptr.cast(), self.len) };
    }
}

/// `fork()`. The program must be single threaded, or the child must only do what is safe then.
pub fn fork() -> Result<i32> {
    // SAFETY: the test programs fork before they start threads.
    Ok(cvt(unsafe { libc::fork() } as libc::c_long)? as i32)
}

/// `waitpid()` with flags; `Ok(None)` when nothing was reaped (`WNOHANG`).
pub fn waitpid(pid: i32, flags: i32) -> Result<Option<i32>> {
    let mut st = 0;
    loop {
        // SAFETY: `st` is a valid place.
        match cvt(unsafe { libc::waitpid(pid, &mut st, flags) } as libc::c_long) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(st)),
            Err(Errno(libc::EINTR)) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Sends a signal.
pub fn kill(pid: i32, sig: i32) -> Result<()> {
    // SAFETY: no memory involved.
    cvt(unsafe { libc::kill(pid, sig) } as libc::c_long)?;
    Ok(())
}

/// The caller's TGID.
pub fn getpid() -> i32 {
    // SAFETY: no memory involved.
    unsafe { libc::getpid() }
}

/// Bytes of a page of the CPU.
pub fn page_size() -> u64 {
    // SAFETY: no memory involved.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// The caller's thread id.
pub fn gettid() -> i32 {
    // SAFETY: no memory involved.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// A pipe, both ends close-on-exec.
pub fn pipe() -> Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: room for two.
    cvt(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } as libc::c_long)?;
    // SAFETY: both are new and ours.
    Ok(unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) })
}

/// Takes ownership of a descriptor that the kernel just made.
pub fn own(fd: i64) -> OwnedFd {
    // SAFETY: the callers pass descriptors that a system call just returned.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Writes `data` in one `write()` and returns the kernel's answer.
pub fn write_once(path: impl AsRef<Path>, data: &[u8]) -> Result<usize> {
    let f = OpenOptions::new().write(true).open(path)?;
    write_fd(f.as_raw_fd(), data)
}

/// One `write()`, not repeated on `EINTR`.
pub fn write_fd(fd: RawFd, data: &[u8]) -> Result<usize> {
    // SAFETY: the slice is readable.
    Ok(cvt(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) } as libc::c_long)? as usize)
}

/// The file's content as text.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let mut s = Vec::new();
    File::open(path)?.read_to_end(&mut s)?;
    Ok(String::from_utf8_lossy(&s).into_owned())
}

/// Sends descriptors and one byte over a socket.
pub fn send_fd(sock: RawFd, fd: RawFd) -> Result<()> {
    let mut byte = [0u8; 1];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut ctl = [0u64; 4];
    // SAFETY: `msghdr` may be all zeroes; the control buffer is aligned and large enough for one.
    unsafe {
        let mut m: libc::msghdr = std::mem::zeroed();
        m.msg_iov = &mut iov;
        m.msg_iovlen = 1;
        m.msg_control = ctl.as_mut_ptr().cast();
        m.msg_controllen = libc::CMSG_SPACE(4) as _;
        let c = libc::CMSG_FIRSTHDR(&m);
        (*c).cmsg_level = libc::SOL_SOCKET;
        (*c).cmsg_type = libc::SCM_RIGHTS;
        (*c).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(c).cast::<i32>().write_unaligned(fd);
        cvt(libc::sendmsg(sock, &m, 0) as libc::c_long)?;
    }
    Ok(())
}

/// Receives one descriptor.
pub fn recv_fd(sock: RawFd) -> Result<OwnedFd> {
    let mut byte = [0u8; 1];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut ctl = [0u64; 4];
    // SAFETY: as in `send_fd`; the descriptor is new and ours.
    unsafe {
        let mut m: libc::msghdr = std::mem::zeroed();
        m.msg_iov = &mut iov;
        m.msg_iovlen = 1;
        m.msg_control = ctl.as_mut_ptr().cast();
        m.msg_controllen = std::mem::size_of_val(&ctl) as _;
        cvt(libc::recvmsg(sock, &mut m, libc::MSG_CMSG_CLOEXEC) as libc::c_long)?;
        let c = libc::CMSG_FIRSTHDR(&m);
        if c.is_null() || (*c).cmsg_type != libc::SCM_RIGHTS {
            return Err(EBADF);
        }
        Ok(own(libc::CMSG_DATA(c).cast::<i32>().read_unaligned() as i64))
    }
}

/// A connected pair of Unix sockets.
pub fn socketpair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two.
    cvt(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        )
    } as libc::c_long)?;
    Ok((own(fds[0] as i64), own(fds[1] as i64)))
}

/// A memfd of `size` bytes, with seals allowed and the shrink seal set (as udmabuf wants it).
pub fn memfd(size: u64) -> Result<OwnedFd> {
    // SAFETY: a constant string.
    let fd = own(cvt(unsafe {
        libc::memfd_create(c"e2e".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
    } as libc::c_long)?);
    // SAFETY: no memory involved.
    unsafe {
        cvt(libc::ftruncate(fd.as_raw_fd(), size as i64) as libc::c_long)?;
        cvt(libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) as libc::c_long)?;
    }
    Ok(fd)
}

/// The CPU time that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    // SAFETY: The structure is plain data.
    let mut t: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: The pointer is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Minor page faults of this process so far.
pub fn minor_faults() -> u64 {
    // SAFETY: a valid place for the answer, all zeroes is a value of the type.
    unsafe {
        let mut r: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut r);
        r.ru_minflt as u64
    }
}

/// Calls `f` until it says true or the time is up; says whether it did.
pub fn wait_for(limit: Duration, mut f: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if f() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Does nothing, but its arrival interrupts system calls.
extern "C" fn noop(_: i32) {}

/// Installs a handler that does nothing and does not restart system calls.
pub fn catch_signal(sig: i32) -> Result<()> {
    // SAFETY: the handler is async-signal safe.
    unsafe {
        let mut a: libc::sigaction = std::mem::zeroed();
        a.sa_sigaction = noop as extern "C" fn(i32) as usize;
        cvt(libc::sigaction(sig, &a, std::ptr::null_mut()) as libc::c_long)?;
    }
    Ok(())
}

/// Has the calling thread leave a signal to the others of its process.
pub fn block_signal(sig: i32) -> Result<()> {
    // SAFETY: valid places.
    let err = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, sig);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())
    };
    match err {
        0 => Ok(()),
        err => Err(Errno(err)),
    }
}

/// What became of a memory access in a child of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It went through.
    Done,
    /// The signal that ended it.
    Signal(i32),
}

/// Runs `f` in a forked child and tells how it ended: to try accesses that may be answered by
/// `SIGBUS` or `SIGSEGV`.
pub fn try_access(f: impl FnOnce()) -> Result<Access> {
    match fork()? {
        0 => {
            f();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        }
        pid => {
            let st = waitpid(pid, 0)?.unwrap_or(0);
            if libc::WIFSIGNALED(st) {
                Ok(Access::Signal(libc::WTERMSIG(st)))
            } else {
                Ok(Access::Done)
            }
        }
    }
}

/// `swapoff()`.
pub fn swapoff(path: &str) -> Result<()> {
    let p = std::ffi::CString::new(path).map_err(|_| EINVAL)?;
    // SAFETY: a valid string.
    cvt(unsafe { libc::swapoff(p.as_ptr()) } as libc::c_long)?;
    Ok(())
}

/// `swapon()`.
pub fn swapon(path: &str) -> Result<()> {
    let p = std::ffi::CString::new(path).map_err(|_| EINVAL)?;
    // SAFETY: a valid string.
    cvt(unsafe { libc::swapon(p.as_ptr(), 0) } as libc::c_long)?;
    Ok(())
}

/// Loads a module file.
pub fn insmod(path: &str) -> Result<()> {
    let f = File::open(path)?;
    // SAFETY: a valid descriptor and string.
    cvt(unsafe { libc::syscall(libc::SYS_finit_module, f.as_raw_fd(), c"".as_ptr(), 0) })?;
    Ok(())
}

/// Unloads a module.
pub fn rmmod(name: &str) -> Result<()> {
    let n = std::ffi::CString::new(name).map_err(|_| EINVAL)?;
    // SAFETY: a valid string.
    cvt(unsafe { libc::syscall(libc::SYS_delete_module, n.as_ptr(), libc::O_NONBLOCK) })?;
    Ok(())
}

/// Prints and flushes, so that nothing is lost or doubled by `fork()`.
pub fn say(s: &str) {
    let mut o = std::io::stdout().lock();
    let _ = writeln!(o, "{s}");
    let _ = o.flush();
}
