// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What an error of the kernel's means here, in a sentence.

use crate::args::Verb;
use serde::Serialize;
use std::io;

/// What was written to when it was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// `mem_reclaim` or `mem_claim` of a device.
    Driver(Verb),
    /// `memory.reclaim` of a cgroup.
    Cgroup,
}

/// An error with its explanation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Failure {
    /// Its number; none if it did not come from the kernel.
    pub errno: Option<i32>,
    /// Its name as in `errno.h`, or `errno N` where the name is not known.
    pub name: String,
    /// What it means.
    pub explanation: String,
}

impl Failure {
    /// Explains an error that came from `asked`.
    pub fn new(asked: Asked, err: &io::Error) -> Self {
        let known = err
            .raw_os_error()
            .and_then(|errno| Errno::known(errno).map(|known| (known, explain(asked, known))));

        Failure {
            errno: err.raw_os_error(),
            name: match (known, err.raw_os_error()) {
                (Some((known, _)), _) => format!("{known:?}").to_uppercase(),
                (None, Some(errno)) => format!("errno {errno}"),
                (None, None) => "error".into(),
            },
            explanation: match known {
                Some((_, Some(text))) => text.into(),
                _ => format!("{err}: this answer is not documented."),
            },
        }
    }
}

/// The errors that the two interfaces document, and those that opening their files gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Errno {
    Eperm = 1,
    Enoent = 2,
    Esrch = 3,
    Eintr = 4,
    Eio = 5,
    Eagain = 11,
    Enomem = 12,
    Eacces = 13,
    Ebusy = 16,
    Enodev = 19,
    Einval = 22,
    Enospc = 28,
    Erofs = 30,
    Erange = 34,
}

impl Errno {
    const ALL: [Errno; 14] = [
        Errno::Eperm,
        Errno::Enoent,
        Errno::Esrch,
        Errno::Eintr,
        Errno::Eio,
        Errno::Eagain,
        Errno::Enomem,
        Errno::Eacces,
        Errno::Ebusy,
        Errno::Enodev,
        Errno::Einval,
        Errno::Enospc,
        Errno::Erofs,
        Errno::Erange,
    ];

    fn known(errno: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as i32 == errno)
    }
}

