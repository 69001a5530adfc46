// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! GPU_CONTROL: identity, power of the L2 cache, cache flushes, soft reset, counters.

use crate::{
    kernel_ext::{completion::Completion, uapi},
    panthor_irq::{IrqBlock, IrqSource},
    panthor_regs::{
        gpu_control::*,
        irq::{gpu_irq, GpuIrq},
        Regs,
    },
};
use kernel::{
    device, new_mutex, new_spinlock,
    prelude::*,
    sync::{aref::ARef, Arc, Mutex, SpinLock},
};

/// What the GPU is, as user space can ask for it.
pub(crate) struct GpuInfo(uapi::drm_panthor_gpu_info);

impl GpuInfo {
    /// Reads the identity and the features from the registers.
    ///
    /// `ENXIO` when there is no GPU, `EOPNOTSUPP` for one that this driver does not know.
    pub(crate) fn read(regs: &Regs) -> Result<Self> {
        let gpu_id: GPU_ID = regs.read()?;

        if u32::from(gpu_id) == 0 {
            return Err(ENXIO);
        }
        // Architecture 14 has its power control elsewhere.
        if !(10..=13).contains(&gpu_id.arch_major().get()) {
            return Err(EOPNOTSUPP);
        }

        let mut texture_features = [0; 4];
        for (i, value) in texture_features.iter_mut().enumerate() {
            *value = regs.read_at::<TEXTURE_FEATURES>(i)?.into();
        }

        Ok(Self(uapi::drm_panthor_gpu_info {
            gpu_id: gpu_id.into(),
            gpu_rev: regs.read::<REVIDR>()?.into(),
            csf_id: regs.read::<CSF_ID>()?.into(),
            l2_features: regs.read::<L2_FEATURES>()?.into(),
            tiler_features: regs.read::<TILER_FEATURES>()?.into(),
            mem_features: regs.read::<MEM_FEATURES>()?.into(),
            mmu_features: regs.read::<MMU_FEATURES>()?.into(),
            thread_features: regs.read::<THREAD_FEATURES>()?.into(),
            max_threads: regs.read::<THREAD_MAX_THREADS>()?.into(),
            thread_max_workgroup_size: regs.read::<THREAD_MAX_WORKGROUP_SIZE>()?.into(),
            thread_max_barrier_size: regs.read::<THREAD_MAX_BARRIER_SIZE>()?.into(),
            coherency_features: regs.read::<COHERENCY_FEATURES>()?.into(),
            texture_features,
            as_present: regs.read::<AS_PRESENT>()?.into(),
            selected_coherency: uapi::drm_panthor_gpu_coherency_DRM_PANTHOR_GPU_COHERENCY_NONE,
            shader_present: regs.read64::<SHADER_PRESENT>()?.into(),
            l2_present: regs.read64::<L2_PRESENT>()?.into(),
            tiler_present: regs.read64::<TILER_PRESENT>()?.into(),
            core_features: regs.read::<CORE_FEATURES>()?.into(),
            pad: 0,
            gpu_features: regs.read64::<GPU_FEATURES>()?.into(),
        }))
    }

    /// Chooses the coherency protocol: none, or ACE-Lite if the bus is `coherent`.
    ///
    /// `ENOTSUPP` when the bus is, and the GPU cannot be.
    pub(crate) fn select_coherency(&mut self, coherent: bool) -> Result {
        if !coherent {
            return Ok(());
        }
        if !COHERENCY_FEATURES::from(self.0.coherency_features).ace_lite() {
            return Err(ENOTSUPP);
        }

        self.0.selected_coherency =
            uapi::drm_panthor_gpu_coherency_DRM_PANTHOR_GPU_COHERENCY_ACE_LITE;
        Ok(())
    }

    /// Whether the GPU sees what is in the caches of the CPU.
    pub(crate) fn is_coherent(&self) -> bool {
        self.0.selected_coherency != uapi::drm_panthor_gpu_coherency_DRM_PANTHOR_GPU_COHERENCY_NONE
    }

    /// Major and minor number of the architecture.
    pub(crate) fn arch(&self) -> (u32, u32) {
        let id = GPU_ID::from(self.0.gpu_id);
        (id.arch_major().get(), id.arch_minor().get())
    }

    /// Bits of a GPU virtual address.
    pub(crate) fn va_bits(&self) -> u32 {
        MMU_FEATURES::from(self.0.mmu_features).va_bits().get()
    }

