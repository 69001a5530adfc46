// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A bench for tests of the whole device: memory, page tables, and a driver's register sequences.

use crate::clock::{Clock, Timing};
use crate::device::Gpu;
use crate::exec::{Device, Runner};
use crate::identity::Identity;
use crate::irq::{IrqSink, Line};
use crate::mmu::access::AccessError;
use crate::mmu::fault::Kind;
use crate::mmu::walk::{Leaf, BLOCK};
use crate::ram::GuestRam;
use crate::violations::Violation;
use mali_fw::image::{flags, Image};
use mali_fw::payload;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Start of memory.
pub const RAM: u64 = 0x4000_0000;
/// Bytes of memory.
pub const RAM_SIZE: u64 = 64 << 20;
/// TRANSCFG of a non-coherent AArch64 4K address space with 48 bits.
pub const TRANSCFG: u64 = 0x4200_01c6;
/// MEMATTR of a non-coherent driver.
pub const MEMATTR: u64 = 0x8f8f_8f8f_8c4c_8f4c;
/// Flush of everything.
pub const FLUSH_ALL: u32 = 0x0002_3304;

/// Leaf templates.
pub mod leaf {
    /// Cached, read and write, execute.
    pub const RW: u64 = 0xf47;
    /// Cached, read only, execute.
    pub const RO: u64 = 0xfc7;
    /// Uncached, read and write.
    pub const UNCACHED: u64 = 0xe43;
    /// No execute.
    pub const XN: u64 = 3 << 53;
}

/// Counts the messages of each line.
#[derive(Clone, Default)]
pub struct CountIrq(Arc<[AtomicU64; Line::COUNT]>);

impl IrqSink for CountIrq {
    fn fire(&self, line: Line) {
        self.0[line as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A device that only one thread uses.
struct Alone<'a>(RefCell<&'a mut Gpu>);

impl Device for Alone<'_> {
    fn with(&self, f: &mut dyn FnMut(&mut Gpu)) {
        f(&mut self.0.borrow_mut());
    }
}

/// The bench.
pub struct Bench {
    /// The device.
    pub gpu: Gpu,
    irqs: CountIrq,
    runner: Option<Runner>,
    next_page: u64,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// A device with memory, without power.
    pub fn new() -> Self {
        let irqs = CountIrq::default();
        let mut gpu = Gpu::new(
            Identity::default(),
            Timing::default(),
            Clock::Manual(0),
            Box::new(irqs.clone()),
        );
        gpu.env.ram = GuestRam::anonymous(RAM, RAM_SIZE).unwrap();
        Self {
            gpu,
            irqs,
            runner: None,
            next_page: RAM,
        }
    }

    /// A device with its L2 on.
    pub fn powered() -> Self {
        let mut bench = Self::new();
        bench.write(0x304, 31);
        bench.write(0x1a0, 1);
        bench.write(0x1a4, 0);
        bench.sleep();
        assert_eq!(bench.read(0x160), 1);
        bench
    }

    /// Lets every operation end.
    pub fn sleep(&mut self) {
        if let Clock::Manual(now) = &mut self.gpu.env.clock {
            *now += 1_000_000;
        }
        self.gpu.advance();
        self.gpu.deliver();
    }

    /// Messages of a line so far.
    pub fn irqs(&self, line: Line) -> u64 {
        self.irqs.0[line as usize].load(Ordering::Relaxed)
    }

    /// Reads a register.
    pub fn read(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.gpu.mmio_read(offset, &mut data);
        self.gpu.deliver();
        u32::from_le_bytes(data)
    }

    /// Writes a register.
    pub fn write(&mut self, offset: u64, value: u32) {
        self.gpu.mmio_write(offset, &value.to_le_bytes());
        self.gpu.deliver();
    }

    /// Writes two registers, low word first.
    pub fn write64(&mut self, offset: u64, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }

    /// Address of a register of an address space.
    pub fn as_reg(n: u64, offset: u64) -> u64 {
        0x2400 + 0x40 * n + offset
    }

    /// An address space command, and the wait for it.
    pub fn as_command(&mut self, n: u64, command: u32) {
        assert_eq!(self.read(Self::as_reg(n, 0x28)), 0);
        self.write(Self::as_reg(n, 0x18), command);
        self.sleep();
    }

    /// The flush of the whole GPU, and the wait for it.
    pub fn flush(&mut self) {
        self.write(0x30, FLUSH_ALL);
        self.sleep();
        assert_ne!(self.read(0x20) & (1 << 17), 0);
        self.write(0x24, 1 << 17);
    }

    /// Locks the smallest region around one address.
    pub fn lock(&mut self, n: u64, va: u64, width: u64) {
        self.write64(Self::as_reg(n, 0x10), va & !0xfff | width);
        self.as_command(n, 2);
    }

    /// Flushes and unlocks.
    pub fn unlock(&mut self, n: u64) {
        self.flush();
        self.as_command(n, 3);
    }

    /// A zeroed page.
    pub fn page(&mut self) -> u64 {
        let page = self.next_page;
        self.next_page += 4096;
        page
    }

    /// Where the next page comes from.
    pub fn end(&self) -> u64 {
        self.next_page
    }

    /// A naturally aligned block.
    pub fn block(&mut self) -> u64 {
        self.next_page = self.next_page.next_multiple_of(BLOCK) + BLOCK;
        self.next_page - BLOCK
    }

