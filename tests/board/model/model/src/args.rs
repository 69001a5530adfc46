// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command line of `mali-model`.

use crate::clock::Timing;
use crate::device::gate::RUNNERS;
use crate::mcu::layout::{Layout, Version};
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: mali-model --vfio SOCKET --ctl SOCKET [options]
  --vfio SOCKET        vfio-user socket for QEMU
  --ctl SOCKET         control socket
  --wait SECONDS       end when QEMU has not connected by then (60)
  --spin US            poll the socket that long before sleeping (0)
  --timestamp-hz N     rate of the TIMESTAMP register (62500000)
  --interface VERSION  of the firmware: 1.1, 1.5, 4.0 or 4.1 (1.5)
  --groups N           group slots, 3 to 16 (8)
  --streams N          streams of a group, 8 to 32 (8)
  --threads N          threads that run streams, 1 to 8 (2)
  --seed N             of chance: times, orders (0)
  --ack-us N           least time of an answer of the firmware; the most is three times that (10)
  --job-us N           least time of a job of the GPU; the most is twice that (10)
  --tiler-kib N        tiler heap that a draw takes, up to 65536 (64)
  --die-with-parent    end when the parent process ends
  --verbose            print events and violations to the standard error
  --trace              print every register access, too";

/// Longest time of an answer or a job: ten seconds.
const MAX_US: u64 = 10_000_000;

fn within(n: u64, least: u64, most: u64) -> Result<u64, String> {
    if (least..=most).contains(&n) {
        Ok(n)
    } else {
        Err(format!("{n} is not in {least} to {most}"))
    }
}

/// Parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// vfio-user socket.
    pub vfio: PathBuf,
    /// Control socket.
    pub ctl: PathBuf,
    /// Limit for QEMU to connect.
    pub wait: Duration,
    /// Time to poll the socket before sleeping.
    pub spin: Duration,
    /// Rate of the TIMESTAMP register.
    pub timestamp_hz: u64,
    /// What the firmware's interface looks like.
    pub layout: Layout,
    /// Threads that run streams.
    pub threads: usize,
    /// Seed of chance.
    pub seed: u64,
    /// How long things take.
    pub timing: Timing,
    /// Bytes of tiler heap that a draw takes.
    pub tiler_bytes: u32,
    /// End with the parent process.
    pub die_with_parent: bool,
    /// Print events and violations.
    pub verbose: bool,
    /// Print register accesses.
    pub trace: bool,
}

impl Args {
    /// Parses the words after the program's name.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut vfio, mut ctl) = (None, None);
        let mut args = Args {
            vfio: PathBuf::new(),
            ctl: PathBuf::new(),
            wait: Duration::from_secs(60),
            spin: Duration::ZERO,
            timestamp_hz: 62_500_000,
            layout: Layout::default(),
            threads: 2,
            seed: 0,
            timing: Timing::default(),
            tiler_bytes: 64 << 10,
            die_with_parent: false,
            verbose: false,
            trace: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
            match word.as_str() {
                "--vfio" => vfio = Some(PathBuf::from(value()?)),
                "--ctl" => ctl = Some(PathBuf::from(value()?)),
                "--wait" => args.wait = Duration::from_secs(number(value()?)?),
                "--spin" => args.spin = Duration::from_micros(number(value()?)?),
                "--timestamp-hz" => args.timestamp_hz = number(value()?)?,
                "--interface" => {
                    let name = value()?;
                    args.layout.version =
                        Version::of(&name).ok_or(format!("{name}: no such interface"))?;
                }
                "--groups" => args.layout.groups = within(number(value()?)?, 3, 16)? as u32,
                "--streams" => args.layout.streams = within(number(value()?)?, 8, 32)? as u32,
                "--threads" => {
                    args.threads = within(number(value()?)?, 1, RUNNERS as u64)? as usize
                }
                "--seed" => args.seed = number(value()?)?,
                "--ack-us" => args.timing.ack = within(number(value()?)?, 0, MAX_US)? * 1000,
                "--job-us" => args.timing.work.job = within(number(value()?)?, 0, MAX_US)? * 1000,
                "--tiler-kib" => {
                    args.tiler_bytes = (within(number(value()?)?, 0, 65536)? as u32) << 10
                }
                "--die-with-parent" => args.die_with_parent = true,
                "--verbose" => args.verbose = true,
                "--trace" => (args.verbose, args.trace) = (true, true),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        args.vfio = vfio.ok_or("--vfio is missing")?;
        args.ctl = ctl.ok_or("--ctl is missing")?;
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn good_and_bad() {
        let args = parse("--vfio a --ctl b --spin 5 --trace").unwrap();
        assert_eq!(args.spin, Duration::from_micros(5));
        assert!(args.verbose && args.trace);
        let args = parse("--vfio a --ctl b --interface 4.1 --groups 16 --streams 32 --ack-us 7");
        let args = args.unwrap();
        assert!(args.layout.version.has_state());
        assert_eq!((args.layout.groups, args.layout.streams), (16, 32));
        assert_eq!(args.timing.ack, 7_000);
        assert!(parse("--vfio a --ctl b --interface 2").is_err());
        assert!(parse("--vfio a --ctl b --groups 2").is_err());
        assert!(parse("--vfio a --ctl b --streams 33").is_err());
        assert!(parse("--vfio a --ctl b --threads 0").is_err());
        assert!(parse("--vfio a").is_err());
        assert!(parse("--vfio a --ctl").is_err());
        assert!(parse("--vfio a --ctl b --spin x").is_err());
        assert!(parse("--vfio a --ctl b c").is_err());
    }
}