    /// Bits of a physical address.
    pub(crate) fn pa_bits(&self) -> u32 {
        MMU_FEATURES::from(self.0.mmu_features).pa_bits().get()
    }

    /// The answer to `DRM_PANTHOR_DEV_QUERY_GPU_INFO`.
    pub(crate) fn uapi(&self) -> &uapi::drm_panthor_gpu_info {
        &self.0
    }

    /// Says what was found.
    pub(crate) fn log(&self, dev: &device::Device) {
        let info = &self.0;
        let id = GPU_ID::from(info.gpu_id);

        dev_info!(
            dev,
            "{} id {:#x} major {:#x} minor {:#x} status {:#x}\n",
            self.model_name(),
            info.gpu_id >> 16,
            id.version_major().get(),
            id.version_minor().get(),
            id.version_status().get()
        );
        dev_info!(
            dev,
            "Features: L2:{:#x} Tiler:{:#x} Mem:{:#x} MMU:{:#x} AS:{:#x}\n",
            info.l2_features,
            info.tiler_features,
            info.mem_features,
            info.mmu_features,
            info.as_present
        );
        dev_info!(
            dev,
            "shader_present={:#x} l2_present={:#x} tiler_present={:#x}\n",
            info.shader_present,
            info.l2_present,
            info.tiler_present
        );
    }

    /// The name under which the GPU is sold; some differ only in the number of shader cores and in
    /// having ray tracing.
    fn model_name(&self) -> &'static str {
        let id = GPU_ID::from(self.0.gpu_id);
        let cores = self.0.shader_present.count_ones();
        let rays = GPU_FEATURES::from(self.0.gpu_features).ray_intersection();

        match (id.arch_major().get(), id.product().get()) {
            (10, 2) => "Mali-G710",
            (10, 3) => "Mali-G510",
            (10, 4) => "Mali-G310",
            (10, 7) => "Mali-G610",
            (11, 2) if cores >= 10 && rays => "Mali-G715-Immortalis",
            (11, 2) if cores >= 7 => "Mali-G715",
            (11, 2 | 3) => "Mali-G615",
            (12, 0) if cores >= 10 && rays => "Mali-G720-Immortalis",
            (12, 0) if cores >= 6 => "Mali-G720",
            (12, 0 | 1) => "Mali-G620",
            (13, 0) if cores >= 10 && rays => "Mali-G925-Immortalis",
            (13, 0) if cores >= 6 => "Mali-G725",
            (13, 0 | 1) => "Mali-G625",
            _ => "(Unknown Mali GPU)",
        }
    }
}

/// State of the one request to the GPU that is under way, for each kind of request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    /// None.
    Idle,
    /// It was made, and has not ended. It stays so when it was given up after its time limit, and
    /// as long as it does no other can be made.
    Pending,
}

/// A kind of request to the GPU that ends with an event.
#[pin_data]
struct Requests {
    /// The event.
    event: u32,
    /// Serialises callers. Outer to `state`.
    #[pin]
    caller: Mutex<()>,
    /// Also covers looking at the event and clearing it, so that a late event cannot end the next
    /// request.
    #[pin]
    state: SpinLock<Request>,
    /// Signalled when a request has ended.
    #[pin]
    ended: Completion,
}

impl Requests {
    fn new(event: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            event,
            caller <- new_mutex!(()),
            state <- new_spinlock!(Request::Idle),
            ended <- Completion::new(),
        })
    }
}

/// GPU_CONTROL of a device.
///
/// Lock order: a [`Requests::caller`] is taken inside the lock of the address space slots, and
/// nothing is taken inside it but [`Requests::state`].
#[pin_data]
pub(crate) struct Gpu {
    dev: ARef<device::Device>,
    regs: Arc<Regs>,
    /// The coherency protocol, as the register wants it.
    protocol: u32,
    #[pin]
    irq: IrqBlock<GpuIrq>,
    #[pin]
    flushes: Requests,
    #[pin]
    resets: Requests,
}

impl Gpu {
    /// Makes the room for a GPU. Nothing is written to it yet.
    pub(crate) fn new(
        dev: ARef<device::Device>,
        regs: Arc<Regs>,
        info: &GpuInfo,
    ) -> impl PinInit<Self, Error> {
        let protocol = info.0.selected_coherency;

        try_pin_init!(Self {
            dev,
            protocol,
            irq <- IrqBlock::new(regs.clone()),
            flushes <- Requests::new(gpu_irq::CLEAN_CACHES_COMPLETED),
            resets <- Requests::new(gpu_irq::RESET_COMPLETED),
            regs,
        })
    }

