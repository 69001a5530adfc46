// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The microcontroller and its firmware: where it comes from, how it starts and stops.
//!
//! The image is a file of the system. It is believed nothing, nor is what the firmware says of itself
//! when it has started: see [`image`] and [`layout`].

mod global;
pub(crate) mod image;
pub(crate) mod layout;
mod memory;
pub(crate) mod request;
pub(crate) mod timer;

use self::{global::Global, layout::Layout, memory::Memory};
use crate::{
    kernel_ext::{clock::system_counter_freq, completion::Completion},
    panthor_irq::{IrqBlock, IrqSource},
    panthor_regs::{
        doorbell::DOORBELL,
        irq::{JobIrq, JOB_ALL, JOB_GLOBAL},
        mcu_control::*,
        Regs,
    },
    PanthorBound,
};
use kernel::{
    device,
    firmware::Firmware,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{aref::ARef, Arc, Mutex},
    time::{Delta, Instant, Monotonic},
};

/// Longest time from the start of the microcontroller to its first event.
const BOOT_TIMEOUT: Delta = Delta::from_secs(1);
/// Longest time of a request to the firmware.
const REQUEST_TIMEOUT: Delta = Delta::from_millis(100);

/// The Debian package that has the image for the GPUs of today.
const PACKAGE: &str = "firmware-misc-nonfree";

/// What there is of the firmware.
enum State {
    /// Nothing.
    Off,
    /// It is in memory, and the microcontroller may have been started.
    Loaded(Memory),
    /// It has said what it has, and answers.
    Up(Memory, Layout),
}

/// The microcontroller of a GPU.
#[pin_data]
pub(crate) struct Fw {
    dev: ARef<device::Device>,
    regs: Arc<Regs>,
    #[pin]
    irq: IrqBlock<JobIrq>,
    /// The global interface has raised its interrupt.
    #[pin]
    event: Completion,
    #[pin]
    state: Mutex<State>,
}

