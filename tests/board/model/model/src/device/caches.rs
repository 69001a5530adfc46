// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The cache flush command, and who has flushed since when.

use super::gate::Gate;
use std::sync::Arc;

/// A point in the order of flush commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(u64);

/// A flush command: modes of the L2, the load/store cache and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushModes(u32);

impl FlushModes {
    /// The payload of the GPU command.
    pub fn of(payload: u32) -> Option<Self> {
        (payload & !0x333 == 0 && payload != 0).then_some(Self(payload))
    }

    fn l2_clean(self) -> bool {
        self.0 & 1 != 0
    }

    fn l2_invalidate(self) -> bool {
        self.0 & 2 != 0
    }
}

/// State of the caches.
#[derive(Debug)]
pub struct Caches {
    issued: u64,
    /// Last completed flush that cleaned the L2.
    cleaned: u64,
    /// Last completed flush that cleaned and invalidated the L2.
    flushed: u64,
    running: Option<Running>,
    latest_id: u32,
    gate: Arc<Gate>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    number: u64,
    modes: FlushModes,
    done_at: u64,
    epoch: u64,
}

impl Caches {
    /// Caches that hold nothing.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self {
            issued: 0,
            cleaned: 0,
            flushed: 0,
            running: None,
            latest_id: 1,
            gate,
        }
    }

    /// LATEST_FLUSH_ID: 24 bits, never 0.
    pub fn latest_id(&self) -> u32 {
        self.latest_id
    }

    /// Whether a flush is running.
    pub fn running(&self) -> bool {
        self.running.is_some()
    }

    /// When to look whether the running flush is over: soon, if it only waits for a thread to end
    /// an access.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        self.running.map(|r| match self.gate.passed(r.epoch) {
            true => r.done_at,
            false => r.done_at.max(now.saturating_add(20_000)),
        })
    }

    /// Starts a flush. One that is running is taken as over.
    pub fn start(&mut self, modes: FlushModes, done_at: u64) {
        if let Some(run) = self.running.take() {
            self.completed(run.number, run.modes);
        }
        self.issued += 1;
        self.running = Some(Running {
            number: self.issued,
            modes,
            done_at,
            // Stores from here on are not cleaned by it, and say so again.
            epoch: self.gate.advance(),
        });
    }

    /// Ends the running flush if its time has come; says whether it did.
    pub fn finish(&mut self, now: u64) -> bool {
        let over = |r: &Running| r.done_at <= now && self.gate.passed(r.epoch);
        let Some(run) = self.running.filter(over) else {
            return false;
        };
        self.running = None;
        self.completed(run.number, run.modes);
        true
    }

    /// A flush by a stream, which takes effect now. The one that is running goes on.
    pub fn flush_now(&mut self, modes: FlushModes) {
        self.issued += 1;
        self.gate.advance();
        self.completed(self.issued, modes);
    }

    fn completed(&mut self, number: u64, modes: FlushModes) {
        if modes.l2_clean() {
            self.cleaned = self.cleaned.max(number);
            if modes.l2_invalidate() {
                self.flushed = self.flushed.max(number);
            }
        }
        self.latest_id = self.latest_id % 0xff_ffff + 1;
        self.gate.set_flush_id(self.latest_id);
    }

    /// A reset or the loss of power empties the caches.
    pub fn drop_all(&mut self) {
        self.running = None;
        self.issued += 1;
        self.gate.advance();
        self.cleaned = self.issued;
        self.flushed = self.issued;
    }

    /// Now, in the order of flush commands.
    pub fn mark(&self) -> Mark {
        Mark(self.issued)
    }

    /// Whether a flush issued after the mark has cleaned the L2.
    pub fn cleaned_since(&self, mark: Mark) -> bool {
        self.cleaned > mark.0
    }

    /// Whether a flush issued after the mark has cleaned and invalidated the L2.
    pub fn flushed_since(&self, mark: Mark) -> bool {
        self.flushed > mark.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flush_issued_after_the_mark_counts() {
        let full = FlushModes::of(0x233).unwrap();
        let mut caches = Caches::new(Arc::default());
        caches.start(full, 10);
        let mark = caches.mark();
        assert!(!caches.finish(9));
        assert!(caches.finish(10));
        assert!(!caches.flushed_since(mark));
        caches.start(FlushModes::of(0x11).unwrap(), 20);
        assert!(caches.finish(20));
        assert!(caches.cleaned_since(mark));
        assert!(!caches.flushed_since(mark));
        caches.start(full, 30);
        assert!(!caches.flushed_since(mark), "not over yet");
        assert!(caches.finish(30));
        assert!(caches.flushed_since(mark));
    }

    #[test]
    fn a_flush_waits_for_accesses_that_began_before_it() {
        let gate = Arc::new(Gate::default());
        let mut caches = Caches::new(Arc::clone(&gate));
        gate.enter(0);
        caches.start(FlushModes::of(0x233).unwrap(), 10);
        assert!(!caches.finish(10));
        assert!(caches.deadline(10) > Some(10));
        gate.enter(0);
        assert_eq!(caches.deadline(10), Some(10));
        assert!(caches.finish(10));
        let mark = caches.mark();
        caches.flush_now(FlushModes::of(0x11).unwrap());
        assert!(caches.cleaned_since(mark) && !caches.flushed_since(mark));
        assert_eq!(gate.flush_id(), 3);
    }

    #[test]
    fn flush_id_skips_zero() {
        let mut caches = Caches {
            latest_id: 0xff_fffe,
            ..Caches::new(Arc::default())
        };
        let mut next = || {
            caches.start(FlushModes::of(0x233).unwrap(), 0);
            caches.finish(0);
            caches.latest_id()
        };
        assert_eq!([next(), next(), next()], [0xff_ffff, 1, 2]);
    }

    #[test]
    fn modes() {
        assert_eq!(FlushModes::of(0x400), None);
        assert_eq!(FlushModes::of(0), None);
        assert!(FlushModes::of(0x11).is_some());
    }
}
