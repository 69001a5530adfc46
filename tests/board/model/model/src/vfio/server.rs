// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Serves one connection of QEMU: messages in, register accesses and answers out.

use super::irqs::Vectors;
use super::pci::{Config, CONFIG_SIZE, MSIX_BAR_SIZE};
use super::proto::{finish, Command, Fields, Header, HEADER_SIZE};
use crate::irq::Line;
use crate::regs::WINDOW;
use crate::shared::Shared;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Regions and interrupt kinds of a PCI device in vfio.
mod vfio {
    pub const BAR0: u32 = 0;
    pub const BAR2: u32 = 2;
    pub const CONFIG: u32 = 7;
    pub const REGIONS: u32 = 9;
    pub const IRQS: u32 = 5;
    pub const MSIX: u32 = 2;
    pub const ERROR: u32 = 3;
    pub const DEVICE_RESET: u32 = 1 << 0;
    pub const DEVICE_PCI: u32 = 1 << 1;
    pub const REGION_READ_WRITE: u32 = 3;
    pub const IRQ_EVENTFD: u32 = 1 << 0;
    pub const IRQ_NORESIZE: u32 = 1 << 3;
    pub const SET_DATA_NONE: u32 = 1 << 0;
    pub const SET_DATA_BOOL: u32 = 1 << 1;
    pub const SET_TRIGGER: u32 = 1 << 5;
    pub const UNMAP_ALL: u32 = 1 << 2;
}

/// File descriptors that one message may carry.
const MAX_FDS: usize = 16;

/// What the two sides agree on.
const CAPABILITIES: &str =
    "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}\0";

/// A served connection.
pub struct Server {
    stream: UnixStream,
    shared: Arc<Shared>,
    vectors: Vectors,
    config: Config,
    spin: Duration,
    trace: bool,
}

impl Server {
    /// Serves a connection. The device must send its interrupts to the same `vectors`.
    pub fn new(
        stream: UnixStream,
        shared: Arc<Shared>,
        vectors: Vectors,
        spin: Duration,
        trace: bool,
    ) -> Self {
        Self {
            stream,
            shared,
            vectors,
            config: Config::default(),
            spin,
            trace,
        }
    }

