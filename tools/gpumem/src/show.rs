// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Tables, sentences and JSON.

use crate::{action::Outcome, args::Verb, errno::Failure, proc::Census, system::Mode};
use std::fmt::Write;

/// A size for people.
fn mib(bytes: u64) -> String {
    // Tenths, rounded.
    let tenths = (u128::from(bytes) * 10 + (1 << 19)) >> 20;

    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string(value)
        .map(|text| text + "\n")
        .map_err(|err| err.to_string())
}

/// Names come from processes: what is not printable must not reach a terminal.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// The table of processes with GPU memory.
pub fn list(census: &Census, as_json: bool) -> Result<String, String> {
    if as_json {
        return json(census);
    }

    let mut text = String::new();
    for gpu in &census.gpus {
        let what = match gpu.mode {
            Some(Mode::Swap) => "mem_reclaim swaps out",
            Some(Mode::Evict) => "mem_reclaim gives up, memory.reclaim swaps out",
            None => "the driver written in C: no mem_reclaim",
        };
        let _ = writeln!(text, "{}: {what}", printable(&gpu.name));
    }
    if census.gpus.is_empty() {
        let _ = writeln!(text, "No GPU is bound to a panthor driver.");
    }
    let _ = writeln!(
        text,
        "{:>8}  {:<15}  {:>12}  {:>12}  {:>12}  CGROUP",
        "TGID", "COMMAND", "RESIDENT", "EVICTED", "TOTAL"
    );
    for process in &census.processes {
        let _ = writeln!(
            text,
            "{:>8}  {:<15}  {:>12}  {:>12}  {:>12}  {}",
            process.tgid,
            printable(&process.command),
            mib(process.memory.resident),
            mib(process.memory.evicted),
            mib(process.memory.total),
            printable(&process.cgroup)
        );
    }
    if census.hidden != 0 {
        let _ = writeln!(
            text,
            "{} processes of others are not shown: root sees all.",
            census.hidden
        );
    }
    Ok(text)
}

fn failure(text: &mut String, who: &str, failure: &Failure) {
    let _ = writeln!(text, "{who}: {}: {}", failure.name, failure.explanation);
}

/// What came of `reclaim` or `claim`.
pub fn outcome(outcome: &Outcome, as_json: bool) -> Result<String, String> {
    if as_json {
        return json(outcome);
    }

    let mut text = String::new();
    for process in &outcome.processes {
        let name = printable(process.command.as_deref().unwrap_or("?"));
        let who = format!("{} ({name})", process.tgid);

        if let (Some(before), Some(after)) = (process.before, process.after) {
            let _ = writeln!(
                text,
                "{who}: resident {} before, {} now, of {}",
                mib(before.resident),
                mib(after.resident),
                mib(after.total)
            );
        }
        if let Some(error) = &process.error {
            failure(&mut text, &who, error);
        }
    }
    for cgroup in &outcome.cgroups {
        let name = printable(&cgroup.cgroup);
        let who = format!("cgroup {name}");

        let _ = writeln!(
            text,
            "{who}: {} of the {} that were given up are swapped out",
            mib(cgroup.freed),
            mib(cgroup.asked)
        );
        if let Some(error) = &cgroup.error {
            failure(&mut text, &who, error);
        }
    }
    let _ = writeln!(
        text,
        "{} {} in {} ms",
        mib(outcome.bytes),
        match outcome.verb {
            Verb::Reclaim => "came free",
            Verb::Claim => "came back",
        },
        outcome.took.as_millis()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{action, args::Target, proc, system::fake::Fake};

    #[test]
    fn sizes() {
        assert_eq!(mib(0), "0.0 MiB");
        assert_eq!(mib(4096), "0.0 MiB");
        assert_eq!(mib(3 << 19), "1.5 MiB");
        assert_eq!(mib(u64::MAX), "17592186044416.0 MiB");
    }

    #[test]
    fn a_table_and_its_json() {
        let fake = Fake::new("evict\n");

        fake.process(7, "/a", &[(1, 4096, 1024)]);
        fake.put("/proc/7/comm", "e\x1b[2Jvil\n");
        let census = proc::census(&fake.system).unwrap();
        let text = list(&census, false).unwrap();

        assert!(
            text.contains("1.0 MiB       3.0 MiB       4.0 MiB  /a"),
            "{text}"
        );
        assert!(!text.contains('\x1b'));

        let value: serde_json::Value = serde_json::from_str(&list(&census, true).unwrap()).unwrap();
        assert_eq!(value["gpus"][0]["mode"], "evict");
        assert_eq!(value["processes"][0]["evicted"], 3 << 20);
        assert_eq!(value["processes"][0]["tgid"], 7);
        assert_eq!(value["hidden"], 0);
    }

    #[test]
    fn an_outcome_and_its_json() {
        let fake = Fake::new("evict\n");

        fake.process(7, "/a", &[(1, 4096, 1024)]);
        let result =
            action::act(&fake.system, Verb::Reclaim, &Target::Processes(vec![7, 9])).unwrap();
        let text = outcome(&result, false).unwrap();

        assert!(text.contains("7 (app7): resident 1.0 MiB before, 1.0 MiB now, of 4.0 MiB"));
        assert!(
            text.contains("cgroup /a: ENOENT: The cgroup has no memory.reclaim"),
            "{text}"
        );
        assert!(text.contains("0.0 MiB came free in "));

        let value: serde_json::Value =
            serde_json::from_str(&outcome(&result, true).unwrap()).unwrap();
        assert_eq!(value["mode"], "evict");
        assert_eq!(value["processes"][1]["before"], serde_json::Value::Null);
        assert_eq!(value["cgroups"][0]["error"]["errno"], 2);
        assert!(value["milliseconds"].is_u64());
    }
}