/// The sentence for an error; none where it is not to be expected.
fn explain(asked: Asked, errno: Errno) -> Option<&'static str> {
    use Asked::{Cgroup, Driver};
    use Verb::{Claim, Reclaim};

    Some(match (asked, errno) {
        (Driver(_), Errno::Eperm) => {
            "CAP_SYS_RESOURCE is needed for the memory of this process: run gpumem as root."
        }
        (Driver(_), Errno::Eacces) => {
            "Only root may write to the attributes of the GPU: run gpumem as root, or have a udev \
             rule change who may."
        }
        (Driver(_), Errno::Enoent) => {
            "The GPU has no such attribute, or has gone: the driver in Rust, panthor_rs, is not \
             bound to it."
        }
        (Driver(_), Errno::Erofs) => {
            "sysfs is mounted read-only here, as in a container: run gpumem outside."
        }
        (Driver(_), Errno::Esrch) => {
            "There is no such process, or it has no open file of this GPU; the number of a thread \
             is not enough."
        }
        (Driver(_), Errno::Einval) => "The driver does not take that for a TGID.",
        (Driver(_), Errno::Erange) => "The number is too large for a TGID.",
        (Driver(_), Errno::Eintr) => {
            "A signal came in between: what was done stays done, and doing it again continues."
        }
        (Driver(_), Errno::Enodev) => "The GPU is being unbound from its driver.",
        (Driver(Reclaim), Errno::Enospc) => {
            "There is no swap space left for it: turn swap on (swapon, zram), or make it larger."
        }
        (Driver(Reclaim), Errno::Ebusy) => {
            "Some of it stayed, because the GPU was using it or the swap limit of its cgroup \
             (memory.swap.max) is reached: try again when the process is idle."
        }
        (Driver(Reclaim), Errno::Eio) => {
            "The swap device did not take some of it (zram without memory or at its mem_limit, or \
             memory.zswap.writeback=0), or the GPU does not answer; no content is lost."
        }
        (Driver(Reclaim), Errno::Enomem) => {
            "There is no memory for the work itself; what was done stays done."
        }
        (Driver(Claim), Errno::Enomem) => {
            "There is not enough memory, or the limit of the process's cgroup (memory.max) is \
             reached: some of it stayed out, and comes back when it is used."
        }
        (Driver(Claim), Errno::Eio) => {
            "The swap device failed to return some of it, whose content is lost; all else is back."
        }
        (Cgroup, Errno::Eagain) => {
            "The kernel could not reclaim as much as was given up: swap is full or at the limit \
             of the cgroup, or the memory was used again at once."
        }
        (Cgroup, Errno::Eintr) => "A signal came in between: what was swapped out stays out.",
        (Cgroup, Errno::Enoent) => {
            "The cgroup has no memory.reclaim: it has gone, or the memory controller is not \
             enabled for it (cgroup.subtree_control of its parent), or cgroup2 is not mounted."
        }
        (Cgroup, Errno::Eacces | Errno::Eperm) => {
            "The cgroup belongs to somebody else: run gpumem as root."
        }
        (Cgroup, Errno::Erofs) => {
            "cgroup2 is mounted read-only here, as in a container: run gpumem outside."
        }
        (Cgroup, Errno::Einval) => "The kernel does not take such a request to reclaim.",
        (Cgroup, Errno::Enodev) => "The cgroup is being removed.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors that the ABI document lists for an attribute, by name.
    fn documented(attribute: &str) -> Vec<String> {
        let text = include_str!("../../../Documentation/ABI/testing/sysfs-driver-panthor-mem");
        let section = text
            .split("What:")
            .find(|section| {
                section
                    .lines()
                    .next()
                    .is_some_and(|line| line.ends_with(attribute))
            })
            .unwrap();

        section
            .lines()
            .filter_map(|line| line.trim().strip_prefix('-')?.split_whitespace().next())
            .filter(|word| word.starts_with('E'))
            .map(str::to_string)
            .collect()
    }

    #[test]
    fn every_documented_error_has_a_sentence() {
        for (attribute, verb, at_least) in [
            ("/mem_reclaim", Verb::Reclaim, 10),
            ("/mem_claim", Verb::Claim, 8),
        ] {
            let names = documented(attribute);

            assert!(names.len() >= at_least, "{attribute}: {names:?}");
            for name in names {
                let errno = Errno::ALL
                    .into_iter()
                    .find(|errno| format!("{errno:?}").to_uppercase() == name)
                    .unwrap_or_else(|| panic!("{name} is not known"));

                assert!(
                    explain(Asked::Driver(verb), errno).is_some(),
                    "{attribute} {name}"
                );
            }
        }
    }

    #[test]
    fn sentences_are_sentences() {
        for asked in [
            Asked::Driver(Verb::Reclaim),
            Asked::Driver(Verb::Claim),
            Asked::Cgroup,
        ] {
            for text in Errno::ALL
                .map(|errno| explain(asked, errno))
                .into_iter()
                .flatten()
            {
                assert!(text.ends_with('.') && !text.contains("  "), "{text}");
            }
        }
    }

    #[test]
    fn the_unexpected_is_named() {
        let failure = Failure::new(Asked::Cgroup, &io::Error::from_raw_os_error(116));

        assert_eq!(failure.errno, Some(116));
        assert_eq!(failure.name, "errno 116");
        let failure = Failure::new(
            Asked::Driver(Verb::Claim),
            &io::Error::from_raw_os_error(16),
        );

        assert_eq!(failure.name, "EBUSY");
        assert!(failure.explanation.contains("not documented"));
    }
}