    /// Serves until QEMU goes.
    pub fn run(&mut self) -> io::Result<()> {
        let mut payload = Vec::new();
        loop {
            self.wait_readable()?;
            let Some((header, fds)) = self.receive()? else {
                return Ok(());
            };
            let Some(len) = header.payload() else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("message of {} bytes", header.size),
                ));
            };
            payload.resize(len, 0);
            self.stream.read_exact(&mut payload)?;
            let reply = match self.handle(&header, &payload, fds) {
                Ok(reply) => reply,
                Err(errno) => {
                    eprintln!("mali-model: {header:?} refused: {errno}");
                    header.error(errno.raw_os_error())
                }
            };
            if !header.no_reply() {
                self.stream.write_all(&reply)?;
            }
        }
    }

    /// Waits for a message; ends timed operations of the device in the meantime. May look at the
    /// socket for a while before it sleeps, which pays on a machine with processors to spare.
    fn wait_readable(&mut self) -> io::Result<()> {
        let mut deadline = self.shared.access(|gpu| gpu.deadline());
        if deadline.is_none() && self.spin.is_zero() {
            // The read that follows does the waiting.
            return Ok(());
        }
        let start = Instant::now();
        loop {
            let spinning = start.elapsed() < self.spin;
            let timeout = match deadline {
                _ if spinning => Some(0),
                Some(at) => {
                    let now = self.shared.access(|gpu| gpu.env.clock.now());
                    Some(at.saturating_sub(now))
                }
                None => None,
            };
            let timeout = timeout.map(|ns| Timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as _,
            });
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => {}
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            if deadline.is_some() {
                deadline = self.shared.access(|gpu| {
                    gpu.advance();
                    gpu.deadline()
                });
            }
        }
    }

    /// Reads a header and the file descriptors that came with it. None at the end.
    fn receive(&mut self) -> io::Result<Option<(Header, Vec<OwnedFd>)>> {
        let mut bytes = [0; HEADER_SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = loop {
            let mut iov = [IoSliceMut::new(&mut bytes)];
            match recvmsg(
                &self.stream,
                &mut iov,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        if message.bytes == 0 {
            return Ok(None);
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("too many file descriptors"));
        }
        self.stream.read_exact(&mut bytes[message.bytes..])?;
        Ok(Some((Header::parse(&bytes), fds)))
    }

    fn handle(
        &mut self,
        header: &Header,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<Vec<u8>, Errno> {
        let mut fields = Fields(payload);
        let mut out = header.reply();
        match header.command().ok_or(Errno::OPNOTSUPP)? {
            Command::RegionRead => {
                let (offset, region, count) = (fields.u64(), fields.u32(), fields.u32());
                out.extend(&payload[..payload.len().min(16)]);
                let start = out.len();
                out.resize(start + check_count(count)?, 0);
                self.region_read(region, offset, &mut out[start..])?;
            }
            Command::RegionWrite => {
                let (offset, region, count) = (fields.u64(), fields.u32(), fields.u32());
                let data = fields
                    .rest()
                    .get(..check_count(count)?)
                    .ok_or(Errno::INVAL)?;
                self.region_write(region, offset, data)?;
                out.extend(&payload[..payload.len().min(16)]);
            }
            Command::Version => {
                if fields.u16() != 0 {
                    return Err(Errno::OPNOTSUPP);
                }
                let minor = fields.u16().min(1);
                out.extend(0u16.to_le_bytes());
                out.extend(minor.to_le_bytes());
                out.extend(CAPABILITIES.as_bytes());
            }
            Command::DmaMap => self.dma_map(&mut fields, fds)?,
            Command::DmaUnmap => {
                let (_argsz, flags) = (fields.u32(), fields.u32());
                let (address, size) = (fields.u64(), fields.u64());
                self.shared.access(|gpu| {
                    if flags & vfio::UNMAP_ALL != 0 {
                        gpu.env.ram.clear();
                    } else {
                        gpu.env.ram.unmap(address, size);
                    }
                });
                out.extend(payload);
            }
            Command::DeviceInfo => {
                let flags = vfio::DEVICE_RESET | vfio::DEVICE_PCI;
                for word in [16, flags, vfio::REGIONS, vfio::IRQS] {
                    out.extend(word.to_le_bytes());
                }
            }
            Command::RegionInfo => {
                let (_argsz, _flags, index) = (fields.u32(), fields.u32(), fields.u32());
                if index >= vfio::REGIONS {
                    return Err(Errno::INVAL);
                }
                let size = match index {
                    vfio::BAR0 => WINDOW,
                    vfio::BAR2 => MSIX_BAR_SIZE,
                    vfio::CONFIG => CONFIG_SIZE as u64,
                    _ => 0,
                };
                let flags = if size == 0 {
                    0
                } else {
                    vfio::REGION_READ_WRITE
                };
                for word in [32, flags, index, 0] {
                    out.extend(word.to_le_bytes());
                }
                out.extend(size.to_le_bytes());
                out.extend(0u64.to_le_bytes());
            }
            Command::IrqInfo => {
                let (_argsz, _flags, index) = (fields.u32(), fields.u32(), fields.u32());
                if index >= vfio::IRQS {
                    return Err(Errno::INVAL);
                }
                let (flags, count) = match index {
                    vfio::MSIX => (vfio::IRQ_EVENTFD | vfio::IRQ_NORESIZE, Line::COUNT as u32),
                    // Never fired, but QEMU complains when it is not there.
                    vfio::ERROR => (vfio::IRQ_EVENTFD | vfio::IRQ_NORESIZE, 1),
                    _ => (0, 0),
                };
                for word in [16, flags, index, count] {
                    out.extend(word.to_le_bytes());
                }
            }
            Command::SetIrqs => self.set_irqs(&mut fields, fds)?,
            Command::DeviceReset => {
                self.config = Config::default();
                self.shared.access(|gpu| gpu.cold_reset());
            }
        }
        Ok(finish(out))
    }

    fn dma_map(&mut self, fields: &mut Fields<'_>, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        let (_argsz, _flags) = (fields.u32(), fields.u32());
        let (offset, address, size) = (fields.u64(), fields.u64(), fields.u64());
        // Memory without a file (flash, ROM) is not for the GPU.
        let Some(fd) = fds.into_iter().next() else {
            return Ok(());
        };
        self.shared.access(|gpu| {
            gpu.env
                .event(|| format!("memory {address:#x} size {size:#x}"));
            gpu.env.ram.map(address, size, fd, offset).map_err(|e| {
                e.raw_os_error()
                    .map_or(Errno::INVAL, Errno::from_raw_os_error)
            })
        })
    }

    fn set_irqs(&mut self, fields: &mut Fields<'_>, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        let (_argsz, flags, index) = (fields.u32(), fields.u32(), fields.u32());
        let (start, count) = (fields.u32(), fields.u32());
        if index != vfio::MSIX || flags & vfio::SET_TRIGGER == 0 {
            return Ok(());
        }
        if flags & vfio::SET_DATA_BOOL != 0 || start.saturating_add(count) > Line::COUNT as u32 {
            return Err(Errno::INVAL);
        }
        if flags & vfio::SET_DATA_NONE != 0 {
            if count == 0 {
                self.vectors.clear();
            }
            return Ok(());
        }
        self.vectors.set(start, count, fds);
        // What is pending reaches the new listener.
        self.shared.access(|gpu| {
            for line in Line::ALL {
                gpu.env.irq_mut(line).retrigger();
            }
        });
        Ok(())
    }

    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        match region {
            vfio::BAR0 => {
                if data.len() > 8 {
                    return Err(Errno::INVAL);
                }
                self.shared.access(|gpu| gpu.mmio_read(offset, data));
                if self.trace {
                    eprintln!("mali-model: R {offset:#07x} {data:02x?}");
                }
            }
            vfio::CONFIG => self.config.read(offset, data),
            vfio::BAR2 => {}
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        match region {
            vfio::BAR0 => {
                if data.len() > 8 {
                    return Err(Errno::INVAL);
                }
                if self.trace {
                    eprintln!("mali-model: W {offset:#07x} {data:02x?}");
                }
                self.shared.access(|gpu| gpu.mmio_write(offset, data));
            }
            vfio::CONFIG => self.config.write(offset, data),
            vfio::BAR2 => {}
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }
}

/// Bytes of one region access.
fn check_count(count: u32) -> Result<usize, Errno> {
    let count = count as usize;
    if count > CONFIG_SIZE {
        return Err(Errno::INVAL);
    }
    Ok(count)
}
