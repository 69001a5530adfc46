// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The clock of the measurements. On a board with `ICOUNT=yes` its nanoseconds are instructions.

/// The counter as it is.
#[inline(always)]
fn ticks() -> u64 {
    #[cfg(target_arch = "aarch64")]
    {
        let t: u64;
        // SAFETY: reads a register that Linux lets user space read. The barrier keeps it from being
        // read too early.
        unsafe { core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) t, options(nostack)) };
        t
    }
    #[cfg(not(target_arch = "aarch64"))]
    panic!("only for the guest")
}

/// Ticks a second.
fn frequency() -> u64 {
    #[cfg(target_arch = "aarch64")]
    {
        let t: u64;
        // SAFETY: reads a register that Linux lets user space read.
        unsafe { core::arch::asm!("mrs {}, cntfrq_el0", out(reg) t, options(nostack, nomem)) };
        t
    }
    #[cfg(not(target_arch = "aarch64"))]
    panic!("only for the guest")
}

/// The clock, with what it takes to read it.
pub struct Clock {
    frequency: f64,
    cost: f64,
}

impl Default for Clock {
    fn default() -> Self {
        let mut c = Clock {
            frequency: frequency() as f64,
            cost: 0.0,
        };
        let mut v: Vec<f64> = (0..21)
            .map(|_| {
                let mut sum = Span::default();
                (0..1000).for_each(|_| sum.add(|| ()));
                c.ns(sum.0) / 1000.0
            })
            .collect();
        v.sort_by(f64::total_cmp);
        c.cost = v[10];
        c
    }
}

/// Ticks that passed in some sections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span(u64);

impl Span {
    /// Runs a section and adds its time.
    #[inline(always)]
    pub fn add<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let from = ticks();
        let r = f();
        self.0 += ticks().wrapping_sub(from);
        r
    }
}

impl Clock {
    fn ns(&self, ticks: u64) -> f64 {
        ticks as f64 * 1e9 / self.frequency
    }

    /// Nanoseconds of each of `n` sections, without those of the reading itself.
    pub fn each(&self, sum: Span, n: usize) -> f64 {
        self.ns(sum.0) / n as f64 - self.cost
    }
}

/// Executes about `2 * n` instructions; the number of them.
pub fn spin(n: u64) -> u64 {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: counts a register down.
    unsafe {
        core::arch::asm!("2: subs {n}, {n}, #1", "b.ne 2b", n = inout(reg) n => _, options(nostack, nomem));
    }
    2 * n
}