    /// Starts to listen to events and powers the L2 cache up.
    pub(crate) fn resume(&self) -> Result {
        self.irq.resume(gpu_irq::ENABLED)?;
        self.power_on_l2()
    }

    /// Powers the L2 cache down, with a reset if it must be, and stops listening. `flushed` says that
    /// nothing is in it: else there is a reset.
    pub(crate) fn suspend(&self, flushed: bool) -> Result {
        let powered_off = if flushed {
            self.power_off_l2().or_else(|_| self.soft_reset())
        } else {
            // One that does not end is left to clocks and supplies: nothing may be touched in it.
            self.soft_reset()
        };

        self.irq.suspend()?;
        powered_off
    }

    /// Powers the L2 cache up. The coherency protocol must be known before.
    fn power_on_l2(&self) -> Result {
        self.regs.write(COHERENCY_PROTOCOL::from(self.protocol))?;
        self.wait_l2_transition()?;
        self.regs.write64(L2_PWRON::from(L2_FIRST))?;

        self.regs
            .wait_until(
                Regs::read64::<L2_READY>,
                |ready| u64::from(*ready) & L2_FIRST != 0,
                POWER_POLL,
                POWER_TIMEOUT,
            )
            .inspect_err(|_| dev_err!(&*self.dev, "L2 cache does not power up\n"))
    }

    /// Powers the L2 cache down.
    fn power_off_l2(&self) -> Result {
        self.wait_l2_transition()?;
        self.regs.write64(L2_PWROFF::from(L2_FIRST))?;
        self.wait_l2_transition()
    }

    /// Waits for the end of a power transition of the L2 cache.
    fn wait_l2_transition(&self) -> Result {
        self.regs
            .wait_until(
                Regs::read64::<L2_PWRTRANS>,
                |transition| u64::from(*transition) & L2_FIRST == 0,
                POWER_POLL,
                POWER_TIMEOUT,
            )
            .inspect_err(|_| dev_err!(&*self.dev, "L2 power transition does not end\n"))
    }

    /// Flushes the L2, the load/store and the other caches, and waits for it, up to 100 ms.
    ///
    /// May sleep, but allocates nothing.
    pub(crate) fn flush_caches(&self, l2: FlushMode, lsc: FlushMode, other: FlushMode) -> Result {
        self.request(
            &self.flushes,
            GpuCommand::FlushCaches(l2, lsc, other),
            "cache flush",
        )
    }

    /// Resets the GPU and waits for it, up to 100 ms. The L2 cache is off after that.
    fn soft_reset(&self) -> Result {
        self.request(&self.resets, GpuCommand::SoftReset, "soft reset")?;

        // The reset has ended a flush, too.
        *self.flushes.state.lock() = Request::Idle;
        Ok(())
    }

    /// Makes a request and waits for its end.
    ///
    /// `EIO` when it does not end in time, or an earlier one was given up and has not ended since.
    fn request(&self, requests: &Requests, cmd: GpuCommand, what: &str) -> Result {
        let _caller = requests.caller.lock();

        // The end of one that was given up may have come, and not been handled yet.
        if *requests.state.lock() == Request::Pending {
            self.end_request(requests)?;
        }

        {
            let mut state = requests.state.lock();

            if *state == Request::Pending {
                return Err(EIO);
            }

            requests.ended.rearm();
            self.irq.clear(requests.event)?;
            self.regs.write(GPU_CMD::from(cmd))?;
            *state = Request::Pending;
        }

        if requests.ended.wait_for(COMMAND_TIMEOUT) {
            return Ok(());
        }

        // The event may have come without an interrupt, or is being handled right now.
        self.end_request(requests)?;
        if requests.ended.is_done() {
            return Ok(());
        }

        dev_err!(&*self.dev, "{} does not end\n", what);
        Err(EIO)
    }

    /// Ends the pending request if its event has come.
    fn end_request(&self, requests: &Requests) -> Result {
        let mut state = requests.state.lock();

        if self.irq.raw_status()? & requests.event == 0 {
            return Ok(());
        }

        self.irq.clear(requests.event)?;
        if *state == Request::Pending {
            *state = Request::Idle;
            requests.ended.complete_all();
        }
        Ok(())
    }

    /// The GPU's time in ticks of the system counter.
    pub(crate) fn timestamp(&self) -> Result<u64> {
        self.regs.read_counter::<TIMESTAMP>()
    }

