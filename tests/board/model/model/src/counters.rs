// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What happened on the device, counted by name.

use crate::cs::env::Oddity;
use std::borrow::Cow;
use std::collections::BTreeMap;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The name that the control socket uses.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Register reads.
    Read = "register-reads",
    /// Register writes.
    Write = "register-writes",
    /// Interrupts of the JOB block sent.
    JobIrq = "job-irqs",
    /// Interrupts of the MMU block sent.
    MmuIrq = "mmu-irqs",
    /// Interrupts of the GPU block sent.
    GpuIrq = "gpu-irqs",
    /// Cache flushes completed.
    Flush = "flushes",
    /// Soft and hard resets completed.
    Reset = "resets",
    /// L2 switched on.
    L2On = "l2-on",
    /// L2 switched off.
    L2Off = "l2-off",
    /// LOCK commands.
    Lock = "locks",
    /// UNLOCK commands.
    Unlock = "unlocks",
    /// UPDATE commands.
    Update = "updates",
    /// FLUSH_PT and FLUSH_MEM commands.
    AsFlush = "as-flushes",
    /// Translations answered by the TLB.
    TlbHit = "tlb-hits",
    /// Page walks that filled the TLB.
    TlbFill = "tlb-fills",
    /// TLB entries dropped.
    TlbDrop = "tlb-drops",
    /// MMU faults latched.
    Fault = "faults",
    /// Accesses that had to wait for an UNLOCK.
    Stall = "stalls",
    /// Doorbells rung.
    Doorbell = "doorbells",
    /// Starts of the microcontroller that reached the global interface.
    Boot = "mcu-boots",
    /// Starts that found the private data of the one before.
    FastBoot = "mcu-fast-boots",
    /// Halts of the microcontroller.
    Halt = "mcu-halts",
    /// Pings answered.
    Ping = "pings",
    /// Global requests answered.
    GlobalRequest = "global-requests",
    /// Doorbells of groups looked at.
    GroupRequest = "group-requests",
    /// Groups started.
    GroupStart = "group-starts",
    /// Groups resumed.
    GroupResume = "group-resumes",
    /// Groups suspended.
    GroupSuspend = "group-suspends",
    /// Groups terminated.
    GroupTerminate = "group-terminates",
    /// Streams that did not fit the suspend buffer.
    SuspendTooLong = "suspend-too-long",
    /// Cache flushes by streams.
    StreamFlush = "stream-flushes",
    /// Pieces of streams run.
    StreamRun = "stream-runs",
}

/// Things that streams did and that have a name each: how often, and the first of each in words.
#[derive(Debug, Default)]
pub struct Odd(BTreeMap<Cow<'static, str>, (u64, String)>);

impl Odd {
    /// Counts some.
    pub fn add(&mut self, what: &[Oddity]) {
        for odd in what {
            let name = match odd {
                // An instruction that is not executed has a name of its own.
                Oddity::Job(fault) => fault.name(),
                _ => odd.name().into(),
            };
            let count = self.0.entry(name);
            count.or_insert_with(|| (0, format!("{odd:x?}"))).0 += 1;
        }
    }

    /// Name, number, and the first in words.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64, &str)> + '_ {
        self.0
            .iter()
            .map(|(name, (n, first))| (&**name, *n, &**first))
    }
}

/// The values of all counters.
#[derive(Debug)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// Adds one.
    pub fn inc(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds several.
    pub fn add(&mut self, counter: Counter, n: u64) {
        let slot = &mut self.0[counter as usize];
        *slot = slot.wrapping_add(n);
    }

    /// The present value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}