impl Fw {
    /// Makes the room for it. Nothing is loaded yet.
    pub(crate) fn new(dev: ARef<device::Device>, regs: Arc<Regs>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            dev,
            irq <- IrqBlock::new(regs.clone()),
            regs,
            event <- Completion::new(),
            state <- new_mutex!(State::Off, "Fw::state"),
        })
    }

    /// Loads the image, starts the microcontroller, and sees to it that it answers. When it fails,
    /// [`Self::stop`] clears up.
    ///
    /// `ENOENT` without an image, `EINVAL` for one that cannot be used, `ETIMEDOUT` when the firmware
    /// does not start or answer, `ENOMEM`.
    pub(crate) fn start(&self, bound: &PanthorBound<'_>) -> Result {
        let firmware = self.request(bound)?;
        let memory = Memory::new(bound, &firmware)?;
        let mut state = self.state.lock();
        *state = State::Loaded(memory);
        let State::Loaded(memory) = &*state else {
            return Err(EINVAL);
        };
        memory.vm().activate()?;
        self.boot()?;
        let layout = self.discover(memory)?;
        let global = Global::new(memory.shared(), &layout);
        let shader_present = bound.info.uapi().shader_present;
        global.configure(shader_present, system_counter_freq().into())?;
        self.ring()?;
        if !self.wait_for(REQUEST_TIMEOUT, || global.is_configured()) {
            dev_err!(&*self.dev, "The firmware does not answer\n");
            return Err(ETIMEDOUT);
        }
        if let State::Loaded(memory) = core::mem::replace(&mut *state, State::Off) {
            *state = State::Up(memory, layout);
        }
        Ok(())
    }

    /// Finds the image for this GPU.
    fn request(&self, bound: &PanthorBound<'_>) -> Result<Firmware> {
        let (major, minor) = bound.info.arch();
        let path = CString::try_from_fmt(fmt!("arm/mali/arch{major}.{minor}/mali_csffw.bin"))?;
        // The message of the kernel's own has no more than the path.
        Firmware::request_nowarn(&path, &self.dev).inspect_err(|err| {
            dev_err!(
                &*self.dev,
                "No firmware at {} in the kernel's firmware paths ({:?}); Debian has it in the package {}\n",
                &*path,
                err,
                PACKAGE
            )
        })
    }

    /// Starts the microcontroller and waits for its first event.
    fn boot(&self) -> Result {
        self.event.rearm();
        self.irq.resume(JOB_ALL)?;
        self.regs.write(MCU_CONTROL::from(MCU_AUTO))?;
        if self.event.wait_for(BOOT_TIMEOUT) || self.irq.raw_status()? & JOB_GLOBAL != 0 {
            return Ok(());
        }
        let status: MCU_STATUS = self.regs.read()?;
        dev_err!(
            &*self.dev,
            "The microcontroller does not start: {}\n",
            mcu_status_name(status.state().get())
        );
        Err(ETIMEDOUT)
    }

    /// Reads what the firmware says of itself.
    fn discover(&self, memory: &Memory) -> Result<Layout> {
        let layout = Layout::read(memory.shared()).map_err(|err| {
            let (what, value) = err.describe();
            dev_err!(&*self.dev, "Bad firmware: {} ({:#x})\n", what, value);
            EINVAL
        })?;
        let (major, minor, patch) = layout.version.parts();
        dev_info!(
            &*self.dev,
            "CSF FW using interface v{}.{}.{}, Features {:#x} Instrumentation features {:#x}\n",
            major,
            minor,
            patch,
            layout.features,
            layout.instr_features
        );
        Ok(layout)
    }

    /// Has the firmware look at its requests.
    fn ring(&self) -> Result {
        self.regs.write_at(0, DOORBELL::from(1))
    }

    /// Waits for something that the firmware raises the global interrupt for. Says whether it came
    /// within `limit`, whatever else the interrupt is raised for meanwhile. The caller has the lock of
    /// the state: one waits at a time.
    fn wait_for(&self, limit: Delta, is_done: impl Fn() -> bool) -> bool {
        let start = Instant::<Monotonic>::now();
        loop {
            self.event.rearm();
            // It may have come before, or without an interrupt.
            if is_done() {
                return true;
            }
            let left = limit - start.elapsed();
            if left.is_negative() || !self.event.wait_for(left) {
                return is_done();
            }
        }
    }

    /// What the firmware has. `ENODEV` when it is not there.
    pub(crate) fn layout(&self) -> Result<Layout> {
        match &*self.state.lock() {
            State::Up(_, layout) => Ok(*layout),
            State::Off | State::Loaded(_) => Err(ENODEV),
        }
    }

    /// Stops the microcontroller. Its memory stays until [`Self::unload`]. What does not answer is left
    /// to the GPU losing its power.
    pub(crate) fn stop(&self) {
        let state = self.state.lock();
        if let State::Up(memory, layout) = &*state {
            if self.halt(&Global::new(memory.shared(), layout)).is_err() {
                dev_warn!(&*self.dev, "The firmware does not halt\n");
            }
        }
        if !matches!(*state, State::Off) && self.disable().is_err() {
            dev_warn!(&*self.dev, "The microcontroller does not stop\n");
        }
        let _ = self.irq.suspend();
    }

    /// Has the firmware stop by itself.
    fn halt(&self, global: &Global<'_>) -> Result {
        global.halt()?;
        self.ring()?;
        self.wait_status(HALT_TIMEOUT, MCU_HALTED)
    }

    /// Switches the microcontroller off.
    fn disable(&self) -> Result {
        self.regs.write(MCU_CONTROL::from(MCU_DISABLE))?;
        self.wait_status(DISABLE_TIMEOUT, MCU_DISABLED)
    }

    fn wait_status(&self, limit: Delta, state: u32) -> Result {
        self.regs.wait_until(
            Regs::read::<MCU_STATUS>,
            |status| status.state().get() == state,
            STATUS_POLL,
            limit,
        )
    }

    /// Gives the memory up. The GPU does not use it any more.
    pub(crate) fn unload(&self) {
        let state = core::mem::replace(&mut *self.state.lock(), State::Off);
        drop(state);
    }
}

impl IrqSource for Fw {
    type Base = JobIrq;

    fn irq(&self) -> &IrqBlock<JobIrq> {
        &self.irq
    }

    fn handle(&self, events: u32) -> Result {
        self.irq.clear(events)?;
        if events & JOB_GLOBAL != 0 {
            self.event.complete_all();
        }
        Ok(())
    }
}