    /// What to add to the system counter to get the GPU's time.
    pub(crate) fn timestamp_offset(&self) -> Result<u64> {
        Ok(self.regs.read64::<TIMESTAMP_OFFSET>()?.into())
    }

    /// The GPU's clock cycles since it was powered up.
    pub(crate) fn cycle_count(&self) -> Result<u64> {
        self.regs.read_counter::<CYCLE_COUNT>()
    }

    /// Says what kind of fault the GPU has met. It goes on by itself.
    fn log_fault(&self) -> Result {
        let status: GPU_FAULT_STATUS = self.regs.read()?;
        let address: GPU_FAULT_ADDR = self.regs.read64()?;

        dev_warn!(
            &*self.dev,
            "GPU fault {:#04x} ({}) at {:#018x}\n",
            status.exception().get(),
            exception_name(status.exception().get()),
            u64::from(address)
        );
        Ok(())
    }
}

impl IrqSource for Gpu {
    type Base = GpuIrq;

    fn irq(&self) -> &IrqBlock<GpuIrq> {
        &self.irq
    }

    fn handle(&self, events: u32) -> Result {
        // The ends of requests are cleared where they are looked at.
        self.irq
            .clear(events & !(self.flushes.event | self.resets.event))?;

        if events & gpu_irq::FAULT != 0 {
            self.log_fault()?;
        }
        if events & gpu_irq::PROTM_FAULT != 0 {
            dev_warn!(&*self.dev, "GPU fault in protected mode\n");
        }
        self.end_request(&self.flushes)?;
        self.end_request(&self.resets)
    }
}

/// The name of an exception code, which GPU, MMU and command stream faults share.
pub(crate) fn exception_name(code: u32) -> &'static str {
    match code {
        0x00 => "OK",
        0x04 => "TERMINATED",
        0x05 => "KABOOM",
        0x06 => "EUREKA",
        0x08 => "ACTIVE",
        0x0f => "CS_RES_TERM",
        0x40 => "CS_CONFIG_FAULT",
        0x41 => "CS_UNRECOVERABLE",
        0x44 => "CS_ENDPOINT_FAULT",
        0x48 => "CS_BUS_FAULT",
        0x49 => "CS_INSTR_INVALID",
        0x4a => "CS_CALL_STACK_OVERFLOW",
        0x4b => "CS_INHERIT_FAULT",
        0x50 => "INSTR_INVALID_PC",
        0x51 => "INSTR_INVALID_ENC",
        0x55 => "INSTR_BARRIER_FAULT",
        0x58 => "DATA_INVALID_FAULT",
        0x59 => "TILE_RANGE_FAULT",
        0x5a => "ADDR_RANGE_FAULT",
        0x5b => "IMPRECISE_FAULT",
        0x60 => "OOM",
        0x68 => "CSF_FW_INTERNAL_ERROR",
        0x69 => "CSF_RES_EVICTION_TIMEOUT",
        0x80 => "GPU_BUS_FAULT",
        0x88 => "GPU_SHAREABILITY_FAULT",
        0x89 => "SYS_SHAREABILITY_FAULT",
        0x8a => "GPU_CACHEABILITY_FAULT",
        0xc0 => "TRANSLATION_FAULT_0",
        0xc1 => "TRANSLATION_FAULT_1",
        0xc2 => "TRANSLATION_FAULT_2",
        0xc3 => "TRANSLATION_FAULT_3",
        0xc4 => "TRANSLATION_FAULT_4",
        0xc8 => "PERM_FAULT_0",
        0xc9 => "PERM_FAULT_1",
        0xca => "PERM_FAULT_2",
        0xcb => "PERM_FAULT_3",
        0xd9 => "ACCESS_FLAG_1",
        0xda => "ACCESS_FLAG_2",
        0xdb => "ACCESS_FLAG_3",
        0xe0 => "ADDR_SIZE_FAULT_IN",
        0xe4 => "ADDR_SIZE_FAULT_OUT0",
        0xe5 => "ADDR_SIZE_FAULT_OUT1",
        0xe6 => "ADDR_SIZE_FAULT_OUT2",
        0xe7 => "ADDR_SIZE_FAULT_OUT3",
        0xe8 => "MEM_ATTR_FAULT_0",
        0xe9 => "MEM_ATTR_FAULT_1",
        0xea => "MEM_ATTR_FAULT_2",
        0xeb => "MEM_ATTR_FAULT_3",
        _ => "UNKNOWN",
    }
}
