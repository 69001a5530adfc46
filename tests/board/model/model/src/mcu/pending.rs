// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the firmware has been asked for and not done yet: each request takes a time of its own.

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Answer a bit, or a field, of the global request word.
    Global(u32),
    /// Halt.
    Halt,
    /// Bring a group into the state that is asked for.
    State(usize),
    /// Take the endpoint request of a group.
    Endpoint(usize),
    /// Show the status of a group's streams.
    Status(usize),
    /// See whether a group's configuration is still another one than was taken.
    Audit(usize),
}

impl Act {
    /// The group that it is about.
    pub fn group(self) -> Option<usize> {
        match self {
            Self::Global(_) | Self::Halt => None,
            Self::State(g) | Self::Endpoint(g) | Self::Status(g) | Self::Audit(g) => Some(g),
        }
    }
}

/// All of them, with their times.
#[derive(Debug, Default)]
pub struct Pending {
    list: Vec<(u64, Act)>,
    /// Those that wait for a stream to come back.
    held: Vec<Act>,
}

impl Pending {
    /// Adds one, unless it waits already: a request that comes twice is seen once.
    pub fn add(&mut self, act: Act, due: u64) {
        if !self.held.contains(&act) && !self.list.iter().any(|(_, a)| *a == act) {
            self.list.push((due, act));
        }
    }

    /// Drops those that are not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(Act) -> bool) {
        self.list.retain(|(_, act)| wanted(*act));
        self.held.retain(|act| wanted(*act));
    }

    /// When the next is due.
    pub fn deadline(&self) -> Option<u64> {
        self.list.iter().map(|(due, _)| *due).min()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.held.is_empty()
    }

    /// The one that is due longest.
    pub fn next(&self, now: u64) -> Option<Act> {
        let due = self.list.iter().filter(|(due, _)| *due <= now);
        due.min_by_key(|(due, _)| *due).map(|(_, act)| *act)
    }

    /// One is done.
    pub fn done(&mut self, act: Act) {
        self.list.retain(|(_, a)| *a != act);
    }

    /// One cannot be done before a stream of its group is back.
    pub fn hold(&mut self, act: Act) {
        self.done(act);
        if !self.held.contains(&act) {
            self.held.push(act);
        }
    }

    /// A stream of a group is back: what waited for it is due.
    pub fn hurry(&mut self, group: usize) {
        let list = &mut self.list;
        self.held.retain(|act| {
            let due = act.group() == Some(group);
            if due {
                list.push((0, *act));
            }
            !due
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_order_of_their_times_and_once() {
        let mut pending = Pending::default();
        pending.add(Act::State(1), 30);
        pending.add(Act::Status(1), 10);
        pending.add(Act::State(1), 5);
        assert_eq!(pending.deadline(), Some(10));
        assert_eq!(pending.next(9), None);
        assert_eq!(pending.next(40), Some(Act::Status(1)));
        pending.done(Act::Status(1));
        pending.hold(Act::State(1));
        pending.add(Act::State(1), 50);
        assert_eq!(pending.next(60), None);
        pending.hurry(0);
        assert_eq!(pending.next(60), None);
        pending.hurry(1);
        assert_eq!(pending.next(1), Some(Act::State(1)));
        pending.retain(|act| act.group() != Some(1));
        assert!(pending.is_empty());
    }
}
