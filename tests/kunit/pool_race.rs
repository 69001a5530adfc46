// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The pool of a file's VMs, used by many threads at once.
//!
//! It takes its time, so the board runs it in tests only: `KUNIT=` of `tests/board/env/vm`.

use kernel::prelude::*;

#[kunit_tests(race_panthor_vm_pool)]
mod tests {
    use crate::{
        kernel_ext::kunit::say,
        panthor_mmu::pool::{Pool, MAX_VMS},
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{Atomic, Full, Relaxed},
            Arc, Completion,
        },
        time::{Delta, Instant, Monotonic},
        workqueue,
    };

    const TIME: Delta = Delta::from_secs(10);

    /// As long may it go on until everything has happened, on a machine with much else to do.
    const LIMIT: Delta = Delta::from_secs(60);

    /// What has to happen.
    const NEEDED: [Event; 6] = [Made, Removed, Drained, TurnedAway, Found, Walked];

    /// What an object has in it while it is alive, and afterwards.
    const ALIVE: u64 = 0x616c_6976_6521_2121;
    const FREED: u64 = 0x6465_6164_6465_6164;

    /// What the threads did.
    #[derive(Clone, Copy)]
    enum Event {
        Made,
        Freed,
        Removed,
        Drained,
        TurnedAway,
        Found,
        Missed,
        Walk,
        Walked,
        /// An object that was seen freed, or freed a second time, or had an id that cannot be.
        Wrong,
        /// A thread that could not go on.
        Failed,
    }
    use Event::*;

    const EVENTS: usize = Failed as usize + 1;

    struct Counts([Atomic<u64>; EVENTS]);

    impl Counts {
        fn new() -> Self {
            Self([const { Atomic::new(0) }; EVENTS])
        }

        fn add(&self, event: Event) {
            self.0[event as usize].fetch_add(1, Relaxed);
        }

        fn all_happened(&self) -> bool {
            NEEDED.iter().all(|&event| self.get(event) > 0)
        }

        fn get(&self, event: Event) -> u64 {
            self.0[event as usize].load(Relaxed)
        }
    }

    /// In the place of a VM.
    struct Object {
        state: Atomic<u64>,
        shared: Arc<Shared>,
    }

    impl Object {
        /// Somebody has a reference, and looks at it.
        fn look(&self) {
            if self.state.load(Relaxed) != ALIVE {
                self.shared.counts.add(Wrong);
            }
        }
    }

    impl Drop for Object {
        fn drop(&mut self) {
            if self.state.xchg(FREED, Full) != ALIVE {
                self.shared.counts.add(Wrong);
            }
            self.shared.counts.add(Freed);
        }
    }

    /// What the threads share.
    #[pin_data]
    struct Shared {
        counts: Counts,
        start: Instant<Monotonic>,
        running: Atomic<u64>,
        #[pin]
        done: Completion,
    }

    impl Shared {
        fn on(&self) -> bool {
            let time = self.start.elapsed();
            time < TIME || (time < LIMIT && !self.counts.all_happened())
        }
    }

    /// A thread's end of the race, also if it could not be started.
    struct Runner {
        shared: Arc<Shared>,
        pool: Arc<Pool<Object>>,
        random: u64,
    }

    impl Runner {
        /// A number below `limit`.
        fn below(&mut self, limit: usize) -> usize {
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.random >> 33) as usize % limit
        }

        fn create(&mut self) -> Result {
            let object = Arc::new(
                Object {
                    state: Atomic::new(ALIVE),
                    shared: self.shared.clone(),
                },
                GFP_KERNEL,
            )?;
            self.shared.counts.add(Made);
            match self.pool.insert(object) {
                Ok(id) if (1..=MAX_VMS).contains(&id) => {}
                Ok(_) => self.shared.counts.add(Wrong),
                Err(EBUSY) => self.shared.counts.add(TurnedAway),
                Err(error) => return Err(error),
            }
            Ok(())
        }

        fn destroy(&mut self) -> Result {
            let id = self.below(MAX_VMS + 1);
            match self.pool.remove(id) {
                Some(object) => {
                    object.look();
                    self.shared.counts.add(Removed);
                }
                None => self.shared.counts.add(Missed),
            }
            if self.below(64) == 0 {
                self.pool.drain(|object| {
                    object.look();
                    self.shared.counts.add(Drained);
                });
            }
            Ok(())
        }

        fn find(&mut self) -> Result {
            let id = self.below(MAX_VMS + 1);
            match self.pool.get(id) {
                Some(object) => {
                    object.look();
                    self.shared.counts.add(Found);
                }
                None => self.shared.counts.add(Missed),
            }
            Ok(())
        }

        fn walk(&mut self) -> Result {
            let mut last = 0;

            for (id, object) in self.pool.snapshot()? {
                object.look();
                if id <= last || id > MAX_VMS {
                    self.shared.counts.add(Wrong);
                }
                last = id;
                self.shared.counts.add(Walked);
            }
            self.shared.counts.add(Walk);
            Ok(())
        }
    }

    impl Drop for Runner {
        fn drop(&mut self) {
            if self.shared.running.fetch_sub(1, Full) == 1 {
                self.shared.done.complete_all();
            }
        }
    }

    /// Starts a thread that does `step` again and again.
    fn spawn(
        shared: &Arc<Shared>,
        pool: &Arc<Pool<Object>>,
        random: u64,
        step: fn(&mut Runner) -> Result,
    ) -> Result {
        shared.running.fetch_add(1, Full);
        let mut runner = Runner {
            shared: shared.clone(),
            pool: pool.clone(),
            random,
        };
        // Work of this queue has a thread of its own each while it runs, on any CPU.
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            while runner.shared.on() {
                if step(&mut runner).is_err() {
                    runner.shared.counts.add(Failed);
                    break;
                }
            }
        })?;
        Ok(())
    }

    #[test]
    fn threads() -> Result {
        let pool = Arc::pin_init(Pool::new(), GFP_KERNEL)?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                counts: Counts::new(),
                start: Instant::now(),
                // Ours, so that the first that ends is not the last.
                running: Atomic::new(1),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let ours = Runner {
            shared: shared.clone(),
            pool: pool.clone(),
            random: 0,
        };

        let steps: [fn(&mut Runner) -> Result; 8] = [
            Runner::create,
            Runner::create,
            Runner::create,
            Runner::destroy,
            Runner::destroy,
            Runner::find,
            Runner::walk,
            Runner::walk,
        ];
        let mut started = Ok(());
        for (random, step) in (1..).zip(steps) {
            started = started.and_then(|()| spawn(&shared, &pool, random, step));
        }
        drop(ours);
        shared.done.wait_for_completion();
        started?;

        let mut left = 0;
        pool.drain(|object| {
            object.look();
            left += 1;
        });
        let count = |event| shared.counts.get(event);
        say(fmt!(
            "# race threads in {} s: {} made, {} removed, {} drained, {} turned away, {} found, \
             {} missed, {} walks over {}, {} left",
            shared.start.elapsed().as_millis() / 1000,
            count(Made),
            count(Removed),
            count(Drained),
            count(TurnedAway),
            count(Found),
            count(Missed),
            count(Walk),
            count(Walked),
            left
        ));

        assert_eq!(count(Wrong), 0);
        assert_eq!(count(Failed), 0);
        assert!(shared.counts.all_happened());
        // Each went one way out, and was freed there.
        assert_eq!(
            count(Made),
            count(Removed) + count(Drained) + count(TurnedAway) + left
        );
        assert_eq!(count(Made), count(Freed));
        Ok(())
    }
}