    /// Address of the entry for `va` at `level`, making tables on the way.
    pub fn entry(&mut self, root: u64, va: u64, level: u32) -> u64 {
        let mut table = root;
        for l in 0.. {
            let at = table + 8 * ((va >> (39 - 9 * l)) & 0x1ff);
            if l == level {
                return at;
            }
            let entry = self.gpu.env.ram.read_u64(at).unwrap();
            table = if entry & 1 == 0 {
                let page = self.page();
                self.put(at, page | 3);
                page
            } else {
                entry & 0xffff_ffff_f000
            };
        }
        unreachable!()
    }

    /// Writes a double word of memory.
    pub fn put(&mut self, pa: u64, value: u64) {
        self.gpu.env.ram.write_u64(pa, value).unwrap();
    }

    /// Maps a page.
    pub fn map(&mut self, root: u64, va: u64, pa: u64, template: u64) {
        let at = self.entry(root, va, 3);
        self.put(at, pa | template);
    }

    /// Enables an address space with a new root table.
    pub fn enable(&mut self, n: u64) -> u64 {
        let root = self.page();
        self.enable_root(n, root);
        root
    }

    /// Enables an address space.
    pub fn enable_root(&mut self, n: u64, root: u64) {
        self.write64(Self::as_reg(n, 0), root);
        self.write64(Self::as_reg(n, 0x08), MEMATTR);
        self.write64(Self::as_reg(n, 0x30), TRANSCFG);
        self.as_command(n, 1);
    }

    /// Disables an address space as a driver does.
    pub fn disable(&mut self, n: u64) {
        self.flush();
        self.write64(Self::as_reg(n, 0), 0);
        self.write64(Self::as_reg(n, 0x08), 0);
        self.write64(Self::as_reg(n, 0x30), 1);
        self.as_command(n, 1);
    }

    /// An access of the GPU.
    pub fn access(&mut self, n: usize, va: u64, kind: Kind) -> Result<Leaf, AccessError> {
        let result = self.gpu.mmu.access(&mut self.gpu.env, n, va, kind);
        self.gpu.deliver();
        result
    }

    /// How often a violation was counted.
    pub fn count(&self, kind: Violation) -> u64 {
        self.gpu.env.violations.count(kind)
    }

    /// Asserts that nothing was counted.
    pub fn clean(&mut self) {
        self.gpu.mmu.audit(&mut self.gpu.env);
        let log: Vec<&str> = self.gpu.env.violations.log().collect();
        assert!(log.is_empty(), "{log:?}");
    }

    /// Loads the free firmware behind AS0, as a driver does. Gives the root table.
    pub fn load_firmware(&mut self) -> u64 {
        let image = Image::parse(&payload::image().to_bytes()).unwrap();
        let root = self.page();
        for section in &image.sections {
            let mut template = if section.flags & flags::CACHED != 0 {
                leaf::RW
            } else {
                leaf::UNCACHED
            };
            if section.flags & flags::WRITE == 0 {
                template |= 1 << 7;
            }
            if section.flags & flags::EXECUTE == 0 {
                template |= leaf::XN;
            }
            for offset in (0..section.size).step_by(4096) {
                let page = self.page();
                self.map(root, u64::from(section.va + offset), page, template);
                let start = (offset as usize).min(section.data.len());
                let end = (start + 4096).min(section.data.len());
                let data = &section.data[start..end];
                self.gpu.env.ram.write(page, data).unwrap();
            }
        }
        self.enable_root(0, root);
        root
    }

    /// Starts the microcontroller and lets it work.
    pub fn start_mcu(&mut self) {
        self.write(0x1004, u32::MAX);
        self.write(0x1008, u32::MAX);
        self.write(0x700, 2);
        self.gpu.run_mcu();
    }

    /// Rings the global doorbell and lets the microcontroller work.
    pub fn ring(&mut self) {
        self.write(0x8_0000, 1);
        self.work();
    }

    /// Lets the microcontroller and the streams work until nothing is to be done, or for long.
    pub fn work(&mut self) {
        for _ in 0..200 {
            let now = self.gpu.env.clock.now();
            let due = self.gpu.mcu.due(now) && !self.gpu.run_mcu();
            let mut ran = false;
            while self.step() {
                ran = true;
            }
            if due || ran {
                continue;
            }
            if self.gpu.mcu.deadline().is_none() {
                break;
            }
            self.wait(20_000);
        }
        self.gpu.deliver();
    }

    /// Runs a piece of a stream on this thread.
    pub fn step(&mut self) -> bool {
        let mut runner = self.runner.take().unwrap_or_else(|| Runner::new(0, 1));
        let ran = runner.step(&Alone(RefCell::new(&mut self.gpu)));
        self.runner = Some(runner);
        ran
    }

    /// Moves the clock.
    pub fn wait(&mut self, ns: u64) {
        if let Clock::Manual(now) = &mut self.gpu.env.clock {
            *now += ns;
        }
        self.gpu.advance();
        self.gpu.deliver();
    }

    /// Reads memory of the microcontroller, as the host's mapping shows it.
    pub fn fw_read(&mut self, va: u32) -> u32 {
        let pa = self.fw_pa(va);
        self.gpu.env.ram.read_u32(pa).unwrap()
    }

    /// Writes memory of the microcontroller.
    pub fn fw_write(&mut self, va: u32, value: u32) {
        let pa = self.fw_pa(va);
        self.gpu.env.ram.write_u32(pa, value).unwrap();
    }

    fn fw_pa(&mut self, va: u32) -> u64 {
        let va = u64::from(va);
        let (leaf, _) = self.gpu.mmu.peek(&self.gpu.env, 0, va, Kind::Read).unwrap();
        leaf.pa + (va - leaf.va)
    }
}
